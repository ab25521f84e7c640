"""How many claims hold, counted for each kind apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from svcca_lib.paper.chapter.claims import KINDS, Claim, Verdict
from svcca_lib.paper.experiments.statistics import benjamini_hochberg

_PLURAL = {Verdict.HOLDS: "hold", Verdict.FAILS: "fail"}


def tally(claims: Iterable[Claim]) -> dict[str, dict[Verdict, int]]:
    """Count the verdicts of each kind that has claims, in the order of `KINDS`."""
    counts = {kind: dict.fromkeys(Verdict, 0) for kind in KINDS}
    for claim in claims:
        counts[claim.kind][claim.verdict] += 1
    return {kind: of for kind, of in counts.items() if any(of.values())}


def score(claims: Iterable[Claim]) -> str:
    """Say how many claims of each kind hold, fail and are not settled.

    >>> score([])
    'no claims'
    """
    parts = []
    for kind, counts in tally(claims).items():
        total = sum(counts.values())
        if kind == "check":
            parts.append(f"{counts[Verdict.HOLDS]} of {total} checks hold")
            continue
        said = worded(counts)
        noun = "statement" if total == 1 else "statements"
        parts.append(f"{total} {noun} {KINDS[kind]}: {said}")
    return "; ".join(parts) or "no claims"


def worded(counts: Mapping[Verdict, int]) -> str:
    """Say how many claims have each verdict, in the order in which they are given.

    >>> worded({Verdict.HOLDS: 2, Verdict.FAILS: 1, Verdict.OPEN: 0})
    '2 hold, 1 fails'
    """
    return ", ".join(
        f"{count} {_PLURAL.get(verdict, verdict) if count > 1 else verdict}"
        for verdict, count in counts.items()
        if count
    )


def stand_together(claims: Sequence[Claim]) -> list[Claim]:
    """Return the settled claims that stay so when all are decided at once.

    Checks are not decided by chance and do not count. Of the verdicts returned at most 5 % are
    expected to be wrong (Benjamini and Hochberg 1995).
    """
    settled = [c for c in claims if c.kind != "check" and c.verdict is not Verdict.OPEN]
    stands = benjamini_hochberg([claim.p for claim in settled])
    return [claim for claim, stays in zip(settled, stands, strict=True) if stays]
