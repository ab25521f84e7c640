"""The built book in a real browser: what a reader sees, does and downloads.

The site is built from the notebooks stored in book/, computing nothing. Without a Chromium on the
PATH these tests skip.
"""

import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from browser import unwritten
from PIL import Image

from svcca_lib.paper.chapter.outputs import FIGURE_METADATA
from svcca_lib.paper.publishing import site as builder
from svcca_lib.paper.publishing.page import folded
from svcca_lib.paper.publishing.pdf import chromium
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

CHROMIUM = chromium()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH"),
]

CONTENTS = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [
    CONTENTS["root"],
    *(entry["file"] for part in CONTENTS["parts"] for entry in part["chapters"]),
]
MOST = 3e6  # bytes that one page may load
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Return the folder of the site, built as `make site` builds it, with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "svcca_lib", "site", ROOT / "book", "--staging", "staging"]
    done = subprocess.run(
        [*command, "--root", ROOT], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "_build" / "html"


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


class Visit:
    """One page as one reader sees it, and all that the browser had to say about it."""

    def __init__(self, browser, site, page, size=DESKTOP, scheme="light"):
        self.complaints, self.loaded = [], set()
        context = browser.new_context(viewport=size, color_scheme=scheme)
        self.tab = tab = context.new_page()
        tab.on("console", self._hear)
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("requestfailed", lambda request: self.complaints.append(request.url))
        tab.on("request", lambda request: self.loaded.add(request.url))
        tab.goto((site / f"{page}.html").as_uri())
        tab.evaluate("window.MathJax?.startup?.promise")

    def _hear(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def scroll_to_figures(self):
        """Return the drawings in sight one after the other, each loaded."""
        seen = "only-" + self.tab.evaluate("document.documentElement.dataset.theme")
        for image in self.tab.locator(f".bd-article .drawing img.{seen}").all():
            image.scroll_into_view_if_needed()
            self.tab.wait_for_function(
                "i => i.complete && i.naturalWidth > 0", arg=image.element_handle()
            )
            yield image

    def inaccessible(self):
        """Return what axe-core finds that keeps some readers out."""
        found = axe.Axe().run(self.tab).response["violations"]
        return [
            f"{rule['id']}: {node['target']} {node['failureSummary']}"
            for rule in found
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]


@pytest.fixture
def visit(browser, site):
    """Open pages, and close them after the test."""
    opened = []

    def go(page, **how):
        opened.append(Visit(browser, site, page, **how))
        return opened[-1]

    yield go
    for one in opened:
        one.tab.context.close()


def figures(page):
    """Return the figures that the stored notebook of a page shows."""
    path = ROOT / f"{page}.ipynb"
    if not path.is_file():
        return []
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    shown = [output.get("metadata", {}).get(FIGURE_METADATA) for output in outputs]
    return [figure for figure in shown if figure]


CHAPTERS = [page for page in PAGES if figures(page)]


def different_colours(png):
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3)
    return len(np.unique(pixels // 16, axis=0))


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
    tab.locator("details.hide summary").first.press("Enter")
    assert shown.count() == 1
    tab.get_by_role("button", name="Show all code").click()
    assert shown.count() == code.count()
    tab.get_by_role("button", name="Hide all code").click()
    assert shown.count() == 0
    assert "profile" in tab.locator(".tag_parameters pre:visible").inner_text()


def test_parameters_that_a_run_was_given_are_in_sight():
    cells = [
        nbformat.v4.new_code_cell("profile = 1", metadata={"tags": [tag]})
        for tag in ("parameters", "injected-parameters", "other")
    ]
    shown = json.loads(folded(nbformat.writes(nbformat.v4.new_notebook(cells=cells))))
    hidden = ["hide-input" in cell["metadata"]["tags"] for cell in shown["cells"]]
    assert hidden == [False, False, True]


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
    slider, now, canvas = (box.locator(name) for name in ("input", "output", "canvas"))
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


def test_without_the_repository_there_are_no_launch_buttons(site):
    text = (site / f"{CHAPTERS[0]}.html").read_text(encoding="utf-8")
    assert "mybinder" not in text
    assert "colab" not in text
