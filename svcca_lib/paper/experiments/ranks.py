"""Orders compared: rank correlations of layers and of matrices of layers, and their chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation and how often relabelled layers reach it."""

    rho: float
    chance: float  # 95 % of random relabellings stay below this
    p: float  # share of relabellings, this one counted, that reach `rho`


def depth_correlation(times: np.ndarray, draws: int = 10_000, seed: int = 0) -> RankCorrelation:
    """Correlate the depth of layers with their settling times: 1 for strictly bottom-up.

    Times are from the input upward; chance is taken from `draws` random orders of the layers.
    """
    rng = np.random.default_rng(seed)
    ranks = stats.rankdata(times)
    shuffled = rng.permuted(np.tile(ranks, (draws, 1)), axis=1)
    depth = np.arange(len(times), dtype=np.float64)
    return _ranked(_pearson(depth, ranks[None])[0], _pearson(depth, shuffled))


def matrix_correlation(
    ours: np.ndarray, theirs: np.ndarray, draws: int = 1_000, seed: int = 0
) -> RankCorrelation:
    """Rank correlation of two matrices of layers, off the diagonal.

    Chance relabels the layers of one of them, rows and columns alike (Mantel's test): cells of a
    matrix are not independent of one another, layers are the units.
    """
    rng = np.random.default_rng(seed)
    off = ~np.eye(len(ours), dtype=bool)
    ranks, others = stats.rankdata(ours[off]), np.zeros_like(theirs)
    others[off] = stats.rankdata(theirs[off])

    orders = (rng.permutation(len(ours)) for _ in range(draws))
    shuffled = np.stack([others[np.ix_(order, order)][off] for order in orders])
    return _ranked(_pearson(ranks, others[off][None])[0], _pearson(ranks, shuffled))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two lists of numbers; 0 where one of them is constant."""
    return float(_pearson(_ranks(a), _ranks(b)[None])[0])


def partial_rank_correlation(a: np.ndarray, b: np.ndarray, given: np.ndarray) -> float:
    """Rank correlation of two lists of numbers, (n,), less what a third explains of both.

    Pearson's correlation of what is left of the ranks of `a` and of `b` after a straight line in
    those of `given`; 0 where nothing is left of one of them. Numbers that agree to 1e-6 are tied:
    the order of rounding errors is none.
    """
    ranks = [_ranks(values) for values in (a, b, given)]
    x, y, z = (rank - rank.mean() for rank in ranks)
    if z.any():
        x, y = (part - (part @ z) / (z @ z) * z for part in (x, y))
    # of ranks, which are halves of whole numbers, nothing smaller than rounding can be left
    x, y = (part * (np.linalg.norm(part) > 1e-9 * len(part) ** 1.5) for part in (x, y))
    return float(_pearson(x, y[None])[0])


def off_diagonal(matrix: np.ndarray) -> np.ndarray:
    """Return the cells of a square matrix off its diagonal, row after row."""
    return matrix[~np.eye(len(matrix), dtype=bool)]


def nearness(layers: int) -> np.ndarray:
    """Return the matrix that knows nothing but that near layers are alike: ``-abs(i - j)``."""
    depth = np.arange(layers, dtype=np.float64)
    near: np.ndarray = -np.abs(depth[:, None] - depth)
    return near


def by_distance(matrix: np.ndarray) -> np.ndarray:
    """Replace each cell by the mean of all cells equally far from the diagonal.

    What is left is what the matrix says of depth alone: a partial correlation that this reaches as
    well owes nothing to single layers.
    """
    distance = -nearness(len(matrix))
    averaged = np.empty_like(matrix, dtype=np.float64)
    for d in range(len(matrix)):
        averaged[distance == d] = matrix[distance == d].mean()
    return averaged


def _pearson(x: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Correlate x, (n,), with each row of ys, (m, n); 0 where a row is constant."""
    a, b = x - x.mean(), ys - ys.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(a) * np.linalg.norm(b, axis=1)
    found: np.ndarray = np.divide(b @ a, norms, out=np.zeros(len(ys)), where=norms > 0)
    return found


def _ranked(rho: float, shuffled: np.ndarray) -> RankCorrelation:
    reached = int((shuffled >= rho - 1e-12).sum())
    return RankCorrelation(
        float(rho), float(np.quantile(shuffled, 0.95)), (1 + reached) / (1 + len(shuffled))
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    ranks: np.ndarray = stats.rankdata(np.round(values, 6))
    return ranks
