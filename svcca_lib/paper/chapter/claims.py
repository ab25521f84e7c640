"""What is stated, what was measured, and whether it holds.

A `Claim` is one statement that a figure supports, and a `Rule` decides it. Not a number decides but
its interval: it lies inside the rule, outside, or across its edge, and then the claim is not
settled. A claim that has a null holds only where it beats that as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy import stats

from svcca_lib.paper.experiments.statistics import LEVEL, Interval, student

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
        """Return the rule that a text states, in the words of `str`; ValueError for others.

        >>> print(Rule.parse("from -0.05 to 0.05"))
        from -0.05 to 0.05
        """
        if match := re.fullmatch(r"(at least|at most) (\S+)", text):
            return cls(**{"low" if match[1] == "at least" else "high": float(match[2])})
        if match := re.fullmatch(r"from (\S+) to (\S+)", text):
            return cls(float(match[1]), float(match[2]))
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


class Verdict(StrEnum):
    """What an interval says of a rule."""

    HOLDS = "holds"
    FAILS = "fails"
    OPEN = "not settled"

    @property
    def mark(self) -> str:
        """A sign that is read without colour."""
        return {"holds": "✓", "fails": "✗", "not settled": "○"}[self]

    @property
    def marked(self) -> str:
        """The sign and the word."""
        return f"{self.mark} {self}"


READING = (Verdict.FAILS, Verdict.OPEN, Verdict.HOLDS)  # what fails is to be seen first


@dataclass(frozen=True)
class Claim:
    """One statement beside what was measured."""

    id: str  # unique within its chapter, such as "25-directions-suffice"
    kind: str  # a key of `KINDS`
    figure: str  # what supports it, as the paper names it: "Figure 4, Appendix Figure 3"
    statement: str  # the paper's words in short
    rule: Rule  # what the number has to satisfy
    values: tuple[float, ...]  # one number a seed, draw or pair; or one in all
    over: str = ""  # what the values, or the interval, are over: "seeds", "draws", "images" ...
    interval: tuple[float, float] | None = None  # of the mean, at 95 %, where there is one
    null_name: str = ""  # what the number has to beat as well; empty for nothing
    null: float | None = None  # what the null gives, the mean where it has several values
    # interval of the number less its null, value by value where both have as many
    margin: tuple[float, float] | None = None
    paper: float | None = None  # the number the paper states, where it states one
    changed: bool = False  # whether the register has its statement, rule or null as changed

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
    def figures(self) -> list[str]:
        """The figures that it names, one by one."""
        return self.figure.split(", ")

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
        ends = asdict(self.rule)
        rule = {name: end if math.isfinite(end) else None for name, end in ends.items()}
        derived = {"measured": self.measured, "verdict": str(self.verdict), "holds": self.holds}
        return asdict(self) | {"rule": rule} | derived

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Claim:
        """Return the claim that `to_dict` wrote."""
        given = {k: v for k, v in values.items() if k not in ("measured", "verdict", "holds")}
        ends = {name: end for name, end in given["rule"].items() if end is not None}
        tuples = {k: given[k] and tuple(given[k]) for k in ("values", "interval", "margin")}
        return cls(**given | tuples | {"rule": Rule(**ends)})


def intervals(
    values: Sequence[float],
    null: Sequence[float] | None = None,
    *,
    interval: Interval | tuple[float, float] | None = None,
    level: float = LEVEL,
    resolution: float = 0.0,
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Return the interval of a claim's number, and that of the number less its null.

    Parameters
    ----------
    values
        One a seed, draw or pair; or one in all.
    null
        As many as values, which are then subtracted one by one, or other numbers, whose mean is.
    interval
        Of the mean, in place of Student's, whose coverage is `level`.
    resolution
        Of the values; see `statistics.student`.

    Returns
    -------
    tuple of ((low, high) or None)
        None where there is one value, and no interval given; the second also without a null.
    """
    if interval is None:
        if len(values) < 2:
            return None, None
        interval = student(values, level, resolution)
    ends = (interval.low, interval.high) if isinstance(interval, Interval) else interval
    low, high = map(float, ends)
    if null is None:
        return (low, high), None
    if len(null) == len(values) > 1:
        less = student(np.subtract(values, null), level, resolution)
        return (low, high), (less.low, less.high)
    mean = float(np.mean(null))
    return (low, high), (low - mean, high - mean)


def _half(interval: tuple[float, float]) -> float:
    return (interval[1] - interval[0]) / 2
