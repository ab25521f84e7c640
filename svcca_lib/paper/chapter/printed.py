"""What a notebook cell printed, taken apart into numbers and the text around them.

What a figure draws, what a claim measured and what the prose quotes are kept beside the displayed
output at full digits, and are taken from there. Each number has an address:

=============================  ====================================================================
``text 3``                     the third number in the streams, texts and captions of the cell
``html 3``                     the third number in its HTML
``csv figure-2a (a) fc1, p y`` a column of what is drawn in a figure, of one panel and series
``claim some-id.interval.0``   a number of a claim
``glue some-name``             a number noted for the prose
=============================  ====================================================================
"""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeGuard

from svcca_lib.paper.chapter.claims import ROUND_OFF
from svcca_lib.paper.chapter.outputs import (
    FIGURE_METADATA,
    LEDGER_METADATA,
    RECORD,
    name_of,
    unpacked,
)

# What is drawn is kept to seven digits, so that a last digit alone is up to 1e-6 of its value; the
# other half is as for all numbers. Seen between the native kernels and those of an SSE4.1 machine,
# chapters 1, 2, 4, 6 and 7, relative to the largest value of an array: at most 4.1e-7, a seventh
# digit each time; claims and noted numbers, which have all digits, at most 1.3e-7.
DRAWN = ROUND_OFF + 1e-6
# An array of nothing but the last bits of zero has no scale of its own.
EXACT = 1e-12
SHARE = 0.1  # the ceiling of a tolerance, as a share of the number
COUNT_SHARE = 0.05  # the same for an integer
NUMBERS = ("x", "y", "low", "high", "value")  # columns of what is drawn that hold numbers
SHARED = {"low": "ends", "high": "ends"}  # those that are on one scale
MARK = "\N{REPLACEMENT CHARACTER}"  # stands for a number in the text around it

# A number is not glued to a letter (c1, but 2e-15), nor hyphenated to a word (ResNet-32, 8-bit),
# nor part of a version (0.1.2). A comma parts thousands, except in a list ([100,200]).
_NUMBER = re.compile(
    r"""
    (?: (?<![\w.)\]%]) [+-] )?                     # a sign, where nothing stands before it
    (?<![\w.]) (?<![^\W\d_]-)
    (?: (?<![,\[]) [1-9]\d{0,2} (?:,\d{3})+ (?!,?\d) | \d+ )
    (?: \.\d+ )? (?: [eE][+-]?\d+ )?
    (?! \w | \.\d | -[^\W\d_] )
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Number:
    """One number of a cell's outputs."""

    address: str  # where it is; the values of a column share one
    value: float
    unit: float  # of its last digit; 0 for an integer and for what is kept at full digits
    scale: float  # against which its changes are large or small
    noise: float  # what two machines may differ by without being told
    printed: str  # as it reads
    place: str = ""  # the words around it, or its row

    @property
    def label(self) -> str:
        """The label of the text around it."""
        return label(self.address)

    @property
    def is_count(self) -> bool:
        """Whether it is an integer among what is read."""
        return self.label in ("text", "html") and self.unit == 0

    @property
    def ceiling(self) -> float:
        """The largest tolerance that may be stored for it: at least a step of its last digit."""
        if self.is_count:
            return max(COUNT_SHARE * self.scale, 1)
        return max(SHARE * self.scale, self.unit)


def label(address: str) -> str:
    """Return the label of the text around a number."""
    kind = address.partition(" ")[0]
    return kind if kind in ("text", "html") else address


def split(text: str) -> tuple[str, list[re.Match[str]]]:
    """Return the text around the numbers of a text, and the numbers.

    Runs of whitespace count as one space: columns are as wide as their digits.

    >>> around, numbers = split("ResNet-32: 1,348 images,   similarity 0.80 (<1e-6)")
    >>> [found[0] for found in numbers]
    ['1,348', '0.80', '1e-6']
    >>> around.replace(MARK, "#")
    'ResNet-32: # images, similarity # (<#)'
    """
    plain = " ".join(text.replace("\N{MINUS SIGN}", "-").split())
    return _NUMBER.sub(MARK, plain), list(_NUMBER.finditer(plain))


def read(printed: str) -> tuple[float, float]:
    """Return a printed number and the unit of its last digit, 0 for an integer.

    >>> read("1,348"), read("0.80"), read("4.0e-05"), read("-3")
    ((1348.0, 0.0), (0.8, 0.01), (4e-05, 1e-06), (-3.0, 0.0))
    """
    number = Decimal(printed.replace(",", ""))
    integer = not re.search("[.eE]", printed)
    exponent = number.as_tuple().exponent
    return float(number), 0.0 if integer else float(Decimal(1).scaleb(int(exponent)))


class Printed:
    """The outputs of a cell, as nbformat has them, taken apart.

    `numbers` are by address, in their order; `text`, all that is not a number, is by its label.
    Numbers in it are marks, so that two are equal only if the numbers stand in the same places of
    the same text.
    """

    def __init__(self, outputs: Iterable[Mapping[str, Any]]) -> None:
        self.numbers: dict[str, list[Number]] = {}
        self.text: dict[str, list[str]] = {}
        self._counts = {"text": 0, "html": 0}
        # How a stream is cut into outputs, and where they lie among the others, is up to the clock.
        streams: dict[str, str] = defaultdict(str)
        others = []
        for output in outputs:
            if output["output_type"] == "stream":
                streams[output["name"]] += "".join(output["text"])
            else:
                others.append(output)
        for name, text in streams.items():
            self._say("stream", name)
            self._read("text", text)
        for output in others:
            if output["output_type"] == "error":
                self._say("error", f"{output['ename']}: {output['evalue']}")
            else:
                self._display(output)

    def _say(self, label: str, text: str) -> None:
        self.text.setdefault(label, []).append(text)

    def _add(self, number: Number) -> None:
        self.numbers.setdefault(number.address, []).append(number)

    def _read(self, label: str, text: str) -> None:
        around, numbers = split(text)
        self._say(label, around)
        for found in numbers:
            self._counts[label] += 1
            address = f"{label} {self._counts[label]}"
            value, unit = read(found[0])
            start, end = max(0, found.start() - 40), found.end() + 20
            place = f"…{found.string[start:end]}…"
            size = abs(value)
            self._add(Number(address, value, unit, size, ROUND_OFF * size, found[0], place))

    def _display(self, output: Mapping[str, Any]) -> None:
        data, metadata = output["data"], output.get("metadata", {})
        rich = any(form in data for form in ("text/html", "text/markdown", "text/latex"))
        for form, content in sorted(data.items()):
            if form.startswith(RECORD):
                self._note(name_of(metadata), "".join(content).strip())
            elif form == "text/plain" and rich:
                continue  # says the same, in columns that wrap where digits make them wide
            elif form == "text/html":
                self._read("html", html.unescape("".join(content)))
            elif form.startswith("text/"):
                self._read("text", "".join(content))
            elif not form.startswith("image/") and "widget" not in form:
                self._say(form, json.dumps(content, sort_keys=True))
        if (figure := metadata.get(FIGURE_METADATA)) and "csv" in figure["files"]:
            self._draw(figure["name"], unpacked(figure["files"]["csv"]))
        if ledger := metadata.get(LEDGER_METADATA):
            # How it came about, versions and times, is no result.
            rest = {key: ledger[key] for key in ledger if key not in ("claims", "making")}
            self._say("ledger", json.dumps(rest, sort_keys=True, ensure_ascii=False))
            for claim in ledger["claims"]:
                self._claim(claim)

    def _note(self, name: str, text: str) -> None:
        address = f"glue {name}"
        if is_number := _NUMBER.fullmatch(text):
            value, _ = read(text)
            self._add(Number(address, value, 0.0, abs(value), _noise(value), text))
        self._say(address, MARK if is_number else text)

    def _claim(self, claim: Mapping[str, Any]) -> None:
        # An end of an interval may lie near zero; what it is the interval of says what is near.
        measured = claim.get("measured")
        scale = abs(measured) if _is_number(measured) else 0.0
        for path, value in _leaves(claim):
            address = f"claim {claim['id']}{path}"
            if _is_number(value):
                self._say(address, MARK)
                size = max(scale, abs(value))
                self._add(Number(address, float(value), 0.0, size, _noise(value), f"{value:.7g}"))
            else:
                self._say(address, json.dumps(value, ensure_ascii=False))

    def _draw(self, figure: str, text: str) -> None:
        rows = list(csv.DictReader(io.StringIO(text)))
        head = ", ".join(rows[0]) if rows else text.strip()
        self._say(f"csv {figure}", f"{len(rows)} rows of {head}")
        drawn: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
        for at, row in enumerate(rows, start=1):
            series = ", ".join(filter(None, (row.get("panel", ""), row["series"])))
            if row["mark"] == "text":
                self._read("text", series)  # its numbers are rounded, as in all that is read
                continue
            for column, cell in row.items():
                drawn[series, column].append((at, cell))
        largest: dict[tuple[str, str], float] = defaultdict(float)
        for (series, column), cells in drawn.items():
            values = [abs(float(cell)) for _, cell in cells if _NUMBER.fullmatch(cell)]
            key = series, SHARED.get(column, column)
            largest[key] = max([largest[key], *values])
        for (series, column), cells in drawn.items():
            address = f"csv {figure} {series} {column}"
            scale = largest[series, SHARED.get(column, column)]
            noise = max(DRAWN * scale, EXACT)
            for at, cell in cells:
                if column in NUMBERS and _NUMBER.fullmatch(cell):
                    value, _ = read(cell)
                    self._add(Number(address, value, 0.0, scale, noise, cell, f"row {at}"))
            texts = (MARK if column in NUMBERS and _NUMBER.fullmatch(c) else c for _, c in cells)
            self._say(address, ",".join(texts))


def _noise(value: float) -> float:
    """Return the noise of a number that is kept at full digits.

    What is left of a difference of equal numbers is noise of their size, not of its own; see
    `claims.number`.
    """
    return ROUND_OFF * max(1.0, abs(value))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _leaves(value[key], f"{path}.{key}")
    elif isinstance(value, list | tuple):
        yield f"{path}.length", str(len(value))
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}.{index}")
    else:
        yield path, value


def _is_number(value: Any) -> TypeGuard[float]:
    kind = isinstance(value, int | float) and not isinstance(value, bool)
    return kind and math.isfinite(value)
