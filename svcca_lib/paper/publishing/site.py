"""The book's pages, built from executed notebooks, with warnings as errors.

The notebooks that a run executed lie apart from their sources, so the book is staged: its
configuration, its pages and its notebooks are copied into one folder, laid out as the repository
is, and jupyter-book builds that. The results on the first page, and the ledger to download, are
those of the notebooks that the site shows.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from svcca_lib.paper.chapter import gathered
from svcca_lib.paper.chapter.outputs import read_notebook, write_notebook
from svcca_lib.paper.publishing import front, moving, results
from svcca_lib.paper.publishing.address import pages_of

BEHIND = "behind.toml"  # in a folder of published chapters: those that ran with older code
IN_SHORT = ":class: in-short"  # of the box at the head of a chapter
NOT_CHAPTERS = ("**/*.md", "*.bib", "_static")  # what of book/ goes into every site


class SiteError(RuntimeError):
    """The book could not be built without a warning."""


def pages(root: Path) -> list[Path]:
    """Return the files besides the chapters that the site is made of, sorted."""
    found = [path for pattern in NOT_CHAPTERS for path in (root / "book").glob(pattern)]
    files = [f for path in found for f in ([path] if path.is_file() else path.rglob("*"))]
    return [root / "_config.yml", root / "_toc.yml", *sorted(f for f in files if f.is_file())]


def behind(folder: Path) -> dict[str, dict[str, str]]:
    """Return the chapters of a folder of published ones that ran with older code, by name.

    Each has the ``commit`` whose notebook it executed, and ``why`` it was not executed anew.
    """
    path = folder / BEHIND
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _say_behind(page: Path, commit: str, why: str) -> None:
    """Say at the head of a staged page that the book's code has moved on since it ran."""
    notebook = read_notebook(page)
    note = (
        ":::{admonition} Executed with older code\n:class: note dropdown\n"
        f"This page ran with the code of commit `{commit}`. {why}\n:::"
    )
    first = notebook.cells[0]
    heading, _, rest = first.source.partition("\n")
    # What the chapter is about comes first, where it says so.
    box, end, said = rest.partition("\n:::\n") if IN_SHORT in rest else ("", "", f"\n{rest}")
    first.source = f"{heading}\n{box}{end}\n{note}\n{said}"
    write_notebook(notebook, page)


def demand_address(root: Path) -> None:
    """Raise SiteError unless the configuration has the address that a published site needs."""
    import yaml

    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    address = config.get("repository", {}).get("url", "")
    if not address:
        raise SiteError(
            "a site that is published needs the repository's address: expected the line "
            '`repository: { url: "https://github.com/OWNER/NAME", branch: main }` in _config.yml, '
            "which has none"
        )
    if not config.get("html", {}).get("baseurl"):
        try:
            pages_of(address)
        except ValueError as error:
            raise SiteError(str(error)) from None


def chapters(root: Path) -> list[str]:
    """Return the names of the chapters, in their order in the book."""
    return list(gathered.notebooks(root / "book"))


def build(root: Path, notebooks: Mapping[str, Path], staging: Path, target: Path) -> Path:
    """Build the site from an executed notebook for every chapter, and return its first page.

    The copy that is built goes to `staging`, emptied first; `target` is replaced when the new site
    is complete. A warning, a missing page or a traceback raises SiteError; an older site stays.
    """
    stage(root, notebooks, staging)
    html = run_jupyter_book(staging)
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(html, target)
    return target / "index.html"


def stage(root: Path, notebooks: Mapping[str, Path], staging: Path) -> None:
    """Lay out the book with the given notebooks in an emptied folder."""
    shutil.rmtree(staging, ignore_errors=True)
    for page in pages(root):
        _copy(page, staging / page.relative_to(root))
    for name, notebook in notebooks.items():
        target = staging / "book" / f"{name}.ipynb"
        _copy(notebook, target)
        if name in (older := behind(notebook.parent)):
            _say_behind(target, **older[name])
    shown = gathered.Book.read(notebooks)
    shown.write(staging / "book")
    results.write_results(shown, staging, above=moving.on_top(notebooks))
    front.write_cards(shown, notebooks, staging)


def run_jupyter_book(staging: Path, form: str = "html") -> Path:
    """Build a staged book, with warnings as errors, and return the folder of the pages.

    `form` may be ``"singlehtml"``, for the whole book in one page. A warning, a missing page or a
    traceback raises SiteError.
    """
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    # Everything anew: a page that Sphinx has cached does not repeat its warnings.
    command = [str(jupyter_book), "build", str(staging), "--builder", form]
    command += ["--all", "--quiet", "-W", "-n", "--keep-going"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    html = staging / "_build" / form
    tracebacks = [
        page.name
        for page in html.rglob("*.html")
        if "Traceback (most recent call last)" in page.read_text(encoding="utf-8")
    ]
    if done.returncode or tracebacks or not (html / "index.html").is_file():
        found = f"tracebacks in {', '.join(tracebacks)}" if tracebacks else "warnings are errors"
        raise SiteError(f"{done.stdout}\nthe book was not built: {found}")
    return html


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
