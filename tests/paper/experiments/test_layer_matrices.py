from dataclasses import replace

import numpy as np
import pytest
import torch

from svcca_lib import dft_cca, svcca
from svcca_lib.paper.experiments.inputs import images_of
from svcca_lib.paper.experiments.layer_matrices import layer_matrices
from svcca_lib.paper.experiments.layers_followed import follow
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.config import TrainConfig
from svcca_lib.paper.training.networks import NetworkConfig
from svcca_lib.paper.training.trained import train


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
    inputs = images_of(digits, 200).inputs
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
    network(images_of(digits, 200).inputs)
    expected = svcca(outputs["fc1"], outputs["logits"]).similarity
    assert m.at(1)[at["fc1"], at["logits"]] == pytest.approx(expected, abs=1e-9)


def test_the_diagonal_is_one_at_the_end_and_the_input_is_always_itself(run, digits, store):
    m = layer_matrices(run, digits, store, images=200)
    np.testing.assert_allclose(m.own[-1], 1, atol=1e-9)
    np.testing.assert_allclose(m.own[:, 0], 1, atol=1e-9)
    assert (m.own[0, 1:] < 0.999).any()


def test_matrices_are_computed_once_for_given_weights(run, digits, store, monkeypatch):
    first = layer_matrices(run, digits, store, images=150, fractions=(1,))
    monkeypatch.setattr("svcca_lib.paper.experiments.layer_matrices.pairwise_dft_cca", None)
    again = layer_matrices(run, digits, store, images=150, fractions=(1,))
    np.testing.assert_array_equal(first.similarity, again.similarity)
    other = replace(run, tensors={k: v + 0 * v for k, v in run.tensors.items()})
    layer_matrices(other, digits, store, images=150, fractions=(1,))  # the same weights
    other.tensors["1/c1.conv.bias"].add_(1)
    with pytest.raises(TypeError):
        layer_matrices(other, digits, store, images=150, fractions=(1,))


def test_small_groups_of_layers_give_the_same_matrices(run, digits, tmp_path, monkeypatch, store):
    whole = layer_matrices(run, digits, store, images=200)
    monkeypatch.setattr("svcca_lib.paper.experiments.decomposed.CAPTURED_AT_ONCE", 1)
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
    np.testing.assert_allclose(f.own, m.own, atol=1e-12)
    np.testing.assert_allclose(f.end, m.at(1), atol=1e-12)
    np.testing.assert_allclose(f.chance, m.chance[-1], atol=1e-12)
    assert (f.fractions, f.labels, f.n) == (m.fractions, m.labels, m.n)


def test_layers_are_followed_to_the_end(run, digits, store):
    with pytest.raises(ValueError, match=r"to the end of training, 1; got 0\.5"):
        follow(run, digits, store, images=150, fractions=(0, 0.5))
