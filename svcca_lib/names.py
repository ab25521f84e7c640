r"""Names that come from data (layers, classes, folders), made harmless where readers meet them.

A name is text and nothing else: no tag, no emphasis, no formula, neither of mathematics nor of a
spreadsheet. Each function is for one border, and leaves ordinary names as they are.

>>> markup("<b>$x$</b>").count("<b>"), markdown("a*b|c"), mathtext("$x$"), cell("=1+1")
(0, 'a\\*b\\|c', '\\$x\\$', "'=1+1")
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

# Spreadsheets take a cell that begins with one of these for a formula (OWASP, CSV injection).
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_MATHS = re.compile(r"[$\\]")
_MARKUP = re.compile(r"[\\`*_{}\[\]<>#|$&~^]")


def markup(name: str) -> str:
    """Return a name as HTML text, which neither a browser nor MathJax reads anything into."""
    return _MATHS.sub(
        r'<span class="tex2jax_ignore mathjax_ignore">\g<0></span>', html.escape(name)
    )


def markdown(name: str) -> str:
    """Return a name as text of MyST Markdown; a line break is a space."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(name.split()))


def mathtext(name: str) -> str:
    """Return a name as text of a matplotlib drawing, whose dollar signs would open mathematics."""
    return name.replace("$", r"\$")


def cell(value: T) -> T | str:
    """Return a value for a CSV table: text that a spreadsheet would compute gets an apostrophe.

    Numbers stay numbers.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def cells(row: Iterable[T]) -> list[T | str]:
    """Return a row for a CSV table, see `cell`."""
    return [cell(value) for value in row]


def cells_of(row: Mapping[str, T]) -> dict[str, T | str]:
    """Return a row by its columns for a CSV table, see `cell`."""
    return {cell(name): cell(value) for name, value in row.items()}
