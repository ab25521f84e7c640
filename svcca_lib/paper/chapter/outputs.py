"""What a chapter's outputs carry beside what is seen, and the names by which it is found again.

The built page, the ledger of the book and the regression tests read it from the stored notebooks.
"""

from __future__ import annotations

import base64
import gzip
import lzma
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from nbformat import NotebookNode

Output = tuple[dict[str, Any], dict[str, Any]]  # data and metadata, as a notebook stores them

# Of a figure: its caption and description, the networks behind it, its drawings and its numbers.
FIGURE_METADATA = "svcca_figure"
CAPTION_METADATA = "svcca_caption"  # of a caption that is shown by itself: whose it is
LEDGER_METADATA = "svcca_ledger"  # of a ledger: all of it, full digits included
RECORD = "application/papermill.record/"  # where myst-nb looks for the numbers of the prose


def heading(caption: str) -> str:
    """Return what a caption begins with in bold letters, as plain text; empty if nothing.

    >>> heading("**Two seeds (Appendix Figure 4).** All layers.")
    'Two seeds (Appendix Figure 4)'
    """
    bold = re.match(r"\*\*(.+?)\.?\*\*", caption)
    return bold[1] if bold else ""


def plain(caption: str) -> str:
    """Return a caption in the Markdown that every reader of notebooks knows, without roles.

    >>> plain("Rows of {numref}`figure-4`, $k$ of them.")
    'Rows of figure-4, $k$ of them.'
    """
    return re.sub(r"\{\w+\}`([^`]+)`", r"\1", caption)


def packed(text: str) -> str:
    """Return `text` compressed, in characters that JSON takes as they are."""
    # Tables repeat themselves over long distances, which xz sees and gzip does not.
    return base64.b64encode(lzma.compress(text.encode())).decode("ascii")


def unpacked(text: str) -> str:
    """Return what was `packed`.

    >>> unpacked(packed("k,accuracy"))
    'k,accuracy'
    """
    stored = base64.b64decode(text)
    of_gzip = stored.startswith(b"\x1f\x8b")  # by older code
    return (gzip.decompress(stored) if of_gzip else lzma.decompress(stored)).decode()


def noted(name: str, value: float) -> Output:
    """Return the output in which the prose finds a finite number, all digits, by its name."""
    if not math.isfinite(value):
        raise ValueError(f"the number {name!r} must be finite to be noted; got {value}")
    # an integer stays one, and NumPy's numbers read like Python's
    plain = int(value) if isinstance(value, (int, np.integer)) else float(value)
    about = {"name": name.replace("_", "-"), "mime_prefix": RECORD}
    return {f"{RECORD}text/plain": repr(plain)}, {"scrapbook": about}


def name_of(metadata: Mapping[str, Any]) -> str:
    """Return the name under which an output's number is `noted`; empty where none is."""
    return str(metadata.get("scrapbook", {}).get("name", ""))


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook in the one form that this code knows."""
    import nbformat

    return cast("NotebookNode", nbformat.read(path, as_version=4))  # type: ignore[no-untyped-call]


def outputs_of(notebook: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all outputs of a notebook, in order."""
    for cell in notebook["cells"]:
        yield from cell.get("outputs", ())


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook as nbformat does."""
    import nbformat

    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
