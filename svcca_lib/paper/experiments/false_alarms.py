"""How often tests call layers related, or one nearer than another, that are not.

A test at 5 % may do so in one of twenty draws. The layers are drawn so that nothing is there to be
found; beside a test may stand what is often done in its place.

`stored` reads the table of 400 draws. It is made again, in a few minutes on one core, by

    python -m svcca_lib.paper.experiments.false_alarms > table.csv
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import IO

import numpy as np
import torch
from torch import Tensor, nn

from svcca_lib import compare, difference_test, permutation_test

TABLE = Path(__file__).with_name("coverage") / "false_alarms.csv"
LEVEL = 0.05
PERMUTATIONS = 99
IMAGES, PIXELS, NEURONS = 30, 8, 4


@dataclass(frozen=True)
class Rate:
    """How often one way of asking said yes, of draws in which no is the answer."""

    question: str
    way: str
    alarms: float  # share of the draws
    draws: int


class _Columns(nn.Module):
    """Layers that are given: the columns of the input, so many at a time."""

    def __init__(self, layers: int, first: int) -> None:
        super().__init__()
        self.first = first
        self.layers = tuple(f"layer{i}" for i in range(layers))
        for name in self.layers:
            setattr(self, name, nn.Identity())

    def forward(self, x: Tensor) -> None:
        for i, name in enumerate(self.layers):
            start = self.first + NEURONS * i
            getattr(self, name)(x[:, start : start + NEURONS])


def _pixels(rng: np.random.Generator) -> dict[str, bool]:
    """Pixels of one image are alike: two layers of pixels that share nothing."""
    images = np.repeat(np.arange(IMAGES), PIXELS)
    x, y = (
        rng.normal(size=(IMAGES, NEURONS))[images] + rng.normal(size=(len(images), NEURONS)) / 2
        for _ in range(2)
    )

    def alarmed(groups: np.ndarray | None) -> bool:
        seed = int(rng.integers(2**31))
        found = permutation_test(x, y, n_permutations=PERMUTATIONS, groups=groups, seed=seed)
        return found.p_value <= LEVEL

    return {"pixels shuffled": alarmed(None), "whole images shuffled (groups=)": alarmed(images)}


def _cells(rng: np.random.Generator) -> dict[str, bool]:
    """All pairs of the layers of two models that share nothing."""
    x = torch.from_numpy(rng.normal(size=(60, 6 * NEURONS)))
    table = compare(
        *(_Columns(3, 0), _Columns(3, 3 * NEURONS), x),
        measure="svcca",
        null=PERMUTATIONS,
        seed=int(rng.integers(2**31)),
        progress=False,
    )
    assert table.null is not None
    assert table.p_values is not None
    alone = (1 + (table.null >= table.matrix - 1e-9).sum(0)) / (1 + PERMUTATIONS)
    return {
        "each cell by itself": bool((alone <= LEVEL).any()),
        "the largest of all cells (null=)": bool((table.p_values <= LEVEL).any()),
    }


def _nearer(rng: np.random.Generator) -> dict[str, bool]:
    """Two layers that are equally near to a third, in five networks."""
    seeds = [(x, x + a, x + b) for x, a, b in rng.normal(size=(5, 3, 150, NEURONS))]
    seed = int(rng.integers(2**31))
    over_datapoints = difference_test(*seeds[0], n_resamples=50, seed=seed)
    xs, ys, zs = map(list, zip(*seeds, strict=True))
    over_seeds = difference_test(xs, ys, zs)
    return {
        "over datapoints (difference_test)": over_datapoints.p_value <= LEVEL,
        "over five seeds (difference_test)": over_seeds.p_value <= LEVEL,
    }


QUESTIONS: Mapping[str, Callable[[np.random.Generator], dict[str, bool]]] = MappingProxyType(
    {
        "are two layers of pixels related?": _pixels,
        "is any of 3 x 3 pairs of layers related?": _cells,
        "is one layer nearer than another?": _nearer,
    }
)


def rates(draws: int = 400, seed: int = 0) -> list[Rate]:
    """Ask each question of so many draws; a question's draws depend on the seed and it alone."""
    found = []
    for i, (question, ask) in enumerate(QUESTIONS.items()):
        rng = np.random.default_rng((seed, i))
        answers = [ask(rng) for _ in range(draws)]
        for way in answers[0]:
            share = float(np.mean([answer[way] for answer in answers]))
            found.append(Rate(question, way, share, draws))
    return found


def write(table: Iterable[Rate], file: IO[str]) -> None:
    """Write a table as CSV."""
    writer = csv.DictWriter(file, [f.name for f in fields(Rate)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(rate) for rate in table)


def stored() -> list[Rate]:
    """Read the table of 400 draws."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [
            Rate(row["question"], row["way"], float(row["alarms"]), int(row["draws"]))
            for row in csv.DictReader(file)
        ]


if __name__ == "__main__":
    write(rates(), sys.stdout)
