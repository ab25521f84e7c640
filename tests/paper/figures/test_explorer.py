import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import opened

from svcca_lib.paper.figures.interactive.explorer import explorer

pytestmark = pytest.mark.browser

AXES = {"Datapoints n": (5, 50), "Neurons <p>": (4, 10, 20), "Signal": (0, 2)}
GRIDS = {name: np.random.default_rng(i).random((2, 3, 2)) for i, name in enumerate("ab")}


@pytest.fixture(scope="module")
def page():
    return explorer(GRIDS, AXES, (1, 1, 0), title="a < b", ident="explore-a")


def test_all_numbers_are_in_the_page(page):
    data = json.loads(re.search(r"const d = (\{.*\});", page).group(1))
    assert data["names"] == ["a", "b"]
    assert [axis["values"] for axis in data["axes"]] == [[5, 50], [4, 10, 20], [0, 2]]
    for values, grid in zip(data["values"], GRIDS.values(), strict=True):
        np.testing.assert_allclose(np.array(values) / 1000, grid.ravel(), atol=5.1e-4)


def test_the_page_loads_nothing(page):
    assert not re.search(r"https?:|src=|@import|fetch\(|XMLHttp|import\s*\(", page)


def test_every_slider_is_labelled(page):
    found = {"label": [], "input": [], "output": []}

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag in found:
                found[tag].append(dict(attributes))

    Reader().feed(page)
    sliders = [slider["id"] for slider in found["input"]]
    assert len(set(sliders)) == 3
    assert [label["for"] for label in found["label"]] == sliders
    assert [output["for"] for output in found["output"]] == sliders
    assert [slider["max"] for slider in found["input"]] == ["1", "2", "1"]
    assert "Neurons &lt;p&gt;" in page
    assert 'aria-live="polite"' in page


def test_what_cannot_be_shown_is_refused():
    options = {"title": "t", "ident": "a"}
    with pytest.raises(ValueError, match=r"shape \(2, 3, 2\); got \(3, 2\)"):
        explorer({"a": GRIDS["a"][0]}, AXES, (0, 0, 0), **options)
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        explorer({"a": GRIDS["a"] + 1}, AXES, (0, 0, 0), **options)
    with pytest.raises(ValueError, match="three axes"):
        explorer(GRIDS, AXES, (0, 0), **options)
    with pytest.raises(ValueError, match="ident"):
        explorer(GRIDS, AXES, (0, 0, 0), title="t", ident="a b")


def test_the_arrow_keys_move_through_the_grid(browser, page, tmp_path):
    """In a real browser, where there is one: the keys, the words, no script error."""
    with opened(browser, page, tmp_path) as (tab, errors):
        words = tab.locator("[data-words]")
        assert words.text_content() == said(1, 1, 0) + "."
        tab.locator("#explore-a-1").press("ArrowRight")
        assert words.text_content() == said(1, 2, 0) + "."
        assert tab.locator("#explore-a-1").get_attribute("aria-valuetext") == "20"
        tab.locator("#explore-a-0").press("ArrowLeft")
        assert "Fewer datapoints than neurons" in words.text_content()
        assert not errors


def said(i, j, k):
    return ", ".join(f"{name} {np.rint(1000 * g[i, j, k]) / 1000:.2f}" for name, g in GRIDS.items())
