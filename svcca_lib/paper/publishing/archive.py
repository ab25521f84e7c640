"""The record of the book for an archive: code, notebooks, networks, claims, and what they are.

One folder, and the same as one ZIP file with the same bytes each time: every file that git knows,
the claims of each profile as tables, the digits as a table, and three descriptions for machines:
an RO-Crate (`crate`), a Croissant card of the data (`croissant`), and what Zenodo asks for.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from svcca_lib.names import cells
from svcca_lib.paper.chapter.gathered import Book, published
from svcca_lib.paper.chapter.tables import flat
from svcca_lib.paper.publishing import crate, croissant

PROFILES = "quick"  # and those that are published
# The time of every file in the ZIP file, so that it has the same bytes each time.
DAWN = (1980, 1, 1, 0, 0, 0)


def build(root: Path, folder: Path) -> Path:
    """Lay out the record of a repository in a folder, made anew, and return the ZIP file beside it.

    Raises
    ------
    RuntimeError
        If `root` is no git repository: the record holds what git knows.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name in tracked(root):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target)
    books = {name: Book.gather(name, root=root) for name in (PROFILES, *published(root))}
    for name, book in books.items():
        book.write(folder / "record" / "claims" / name)
    _write(folder / croissant.CLAIMS, _claims(books))
    _write(folder / croissant.DIGITS, _digits())
    cited = citation(root)
    _write_json(folder / croissant.CARD, croissant.card(folder, cited))
    _write_json(folder / ".zenodo.json", zenodo(cited))
    _write_json(folder / crate.METADATA, crate.metadata(folder, cited, books))
    return _zipped(folder)


def tracked(root: Path) -> list[str]:
    """Return the files that git knows and that are there, sorted; RuntimeError outside git."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the record holds what git knows, and {root} is no git repository")
    return sorted(name for name in done.stdout.split("\0") if name and (root / name).is_file())


def citation(root: Path) -> dict[str, Any]:
    """Return what CITATION.cff says."""
    import yaml

    text = (root / "CITATION.cff").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def zenodo(cited: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Zenodo asks of a deposit, as its ``.zenodo.json`` has it."""
    papers = [reference["url"] for reference in cited["references"]]
    return {
        "title": cited["title"],
        "description": cited["abstract"],
        "upload_type": "software",
        "creators": [{"name": author["name"]} for author in cited["authors"]],
        "keywords": cited["keywords"],
        "license": {"id": cited["license"]},
        "version": str(cited["version"]),
        "publication_date": str(cited["date-released"]),
        "related_identifiers": [
            {"identifier": url, "relation": "isDerivedFrom", "scheme": "url"} for url in papers
        ],
    }


def _claims(books: Mapping[str, Book]) -> str:
    rows = [
        {"profile": profile, "chapter": chapter} | flat(claim)
        for profile, book in books.items()
        for chapter, ledger in book.chapters.items()
        for claim in ledger.claims
    ]
    return _table([[*rows[0]], *(cells(row.values()) for row in rows)])


def _digits() -> str:
    """Return scikit-learn's digits as the quick profile has them: a row an image."""
    from svcca_lib.paper.data.images import digits

    data = digits()
    _, height, width = data.train_images.shape[1:]
    head = ["part", "label", *(f"pixel_{y}_{x}" for y in range(height) for x in range(width))]
    rows: list[list[Any]] = [head]
    for part, images, labels in (
        ("train", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ):
        for pixels, label in zip(images.flatten(1).tolist(), labels.tolist(), strict=True):
            rows.append([part, label, *pixels])
    return _table(rows)


def _table(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    _write(path, json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _zipped(folder: Path) -> Path:
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = zipfile.ZipInfo(path.relative_to(folder).as_posix(), DAWN)
            name.compress_type = zipfile.ZIP_DEFLATED
            name.external_attr = 0o644 << 16
            archive.writestr(name, path.read_bytes())
    return target
