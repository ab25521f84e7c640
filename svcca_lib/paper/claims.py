"""What the paper states, what was measured, and whether it holds.

A `Claim` is one statement that a figure supports, a `Rule` decides it, a `Ledger` is the claims of
one chapter as run at one profile. A claim that fails is shown as failing: nothing here hides it.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from svcca_lib.paper.records import Making

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

    def holds(self, measured: float) -> bool:
        """Return whether `measured` lies in the interval."""
        return self.low <= measured <= self.high

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


@dataclass(frozen=True)
class Claim:
    """One statement of the paper beside what was measured.

    Attributes
    ----------
    id : str
        Unique within its chapter, such as ``"25-directions-suffice"``.
    figure : str
        The figure that supports it, as the paper names it: ``"Figure 2a"``.
    statement : str
        The paper's words in short.
    measured : float
        The number measured here; the mean where there are several seeds.
    rule : Rule
        What the number has to satisfy.
    band : float
        How far `measured` may move, either way, when everything is trained anew.
    paper : float or None
        The number the paper states, where it states one.
    spread : (float, float) or None
        Lowest and highest value over seeds or draws.
    chance : float or None
        What independent data would give.
    """

    id: str
    figure: str
    statement: str
    measured: float
    rule: Rule
    band: float
    paper: float | None = None
    spread: tuple[float, float] | None = None
    chance: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.measured):
            raise ValueError(f"claim {self.id!r} needs a finite number, measured {self.measured}")
        if not (math.isfinite(self.band) and self.band >= 0):
            raise ValueError(f"claim {self.id!r} needs a finite band >= 0, got {self.band}")

    @property
    def holds(self) -> bool:
        """Whether the measured number satisfies the rule."""
        return self.rule.holds(self.measured)

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        return "holds" if self.holds else "does not hold"

    def drift(self, anew: Claim) -> str | None:
        """Return how a claim measured anew disagrees with this one, or None where it agrees.

        The rule, the verdict and, within `band`, the number have to be the same.
        """
        if anew.rule != self.rule:
            return f"{self.id}: the rule was '{self.rule}', now '{anew.rule}'"
        if anew.holds != self.holds:
            return (
                f"{self.id}: the claim {self.verdict} at {self.measured:.4g} "
                f"and {anew.verdict} at {anew.measured:.4g} (needs {self.rule})"
            )
        if abs(anew.measured - self.measured) > self.band:
            return (
                f"{self.id}: {self.measured:.4g} became {anew.measured:.4g}, "
                f"more than {self.band:.3g} away"
            )
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the claim as JSON-ready values; an open end of the rule is None."""
        low, high = self.rule.low, self.rule.high
        rule = {
            "low": low if math.isfinite(low) else None,
            "high": high if math.isfinite(high) else None,
        }
        return asdict(self) | {"rule": rule, "holds": self.holds}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Claim:
        """Return the claim that `to_dict` wrote."""
        fields = {key: value for key, value in values.items() if key != "holds"}
        ends = {key: value for key, value in fields["rule"].items() if value is not None}
        spread = fields["spread"]
        return cls(**fields | {"rule": Rule(**ends), "spread": spread and tuple(spread)})


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

    @property
    def score(self) -> str:
        """How many claims hold, in words."""
        holding = sum(claim.holds for claim in self.claims)
        return f"{holding} of {len(self.claims)} claims hold"

    @property
    def title(self) -> str:
        """One line: what was run and how many claims hold."""
        return f"{self.score} (profile {self.profile}, seed {self.seed}, data {self.data})"

    def __repr__(self) -> str:
        lines = [self.title]
        for claim in self.claims:
            lines.append(f"[{claim.verdict}] {claim.id} ({claim.figure}): {claim.statement}")
            lines.append("    " + ", ".join(f"{key} {value}" for key, value in _cells(claim)))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{title}</th>' for title in COLUMNS)
        return (
            f'<table class="claims"><caption>{html.escape(self.title)}</caption>'
            f"<thead><tr>{head}</tr></thead>"
            f"<tbody>{''.join(map(claim_row, self.claims))}</tbody></table>"
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
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Ledger:
        """Return the ledger that `to_dict` wrote."""
        claims = tuple(map(Claim.from_dict, values["claims"]))
        making = values.get("making")
        return cls(
            **dict(values) | {"claims": claims, "making": making and Making.from_dict(making)}
        )

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
    if claim.spread is not None:
        measured += f" ({number(claim.spread[0])} to {number(claim.spread[1])})"
    cells = [
        ("measured", measured),
        ("paper", number(claim.paper)),
        ("chance", number(claim.chance)),
        ("needs", str(claim.rule)),
    ]
    return [(key, value) for key, value in cells if value]


COLUMNS = ("Verdict", "Claim", "Measured", "Needed", "Chance", "Paper")


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
    kind, mark = ("holds", "✓") if claim.holds else ("fails", "✗")
    columns = (
        f'<span class="verdict-{kind}">{mark} {claim.verdict}</span>',
        f"{html.escape(claim.statement)} <em>{support or html.escape(claim.figure)}</em>",
        *(html.escape(numbers.get(key, "")) for key in ("measured", "needs", "chance", "paper")),
    )
    # A narrow page shows the columns below each other, each with its title before it.
    cells = "".join(
        f'<td data-title="{title}">{column}</td>'
        for title, column in zip(COLUMNS, columns, strict=True)
    )
    return f'<tr id="claim-{prefix}{html.escape(claim.id)}">{cells}</tr>'
