from dataclasses import replace

import numpy as np
import pytest
import torch

from svcca_lib import capture, dft_cca
from svcca_lib.paper.data import images, sources
from svcca_lib.paper.experiments import class_sensitivity
from svcca_lib.paper.experiments.inputs import images_of
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.config import TrainConfig
from svcca_lib.paper.training.networks import NetworkConfig, build
from svcca_lib.paper.training.trained import TrainedNetwork


@pytest.fixture(scope="module")
def data():
    return sources.load("digits")


@pytest.fixture(scope="module")
def run():
    """Two untrained ResNets in the place of a run's beginning and end."""
    network = NetworkConfig("resnet", (1, 8, 8), 10, width=2, depth=1)
    tensors = {
        f"{fraction:g}/{name}": tensor
        for fraction, seed in ((0.0, 3), (1.0, 4))
        for name, tensor in build(network, seed).state_dict().items()
    }
    return TrainedNetwork(TrainConfig(network, "f", checkpoints=(0.0, 1.0)), {}, [], {}, tensors)


def test_spatial_means_give_dft_cca_of_the_whole_maps_with_a_vector(run, data):
    images = images_of(data, 150)
    network = run.network()
    layers = ("conv", "unit1.res", "unit3.res", "bn")
    means = images.spatial_means(network, layers)
    whole = capture(network, [*layers, "logits"], images.inputs)
    logits = whole["logits"].double()
    found = class_sensitivity.logit_similarity(means, logits[:, [2, 7]], 1.0)
    for i, name in enumerate(layers):
        for j, column in enumerate((2, 7)):
            expected = dft_cca(whole[name], logits[:, [column]])
            assert found["similarity"][i, j] == pytest.approx(expected.similarity, abs=1e-5)
        assert found["chance"][i] == pytest.approx(expected.chance)


def test_one_logit_against_a_layer_is_the_multiple_correlation():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    y = x @ rng.normal(size=(5, 1)) + 2 * rng.normal(size=(200, 1))
    design = np.hstack([x, np.ones((200, 1))])
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    r2 = 1 - (residual**2).sum() / ((y - y.mean()) ** 2).sum()
    found = class_sensitivity.logit_similarity({"x": torch.from_numpy(x)}, torch.from_numpy(y), 1.0)
    assert found["similarity"][0, 0] == pytest.approx(np.sqrt(r2))


def test_layers_of_any_time_meet_the_logits_of_the_end(run, data, tmp_path):
    store = Store(tmp_path)
    first, last = (
        class_sensitivity.class_sensitivity(run, data, store, ("3", "8"), images=200, fraction=f)
        for f in (0.0, 1.0)
    )
    assert first.n == last.n == 200
    assert first.layers == last.layers
    assert not set(first.layers) & {"logits", "out"}
    assert first.similarity.shape == (len(first.layers), 2)
    # The input has not learned anything since; the top layer of the end feeds the logits.
    np.testing.assert_allclose(first.similarity[0], last.similarity[0], atol=1e-12)
    assert (last.similarity[-1] > first.similarity[-1] + 0.05).all()


def test_classes_are_picked_by_name_from_one_measurement(run, data, tmp_path):
    store = Store(tmp_path)
    one = class_sensitivity.class_sensitivity(run, data, store, ("8", "3"), images=200)
    other = class_sensitivity.class_sensitivity(run, data, store, ("3",), images=200)
    np.testing.assert_array_equal(one.similarity[:, 1], other.similarity[:, 0])
    assert len(list(store.entries())) == 1
    with pytest.raises(ValueError, match=r"classes must be among 0, 1, .*; got ten"):
        class_sensitivity.class_sensitivity(run, data, store, ("3", "ten"), images=200)


class TestFiveClasses:
    def test_each_data_set_has_its_own_and_a_reader_may_choose(self, data):
        assert class_sensitivity.five_classes(data) == ("3", "8", "4", "9", "0")
        assert class_sensitivity.five_classes(data, "1, 7,5,6,2") == ("1", "7", "5", "6", "2")
        cifar = replace(data, classes=images.CIFAR10_CLASSES)
        assert class_sensitivity.five_classes(cifar) == (
            "cat",
            "dog",
            "automobile",
            "truck",
            "ship",
        )

    @pytest.mark.parametrize(
        ("given", "message"),
        [("1,2,3", "expected five classes"), ("1,1,2,3,4", "five"), ("1,2,3,4,x", "got x")],
    )
    def test_what_is_no_five_classes_is_an_error(self, data, given, message):
        with pytest.raises(ValueError, match=message):
            class_sensitivity.five_classes(data, given)

    def test_other_data_ask_for_a_choice(self, data):
        with pytest.raises(ValueError, match="two pairs and one apart"):
            class_sensitivity.five_classes(replace(data, classes=("a", "b", "c", "d", "e", "f")))


class TestDistances:
    def test_planted_curves(self):
        depth = np.linspace(0, 1, 7)[:, None]
        offsets = np.array([0, 0.1, 1, 1.3, 3])
        found = class_sensitivity.distances(depth + offsets)
        assert found.within == pytest.approx(0.2)
        assert found.between == pytest.approx((1 + 1.3 + 0.9 + 1.2) / 4)
        assert found.apart == pytest.approx((3 + 2.9 + 2 + 1.7) / 4)
        assert found.lead == pytest.approx(3 - 0.6)
        assert found.closeness == pytest.approx(0.2 / ((found.between + found.apart) / 2))
        assert found.distinctness == pytest.approx(found.apart / 0.2)

    def test_a_class_apart_below_the_others_has_a_negative_lead(self):
        assert class_sensitivity.distances(np.array([[1.0, 1, 1, 1, 0.5]])).lead == pytest.approx(
            -0.5
        )

    def test_other_than_five_curves_are_an_error(self):
        with pytest.raises(ValueError, match="two pairs and one"):
            class_sensitivity.distances(np.ones((4, 3)))


def test_confusability_is_the_mean_probability_of_the_other_class_both_ways(run, data):
    found = class_sensitivity.confusability(run, data)
    shown = images_of(data, part="test")
    with torch.no_grad():
        probabilities = run.network()(shown.inputs).double().softmax(1).numpy()
    labels = shown.labels.numpy()
    one, other = (probabilities[labels == a, b].mean() for a, b in ((3, 8), (8, 3)))
    assert found[3, 8] == pytest.approx((one + other) / 2, rel=1e-5)
    assert found.shape == (10, 10)
    assert np.array_equal(found, found.T)
    assert found.mean() == pytest.approx(0.1)  # probabilities of ten classes add up to 1


def test_pairs_of_classes_agree_where_confused_ones_have_close_curves():
    heights = np.array([0.0, 0.1, 0.5, 0.9])
    curves = np.stack([heights, heights + 0.05])  # (layers, classes)
    apart = np.abs(heights[:, None] - heights)
    found = class_sensitivity.pairs(curves, 1 - apart)
    np.testing.assert_allclose(found.distance, [0.1, 0.5, 0.9, 0.4, 0.8, 0.4])
    assert found.agreement == pytest.approx(1)
    assert class_sensitivity.pairs(curves, apart).agreement == pytest.approx(-1)
