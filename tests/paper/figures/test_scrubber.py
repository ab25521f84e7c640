import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import opened

from svcca_lib.paper.figures.interactive.scrubber import VIRIDIS, scrubber

pytestmark = pytest.mark.browser

MATRICES = np.random.default_rng(0).random((3, 2, 2))


@pytest.fixture(scope="module")
def page():
    return scrubber(MATRICES, (0.0, 0.35, 1.0), ("in", "out"), title="a < b", ident="scrub-a")


def test_all_numbers_are_in_the_page(page):
    data = json.loads(re.search(r"const d = (\{.*\});", page).group(1))
    np.testing.assert_allclose(
        np.array(data["values"]).reshape(MATRICES.shape) / 1000, MATRICES, atol=5.1e-4
    )
    assert data["fractions"] == [0, 0.35, 1]
    assert data["ticks"] == [[0, "in"], [1, "out"]]


def test_the_page_loads_nothing(page):
    assert not re.search(r"https?:|src=|@import|fetch\(|XMLHttp|import\s*\(", page)


def test_the_slider_is_labelled_and_covers_all_times(page):
    found = {}

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.setdefault(tag, dict(attributes))

    Reader().feed(page)
    slider = found["input"]
    assert (slider["type"], slider["min"], slider["max"]) == ("range", "0", "2")
    assert found["label"]["for"] == slider["id"] == found["output"]["for"]
    assert found["canvas"]["role"] == "img"
    assert found["canvas"]["aria-label"] == "a < b"
    assert "a &lt; b" in page


def test_what_cannot_be_shown_is_refused():
    arguments = {"fractions": (0.0, 0.35, 1.0), "labels": ("in", "out"), "title": "t"}
    with pytest.raises(ValueError, match=r"shape \(3, 2, 2\); got \(2, 2, 2\)"):
        scrubber(MATRICES[:2], ident="a", **arguments)
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        scrubber(MATRICES + np.nan, ident="a", **arguments)
    with pytest.raises(ValueError, match="ident"):
        scrubber(MATRICES, ident="a b", **arguments)


def test_colours_are_those_of_matplotlib():
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    expected = [to_hex(colormaps["viridis"](v))[1:] for v in np.linspace(0, 1, len(VIRIDIS))]
    assert list(VIRIDIS) == expected


def test_moving_the_slider_moves_through_time(browser, page, tmp_path):
    """In a real browser, where there is one: the arrow keys, the words, no script error."""
    with opened(browser, page, tmp_path) as (tab, errors):
        slider, now = tab.locator("input"), tab.locator("output")
        assert now.text_content() == "100 % of training"
        slider.focus()
        slider.press("ArrowLeft")
        assert now.text_content() == "35 % of training"
        own = MATRICES[1].diagonal().mean()
        label = tab.locator("canvas").get_attribute("aria-label")
        assert label.endswith(f"own end {own:.2f}")
        canvas, readout = tab.locator("canvas"), tab.locator("[data-readout]")
        canvas.focus()
        for key in ("ArrowUp", "ArrowUp", "ArrowRight", "ArrowRight", "ArrowDown"):
            canvas.press(key)  # the first key enters at the lower left, edges hold
        assert readout.text_content() == f"in at 35 %, out at the end: {MATRICES[1, 0, 1]:.3f}"
        assert not errors


def test_it_plays_to_the_end_and_starts_again(browser, page, tmp_path):
    with opened(browser, page, tmp_path) as (tab, errors):
        tab.get_by_role("button", name="Play").click()
        assert tab.locator("output").text_content() == "0 % of training"
        tab.get_by_role("button", name="Pause").wait_for()
        tab.get_by_role("button", name="Play").wait_for(timeout=5000)
        assert tab.locator("output").text_content() == "100 % of training"
        assert not errors


def test_a_link_leads_to_the_same_view(browser, page, tmp_path):
    with opened(browser, page, tmp_path) as (tab, errors):
        tab.locator("input").press("ArrowLeft")
        for key in ("ArrowUp", "ArrowUp"):
            tab.locator("canvas").press(key)
        said = tab.locator("[data-readout]").text_content()
        link = tab.locator("[data-link]")
        assert link.get_attribute("href") == "?scrub-a=35-1-0#scrub-a"
        tab.goto(link.evaluate("link => link.href"))
        assert tab.locator("output").text_content() == "35 % of training"
        assert tab.locator("[data-readout]").text_content() == said
        assert not errors


def test_the_papers_matrix_nearest_in_time_stands_beside(browser, tmp_path):
    theirs = {0.0: np.zeros((2, 2)), 0.35: np.full((2, 2), 0.25)}
    shown = scrubber(
        MATRICES, (0.0, 0.35, 1.0), ("in", "out"), title="t", ident="scrub-a", theirs=theirs
    )
    with opened(browser, shown, tmp_path) as (tab, errors):
        assert tab.locator("[data-when]").text_content() == "The paper's, at 35 %"
        tab.locator("[data-ours]").press("ArrowUp")
        assert tab.locator("[data-readout]").text_content().endswith("paper's at 35 %: 0.25")
        tab.locator("input").press("Home")
        assert tab.locator("[data-when]").text_content() == "The paper's, at 0 %"
        assert not errors
    with pytest.raises(ValueError, match=r"theirs\[0.0\] must have shape \(2, 2\); got \(3, 3\)"):
        scrubber(
            MATRICES,
            (0.0, 0.35, 1.0),
            ("in", "out"),
            title="t",
            ident="a",
            theirs={0.0: np.eye(3)},
        )
