import numpy as np
import pytest
from scipy import stats

from svcca_lib.paper.experiments.ranks import (
    by_distance,
    depth_correlation,
    matrix_correlation,
    nearness,
    off_diagonal,
    partial_rank_correlation,
    rank_correlation,
)


def test_strict_orders_correlate_with_depth_at_plus_and_minus_one():
    times = np.linspace(0, 1, 12) ** 2
    up, down = depth_correlation(times), depth_correlation(times[::-1])
    assert up.rho == pytest.approx(1)
    assert down.rho == pytest.approx(-1)
    assert up.p < 0.001
    assert down.p == pytest.approx(1)
    # 95 % quantile of Spearman's rho for 12 ranks, one-sided: 0.503 (any table)
    assert up.chance == pytest.approx(0.503, abs=0.02)


def test_layers_that_settle_at_once_are_in_no_order():
    assert depth_correlation(np.zeros(9)).rho == 0


def test_rank_correlation_of_matrices_sees_order_alone():
    rng = np.random.default_rng(0)
    x = rng.random((9, 9))
    assert matrix_correlation(x, x**3).rho == pytest.approx(1)
    assert matrix_correlation(x, -x).rho == pytest.approx(-1)
    shifted = x + 5 * np.eye(9)  # the diagonal does not count
    assert matrix_correlation(x, shifted).rho == pytest.approx(1)


def test_relabelling_keeps_what_unrelated_matrices_share_by_chance():
    """Unrelated matrices whose rows differ in level: cells are many, layers are few."""
    rng = np.random.default_rng(1)
    levels = rng.normal(size=(2, 12))
    x, y = (row[:, None] + 0.1 * rng.normal(size=(12, 12)) for row in levels)
    naive = 1.645 / np.sqrt(12 * 11)
    assert matrix_correlation(x, y).chance > 2 * naive


def test_nearness_falls_with_distance():
    assert nearness(3).tolist() == [[0, -1, -2], [-1, 0, -1], [-2, -1, 0]]


def test_cells_off_the_diagonal():
    assert off_diagonal(np.arange(9).reshape(3, 3)).tolist() == [1, 2, 3, 5, 6, 7]


def test_rank_correlations_are_those_of_scipy():
    rng = np.random.default_rng(3)
    a, b, c = rng.normal(size=(3, 40)) + rng.normal(size=40)
    assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    ab, ac, bc = (stats.spearmanr(x, y).statistic for x, y in ((a, b), (a, c), (b, c)))
    closed = (ab - ac * bc) / np.sqrt((1 - ac**2) * (1 - bc**2))
    assert partial_rank_correlation(a, b, c) == pytest.approx(closed)
    # and by regression, the ranks as they are
    ranks = [stats.rankdata(x) for x in (a, b, c)]
    line = np.stack([np.ones(40), ranks[2]], axis=1)
    left = [r - line @ np.linalg.lstsq(line, r, rcond=None)[0] for r in ranks[:2]]
    assert partial_rank_correlation(a, b, c) == pytest.approx(stats.pearsonr(*left).statistic)


def test_nothing_is_left_of_what_the_third_explains():
    a = np.array([3.0, 1.0, 2.0, 5.0, 4.0])
    b = np.array([1.0, 2.0, 3.0, 5.0, 4.0])
    assert partial_rank_correlation(a, b, np.exp(a)) == 0
    assert partial_rank_correlation(a, b, np.ones(5)) == pytest.approx(rank_correlation(a, b))


def test_numbers_that_differ_by_rounding_are_tied():
    a = np.array([1 - 1e-12, 1.0, 0.2, 0.4])
    b = np.array([0.9, 0.8, 0.1, 0.3])
    assert rank_correlation(a, b) == pytest.approx(stats.spearmanr([1, 1, 0.2, 0.4], b).statistic)


def test_a_matrix_of_distances_alone_says_nothing_beyond_depth():
    rng = np.random.default_rng(4)
    theirs = nearness(8) + rng.normal(size=(8, 8))
    own = by_distance(theirs)
    assert own[0, 3] == pytest.approx(np.mean([*theirs.diagonal(3), *theirs.diagonal(-3)]))
    near = off_diagonal(nearness(8))
    falling = off_diagonal(np.exp(nearness(8)))
    assert partial_rank_correlation(falling, off_diagonal(theirs), near) == 0
    assert rank_correlation(falling, off_diagonal(theirs)) > 0.5
