import json
import re

import numpy as np
import pytest
from browser import opened

from svcca_lib.paper.figures.interactive.flipbook import flipbook

pytestmark = pytest.mark.browser

FRAMES = np.random.default_rng(0).normal(size=(3, 2, 5))
BEHIND = np.random.default_rng(1).normal(size=(1, 5))
OPTIONS = {
    "slider": "angle <a>",
    "names": ("one", "two & three"),
    "still": "before",
    "start": 1,
    "title": "a < b",
    "ident": "turn-a",
}
STEPS, WORDS = ("0", "10", "20"), ("none", "a little < much", "much")


@pytest.fixture(scope="module")
def page():
    return flipbook(FRAMES, BEHIND, STEPS, WORDS, **OPTIONS)


def test_all_curves_are_in_the_page_on_one_scale(page):
    data = json.loads(re.search(r"const d = (\{.*\});", page).group(1))
    low = min(FRAMES.min(), BEHIND.min())
    high = max(FRAMES.max(), BEHIND.max())
    for found, curves in ((data["frames"], FRAMES), (data["behind"], BEHIND)):
        drawn = high - np.array(found) / 1000 * (high - low)
        np.testing.assert_allclose(drawn, curves, atol=5.1e-4 * (high - low))
    assert data["words"] == list(WORDS)
    assert len(set(data["dashes"])) == 2  # not by colour alone


def test_the_page_loads_nothing_and_escapes_what_it_is_told(page):
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)|src=|@import|fetch\(|XMLHttp", page)
    assert "angle &lt;a&gt;" in page
    assert "two &amp; three" in page


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ValueError, match=r"\(3, 2, 5\)"):
        flipbook(FRAMES[:2], BEHIND, STEPS, WORDS, **OPTIONS)
    with pytest.raises(ValueError, match="a sentence a step"):
        flipbook(FRAMES, BEHIND, STEPS, WORDS[:2], **OPTIONS)
    with pytest.raises(ValueError, match="from 0 to 2; got 3"):
        flipbook(FRAMES, BEHIND, STEPS, WORDS, **{**OPTIONS, "start": 3})
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        flipbook(FRAMES * np.nan, BEHIND, STEPS, WORDS, **OPTIONS)
    with pytest.raises(ValueError, match="ident"):
        flipbook(FRAMES, BEHIND, STEPS, WORDS, **{**OPTIONS, "ident": "a b"})


def test_the_arrow_keys_move_the_curves(browser, page, tmp_path):
    """In a real browser, where there is one: the keys, the words, the curves, no script error."""
    with opened(browser, page, tmp_path) as (tab, errors):
        words, slider = tab.locator("[data-words]"), tab.locator("input")
        moving = tab.locator("[data-drawing] polyline").nth(1)
        assert words.text_content() == WORDS[1]
        before = moving.get_attribute("points")
        slider.press("ArrowRight")
        assert words.text_content() == WORDS[2]
        assert slider.get_attribute("aria-valuetext") == "20"
        assert moving.get_attribute("points") != before
        assert moving.get_attribute("points").count(",") == 5
        assert not errors
