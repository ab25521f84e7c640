"""The printed book, where there is a Chromium to print it."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from browser import unwritten

from svcca_lib.paper.publishing import pdf
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(pdf.chromium() is None, reason="no Chromium on the PATH"),
]


def test_printed_book_has_its_drawings_and_leads_to_no_file_of_this_machine(tmp_path):
    """A book of a first page and one chapter; a drawing that is not found stops the printing."""
    unwritten(tmp_path)
    page = "02-distributed-representations"
    first = f"# Book\n\nSee [chapter 2]({page}.ipynb).\n\n```{{bibliography}}\n```\n"
    (tmp_path / "book" / "index.md").write_text(first, encoding="utf-8")
    toc = f"format: jb-book\nroot: book/index\nchapters:\n- file: book/{page}\n"
    (tmp_path / "_toc.yml").write_text(toc, encoding="utf-8")
    notebooks = {page: ROOT / "book" / f"{page}.ipynb"}
    # In a process of its own: Playwright starts once in each, and other tests started it here.
    with ProcessPoolExecutor(1, get_context("spawn")) as own:
        places = tmp_path / "staging", tmp_path / "book.pdf"
        printed = own.submit(pdf.build, tmp_path, notebooks, *places).result()
    content = printed.read_bytes()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") > 2
    assert b"file://" not in content
