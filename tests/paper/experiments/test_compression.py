import numpy as np
import pytest
import torch

from svcca_lib import Subspace, project, svcca
from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.experiments.compression import (
    TOP,
    VARIANTS,
    Directions,
    compressed,
    consecutive,
    head,
    most_that_pays,
    ordered,
    smallest_ratio,
    study,
    variants,
    weights,
)
from svcca_lib.paper.experiments.inputs import images_of
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.config import TrainConfig
from svcca_lib.paper.training.evaluation import evaluate
from svcca_lib.paper.training.networks import NetworkConfig, build
from svcca_lib.paper.training.trained import train


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def layers():
    """Two layers that share three directions and have more of their own."""
    shared = noise(300, 3) * torch.tensor([1.0, 0.5, 0.2])
    x = torch.cat([shared, noise(300, 9, seed=1)], 1) @ noise(12, 12, seed=2)
    y = torch.cat([shared, noise(300, 4, seed=3)], 1) @ noise(7, 7, seed=4)
    return x, y


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(360) % 4
    images = torch.randint(0, 80, (360, 1, 8, 8), generator=generator)
    for i, label in enumerate(labels):  # a bright quarter tells the class
        down, right = divmod(int(label), 2)
        images[i, :, 4 * down : 4 * down + 4, 4 * right : 4 * right + 4] += 100
    images = images.to(torch.uint8)
    return ImageData(
        name="quarters",
        label="quarters",
        train_images=images[:240],
        train_labels=labels[:240],
        test_images=images[240:],
        test_labels=labels[240:],
        classes=tuple("abcd"),
        mean=torch.tensor([0.3]),
        std=torch.tensor([0.2]),
        fingerprint="quarters",
    )


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    network = NetworkConfig("convnet", (1, 8, 8), 4, width=4, fc=(16, 12))
    store = Store(tmp_path_factory.mktemp("store"))
    config = [
        TrainConfig(network, "quarters", seed=s, steps=60, batch_size=32, lr=0.05, evaluations=1)
        for s in (0, 1)
    ]
    return [train(c, data, store) for c in config]


@pytest.fixture(scope="module")
def recorded(runs, data):
    networks = [run.network() for run in runs]
    return [images_of(data).responses(n, (*TOP, "logits")) for n in networks]


class TestOrdered:
    @pytest.mark.parametrize("k", [1, 3])
    def test_the_first_directions_are_those_of_svcca(self, layers, k):
        x, y = layers
        a, b = Subspace.fit(x), Subspace.fit(y)
        mean, down, up = ordered(a, b).leading(k / 12)
        expected = project(x, svcca(a, b).x_weights, k)
        torch.testing.assert_close(mean + (x - mean) @ down @ up, expected)

    def test_by_variance_spans_the_same_in_another_order(self, layers):
        a, b = (Subspace.fit(layer, keep=1.0) for layer in layers)
        one, two = (ordered(a, b, by=by).down[:, :7] for by in ("correlation", "variance"))
        q, r = (torch.linalg.qr(a.basis @ torch.linalg.pinv(a.weights) @ d)[0] for d in (one, two))
        torch.testing.assert_close(q @ q.T, r @ r.T)
        assert not torch.allclose(one[:, 0].abs(), two[:, 0].abs(), rtol=0.01)

    def test_by_variance_explains_the_reference_best_with_every_number(self, layers):
        x, y = (layer - layer.mean(0) for layer in layers)
        a, b = Subspace.fit(x, keep=1.0), Subspace.fit(y, keep=1.0)
        left = {}
        for by in ("correlation", "variance"):
            h = x @ ordered(a, b, by=by).down
            left[by] = [
                float(torch.linalg.norm(y - h[:, :k] @ (h[:, :k].T @ y))) for k in (1, 2, 3)
            ]
        assert (np.array(left["variance"]) < np.array(left["correlation"]) - 1e-6).all()

    @pytest.mark.parametrize("reference", [None, "correlation", "variance"])
    def test_responses_are_orthonormal_and_together_the_whole_layer(self, layers, reference):
        x, y = layers
        a, b = Subspace.fit(x, keep=1.0), Subspace.fit(y)
        d = ordered(a) if reference is None else ordered(a, b, by=reference)
        h = (x - d.mean) @ d.down
        torch.testing.assert_close(h.T @ h, torch.eye(12, dtype=torch.float64))
        torch.testing.assert_close(d.mean + h @ d.up, x)

    def test_what_follows_the_shared_directions_falls_in_variance(self, layers):
        a, b = Subspace.fit(layers[0], keep=1.0), Subspace.fit(layers[1])
        energy = (ordered(a, b).up ** 2).sum(1)[b.kept :]
        assert len(energy) == 12 - b.kept
        assert (energy.diff() <= 1e-9).all()

    def test_without_reference_they_are_the_singular_directions(self, layers):
        a = Subspace.fit(layers[0])
        torch.testing.assert_close(ordered(a).down, a.weights)

    def test_an_unknown_order_is_an_error(self, layers):
        a = Subspace.fit(layers[0])
        with pytest.raises(ValueError, match="by must be 'correlation' or 'variance'; got 'size'"):
            ordered(a, a, by="size")


class TestLeading:
    directions = Directions(torch.zeros(20), torch.ones(20, 15), torch.ones(15, 20))

    @pytest.mark.parametrize(("ratio", "k"), [(0.01, 1), (0.35, 7), (0.5, 10), (1.0, 15)])
    def test_a_share_of_the_neurons_but_no_more_than_there_are(self, ratio, k):
        _, down, up = self.directions.leading(ratio)
        assert down.shape == (20, k)
        assert up.shape == (k, 20)

    @pytest.mark.parametrize("ratio", [0.0, 1.5])
    def test_a_share_outside_0_to_1_is_an_error(self, ratio):
        with pytest.raises(ValueError, match="ratio must be in"):
            self.directions.leading(ratio)


class TestHead:
    @pytest.mark.parametrize("layer", TOP)
    def test_it_gives_the_logits_from_the_layers_responses(self, runs, recorded, layer):
        logits = head(runs[0].network(), layer)(recorded[0][layer])
        torch.testing.assert_close(logits, recorded[0]["logits"])

    def test_a_layer_that_is_no_stage_is_an_error(self, runs):
        with pytest.raises(ValueError, match="layer must be one of the stages in, c1"):
            head(runs[0].network(), "c9")


class TestCompressed:
    @pytest.mark.parametrize("layer", ["bn4", "fc2"])
    def test_as_many_directions_as_classes_carry_the_logits(self, runs, recorded, data, layer):
        """Above these layers all is linear: the logits see four directions and no more."""
        directions = variants(*recorded, keep=1.0)["logits"]
        small = compressed(runs[0].network(), {layer: directions[layer]}, 4 / 12)
        with torch.no_grad():
            logits = small(data.normalised(data.train_images))
        torch.testing.assert_close(logits, recorded[0]["logits"], rtol=1e-3, atol=1e-3)
        twin = variants(*recorded, keep=1.0)["two networks"]
        other = compressed(runs[0].network(), {layer: twin[layer]}, 4 / 12)
        with torch.no_grad():
            logits = other(data.normalised(data.train_images))
        assert (logits - recorded[0]["logits"]).abs().max() > 0.1

    def test_it_is_smaller_and_takes_what_the_network_takes(self, runs, recorded, data):
        network = runs[0].network()
        small = compressed(network, variants(*recorded)["logits"], 0.2)
        assert weights(small) < weights(network)
        assert small(data.normalised(data.test_images)).shape == (120, 4)

    def test_weights_are_counted(self):
        network = build(NetworkConfig("toy", (1,), 4, width=10, depth=2), 0)
        assert weights(network) == (10 + 10) + (100 + 10) + (40 + 4)


class TestConsecutive:
    def test_each_row_has_one_layer_more_compressed(self, runs, recorded, data):
        network = runs[0].network()
        directions = variants(*recorded)["two networks"]
        parts = {"train": (recorded[0], data.train_labels)}
        accuracy = consecutive(network, directions, parts, (0.1, 0.5))["train"]
        assert accuracy.shape == (5, 2)
        images = data.normalised(data.train_images)
        for i, name in enumerate(TOP):
            assert list(directions)[i] == name
            chosen = {layer: directions[layer] for layer in TOP[: i + 1]}
            whole = compressed(network, chosen, 0.1)  # from the pixels on, not from the layer
            expected = evaluate(whole, images, data.train_labels)
            assert accuracy[i, 0] == pytest.approx(expected, abs=1.5 / len(images))

    def test_all_directions_leave_the_accuracy(self, runs, recorded, data):
        parts = {"train": (recorded[0], data.train_labels)}
        for directions in variants(*recorded, keep=1.0).values():
            accuracy = consecutive(runs[0].network(), directions, parts, (1.0,))["train"]
            full = evaluate(head(runs[0].network(), "p2"), recorded[0]["p2"], data.train_labels)
            np.testing.assert_allclose(accuracy, full, atol=1.5 / 240)


class TestStudy:
    def test_it_holds_every_variant_and_is_kept(self, runs, data, tmp_path):
        ratios = (0.1, 1.0)
        first = study(Store(tmp_path), *runs, data, ratios, images=100)
        assert set(first) == {
            f"{name}/{part}" for name in ("full", *VARIANTS) for part in ("train", "test")
        }
        assert first["full/test"] == evaluate(
            runs[0].network(), data.normalised(data.test_images), data.test_labels
        )
        assert all(first[f"{name}/test"].shape == (5, 2) for name in VARIANTS)
        (artefact,) = (tmp_path / "compression").iterdir()
        made = artefact.stat().st_mtime_ns
        again = study(Store(tmp_path), *runs, data, ratios, images=100)
        assert artefact.stat().st_mtime_ns == made
        for name, values in first.items():
            np.testing.assert_array_equal(values, again[name])


class TestSmallestRatio:
    ratios = (0.1, 0.2, 0.5, 1.0)

    @pytest.mark.parametrize(
        ("accuracy", "expected"),
        [([0.9, 0.9, 0.9, 0.9], 0.1), ([0.5, 0.9, 0.7, 0.9], 1.0), ([0.5, 0.8, 0.9, 0.9], 0.2)],
    )
    def test_from_there_on_every_larger_one_suffices(self, accuracy, expected):
        assert smallest_ratio(self.ratios, accuracy, 0.8) == expected

    def test_none_is_an_error(self):
        with pytest.raises(ValueError, match=r"no ratio reaches an accuracy of 0\.950"):
            smallest_ratio(self.ratios, [0.9, 0.9, 0.9, 0.94], 0.95)


class TestMostThatPays:
    @pytest.mark.parametrize(("p", "q"), [(12, 4), (16, 12), (10, 10), (4096, 512), (7, 1)])
    def test_it_is_the_last_number_that_saves_weights(self, p, q):
        k = most_that_pays(p, q)
        assert k * (p + q) < p * q <= (k + 1) * (p + q)

    @pytest.mark.parametrize("k", range(1, 13))
    def test_two_maps_are_held_below_it_and_their_product_above(self, runs, recorded, k):
        """bn4: 12 neurons, read by 4 logits; 3 directions would take as many weights as it has."""
        network = runs[0].network()
        directions = {"bn4": variants(*recorded, keep=1.0)["logits"]["bn4"]}
        small = compressed(network, directions, k / 12)
        assert weights(network) - weights(small) == max(48 - k * (12 + 4), 0)
        assert (weights(small) < weights(network)) == (k <= most_that_pays(12, 4))

    def test_at_shares_that_do_not_pay_anywhere_nothing_is_saved(self, runs, recorded):
        network = runs[0].network()
        directions = variants(*recorded, keep=1.0)["logits"]
        for name, outputs in {"p2": 16, "fc1": 12, "bn3": 12, "fc2": 4, "bn4": 4}.items():
            neurons = len(directions[name].mean)
            assert round(0.8 * neurons) > most_that_pays(neurons, outputs)
        assert weights(compressed(network, directions, 0.8)) == weights(network)
