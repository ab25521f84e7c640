"""The built book in a real browser: what a reader sees, does and downloads.

The site is built from the notebooks stored in book/, computing nothing. Without a Chromium on the
PATH these tests skip.
"""

import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import numpy as np
import pandas as pd
import pytest
from browser import unwritten
from PIL import Image
from visits import CHAPTERS, CHROMIUM, DESKTOP, MOST, PAGES, PHONE, figures

from svcca_lib.paper.publishing import site as builder
from svcca_lib.paper.publishing.page import folded
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

pytest.importorskip("playwright.sync_api")
pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH"),
]


def different_colours(png):
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int) // 16
    return np.count_nonzero(np.bincount((pixels @ [256, 16, 1]).ravel()))


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_page_is_complete_light_and_open_to_all(visit, page, size, scheme):
    opened = visit(page, size=size, scheme=scheme)
    shown = list(opened.scroll_to_figures())
    assert len(shown) == len(figures(page))
    for image in shown:
        assert image.get_attribute("alt").strip()
        assert image.get_attribute("src").endswith("-dark.svg") == (scheme == "dark")
        assert different_colours(image.screenshot()) > 8, "a blank figure"
    assert opened.complaints == []
    assert all(url.startswith(("file:", "data:")) for url in opened.loaded)
    files = [Path(unquote(urlsplit(u).path)) for u in opened.loaded if u.startswith("file:")]
    assert sum(file.stat().st_size for file in files) < MOST
    tab = opened.tab
    assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert tab.locator("mjx-container").count() == tab.locator(".math").count()
    assert tab.locator("mjx-merror").count() == 0
    assert opened.inaccessible() == []


@pytest.mark.parametrize("page", CHAPTERS)
def test_figures_are_numbered_captioned_and_can_be_taken_away(visit, site, page):
    tab = visit(page).tab
    chapter = re.match(r"book/0*(\d+)-", page).group(1)
    for i, shown in enumerate(figures(page), start=1):
        figure = tab.locator(f"figure#{shown['name']}")
        assert figure.locator(".caption-number").inner_text().strip() == f"Figure {chapter}.{i}"
        assert len(figure.locator(".caption-text").inner_text()) > 60
        links = [link.get_attribute("href") for link in figure.locator("a.download").all()]
        files = {Path(link).suffix: (site / page).parent / link for link in links}
        assert ET.parse(files[".svg"]).getroot().tag.endswith("svg")
        assert pd.read_csv(files[".csv"]).select_dtypes("number").size


@pytest.mark.parametrize("page", CHAPTERS)
def test_chapter_can_be_downloaded_as_it_is_stored(visit, site, page):
    link = visit(page).tab.locator("a.btn-download-source-button").get_attribute("href")
    notebook = (site / page).parent / link
    assert notebook.read_bytes() == (ROOT / f"{page}.ipynb").read_bytes()


class Links(HTMLParser):
    """The targets and anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        self.targets += [given[key] for key in ("href", "src") if given.get(key)]


def test_no_internal_link_is_broken(site):
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        if path.parent == site / "_static":
            continue  # templates of the theme
        for target in page.targets:
            url = urlsplit(target)
            if url.scheme or url.netloc:
                continue
            aim = (path.parent / unquote(url.path)).resolve() if url.path else path
            aim = aim / "index.html" if aim.is_dir() else aim
            anchor = unquote(url.fragment)
            if not aim.is_file() or (anchor and aim in pages and anchor not in pages[aim].anchors):
                broken.append(f"{path.relative_to(site)}: {target}")
    assert len(pages) > len(PAGES)
    assert broken == []


def test_search_finds_freeze_training(visit):
    tab = visit("book/index").tab
    tab.keyboard.press("Control+k")
    field = tab.locator("input[type=search]:visible").first
    field.fill("freeze training")
    field.press("Enter")
    tab.wait_for_selector("#search-results li a")
    found = [link.get_attribute("href") for link in tab.locator("#search-results li a").all()]
    assert any("05-freeze-training" in link for link in found[:5])


def test_dark_mode_is_a_switch_and_is_remembered(visit):
    opened = visit(CHAPTERS[0])
    tab = opened.tab
    ground = "getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(ground)
    for _ in range(3):  # auto, light, dark
        tab.locator(".theme-switch-button:visible").first.click()
        if tab.evaluate("document.documentElement.dataset.theme") == "dark":
            break
    assert tab.evaluate(ground) != light
    drawing = next(opened.scroll_to_figures())
    assert drawing.get_attribute("src").endswith("-dark.svg")
    tab.reload()
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    assert opened.complaints == []


def test_code_is_folded_until_it_is_asked_for(visit):
    tab = visit(CHAPTERS[0]).tab
    code = tab.locator("details.hide pre")
    shown = tab.locator("details.hide pre:visible")
    assert code.count() > 3
    assert shown.count() == 0
    tab.locator(".tag_parameters details.hide summary").press("Enter")
    assert shown.count() == 1
    assert "profile" in tab.locator(".tag_parameters pre:visible").inner_text()
    tab.get_by_role("button", name="Show all code").click()
    assert shown.count() == code.count()
    tab.get_by_role("button", name="Hide all code").click()
    assert shown.count() == 0


def test_parameters_are_one_folded_box():
    cells = [
        nbformat.v4.new_code_cell(f"{tag[0]} = 1", metadata={"tags": [tag]})
        for tag in ("parameters", "injected-parameters", "other")
    ]
    shown = json.loads(folded(nbformat.writes(nbformat.v4.new_notebook(cells=cells))))["cells"]
    assert ["".join(cell["source"]) for cell in shown] == ["p = 1\n\ni = 1", "o = 1"]
    assert all("hide-input" in cell["metadata"]["tags"] for cell in shown)


@pytest.mark.parametrize("page", ["book/index", "book/choices"])
def test_tables_stack_on_a_phone_and_leave_out_what_is_not_there(visit, page):
    tables = visit(page, size=PHONE).tab.locator(".pst-scrollable-table-container table")
    for table in tables.all():
        assert table.evaluate("t => t.parentElement.scrollWidth <= t.parentElement.clientWidth")
    cells = tables.locator("td:visible").all()
    assert len(cells) > 40
    assert all(cell.inner_text().strip() for cell in cells)
    title = "e => getComputedStyle(e, '::before').content"
    assert cells[0].evaluate(title) == "none"
    assert cells[1].evaluate(title).endswith(': "')


def test_attributes_that_share_a_description_are_listed_one_by_one(visit):
    tab = visit("book/api").tab
    listed = tab.locator("#svcca_lib\\.Similarity + dd .field-list li > p")
    names = [text.split()[0] for text in listed.all_inner_texts()]
    assert {"x_kept", "y_kept", "x_weights", "y_weights"} <= set(names)
    # What follows the attributes is there once.
    titles = tab.eval_on_selector(
        "[id='svcca_lib.Moments']",
        "dt => [...dt.parentNode.querySelectorAll(':scope > dd > .rubric')].map(r => r.innerText)",
    )
    assert titles == ["Notes", "References", "Examples"]


def test_training_time_of_figure_4_is_moved_by_keyboard(visit):
    tab = visit("book/04-dynamics").tab
    box = tab.locator(".svcca-scrubber").first
    box.scroll_into_view_if_needed()
    slider, now, canvas = (box.locator(name) for name in ("input", "output", "[data-ours]"))
    words, drawn = now.text_content(), canvas.screenshot()
    slider.focus()
    slider.press("Home")
    assert now.text_content() == "0 % of training" != words
    assert canvas.screenshot() != drawn
    canvas.focus()
    canvas.press("ArrowUp")
    assert "at 0 %" in box.locator("[data-readout]").text_content()


def test_one_line_of_configuration_brings_launch_buttons(tmp_path):
    """A book of one chapter, with the repository's address in its configuration."""
    page = "04-dynamics"
    unwritten(tmp_path)
    config = (tmp_path / "_config.yml").read_text(encoding="utf-8")
    given = config.replace(
        '# repository: { url: "https://github.com/OWNER/NAME"',
        'repository: { url: "https://github.com/me/mine"',
    )
    assert given != config
    (tmp_path / "_config.yml").write_text(given, encoding="utf-8")
    (tmp_path / "_toc.yml").write_text(f"format: jb-book\nroot: book/{page}\n", encoding="utf-8")
    chapter = nbformat.read(ROOT / "book" / f"{page}.ipynb", as_version=4)
    chapter.cells = chapter.cells[1:3]  # parameters and imports
    nbformat.write(chapter, tmp_path / "book" / f"{page}.ipynb")
    builder.run_jupyter_book(tmp_path)
    html = tmp_path / "_build" / "html"
    links = Links((html / "book" / f"{page}.html").read_text(encoding="utf-8")).targets
    binder = "https://mybinder.org/v2/gh/me/mine/main?urlpath=lab/tree/book/04-dynamics.ipynb"
    colab = "https://colab.research.google.com/github/me/mine/blob/gh-pages/"
    assert binder in links
    [opened] = [link.removeprefix(colab) for link in links if link.startswith(colab)]
    notebook = json.loads((html / opened).read_text(encoding="utf-8"))
    nbformat.validate(nbformat.from_dict(notebook))
    assert "git+https://github.com/me/mine" in notebook["cells"][0]["source"]
    # Of the same line are made the addresses of the pages.
    home = "https://me.github.io/mine/"
    page_of_it = f"{home}book/{page}.html"
    text = (html / "book" / f"{page}.html").read_text(encoding="utf-8")
    assert f'<link rel="canonical" href="{page_of_it}"' in text
    assert f'<meta property="og:url" content="{page_of_it}"' in text
    assert f"<loc>{page_of_it}</loc>" in (html / "sitemap.xml").read_text(encoding="utf-8")
    assert f'<base href="{home}">' in (html / "404.html").read_text(encoding="utf-8")


def test_without_the_repository_there_are_no_launch_buttons(site):
    text = (site / f"{CHAPTERS[0]}.html").read_text(encoding="utf-8")
    assert "mybinder" not in text
    assert "colab" not in text
    assert not (site / "sitemap.xml").exists()
    assert "https://github.com/OWNER/NAME" in (site / "book" / "index.html").read_text()


def test_what_is_published_needs_the_repository(tmp_path):
    unwritten(tmp_path)
    with pytest.raises(builder.SiteError, match="repository: "):
        builder.demand_address(tmp_path)
    config = tmp_path / "_config.yml"
    given = config.read_text(encoding="utf-8") + "\nrepository: { url: HERE }\n"
    config.write_text(given.replace("HERE", "https://example.org/me/mine"), encoding="utf-8")
    with pytest.raises(builder.SiteError, match="baseurl"):
        builder.demand_address(tmp_path)
    config.write_text(given.replace("HERE", "https://github.com/me/mine"), encoding="utf-8")
    builder.demand_address(tmp_path)
