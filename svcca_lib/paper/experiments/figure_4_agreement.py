r"""How near ways to compute a cell come to the paper's Figure 4, and which is nearest.

A score that is found by trying many is chosen by those who try: so what is chosen on some panels of
the figure is judged on others.

References
----------
Raghu et al. 2017, section 4.1, Figure 4. The cells of the published image are `published.figure_4`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from svcca_lib.paper.experiments import layer_names, published, ranks
from svcca_lib.paper.experiments.figure_4_readings import PERCENTS, Score, Sums

CHOOSING, JUDGING = (0, 100), (35, 75)  # panels, by percents of training

SCORES: tuple[Score, ...] = tuple(
    Score(squared, divisor, less)
    for squared in (False, True)
    for divisor in ("fewer kept", "more kept", "their mean")
    for less in (False, True)
)


@dataclass(frozen=True)
class Agreement:
    """How near matrices come to the paper's, panel by panel, (t,)."""

    rank: np.ndarray  # Spearman's correlation of the cells off the diagonal, layers counted once
    rmse: np.ndarray  # root mean square difference of all cells

    def over(self, percents: Sequence[int]) -> tuple[float, float]:
        """Mean rank correlation, and root mean square difference, over some panels."""
        at = [PERCENTS.index(percent) for percent in percents]
        return float(self.rank[at].mean()), float(np.sqrt((self.rmse[at] ** 2).mean()))


def agreement(matrices: np.ndarray, labels: Sequence[str], figure: str) -> Agreement:
    """Set matrices (t, layers, layers) beside the panels of `figure`, "conv" or "res".

    For the rank a batch norm and the layer below it, which are one layer twice, count as one.
    """
    panels, labels = _panels(figure), tuple(labels)
    ours = [_off(matrix, labels) for matrix in matrices]
    both = zip(ours, _cells(figure, labels), strict=True)
    return Agreement(
        rank=np.array([ranks.rank_correlation(mine, theirs) for mine, theirs in both]),
        rmse=np.sqrt(((matrices - panels) ** 2).mean((1, 2))),
    )


def _off(matrix: np.ndarray, labels: tuple[str, ...]) -> np.ndarray:
    blocks = layer_names.blocks(labels)
    return ranks.off_diagonal(layer_names.collapse(matrix, blocks, blocks))


# Every way is set beside the same panels.
@functools.cache
def _panels(figure: str) -> np.ndarray:
    panels = np.stack([published.figure_4(figure, percent)[1] for percent in PERCENTS])
    panels.flags.writeable = False
    return panels


@functools.cache
def _cells(figure: str, labels: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    return tuple(_off(panel, labels) for panel in _panels(figure))


def constant(figure: str, percents: Sequence[int]) -> float:
    """Root mean square difference of the best single number from the cells of some panels."""
    return float(_panels(figure)[[PERCENTS.index(percent) for percent in percents]].std())


def table(
    scans: Sequence[Mapping[tuple[str, str], Sums]], labels: Sequence[str], figure: str
) -> pd.DataFrame:
    """Every reading, cut and score against the paper's panels; means over networks.

    Parameters
    ----------
    scans : sequence of what `scan` returns, one for each network
    labels : sequence of str
        Of the layers.
    figure : {"conv", "res"}

    Returns
    -------
    DataFrame
        A row for each way: ``reading``, ``cut``, ``score`` (of `SCORES`) and what it ``summed``,
        and ``rank`` and ``rmse`` on the panels that choose and on those that judge, with the
        ``lowest`` and ``highest`` judged ``rank`` of a network.
    """
    rows = []
    for way in scans[0]:
        for score in SCORES:
            each = [agreement(found[way].scored(score), labels, figure) for found in scans]
            choosing, judging = (
                np.array([a.over(percents) for a in each]) for percents in (CHOOSING, JUDGING)
            )
            rows.append(
                {
                    "reading": way[0],
                    "cut": way[1],
                    "score": score,
                    "summed": score.summed,
                    "choosing rank": choosing[:, 0].mean(),
                    "choosing rmse": choosing[:, 1].mean(),
                    "rank": judging[:, 0].mean(),
                    "lowest": judging[:, 0].min(),
                    "highest": judging[:, 0].max(),
                    "rmse": judging[:, 1].mean(),
                }
            )
    return pd.DataFrame(rows)


def chosen(found: pd.DataFrame) -> pd.Series:
    """Return the way of `table` that ranks the cells best on the panels that choose."""
    return found.loc[found["choosing rank"].round(6).idxmax()]
