from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from svcca_lib import capture, dft_cca, svcca
from svcca_lib.paper.data.images import spread
from svcca_lib.paper.data.sources import load
from svcca_lib.paper.experiments.dynamics import (
    batch_norm_pairs,
    blocks,
    by_distance,
    collapse,
    depth_correlation,
    follow,
    layer_matrices,
    matrix_correlation,
    named_layers,
    nearness,
    off_diagonal,
    partial_rank_correlation,
    published,
    rank_correlation,
    readings,
    settling_times,
    stripe_contrast,
)
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.config import TrainConfig
from svcca_lib.paper.training.networks import NetworkConfig, build
from svcca_lib.paper.training.trained import train


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def run(digits, store):
    network = NetworkConfig("convnet", (1, 8, 8), 10, width=4, fc=(16, 8))
    config = TrainConfig(
        network, digits.fingerprint, steps=8, batch_size=16, evaluations=1, checkpoints=(0, 0.5, 1)
    )
    return train(config, digits, store)


def test_each_cell_compares_a_layer_then_with_a_layer_at_the_end(run, digits, store):
    m = layer_matrices(run, digits, store, images=200)
    assert m.fractions == (0, 0.5, 1)
    assert m.n == 200
    inputs = digits.normalised(digits.train_images[spread(len(digits.train_images), 200)])
    with torch.no_grad():
        early, late = (run.network(f).c2(run.network(f).c1(inputs)) for f in (0.5, 1))
        vector = run.network(1)(inputs)
    at = {label: i for i, label in enumerate(m.labels)}
    cell = m.at(0.5)[at["c2"], at["c2"]]
    assert cell == pytest.approx(dft_cca(early, late, keep=0.99).similarity, abs=1e-9)
    cell = m.at(0.5)[at["c2"], at["logits"]]
    expected = dft_cca(early, vector, keep=0.99)
    assert cell == pytest.approx(expected.similarity, abs=1e-9)
    assert m.chance[1, at["c2"], at["logits"]] == pytest.approx(expected.chance, abs=1e-9)


def test_vectors_meet_in_plain_svcca(run, digits, store):
    m = layer_matrices(run, digits, store, images=200)
    at = {label: i for i, label in enumerate(m.labels)}
    outputs = {}
    network = run.network(1)
    for name in ("fc1", "logits"):
        network.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: outputs.__setitem__(name, out)
        )
    network(digits.normalised(digits.train_images[spread(len(digits.train_images), 200)]))
    expected = svcca(outputs["fc1"], outputs["logits"]).similarity
    assert m.at(1)[at["fc1"], at["logits"]] == pytest.approx(expected, abs=1e-9)


def test_the_diagonal_is_one_at_the_end_and_the_input_is_always_itself(run, digits, store):
    m = layer_matrices(run, digits, store, images=200)
    np.testing.assert_allclose(m.own[-1], 1, atol=1e-9)
    np.testing.assert_allclose(m.own[:, 0], 1, atol=1e-9)
    assert (m.own[0, 1:] < 0.999).any()


def test_matrices_are_computed_once_for_given_weights(run, digits, store, monkeypatch):
    first = layer_matrices(run, digits, store, images=150, fractions=(1,))
    monkeypatch.setattr("svcca_lib.paper.experiments.dynamics.pairwise_dft_cca", None)
    again = layer_matrices(run, digits, store, images=150, fractions=(1,))
    np.testing.assert_array_equal(first.similarity, again.similarity)
    other = replace(run, tensors={k: v + 0 * v for k, v in run.tensors.items()})
    layer_matrices(other, digits, store, images=150, fractions=(1,))  # the same weights
    other.tensors["1/c1.conv.bias"].add_(1)
    with pytest.raises(TypeError):
        layer_matrices(other, digits, store, images=150, fractions=(1,))


def test_small_groups_of_layers_give_the_same_matrices(run, digits, tmp_path, monkeypatch, store):
    whole = layer_matrices(run, digits, store, images=200)
    monkeypatch.setattr("svcca_lib.paper.experiments.dynamics.CAPTURED_AT_ONCE", 1)
    parts = layer_matrices(run, digits, Store(tmp_path), images=200)
    np.testing.assert_allclose(parts.similarity, whole.similarity, atol=1e-12)


@pytest.mark.parametrize("arch", ["convnet", "resnet"])
def test_what_is_followed_are_cells_of_the_matrices(arch, digits, store):
    network = NetworkConfig(arch, (1, 8, 8), 10, width=4, fc=(16, 8), depth=1)
    config = TrainConfig(
        network, digits.fingerprint, steps=4, batch_size=16, evaluations=1, checkpoints=(0, 0.5, 1)
    )
    run = train(config, digits, store)
    m = layer_matrices(run, digits, store, images=150)
    f = follow(run, digits, store, images=150, fractions=(0, 0.5, 1))
    for found in (f, m.followed()):
        np.testing.assert_allclose(found.own, m.own, atol=1e-12)
        np.testing.assert_allclose(found.end, m.at(1), atol=1e-12)
        np.testing.assert_allclose(found.chance, m.chance[-1], atol=1e-12)
        assert (found.fractions, found.labels, found.n) == (m.fractions, m.labels, m.n)


def test_layers_are_followed_to_the_end(run, digits, store):
    with pytest.raises(ValueError, match=r"to the end of training, 1; got 0\.5"):
        follow(run, digits, store, images=150, fractions=(0, 0.5))


# ------------------------------------------------------------------ what the matrices show


def test_settling_time_is_the_last_crossing():
    fractions = (0.0, 0.2, 0.4, 1.0)
    own = np.array([[0.9, 0.6, 0.0], [0.9, 0.9, 0.9], [0.9, 0.7, 1.0], [1.0, 1.0, 1.0]])
    # never below; below again at 0.4, then a third of the way from 0.7 to 1; 8/9 from 0 to 0.9
    expected = [0.0, 0.4 + 0.6 / 3, 0.2 * 8 / 9]
    np.testing.assert_allclose(settling_times(fractions, own, 0.8), expected)


def test_a_layer_that_never_settles_is_an_error():
    with pytest.raises(ValueError, match=r"end at 0\.8 or above"):
        settling_times((0.0, 1.0), np.array([[0.1], [0.7]]))


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


def test_the_published_figure_has_the_layers_of_our_networks():
    for name, arch, layers in (("conv", "convnet", 16), ("res", "resnet", 51)):
        network = build(NetworkConfig(arch, (3, 32, 32), 10, width=4), 0)
        for percent in (0, 35, 75, 100):
            labels, matrix = published(name, percent)
            assert labels == network.labels
            assert matrix.shape == (layers, layers)
            assert ((matrix >= 0) & (matrix <= 1)).all()
        assert matrix.diagonal().min() > 0.98  # at 100 %


def test_nearness_falls_with_distance():
    assert nearness(3).tolist() == [[0, -1, -2], [-1, 0, -1], [-2, -1, 0]]


@pytest.mark.parametrize(("arch", "repeats"), [("convnet", 4), ("resnet", 2)])
def test_layers_of_one_block_are_one_layer_and_those_of_two_are_not(arch, repeats, digits):
    """Another route to the blocks: what DFT-CCA says of all neighbours, nothing cut."""
    network = build(NetworkConfig(arch, (1, 8, 8), 10, width=4, fc=(16, 8), depth=2), 0).eval()
    images = digits.normalised(digits.train_images[:300])
    with torch.no_grad():
        outputs = list(capture(network, network.layers, images).values())
    together = {pair for block in blocks(network.labels) for pair in pairwise(block)}
    assert len(together) == repeats
    for i, label in enumerate(network.labels[1:]):
        # What follows linearly lies inside the layer below, which is 1 as well: no layer twice.
        if label == "logits" or (i == 0 and arch == "resnet"):
            continue
        same = dft_cca(outputs[i], outputs[i + 1]).similarity > 1 - 1e-6
        assert same == ((i, i + 1) in together), network.labels[i : i + 2]


def test_collapsed_cells_are_means_over_blocks():
    matrix = np.arange(12.0).reshape(3, 4)
    expected = [[0.5, 2, 3], [(4 + 5 + 8 + 9) / 4, 8, 9]]
    collapsed = collapse(matrix, [(0,), (1, 2)], [(0, 1), (2,), (3,)])
    np.testing.assert_array_equal(collapsed, expected)


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


def test_layers_are_found_by_their_labels():
    conv, _ = published("conv", 100)
    pairs = [(conv[i], conv[j]) for i, j in batch_norm_pairs(conv)]
    assert pairs == [("bn1", "c2"), ("bn2", "c5"), ("bn3", "fc1"), ("bn4", "fc2")]
    assert list(named_layers(conv).values()) == list(conv)
    res, _ = published("res", 100)
    pairs = [(res[i], res[j]) for i, j in batch_norm_pairs(res)]
    assert pairs == [("err", "conv"), ("bn", "res")]
    assert (len(blocks(conv)), len(blocks(res))) == (12, 49)
    assert list(named_layers(res).values()) == [
        *("in", "unit 1", "unit 5", "unit 10", "unit 15", "out")
    ]


def test_stripe_contrast_is_sum_to_sum_less_sum_to_branch():
    labels = ("in", "bn_cv", "bn_cv", "res", "bn_cv", "bn_cv", "res")
    matrix = np.zeros((7, 7))
    matrix[6, 3], matrix[6, 4] = 0.8, 0.3
    assert stripe_contrast(labels, matrix) == pytest.approx(0.5)


# ---------------------------------------------------------------------------- other readings


def test_readings_are_given_where_they_are_possible():
    x, y = torch.randn(60, 3, 4, 4), torch.randn(60, 5, 2, 2)
    found = readings(x, y)
    assert found["pixels-as-datapoints"].similarity is None  # different sizes
    assert found["flattened"].similarity is not None  # 48 and 20 neurons, 60 images
    assert readings(x[:40], y[:40])["flattened"].similarity is None
    assert not readings(x[:40], y[:40])["flattened"].possible


def test_every_reading_knows_a_layer_again_after_its_channels_are_mixed():
    x = torch.randn(200, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    mixed = torch.einsum("nchw,dc->ndhw", x, torch.tensor([[1.0, 1, 0], [0, 1, 0], [1, 0, 2]]))
    for name, reading in readings(x, mixed, keep=1.0).items():
        assert reading.similarity == pytest.approx(1, abs=1e-6), name
        assert reading.chance < 0.9, name
