"""What a notebook printed before and what it prints now: numbers compared as numbers.

A printed number stands for all values that print so, and two machines that agree to a part in a
million may still print different last digits. So the outputs of a cell are taken apart once, into
numbers and the text around them: the text has to be equal, the numbers have to be near enough to
each other. What a figure draws, what a claim measured and what the prose quotes are kept beside
the displayed output at full digits, and are compared there.

Where two machines are known to differ by more, a cell's metadata says in which number and by how
much: ``{"svcca_tolerance": {"text 3": 0.02}}``. The addresses are

=============================  ====================================================================
``text 3``                     the third number in the streams, texts and captions of the cell
``html 3``                     the third number in its HTML
``csv figure-2a accuracy.0``   a column of the numbers drawn in a figure
``claim some-id.interval.0``   a number of a claim
``glue some-name``             a number noted for the prose
=============================  ====================================================================

A tolerance is measured, with `write_tolerances`, and has a ceiling: a number that moves by more is
not determined by what it is computed from, and ought not to be printed.
"""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import nbformat

from svcca_lib.paper.chapter.claims import ROUND_OFF
from svcca_lib.paper.chapter.outputs import FIGURE_METADATA, LEDGER_METADATA, RECORD, unpacked

METADATA = "svcca_tolerance"  # of a cell: address -> absolute tolerance
# What is drawn is kept to seven digits, so that a last digit alone is up to 1e-6 of its value; the
# other half is as for all numbers. Seen between the native kernels and those of an SSE4.1 machine,
# chapters 1, 2, 4, 6 and 7, relative to the largest value of an array: at most 4.1e-7, a seventh
# digit each time; claims and noted numbers, which have all digits, at most 1.3e-7.
DRAWN = ROUND_OFF + 1e-6
# An array of nothing but the last bits of zero has no scale of its own.
EXACT = 1e-12
SHARE = 0.1  # the ceiling of a tolerance, as a share of the number
COUNT_SHARE = 0.05  # the same for an integer
IGNORING = ("NBVAL_IGNORE_OUTPUT", "NBVAL_SKIP")  # as nbval reads comments; tags are like them

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
_MARK = "\N{REPLACEMENT CHARACTER}"  # stands for a number in the text around it


@dataclass(frozen=True)
class Number:
    """One number of a cell's outputs.

    Attributes
    ----------
    address : str
        Where it is; the values of a column share one.
    value : float
    unit : float
        Of its last digit; 0 for an integer and for what is kept at full digits.
    scale : float
        Against which its changes are large or small.
    noise : float
        What two machines may differ by without being told.
    printed : str
        As it reads.
    place : str
        The words around it, or its row.
    """

    address: str
    value: float
    unit: float
    scale: float
    noise: float
    printed: str
    place: str = ""

    @property
    def ceiling(self) -> float:
        """The largest tolerance that may be stored for it.

        A step of its last digit is always granted, to a count as to any other printed number.
        """
        kind = self.address.partition(" ")[0]
        if kind not in ("text", "html"):
            return SHARE * self.scale
        return max(SHARE * self.scale, self.unit) if self.unit else max(COUNT_SHARE * self.scale, 1)


# ---------------------------------------------------------------------------------- reading


def split(text: str) -> tuple[str, list[re.Match[str]]]:
    """Return the text around the numbers of a text, and the numbers.

    Runs of whitespace count as one space: columns are as wide as their digits.

    Examples
    --------
    >>> around, numbers = split("ResNet-32: 1,348 images,   similarity 0.80 (<1e-6)")
    >>> [found[0] for found in numbers]
    ['1,348', '0.80', '1e-6']
    >>> around.replace(_MARK, "#")
    'ResNet-32: # images, similarity # (<#)'
    """
    plain = _spaced(text)
    return _NUMBER.sub(_MARK, plain), list(_NUMBER.finditer(plain))


def read(printed: str) -> tuple[float, float]:
    """Return a printed number and the unit of its last digit, 0 for an integer.

    Examples
    --------
    >>> read("1,348"), read("0.80"), read("4.0e-05"), read("-3")
    ((1348.0, 0.0), (0.8, 0.01), (4e-05, 1e-06), (-3.0, 0.0))
    """
    number = Decimal(printed.replace(",", ""))
    integer = not re.search("[.eE]", printed)
    exponent = number.as_tuple().exponent
    return float(number), 0.0 if integer else float(Decimal(1).scaleb(int(exponent)))


def addresses(outputs: Iterable[Mapping]) -> Iterator[Number]:
    """Yield every number of a cell's outputs, in their order."""
    return (item for item in _walk(outputs) if isinstance(item, Number))


def skeleton(outputs: Iterable[Mapping]) -> dict[str, list[str]]:
    """Return all of a cell's outputs that is not a number, by where it is.

    Numbers in it are marks, so that two skeletons are equal only if the numbers stand in the same
    places of the same text.
    """
    found: dict[str, list[str]] = {}
    for item in _walk(outputs):
        if not isinstance(item, Number):
            label, text = item
            found.setdefault(label, []).append(text)
    return found


def _walk(outputs: Iterable[Mapping]) -> Iterator[Number | tuple[str, str]]:
    """Yield the numbers of a cell's outputs, and the text around them with its label."""
    outputs = list(outputs)
    counts = {"text": 0, "html": 0}
    # How a stream is cut into outputs, and where they lie among the others, is up to the clock.
    streams: dict[str, str] = {}
    for output in outputs:
        if output["output_type"] == "stream":
            streams[output["name"]] = streams.get(output["name"], "") + _joined(output["text"])
    for name, text in streams.items():
        yield "stream", name
        yield from _printed("text", text, counts)
    for output in outputs:
        if output["output_type"] == "error":
            yield "error", f"{output['ename']}: {output['evalue']}"
        elif output["output_type"] != "stream":
            yield from _displayed(output, counts)


def _displayed(output: Mapping, counts: dict[str, int]) -> Iterator[Number | tuple[str, str]]:
    data, metadata = output["data"], output.get("metadata", {})
    forms = [name for name in ("text/html", "text/markdown", "text/latex") if name in data]
    for form, content in sorted(data.items()):
        if form.startswith(RECORD):
            yield from _noted(metadata.get("scrapbook", {}).get("name", ""), _joined(content))
        elif form == "text/plain" and forms:
            continue  # says the same, in columns that wrap where digits make them wide
        elif form == "text/html":
            yield from _printed("html", html.unescape(_joined(content)), counts)
        elif form.startswith("text/"):
            yield from _printed("text", _joined(content), counts)
        elif not form.startswith("image/") and "widget" not in form:
            yield form, json.dumps(content, sort_keys=True)
    if figure := metadata.get(FIGURE_METADATA):
        yield from _printed("text", figure.get("caption", ""), counts)
        if "csv" in figure["files"]:
            yield from _drawn(figure["name"], unpacked(figure["files"]["csv"]))
    if ledger := metadata.get(LEDGER_METADATA):
        # How it came about, versions and times, is no result.
        rest = {key: ledger[key] for key in ledger if key not in ("claims", "making")}
        yield "ledger", json.dumps(rest, sort_keys=True, ensure_ascii=False)
        for claim in ledger["claims"]:
            yield from _claimed(claim)


def _printed(label: str, text: str, counts: dict[str, int]) -> Iterator[Number | tuple[str, str]]:
    around, numbers = split(text)
    yield label, around
    for found in numbers:
        counts[label] += 1
        value, unit = read(found[0])
        start, end = max(0, found.start() - 40), found.end() + 20
        yield Number(
            address=f"{label} {counts[label]}",
            value=value,
            unit=unit,
            scale=abs(value),
            noise=ROUND_OFF * abs(value),
            printed=found[0],
            place=f"…{found.string[start:end]}…",
        )


def _noted(name: str, text: str) -> Iterator[Number | tuple[str, str]]:
    address = f"glue {name}"
    if not _NUMBER.fullmatch(text.strip()):
        yield address, text
        return
    value, _ = read(text.strip())
    yield address, _MARK
    yield Number(address, value, 0.0, abs(value), _full(value), text.strip())


def _claimed(claim: Mapping[str, Any]) -> Iterator[Number | tuple[str, str]]:
    # An end of an interval may lie near zero; what it is the interval of says what is near.
    measured = claim.get("measured")
    scale = abs(measured) if _is_number(measured) else 0.0
    for path, value in _leaves(claim):
        address = f"claim {claim['id']}{path}"
        if _is_number(value):
            yield address, _MARK
            size = max(scale, abs(value))
            yield Number(address, float(value), 0.0, size, _full(value), f"{value:.7g}")
        else:
            yield address, json.dumps(value, ensure_ascii=False)


def _full(value: float) -> float:
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


def _is_number(value: Any) -> bool:
    kind = isinstance(value, int | float) and not isinstance(value, bool)
    return kind and math.isfinite(value)


def _drawn(figure: str, text: str) -> Iterator[Number | tuple[str, str]]:
    head, *rows = csv.reader(io.StringIO(text))
    yield f"csv {figure}", f"{len(rows)} rows of {', '.join(head)}"
    columns = dict(zip(head, zip(*rows, strict=True), strict=True)) if rows else {}
    largest: dict[str, float] = {}
    for name, cells in columns.items():
        values = [abs(float(cell)) for cell in cells if _NUMBER.fullmatch(cell)]
        largest[_array(name)] = max([largest.get(_array(name), 0.0), *values])
    for name, cells in columns.items():
        address, scale = f"csv {figure} {name}", largest[_array(name)]
        numeric = [bool(_NUMBER.fullmatch(cell)) for cell in cells]
        shown = [_MARK if is_one else cell for cell, is_one in zip(cells, numeric, strict=True)]
        yield address, ",".join(shown)
        for row, (cell, is_one) in enumerate(zip(cells, numeric, strict=True), start=1):
            if is_one:
                value, _ = read(cell)
                noise = max(DRAWN * scale, EXACT)
                yield Number(address, value, 0.0, scale, noise, cell, f"row {row}")


def _array(column: str) -> str:
    """Return what a column belongs to: the columns of one array have numbers for names."""
    name, dot, index = column.rpartition(".")
    return name if dot and index.isdecimal() else column


def _joined(text: str | Sequence[str]) -> str:
    """Return a text that a notebook's file keeps as lines."""
    return text if isinstance(text, str) else "".join(text)


def _spaced(text: str) -> str:
    return " ".join(text.replace("\N{MINUS SIGN}", "-").split())


# -------------------------------------------------------------------------------- comparing


def excess(a: Number, b: Number) -> float:
    """Return how far two numbers are apart beyond what their digits leave open; at most 0 if not.

    Each is the interval of values that print so, half a unit of its last digit to either side.
    Where one has fewer decimals than the other, or none, those that it lacks were zeros and not
    printed: the smaller unit is that of both.
    """
    units = [number.unit for number in (a, b) if number.unit]
    return abs(a.value - b.value) - min(units, default=0.0)


def differences(
    reference: Iterable[Mapping],
    outputs: Iterable[Mapping],
    tolerances: Mapping[str, float] | None = None,
) -> list[str]:
    """Return, as sentences, in what a cell's outputs are not those of a reference.

    Parameters
    ----------
    reference, outputs : iterable of mapping
        Outputs as nbformat has them.
    tolerances : mapping of str to float, optional
        By address, where they are wider than the default. One that is above its number's ceiling
        or belongs to no number is a difference, too.
    """
    before, after = list(reference), list(outputs)
    given = tolerances or {}
    old, new = _by_address(before), _by_address(after)
    sentences = _changed_text(skeleton(before), skeleton(after))
    changed = {label for label, _ in sentences}
    found = [sentence for _, sentence in sentences]
    for address, numbers in old.items():
        if _label(address) not in changed:
            found += _apart(numbers, new[address], given.get(address, 0.0))
    for address, tolerance in given.items():
        if address not in old:
            found.append(f"{address}: has a tolerance stored, but is no number of this cell")
        elif tolerance > (most := _ceiling(old[address])) * (1 + 1e-9):
            found.append(f"{address}: the tolerance {tolerance:g} is above its ceiling, {most:.3g}")
    return found


def _apart(before: Sequence[Number], after: Sequence[Number], tolerance: float) -> list[str]:
    """Return a sentence on the numbers of one address, if any of them are too far apart."""
    wrong = []  # (how far too far, number before, number after, how far is allowed)
    for a, b in zip(before, after, strict=True):
        allowed = max(tolerance, a.noise, b.noise)
        if (beyond := excess(a, b) - allowed) > 0:
            # What the digits leave open is allowed, too.
            wrong.append((beyond, a, b, abs(a.value - b.value) - beyond))
    if not wrong:
        return []
    _, a, b, allowed = max(wrong, key=lambda item: item[0])
    place = f" ({a.place})" if a.place else ""
    more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return [
        f"{a.address}: {a.printed} became {b.printed}, more than {allowed:.2g} away{place}{more}"
    ]


def _changed_text(
    before: Mapping[str, list[str]], after: Mapping[str, list[str]]
) -> list[tuple[str, str]]:
    """Return the labels under which two skeletons differ, each with a sentence."""
    found = []
    for label in dict.fromkeys([*before, *after]):
        if label not in after:
            found.append((label, f"{label}: is gone"))
        elif label not in before:
            found.append((label, f"{label}: is new ({_cut(' '.join(after[label]))})"))
        elif before[label] != after[label]:
            old, new = " ".join(before[label]), " ".join(after[label])
            start = next(
                (i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b),
                min(len(old), len(new)),
            )
            old, new = (_cut(text, max(0, start - 40)) for text in (old, new))
            found.append((label, f"{label}: {old} became {new}"))
    return found


def _cut(text: str, start: int = 0, length: int = 80) -> str:
    shown = text[start : start + length].replace(_MARK, "#")
    return f"'{'…' * (start > 0)}{shown}{'…' * (start + length < len(text))}'"


def _by_address(outputs: Iterable[Mapping]) -> dict[str, list[Number]]:
    found: dict[str, list[Number]] = {}
    for number in addresses(outputs):
        found.setdefault(number.address, []).append(number)
    return found


def _label(address: str) -> str:
    """Return the label of the text around a number."""
    kind = address.partition(" ")[0]
    return kind if kind in ("text", "html") else address


# ------------------------------------------------------------------------------- tolerances


def spread(reference: Iterable[Mapping], *others: Iterable[Mapping]) -> dict[str, float]:
    """Return how far numbers were seen from a reference, by address, where that is too far.

    Parameters
    ----------
    reference : iterable of mapping
        A cell's outputs.
    *others : iterable of mapping
        Its outputs on other machines. Where their text differs, their numbers do not count: no
        tolerance makes these agree.

    Returns
    -------
    dict of str to float
        The largest deviation beyond what the printed digits leave open, where it is beyond the
        default tolerance as well.
    """
    reference = list(reference)
    before, text = _by_address(reference), skeleton(reference)
    seen: dict[str, float] = {}
    for other in map(list, others):
        changed = {label for label, _ in _changed_text(text, skeleton(other))}
        after = _by_address(other)
        for address, numbers in before.items():
            if _label(address) in changed:
                continue
            for a, b in zip(numbers, after[address], strict=True):
                beyond = excess(a, b)
                if beyond > max(a.noise, b.noise):
                    seen[address] = max(seen.get(address, 0.0), beyond)
    return seen


def stored(deviations: Mapping[str, float]) -> dict[str, float]:
    """Return tolerances for deviations: twice as much, rounded up to one significant digit.

    Other machines will be seen, and nothing says that those seen so far are the farthest.

    Examples
    --------
    >>> stored({"text 3": 0.011, "glue chance": 2.5e-6})
    {'text 3': 0.03, 'glue chance': 5e-06}
    """
    return {address: _rounded_up(2 * deviation) for address, deviation in deviations.items()}


def _rounded_up(value: float) -> float:
    exponent = math.floor(math.log10(value))
    # 0.06 is computed as 0.06000000000000001, and must not become 0.07.
    digit = math.ceil(round(value / 10.0**exponent, 9))
    return float(f"{digit}e{exponent}")


def granted(
    reference: Iterable[Mapping], deviations: Mapping[str, float]
) -> tuple[dict[str, float], list[str]]:
    """Return the tolerances that deviations ask for, and sentences on those above the ceiling.

    An integer whose deviation itself is within the ceiling is granted the ceiling: counts step by
    whole ones, and twice a step of one is above it for most.
    """
    numbers = _by_address(reference)
    tolerances, refused = {}, []
    for address, tolerance in stored(deviations).items():
        those = numbers[address]
        ceiling = _ceiling(those)
        if deviations[address] <= ceiling < tolerance and _is_count(those):
            tolerance = float(math.floor(ceiling))
        if tolerance <= ceiling * (1 + 1e-9):
            tolerances[address] = tolerance
        else:
            refused.append(
                f"{address}: not determined: {those[0].printed} moved by "
                f"{deviations[address]:.2g}, and may get {ceiling:.2g} at most; print what is "
                f"stable ({those[0].place})"
            )
    return tolerances, refused


def _ceiling(numbers: Sequence[Number]) -> float:
    return max(number.ceiling for number in numbers)


def _is_count(numbers: Sequence[Number]) -> bool:
    return all(_label(n.address) in ("text", "html") and n.unit == 0 for n in numbers)


def write_tolerances(notebook: Path, executions: Iterable[Path]) -> list[str]:
    """Write into a stored notebook the tolerances that its executions elsewhere ask for.

    Those that it held before are dropped.

    Parameters
    ----------
    notebook : Path
        With the outputs stored that are the reference.
    executions : iterable of Path
        The same notebook, executed on other machines.

    Returns
    -------
    list of str
        What no tolerance can mend: numbers above their ceiling, and text that differs.

    Raises
    ------
    ValueError
        If an execution has other code.
    """
    book = nbformat.read(notebook, as_version=4)
    others = {path: _code(nbformat.read(path, as_version=4)) for path in executions}
    cells = _code(book)
    for path, those in others.items():
        if [cell.source for cell in those] != [cell.source for cell in cells]:
            raise ValueError(f"{path} has other code than {notebook}: execute it anew")
    before = nbformat.writes(book)
    left = []
    for index, cell in enumerate(cells):
        cell.metadata.pop(METADATA, None)
        if ignored(cell):
            continue
        outputs = {path: those[index].outputs for path, those in others.items()}
        deviations = spread(cell.outputs, *outputs.values())
        tolerances, refused = granted(cell.outputs, deviations)
        if tolerances:
            cell.metadata[METADATA] = tolerances
        text = skeleton(cell.outputs)
        found = list(refused)
        for path, those in outputs.items():
            found += [f"{s} in {path}" for _, s in _changed_text(text, skeleton(those))]
        left += [f"code cell {index}: {sentence}" for sentence in found]
    if nbformat.writes(book) != before:
        nbformat.write(book, notebook)
    return left


def ignored(cell: Mapping) -> bool:
    """Return whether nbval is told not to compare a cell."""
    tags = {tag.upper().replace("-", "_") for tag in cell["metadata"].get("tags", ())}
    comments = {
        line.strip().lstrip("#").strip()
        for line in cell["source"].splitlines()
        if line.lstrip().startswith("#")
    }
    return not tags.isdisjoint(IGNORING) or not comments.isdisjoint(IGNORING)


def _code(book: Mapping) -> list:
    """Return the code cells, without the parameters that a run injected."""
    return [
        cell
        for cell in book["cells"]
        if cell["cell_type"] == "code"
        and "injected-parameters" not in cell["metadata"].get("tags", ())
    ]
