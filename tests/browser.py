"""A piece of HTML in a real browser, where there is one, and what a small book needs."""

import shutil
from contextlib import contextmanager

from svcca_lib.paper.store.paths import REPOSITORY as ROOT


@contextmanager
def opened(browser, html, folder):
    """Open a page of this HTML; give it and the list of its script errors, as they come."""
    file = folder / "page.html"
    file.write_text(f"<!doctype html><meta charset='utf-8'>{html}", encoding="utf-8")
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(file.as_uri())
    yield page, errors
    page.close()


def unwritten(folder):
    """Copy what a book has besides its pages."""
    for name in ("_config.yml", "book/references.bib"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copytree(ROOT / "book" / "_static", folder / "book" / "_static")
