"""What figures that a reader can move have in common: a card of the page, numbers and a script.

A figure is one piece of HTML: numbers, measured beforehand, as JSON, and the script that draws
them. It loads nothing, so that it works offline, in a notebook and in the built book alike, and in
the colours of the page, light or dark; where there is none, dark on white.

The HTML and the script of ``kind.py`` lie beside it as ``kind.html`` and ``kind.js``.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Any

import numpy as np

_IDENT = re.compile(r"[a-z][a-z0-9-]*")
_STORED = re.compile(
    r'<figure class="svcca-(?P<kind>\w+)" id="(?P<ident>[\w-]+)".*?>\s*'
    r"<figcaption.*?>(?P<title>.*?)</figcaption>.*?const d = (?P<data>\{.*?\});\n.*?</figure>",
    re.DOTALL,
)


@dataclass(frozen=True)
class Stored:
    """A figure as a notebook stores it: its kind, its title, and the numbers its script reads."""

    html: str  # all of it
    kind: str
    ident: str
    title: str
    data: Mapping[str, Any]


def framed(
    kind: str, ident: str, title: str, data: Mapping[str, object], width: str, **parts: object
) -> str:
    """Return the HTML of one figure, whose script reads `data`, at most `width` wide (CSS).

    `parts` fill what ``kind.html`` leaves open, as HTML. `ident` is to be unique on the page.

    Raises
    ------
    ValueError
        If `ident` is not of lower-case letters, digits and hyphens.
    """
    if not _IDENT.fullmatch(ident):
        raise ValueError(f"ident must be lower-case letters, digits and hyphens; got {ident!r}")
    compact = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    body = filled(f"{kind}.html", ident=ident, title=html.escape(title), **parts)
    script = filled(f"{kind}.js", ident=ident, data=compact)
    return filled("frame.html", kind=kind, ident=ident, width=width, body=body, script=script)


def stored(text: str) -> Iterator[Stored]:
    """Find the figures in HTML, so that a page can show their numbers by the script of today."""
    for found in _STORED.finditer(text):
        title, data = html.unescape(found["title"]), json.loads(found["data"])
        yield Stored(found[0], found["kind"], found["ident"], title, data)


def filled(file: str, **values: object) -> str:
    """Return a file of this folder with its ``$names`` replaced."""
    text = resources.files(__package__).joinpath(file).read_text(encoding="utf-8")
    return Template(text.rstrip("\n")).substitute(values)


def thousandths(what: str, values: np.ndarray) -> np.ndarray:
    """Return numbers in [0, 1], or a ValueError, as whole thousandths, which are short in JSON."""
    values = np.asarray(values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"{what} must hold numbers in [0, 1]")
    whole: np.ndarray = np.rint(1000 * values).astype(int)
    return whole
