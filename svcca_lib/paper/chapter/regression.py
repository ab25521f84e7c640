"""Whether a cell prints what it printed before: numbers compared as numbers, all else as text.

A printed number stands for all values that print so, and two machines that agree to a part in a
million may still print different last digits. So the text around the numbers has to be equal, and
the numbers have to be near enough to each other. Where two machines are known to differ by more, a
cell's metadata says in which number (by the address that `printed` gives it) and by how much:
``{"svcca_tolerance": {"text 3": 0.02}}``.

A tolerance is measured, with `write_tolerances`, and has a ceiling: a number that moves by more is
not determined by what it is computed from, and ought not to be printed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from svcca_lib.paper.chapter.outputs import read_notebook, write_notebook
from svcca_lib.paper.chapter.printed import MARK, Number, Printed, label

METADATA = "svcca_tolerance"  # of a cell: address -> absolute tolerance
IGNORING = ("NBVAL_IGNORE_OUTPUT", "NBVAL_SKIP")  # as nbval reads comments; tags are like them

Outputs = Iterable[Mapping[str, Any]]  # of a cell, as nbformat has them


def excess(a: Number, b: Number) -> float:
    """Return how far two numbers are apart beyond what their digits leave open; at most 0 if not.

    Each is the interval of values that print so, half a unit of its last digit to either side.
    Where one has fewer decimals than the other, or none, those that it lacks were zeros and not
    printed: the smaller unit is that of both.
    """
    units = [number.unit for number in (a, b) if number.unit]
    return abs(a.value - b.value) - min(units, default=0.0)


def differences(
    reference: Outputs, outputs: Outputs, tolerances: Mapping[str, float] | None = None
) -> list[str]:
    """Return, as sentences, in what a cell's outputs are not those of a reference.

    Tolerances are by address, where they are wider than the default. One that is above its
    number's ceiling or belongs to no number is a difference, too.
    """
    old, new, given = Printed(reference), Printed(outputs), tolerances or {}
    changed = _changed_text(old, new)
    found = list(changed.values())
    for address, numbers in old.numbers.items():
        if label(address) not in changed:
            found += _apart(numbers, new.numbers[address], given.get(address, 0.0))
    for address, tolerance in given.items():
        if address not in old.numbers:
            found.append(f"{address}: has a tolerance stored, but is no number of this cell")
        elif tolerance > (most := _ceiling(old.numbers[address])) * (1 + 1e-9):
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


def _changed_text(before: Printed, after: Printed) -> dict[str, str]:
    """Return a sentence for each label under which the text of two outputs differs."""
    found = {}
    for name in dict.fromkeys([*before.text, *after.text]):
        old, new = (" ".join(side.text.get(name, ())) for side in (before, after))
        if name not in after.text:
            found[name] = f"{name}: is gone"
        elif name not in before.text:
            found[name] = f"{name}: is new ({_cut(new)})"
        elif before.text[name] != after.text[name]:
            differing = (i for i, (a, b) in enumerate(zip_longest(old, new)) if a != b)
            start = max(0, next(differing, len(old)) - 40)
            old, new = (_cut(text, start) for text in (old, new))
            found[name] = f"{name}: {old} became {new}"
    return found


def _cut(text: str, start: int = 0, length: int = 80) -> str:
    shown = text[start : start + length].replace(MARK, "#")
    return f"'{'…' * (start > 0)}{shown}{'…' * (start + length < len(text))}'"


# ------------------------------------------------------------------------------- tolerances


def spread(reference: Outputs, *others: Outputs) -> dict[str, float]:
    """Return how far numbers were seen from a reference, by address, where that is too far.

    It is the largest deviation beyond what the printed digits leave open, where it is beyond the
    default tolerance as well. Where the text of outputs differs, their numbers do not count: no
    tolerance makes these agree.
    """
    before = Printed(reference)
    seen: dict[str, float] = {}
    for after in map(Printed, others):
        changed = _changed_text(before, after)
        for address, numbers in before.numbers.items():
            if label(address) in changed:
                continue
            for a, b in zip(numbers, after.numbers[address], strict=True):
                beyond = excess(a, b)
                if beyond > max(a.noise, b.noise):
                    seen[address] = max(seen.get(address, 0.0), beyond)
    return seen


def stored(deviations: Mapping[str, float]) -> dict[str, float]:
    """Return tolerances for deviations: twice as much, rounded up to one significant digit.

    Other machines will be seen, and nothing says that those seen so far are the farthest.

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
    reference: Outputs, deviations: Mapping[str, float]
) -> tuple[dict[str, float], list[str]]:
    """Return the tolerances that deviations ask for, and sentences on those above the ceiling.

    An integer whose deviation itself is within the ceiling is granted the ceiling: counts step by
    whole ones, and twice a step of one is above it for most.
    """
    before = Printed(reference)
    tolerances, refused = {}, []
    for address, tolerance in stored(deviations).items():
        those = before.numbers[address]
        ceiling = _ceiling(those)
        if deviations[address] <= ceiling < tolerance and all(n.is_count for n in those):
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


def write_tolerances(notebook: Path, executions: Iterable[Path]) -> list[str]:
    """Write into a stored notebook the tolerances that its executions elsewhere ask for.

    Those that it held before are dropped. Returned is what no tolerance can mend: numbers above
    their ceiling, and text that differs. An execution of other code raises ValueError.
    """
    book = read_notebook(notebook)
    others = {path: _code(read_notebook(path)) for path in executions}
    cells = _code(book)
    for path, those in others.items():
        if [cell.source for cell in those] != [cell.source for cell in cells]:
            raise ValueError(f"{path} has other code than {notebook}: execute it anew")
    as_stored, left = copy.deepcopy(book), []
    for index, cell in enumerate(cells):
        cell.metadata.pop(METADATA, None)
        if _ignored(cell):
            continue
        outputs = {path: those[index].outputs for path, those in others.items()}
        deviations = spread(cell.outputs, *outputs.values())
        tolerances, refused = granted(cell.outputs, deviations)
        if tolerances:
            cell.metadata[METADATA] = tolerances
        before, found = Printed(cell.outputs), list(refused)
        for path, those in outputs.items():
            found += [f"{s} in {path}" for s in _changed_text(before, Printed(those)).values()]
        left += [f"code cell {index}: {sentence}" for sentence in found]
    if book != as_stored:
        write_notebook(book, notebook)
    return left


def _ignored(cell: Mapping[str, Any]) -> bool:
    """Return whether nbval is told not to compare a cell."""
    tags = {tag.upper().replace("-", "_") for tag in cell["metadata"].get("tags", ())}
    lines = map(str.strip, cell["source"].splitlines())
    comments = {line.lstrip("#").strip() for line in lines if line.startswith("#")}
    return not (tags | comments).isdisjoint(IGNORING)


def _code(book: Mapping[str, Any]) -> list[Any]:
    """Return the code cells, without the parameters that a run injected."""
    code = (cell for cell in book["cells"] if cell["cell_type"] == "code")
    injected = "injected-parameters"
    return [cell for cell in code if injected not in cell["metadata"].get("tags", ())]
