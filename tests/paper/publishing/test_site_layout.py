"""The built book in a real browser: it stands still, fits a phone, and says what was found."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from visits import CHAPTERS, CHROMIUM, DESKTOP, PAGES, PHONE, figures

from svcca_lib.paper.publishing import site as builder
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH"),
]


@pytest.mark.parametrize("page", PAGES)
def test_page_describes_itself_and_says_which_edition_it_is(site, page):
    text = (site / f"{page}.html").read_text(encoding="utf-8")
    assert len(re.search(r'<meta name="description" content="([^"]+)"', text)[1]) > 60
    assert '<meta property="og:image" content="_static/thumbnails/' in text
    assert (site / re.search(r'og:image" content="([^"]+)"', text)[1]).is_file()
    assert '<link rel="icon"' in text
    footer = text[text.index('class="extra_footer"') :]
    assert re.search(r"Version \d+\.\d+\.\d+, built on \d{4}-\d\d-\d\d", footer)
    assert "cite-this" in footer
    assert "<strong>Test scale.</strong>" in text, "these pages are of the quick profile"


def test_menus_open_and_close_at_both_widths(visit):
    tab = visit("book/index").tab
    menu, chapter = tab.locator(".primary-toggle:visible"), tab.locator(".bd-links a:visible")
    assert chapter.count() > 10
    menu.click()
    tab.wait_for_selector(".bd-links a", state="hidden")
    menu.click()
    tab.wait_for_selector(".bd-links a", state="visible")
    tab = visit(CHAPTERS[0], size=PHONE).tab
    for toggle, links in (("primary", ".bd-links a"), ("secondary", ".page-toc a")):
        dialog = tab.locator(f"#pst-{toggle}-sidebar-modal")
        assert tab.locator(f"{links}:visible").count() == 0
        tab.locator(f".{toggle}-toggle:visible").click()
        assert dialog.locator(f"{links}:visible").count() > 3
        tab.keyboard.press("Escape")
        tab.locator(links).first.wait_for(state="hidden")


SHIFTS = """window.shifts = []; new PerformanceObserver(list => {
  for (const e of list.getEntries()) if (!e.hadRecentInput) window.shifts.push(e.value);
}).observe({type: "layout-shift", buffered: true})"""


@pytest.mark.parametrize("page", ["book/index", *CHAPTERS])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_nothing_moves_while_a_page_loads_and_a_link_leads_to_its_figure(browser, site, page, size):
    context = browser.new_context(viewport=size)
    context.add_init_script(SHIFTS)
    tab = context.new_page()
    address = (site / f"{page}.html").as_uri()
    tab.goto(address)
    tab.evaluate("window.MathJax?.startup?.promise")
    tab.wait_for_timeout(300)
    assert sum(tab.evaluate("window.shifts")) < 0.02
    for name in [shown["name"] for shown in figures(page)][-1:]:
        tab.goto("about:blank")
        tab.goto(f"{address}#{name}")
        tab.evaluate("window.MathJax?.startup?.promise")
        tab.wait_for_timeout(300)
        top = tab.locator(f"#{name}").bounding_box()["y"]
        bar = tab.locator(".bd-header-article").bounding_box()
        assert 0 <= top - bar["y"] - bar["height"] < 32
    context.close()


@pytest.mark.parametrize("page", ["book/01-toy-regression", "book/02-distributed-representations"])
def test_formulas_are_not_cut(visit, page):
    tab = visit(page).tab
    formulas = tab.locator(".bd-article .math:visible")
    for i in range(min(12, formulas.count())):
        formula = formulas.nth(i)
        formula.scroll_into_view_if_needed()
        box = formula.bounding_box()
        about = box | {"y": box["y"] - 8, "height": box["height"] + 16}
        seen = tab.screenshot(clip=about)
        cover = ".bd-article :is(.math, mjx-container) { overflow: visible !important }"
        style = tab.add_style_tag(content=cover)
        whole = tab.screenshot(clip=about)
        style.evaluate("style => style.remove()")
        assert np.array_equal(Image.open(io.BytesIO(seen)), Image.open(io.BytesIO(whole))), i


OUTSIDE = """width => [...document.querySelectorAll(".bd-article *")].filter(e => {
  if (!e.checkVisibility() || e.getBoundingClientRect().right <= width + 1) return false;
  for (let at = e; at; at = at.parentElement)
    if (["auto", "scroll"].includes(getComputedStyle(at).overflowX)) return false;
  return true;
}).map(e => e.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("page", PAGES)
def test_what_is_wider_than_a_phone_scrolls_and_is_seen_to(visit, page):
    opened = visit(page, size=PHONE)
    list(opened.scroll_to_figures())
    assert opened.tab.evaluate(OUTSIDE, PHONE["width"]) == []
    parts = opened.tab.locator(".bd-article :is(.drawing, .cell_output, pre)")
    unmarked = parts.evaluate_all(
        "all => all.filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX"
        " === 'auto' && !(e.classList.contains('scrolls') && e.classList.contains('more-right')))"
        ".length"
    )
    assert unmarked == 0
    hint = "e => getComputedStyle(e, '::before').content"
    for figure in opened.tab.locator("figure:has(> .drawing.scrolls)").all():
        assert "scroll sideways" in figure.evaluate(hint)


@pytest.mark.parametrize("page", ["book/index", "book/04-dynamics", "book/13-which-measure"])
def test_sliders_are_wide_enough_for_a_finger(visit, page):
    sliders = visit(page, size=PHONE).tab.locator("input[type=range]").all()
    assert sliders
    assert all(slider.bounding_box()["width"] >= 140 for slider in sliders)


def test_first_page_says_what_was_found_and_how_to_get_it(visit):
    tab = visit("book/index").tab
    findings = tab.locator("#what-was-found li")
    assert findings.count() == 5
    for finding in findings.all():
        assert re.search(r"\d", finding.inner_text())
        assert "#" in finding.locator("a").get_attribute("href")
    top = tab.locator(".svcca-scrubber").bounding_box()["y"]
    assert top < findings.first.bounding_box()["y"]
    assert tab.locator(".sd-card img").count() == len(builder.chapters(ROOT))
    rows = tab.locator("#results-at-a-glance tbody tr td:first-child").all_inner_texts()
    order = ["✗", "○", "✓", "n"]
    assert rows[0][0] == "✗"
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), key=order.index)
    text = tab.locator("#run-it-yourself").inner_text()
    assert "git clone" in text
    assert "pip install" in text


@pytest.mark.parametrize("page", CHAPTERS)
def test_chapter_begins_with_what_came_out(visit, page):
    box = visit(page).tab.locator(".bd-article section > .in-short")
    assert box.count() == 1
    assert "Of its statements" in box.inner_text()
    for link in box.locator("a").all():
        assert link.get_attribute("href").startswith("#claim-")


def test_search_finds_words_and_not_code(site):
    code = (ROOT / "book" / "04-dynamics.ipynb").read_text(encoding="utf-8")
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert "settling_times(" in code
    assert "settling_tim" not in index
    assert '"freez"' in index or "freez:" in index


def test_ledger_shows_what_fails_first_and_can_be_filtered(visit):
    tab = visit("book/10-ledger").tab
    rows = tab.locator(".all-claims tbody tr[id]:visible")
    every = rows.count()
    assert "✗" in rows.first.inner_text()
    tab.locator(".all-claims input[value=open]").check()
    marks = [row.inner_text()[0] for row in rows.all()]
    assert set(marks) == {"○"}
    tab.locator(".all-claims input[name=claims-verdict][value=all]").check()
    tab.locator(".all-claims input[value=check]").check()
    assert 0 < rows.count() < every
    rows.last.scroll_into_view_if_needed()
    assert tab.locator(".all-claims thead th").first.bounding_box()["y"] < 60, "it stays in sight"
