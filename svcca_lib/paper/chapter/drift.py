"""Whether a claim that was measured anew agrees with the one that is stored.

Networks that are trained anew differ, between seeds and between machines: how far is measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from svcca_lib.paper.chapter.claims import ROUND_OFF, Claim, Verdict
from svcca_lib.paper.store.paths import REPOSITORY

# In the repository: machine -> ``CHAPTER/ID`` of a claim -> the number measured there.
ELSEWHERE = Path("reference", "machines.json")


def drift(stored: Claim, anew: Claim, elsewhere: Sequence[float] = ()) -> str | None:
    """Return how a claim measured on networks trained anew disagrees, or None where it agrees.

    A settled verdict must not turn into its opposite; one that is not settled may fall either way.
    The number has to lie within `band`; that of a check only where its rule asks. `elsewhere` is
    what other machines measured, trained from scratch.
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
    pooled = float(np.mean([np.var(claim.values, ddof=1) for claim in (stored, anew)]))
    factor = float(stats.t.ppf(0.9995, 2 * (n - 1)))
    return max(seen, factor * math.sqrt(2 * pooled / n), ROUND_OFF)


def on_other_machines(root: Path = REPOSITORY) -> dict[str, list[float]]:
    """Return what other machines measured from scratch: by ``CHAPTER/ID``, one number a machine."""
    path = root / ELSEWHERE
    if not path.is_file():
        return {}
    found: dict[str, list[float]] = {}
    for measured in json.loads(path.read_text(encoding="utf-8")).values():
        for claim, value in measured.items():
            found.setdefault(claim, []).append(value)
    return found
