"""What is stated, what was measured, and whether it holds.

A `Claim` is one statement that a figure supports, a `Rule` decides it, a `Ledger` is the claims of
one chapter as run at one profile. Not a number decides but its interval: it lies inside the rule,
outside, or across its edge, and then the claim is not settled. A claim that has a null holds only
where it beats that as well. A claim that fails is shown as failing: nothing here hides it.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from svcca_lib.paper.chapter.provenance import Making
from svcca_lib.paper.experiments.statistics import LEVEL, Interval, benjamini_hochberg, student

# What a claim is, and how a score names its kind; the order is that of reading.
KINDS = {
    "paper": "of the paper",
    "later": "of later papers",
    "ours": "of our own",
    "check": "checks",  # they cannot fail unless the code is wrong
}

ROUND_OFF = 1e-6  # what two machines agree to on the same activations; smaller values are noise


def number(value: float | None, noise: float = ROUND_OFF) -> str:
    """Return `value` to three digits, the same on every machine; below `noise` it has none.

    Examples
    --------
    >>> number(0.87654), number(160_000), number(2e-15), number(None)
    ('0.877', '160,000', '<1e-6', '')
    """
    if value is None:
        return ""
    if 0 < abs(value) < noise:
        return f"<{_short(noise)}"
    rounded = float(f"{value:.3g}") + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{rounded:,.0f}" if 1e3 <= abs(rounded) < 1e12 else f"{rounded:.3g}"


def _short(value: float) -> str:
    return f"{value:.3g}".replace("e-0", "e-")


@dataclass(frozen=True)
class Rule:
    """The interval in which a measured number makes a claim hold; both ends belong to it."""

    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"a rule needs low <= high, got low={self.low}, high={self.high}")

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Return the rule that a text states.

        Raises
        ------
        ValueError
            If it is in other words than those of `str`.

        Examples
        --------
        >>> print(Rule.parse("from -0.05 to 0.05"))
        from -0.05 to 0.05
        """
        if match := re.fullmatch(r"(at least|at most) (\S+)", text):
            return at_least(float(match[2])) if match[1] == "at least" else at_most(float(match[2]))
        if match := re.fullmatch(r"from (\S+) to (\S+)", text):
            return within(float(match[1]), float(match[2]))
        raise ValueError(
            f"a rule must read 'at least X', 'at most X' or 'from X to Y'; got {text!r}"
        )

    def contains(self, low: float, high: float) -> bool:
        """Return whether all from `low` to `high` satisfies the rule."""
        return self.low <= low and high <= self.high

    def excludes(self, low: float, high: float) -> bool:
        """Return whether nothing from `low` to `high` satisfies the rule."""
        return high < self.low or low > self.high

    def distance(self, value: float) -> float:
        """Return how far `value` is from the nearest edge."""
        return min(abs(value - self.low), abs(value - self.high))

    @property
    def direction(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if math.isfinite(self.low) else -1

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"at least {_short(self.low)}"
        if math.isinf(self.low):
            return f"at most {_short(self.high)}"
        return f"from {_short(self.low)} to {_short(self.high)}"


def at_least(value: float) -> Rule:
    """Return the rule that holds for `value` and all above."""
    return Rule(low=value)


def at_most(value: float) -> Rule:
    """Return the rule that holds for `value` and all below."""
    return Rule(high=value)


def within(low: float, high: float) -> Rule:
    """Return the rule that holds from `low` to `high`."""
    return Rule(low, high)


class Verdict(StrEnum):
    """What an interval says of a rule."""

    HOLDS = "holds"
    FAILS = "fails"
    OPEN = "not settled"


MARKS = {Verdict.HOLDS: "✓", Verdict.FAILS: "✗", Verdict.OPEN: "○"}


@dataclass(frozen=True)
class Claim:
    """One statement beside what was measured.

    Attributes
    ----------
    id : str
        Unique within its chapter, such as ``"25-directions-suffice"``.
    kind : str
        A key of `KINDS`.
    figure : str
        The figure that supports it, as the paper names it: ``"Figure 2a"``.
    statement : str
        The paper's words in short.
    rule : Rule
        What the number has to satisfy.
    values : tuple of float
        What was measured: one number a seed, draw or pair; or one in all.
    over : str
        What the values, or the interval, are over: ``"seeds"``, ``"draws"``, ``"images"`` ...
    interval : (float, float) or None
        Of the mean, at 95 %; None where there is one value and nothing to take an interval over.
    null_name : str
        What the number has to beat as well, such as ``"untrained network"``; empty for nothing.
    null : float or None
        What the null gives, the mean where it has several values.
    margin : (float, float) or None
        Interval of the number less its null, value by value where both have as many.
    paper : float or None
        The number the paper states, where it states one.
    changed : bool
        Whether the register has its statement, rule or null as changed.
    """

    id: str
    kind: str
    figure: str
    statement: str
    rule: Rule
    values: tuple[float, ...]
    over: str = ""
    interval: tuple[float, float] | None = None
    null_name: str = ""
    null: float | None = None
    margin: tuple[float, float] | None = None
    paper: float | None = None
    changed: bool = False

    def __post_init__(self) -> None:
        if not self.values or not all(map(math.isfinite, self.values)):
            raise ValueError(f"claim {self.id!r} needs finite numbers, measured {self.values}")
        if self.kind not in KINDS:
            raise ValueError(f"claim {self.id!r} is of no kind of {', '.join(KINDS)}: {self.kind}")
        if bool(self.null_name) != (self.null is not None):
            raise ValueError(
                f"claim {self.id!r} is registered with the null {self.null_name or 'none'!r}; "
                f"measured for it: {self.null}"
            )

    @property
    def measured(self) -> float:
        """The mean of the values."""
        return math.fsum(self.values) / len(self.values)

    @property
    def verdict(self) -> Verdict:
        """Whether the interval lies inside the rule and above the null, outside, or across.

        A check is decided by its number. Anything else that has no interval is not settled.
        """
        if self.kind == "check":
            return Verdict.HOLDS if self.rule.contains(*2 * (self.measured,)) else Verdict.FAILS
        if self.interval is None:
            return Verdict.OPEN
        below, above = self._beats_null()
        if self.rule.excludes(*self.interval) or below:
            return Verdict.FAILS
        return Verdict.HOLDS if self.rule.contains(*self.interval) and above else Verdict.OPEN

    @property
    def holds(self) -> bool:
        """Whether the claim is settled, and holds."""
        return self.verdict is Verdict.HOLDS

    @property
    def p(self) -> float:
        """The level at which a settled claim would no longer be; 1 where it is not settled.

        The rule's edge, or the null, is as many standard errors away as the interval's half width
        is Student's factor.
        """
        if self.interval is None or self.verdict is Verdict.OPEN:
            return 1.0
        failing = self.verdict is Verdict.FAILS
        below, _ = self._beats_null()
        deciding = []  # (distance from what decides, half width of the interval)
        if not failing or self.rule.excludes(*self.interval):
            deciding.append((self.rule.distance(self.measured), _half(self.interval)))
        if self.margin is not None and (not failing or below):
            deciding.append((abs(math.fsum(self.margin) / 2), _half(self.margin)))
        df = len(self.values) - 1 or math.inf
        factor = float(stats.t.ppf((1 + LEVEL) / 2, df))
        levels = [
            2 * float(stats.t.sf(distance / half * factor, df)) if half else 0.0
            for distance, half in deciding
        ]
        # To hold it needs both, to fail one is enough.
        return min(levels) if failing else max(levels)

    def _beats_null(self) -> tuple[bool, bool]:
        """Whether the number is surely no better than its null, and whether it is surely better."""
        if self.margin is None:
            return False, self.null is None
        low, high = sorted(self.rule.direction * end for end in self.margin)
        return high <= 0, low > 0

    def to_dict(self) -> dict[str, Any]:
        """Return the claim as JSON-ready values; an open end of the rule is None."""
        low, high = self.rule.low, self.rule.high
        rule = {
            "low": low if math.isfinite(low) else None,
            "high": high if math.isfinite(high) else None,
        }
        derived = {"measured": self.measured, "verdict": str(self.verdict), "holds": self.holds}
        return asdict(self) | {"rule": rule} | derived

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Claim:
        """Return the claim that `to_dict` wrote."""
        fields = {k: v for k, v in values.items() if k not in ("measured", "verdict", "holds")}
        ends = {key: value for key, value in fields["rule"].items() if value is not None}
        tuples = {
            name: fields[name] and tuple(fields[name]) for name in ("values", "interval", "margin")
        }
        return cls(**fields | tuples | {"rule": Rule(**ends)})


def intervals(
    values: Sequence[float],
    null: Sequence[float] | None = None,
    *,
    interval: Interval | tuple[float, float] | None = None,
    resolution: float = 0.0,
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Return the interval of a claim's number, and that of the number less its null.

    Parameters
    ----------
    values : sequence of float
        One a seed, draw or pair; or one in all.
    null : sequence of float, optional
        As many as values, which are then subtracted one by one, or other numbers, whose mean is.
    interval : Interval or (float, float), optional
        Of the mean, in place of Student's.
    resolution : float
        Of the values; see `statistics.student`.

    Returns
    -------
    tuple of ((low, high) or None)
        None where there is one value, and no interval given; the second also without a null.
    """
    if interval is None:
        if len(values) < 2:
            return None, None
        interval = student(values, resolution=resolution)
    low, high = (interval.low, interval.high) if isinstance(interval, Interval) else interval
    if null is None:
        return (float(low), float(high)), None
    if len(null) == len(values) > 1:
        less = student(np.subtract(values, null), resolution=resolution)
        return (float(low), float(high)), (less.low, less.high)
    mean = float(np.mean(null))
    return (float(low), float(high)), (float(low) - mean, float(high) - mean)


def _half(interval: tuple[float, float]) -> float:
    return (interval[1] - interval[0]) / 2


def drift(stored: Claim, anew: Claim, elsewhere: Sequence[float] = ()) -> str | None:
    """Return how a claim measured on networks trained anew disagrees, or None where it agrees.

    Parameters
    ----------
    stored, anew : Claim
        A settled verdict must not turn into its opposite; one that is not settled may fall either
        way. The number has to lie in the band of `band`; that of a check only where its rule asks.
    elsewhere : sequence of float
        What other machines measured, trained from scratch.
    """
    for part in ("statement", "rule", "null_name"):
        before, after = getattr(stored, part), getattr(anew, part)
        if before != after:
            return f"{stored.id}: the {part} was '{before}', now '{after}'"
    settled = {stored.verdict, anew.verdict} - {Verdict.OPEN}
    if len(settled) > 1:
        return (
            f"{stored.id}: {stored.verdict} at {stored.measured:.4g} and {anew.verdict} at "
            f"{anew.measured:.4g} (needs {anew.rule})"
        )
    if stored.kind == "check":
        return None  # its rule is its band
    width = band(stored, anew, elsewhere)
    if abs(anew.measured - stored.measured) > width:
        return (
            f"{stored.id}: {stored.measured:.4g} became {anew.measured:.4g}, more than the "
            f"{width:.3g} that seeds and machines explain"
        )
    return None


def band(stored: Claim, anew: Claim, elsewhere: Sequence[float] = ()) -> float:
    """Return how far apart two measurements of one claim may be, from measured spread alone.

    Seeds: the difference of two means of n values each has the standard error s sqrt(2 / n), s
    pooled from both; Student's factor at 99.9 %, as many claims are judged at once. Machines: half
    as much again as the largest distance that was seen between two of them.
    """
    machines = [stored.measured, *elsewhere]
    seen = 1.5 * (max(machines) - min(machines))
    n = min(len(stored.values), len(anew.values))
    if n < 2:
        return max(seen, ROUND_OFF * max(1.0, abs(stored.measured)))
    pooled = (_variance(stored.values) + _variance(anew.values)) / 2
    factor = float(stats.t.ppf(0.9995, 2 * (n - 1)))
    return max(seen, factor * math.sqrt(2 * pooled / n), ROUND_OFF)


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def tally(claims: Iterable[Claim]) -> dict[str, dict[Verdict, int]]:
    """Count the verdicts of each kind that has claims, in the order of `KINDS`."""
    counts = {kind: dict.fromkeys(Verdict, 0) for kind in KINDS}
    for claim in claims:
        counts[claim.kind][claim.verdict] += 1
    return {kind: of for kind, of in counts.items() if any(of.values())}


def score(claims: Iterable[Claim]) -> str:
    """Say how many claims of each kind hold, fail and are not settled.

    Examples
    --------
    >>> score([])
    'no claims'
    """
    parts = []
    for kind, counts in tally(claims).items():
        total = sum(counts.values())
        if kind == "check":
            parts.append(f"{counts[Verdict.HOLDS]} of {total} checks hold")
            continue
        said = ", ".join(
            f"{count} {_plural(verdict, count)}" for verdict, count in counts.items() if count
        )
        noun = "statement" if total == 1 else "statements"
        parts.append(f"{total} {noun} {KINDS[kind]}: {said}")
    return "; ".join(parts) or "no claims"


def _plural(verdict: Verdict, count: int) -> str:
    words = {
        Verdict.HOLDS: ("holds", "hold"),
        Verdict.FAILS: ("fails", "fail"),
        Verdict.OPEN: ("not settled", "not settled"),
    }
    return words[verdict][count > 1]


def stand_together(claims: Sequence[Claim]) -> list[Claim]:
    """Return the settled claims that stay so when all are decided at once.

    Checks are not decided by chance and do not count. Of the verdicts returned at most 5 % are
    expected to be wrong (Benjamini and Hochberg 1995).
    """
    settled = [c for c in claims if c.kind != "check" and c.verdict is not Verdict.OPEN]
    stands = benjamini_hochberg([claim.p for claim in settled])
    return [claim for claim, stays in zip(settled, stands, strict=True) if stays]


@dataclass(frozen=True)
class Ledger:
    """The claims of one chapter, as run.

    Its text form is compared by the notebook tests, its HTML form is what the book shows. How the
    chapter came about (times, versions, commit) differs between runs, and is in neither.
    """

    chapter: str
    profile: str
    seed: int
    data: str
    claims: tuple[Claim, ...]
    making: Making | None = None
    omitted: tuple[tuple[str, str], ...] = ()  # (id, why) of registered claims not decided

    @property
    def score(self) -> str:
        """How many claims of each kind hold, in words."""
        return score(self.claims)

    @property
    def title(self) -> str:
        """One line: what was run and how many claims hold."""
        return f"{self.score} (profile {self.profile}, seed {self.seed}, data {self.data})"

    def __repr__(self) -> str:
        lines = [self.title]
        for claim in self.claims:
            lines.append(f"[{claim.verdict}] {claim.id} ({claim.figure}): {claim.statement}")
            lines.append("    " + ", ".join(f"{key} {value}" for key, value in _cells(claim)))
        lines += [f"[not measured] {id}: {why}" for id, why in self.omitted]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{title}</th>' for title in COLUMNS)
        return (
            f'<table class="claims"><caption>{html.escape(self.title)}</caption>'
            f"<thead><tr>{head}</tr></thead>"
            f"<tbody>{''.join(map(claim_row, self.claims))}{omitted_rows(self)}</tbody></table>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the ledger as JSON-ready values."""
        return {
            "chapter": self.chapter,
            "profile": self.profile,
            "seed": self.seed,
            "data": self.data,
            "claims": [claim.to_dict() for claim in self.claims],
            "making": self.making and asdict(self.making),
            "omitted": [list(pair) for pair in self.omitted],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Ledger:
        """Return the ledger that `to_dict` wrote."""
        claims = tuple(map(Claim.from_dict, values["claims"]))
        making = values.get("making")
        read = {
            "claims": claims,
            "making": making and Making.from_dict(making),
            "omitted": tuple(map(tuple, values["omitted"])),
        }
        return cls(**dict(values) | read)

    def write(self, path: Path) -> None:
        """Write the ledger as JSON."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Read a ledger from JSON, or from the executed notebook that displays it.

        Raises
        ------
        ValueError
            If a notebook holds no ledger: it has not run to its end.
        """
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if Path(path).suffix != ".ipynb":
            return cls.from_dict(content)
        for cell in content["cells"]:
            for output in cell.get("outputs", ()):
                if METADATA in output.get("metadata", {}):
                    return cls.from_dict(output["metadata"][METADATA])
        raise ValueError(f"{path} holds no claims: run it to its last cell, ch.ledger()")


# The key under which a notebook keeps the ledger, full digits included, beside what it displays.
METADATA = "svcca_ledger"


def _cells(claim: Claim) -> list[tuple[str, str]]:
    """Return the named numbers of a claim in the order of reading, absent ones left out."""
    # A number that has to be smaller than noise is said to be, where it is.
    exact = 0 < claim.rule.high < ROUND_OFF and claim.holds
    measured = number(claim.measured, claim.rule.high if exact else ROUND_OFF)
    if claim.interval is not None:
        low, high = map(number, claim.interval)
        count = f"{len(claim.values)} " if len(claim.values) > 1 else ""
        measured += f" ({low} to {high} over {count}{claim.over})"
    elif claim.kind != "check":
        measured += " (one value)"
    cells = [
        ("measured", measured),
        ("paper", number(claim.paper)),
        ("null", f"{number(claim.null)}, {claim.null_name}" if claim.null_name else ""),
        ("needs", str(claim.rule)),
    ]
    return [(key, value) for key, value in cells if value]


COLUMNS = ("Verdict", "Claim", "Measured", "Needed", "Null", "Paper")
_WHOSE = {"paper": "the paper's", "later": "a later paper's", "ours": "ours", "check": "check"}


def claim_row(claim: Claim, prefix: str = "", support: str = "") -> str:
    """Return the table row of a claim; the mark and the word carry the verdict without colour.

    Parameters
    ----------
    claim : Claim
    prefix : str
        Before the id of the row, where the claims of several chapters are on one page.
    support : str
        HTML in place of the name of the figure, such as a link to it.
    """
    numbers = dict(_cells(claim))
    style = claim.verdict.name.lower()
    changed = ' <span class="kind">changed since, see the ledger</span>' if claim.changed else ""
    columns = (
        f'<span class="verdict-{style}">{MARKS[claim.verdict]} {claim.verdict}</span>',
        f"{html.escape(claim.statement)} <em>{support or html.escape(claim.figure)}</em> "
        f'<span class="kind">{_WHOSE[claim.kind]}</span>{changed}',
        *(html.escape(numbers.get(key, "")) for key in ("measured", "needs", "null", "paper")),
    )
    # A narrow page shows the columns below each other, each with its title before it.
    cells = "".join(
        f'<td data-title="{title}">{column}</td>'
        for title, column in zip(COLUMNS, columns, strict=True)
    )
    return f'<tr id="claim-{prefix}{html.escape(claim.id)}">{cells}</tr>'


def omitted_rows(ledger: Ledger) -> str:
    """Return a table row for each registered claim that a run did not decide."""
    return "".join(
        f'<tr><td data-title="{COLUMNS[0]}">not measured</td>'
        f'<td colspan="{len(COLUMNS) - 1}">{html.escape(id)}: {html.escape(why)}</td></tr>'
        for id, why in ledger.omitted
    )
