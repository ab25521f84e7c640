from dataclasses import replace

import numpy as np
import pytest
import torch

from svcca_lib import dft_cca, svcca
from svcca_lib.paper.datasets import load, spread
from svcca_lib.paper.dynamics import (
    batch_norm_pairs,
    depth_correlation,
    layer_matrices,
    matrix_correlation,
    named_layers,
    nearness,
    published,
    readings,
    settling_times,
    stripe_contrast,
)
from svcca_lib.paper.networks import NetworkConfig, build
from svcca_lib.paper.store import Store
from svcca_lib.paper.training import TrainConfig, train


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
    monkeypatch.setattr("svcca_lib.paper.dynamics.pairwise_dft_cca", None)
    again = layer_matrices(run, digits, store, images=150, fractions=(1,))
    np.testing.assert_array_equal(first.similarity, again.similarity)
    other = replace(run, tensors={k: v + 0 * v for k, v in run.tensors.items()})
    layer_matrices(other, digits, store, images=150, fractions=(1,))  # the same weights
    other.tensors["1/c1.conv.bias"].add_(1)
    with pytest.raises(TypeError):
        layer_matrices(other, digits, store, images=150, fractions=(1,))


def test_small_groups_of_layers_give_the_same_matrices(run, digits, tmp_path, monkeypatch, store):
    whole = layer_matrices(run, digits, store, images=200)
    monkeypatch.setattr("svcca_lib.paper.dynamics.CAPTURED_AT_ONCE", 1)
    parts = layer_matrices(run, digits, Store(tmp_path), images=200)
    np.testing.assert_allclose(parts.similarity, whole.similarity, atol=1e-12)


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


def test_layers_are_found_by_their_labels():
    conv, _ = published("conv", 100)
    pairs = [(conv[i], conv[j]) for i, j in batch_norm_pairs(conv)]
    assert pairs == [("bn1", "c2"), ("bn2", "c5"), ("bn3", "fc1"), ("bn4", "fc2")]
    assert list(named_layers(conv).values()) == list(conv)
    res, _ = published("res", 100)
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
