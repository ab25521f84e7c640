"""The whole book as one PDF: built as one page, printed by Chromium, so no LaTeX is needed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from svcca_lib.paper.publishing import site

NAME = "svcca-figure-by-figure.pdf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# Formulas are set and every drawing is there; only then the page can be printed. Links between
# chapters, some of which Sphinx leaves as links between files, lead to a place in it; links to
# files of this machine are none.
_READY = """async () => {
  await window.MathJax?.startup?.promise;
  for (const image of document.querySelectorAll(".bd-article img")) image.loading = "eager";
  for (const link of document.querySelectorAll("a[href]:not([href*=':'])")) {
    const chapter = `document-book/${link.pathname.split("/").pop().replace(".html", "")}`;
    const place = link.hash.slice(1) || chapter;
    if (document.getElementById(place)) link.href = `#${place}`;
    else link.removeAttribute("href");
  }
  const seen = [...document.querySelectorAll(".bd-article img")].filter(i => i.offsetParent);
  await Promise.all(seen.map(i => i.decode()));
}"""
_NUMBER = (
    '<div style="font-size:8px;width:100%;text-align:center"><span class="pageNumber"></span></div>'
)


def chromium() -> str | None:
    """Return the path of the system's Chromium, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def build(root: Path, notebooks: Mapping[str, Path], staging: Path, target: Path) -> Path:
    """Print the book and return `target`; the parameters and errors are those of `site.build`.

    Without Chromium it raises SiteError as well.
    """
    from playwright.sync_api import sync_playwright

    browser_path = chromium()
    if browser_path is None:
        raise site.SiteError(f"printing needs a browser: none of {', '.join(BROWSERS)} is there")
    site.stage(root, notebooks, staging)
    html = site.run_jupyter_book(staging, "singlehtml")
    # Written into the folder of the first chapter, with links as if it lay above it.
    page = (html / "book" / "index.html").replace(html / "index.html")
    target.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path)
        tab = browser.new_page(color_scheme="light")
        tab.goto(page.resolve().as_uri())
        tab.evaluate(_READY)
        tab.pdf(
            path=target,
            format="A4",
            scale=0.8,  # letters of the size that books have
            margin={"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"},
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=_NUMBER,
            print_background=True,
            outline=True,
            tagged=True,
        )
        browser.close()
    return target
