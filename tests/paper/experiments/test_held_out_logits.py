import numpy as np
import pytest
import torch

from svcca_lib import SampleSizeWarning, held_out_cca, svcca
from svcca_lib.paper.experiments import held_out_logits
from svcca_lib.paper.experiments.overlapping import jackknife
from svcca_lib.paper.store.store import Store


def made(n=300, p=20, classes=3, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * np.linspace(2, 0.5, p)
    y = x @ rng.normal(size=(p, classes)) + noise * p * rng.normal(size=(n, classes))
    return torch.from_numpy(x), torch.from_numpy(y)


def test_one_cut_gives_the_correlations_of_held_out_cca(monkeypatch):
    """The oracle reads one logit at a time, by CCA."""
    x, y = made()
    for keep in (1.0, 0.9):
        monkeypatch.setattr(held_out_logits, "CUTS", (keep,))
        found = held_out_logits.read({"x": x}, y, folds=5, seed=3)
        for column in range(y.shape[1]):
            expected = held_out_cca(x, y[:, [column]], keep=keep, folds=5, seed=3)
            each = [found.curves([fold])[0, column] for fold in range(5)]
            np.testing.assert_allclose(each, expected.folds, atol=1e-10)


def test_a_layer_that_knows_nothing_reads_nothing_however_many_channels_it_has():
    rng = np.random.default_rng(1)
    x, y = (torch.from_numpy(rng.normal(size=(200, p))) for p in (400, 40))
    found = held_out_logits.read({"x": x}, y).curves()
    assert abs(found.mean()) < 3 / np.sqrt(200 * 40)
    with pytest.warns(SampleSizeWarning):  # CCA alone finds all of it
        assert svcca(x, y[:, :1], keep=1.0).similarity > 0.999


def test_the_cut_finds_signal_that_all_directions_bury(monkeypatch):
    """One loud channel holds the logit, hundreds of quiet ones are noise."""
    rng = np.random.default_rng(2)
    x = 0.1 * rng.normal(size=(300, 250))
    x[:, 0] = 5 * rng.normal(size=300)
    y = x[:, [0]] + rng.normal(size=(300, 1))
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    found = held_out_logits.read({"x": x}, y)
    truth = np.sqrt(25 / 26)
    assert found.curves()[0, 0] == pytest.approx(truth, abs=0.02)
    assert (found.cuts < 1).all()
    monkeypatch.setattr(held_out_logits, "CUTS", (1.0,))
    assert held_out_logits.read({"x": x}, y).curves()[0, 0] < truth - 0.03


def test_leaving_out_one_after_another_is_what_it_says():
    """The oracle fits anew without each image, in directions of all of them."""
    x, y = made(40, 6)
    basis = torch.linalg.svd(x - x.mean(0), full_matrices=False).U
    target = y - y.mean(0)
    expected = []
    for count in (2, 5):
        missed = torch.zeros_like(y)
        for i in range(40):
            others = torch.arange(40) != i
            design = torch.cat([basis[:, :count], torch.ones(40, 1, dtype=torch.float64)], 1)
            slopes = torch.linalg.lstsq(design[others], y[others]).solution
            missed[i] = y[i] - design[i] @ slopes
        expected.append(float((missed.square().sum(0) / target.square().sum(0)).mean()))
    found = held_out_logits._left_out(basis, basis.T @ target, target, (2, 5))
    assert found == pytest.approx(expected)


def test_images_in_the_order_of_their_classes_are_shuffled():
    """Folds of one class each would ask every reading to leave the classes it knows."""
    labels = torch.arange(300) // 30
    x = torch.nn.functional.one_hot(labels).double() + 0.01 * made(300, 10)[0]
    y = x @ torch.linspace(-1, 1, 10, dtype=torch.float64)[:, None]
    assert held_out_logits.read({"x": x}, y).curves()[0, 0] > 0.99


def test_too_few_images_are_an_error():
    x, y = made(20)
    with pytest.raises(ValueError, match="at least 3 images; 20 in 10 folds leave 2"):
        held_out_logits.read({"x": x}, y)


def test_readings_are_kept_and_halves_share_no_image(tmp_path):
    x, y = made(100, 5)
    store = Store(tmp_path)
    once = held_out_logits.held_out_logits({"x": x}, y, store)
    again = held_out_logits.held_out_logits({"x": x}, y, store)
    np.testing.assert_array_equal(once.whole.sums, again.whole.sums)
    assert len(list(store.entries())) == 1
    order = np.random.default_rng(0).permutation(100)
    first = held_out_logits.read({"x": x[order[:50]]}, y[order[:50]])
    np.testing.assert_array_equal(once.halves[0].sums, first.sums)
    # what the other half shows does not reach it
    other = y.clone()
    other[order[50:]] += 5
    changed = held_out_logits.held_out_logits({"x": x}, other, store)
    np.testing.assert_array_equal(once.halves[0].sums, changed.halves[0].sums)
    assert not np.array_equal(once.whole.sums, changed.whole.sums)


class TestAllClasses:
    def test_squared_distances_are_those_of_the_curves_in_the_mean(self):
        rng = np.random.default_rng(0)
        truth = rng.normal(size=(6, 4))
        expected = ((truth[:, :, None] - truth[:, None]) ** 2).mean(0)
        found = held_out_logits.squared_distances(truth, truth)
        np.testing.assert_allclose(found, expected)
        # errors of their own in each half leave the mean where it is
        noisy = [
            held_out_logits.squared_distances(*(truth + rng.normal(size=(2, 6, 4))))
            for _ in range(4000)
        ]
        np.testing.assert_allclose(np.mean(noisy, 0), expected, atol=0.15)
        shared = truth + rng.normal(size=truth.shape)  # errors in common do not
        assert np.abs(held_out_logits.squared_distances(shared, shared) - expected).max() > 0.3

    def test_nearness_of_planted_groups(self):
        group = np.array([0, 0, 1, 1, 1])
        neighbours = (group[:, None] == group) & ~np.eye(5, dtype=bool)
        distances = np.where(group[:, None] == group, 1.0, 4.0) - np.eye(5)
        assert held_out_logits.nearness(distances, neighbours) == pytest.approx(0.25)
        order = np.array([2, 0, 1, 4, 3])
        moved = held_out_logits.nearness(distances[np.ix_(order, order)], neighbours)
        assert held_out_logits.nearness(distances, neighbours, order) == pytest.approx(moved)
        assert moved > 0.25

    def test_classes_that_change_places_have_no_neighbours(self):
        rng = np.random.default_rng(0)
        group = np.arange(60) // 6
        neighbours = (group[:, None] == group) & ~np.eye(60, dtype=bool)
        curves = rng.normal(size=(5, 10))[:, group] + 0.1 * rng.normal(size=(5, 60))
        distances = held_out_logits.squared_distances(curves, curves)
        null = held_out_logits.shuffled_nearness(distances, neighbours, times=99)
        assert held_out_logits.nearness(distances, neighbours) < null.min()
        assert null.mean() == pytest.approx(1, abs=0.05)

    def test_distances_at_so_many_steps(self):
        steps = np.array([[0, 2, 5], [2, 0, 5], [5, 5, 0]])
        distances = np.array([[0, 1.0, 4], [1, 0, 7], [4, 7, 0]])
        assert held_out_logits.at_steps(distances, steps, 2) == pytest.approx(1 / 4)
        assert held_out_logits.at_steps(distances, steps, 5) == pytest.approx(5.5 / 4)
        assert np.isnan(held_out_logits.at_steps(distances, steps, 3))

    def test_lead_is_signed(self):
        curves = np.array([[0.5, 0.7, 0.1], [0.6, 0.8, 0.2]])
        some = np.array([True, True, False])
        assert held_out_logits.lead(curves, some, ~some) == pytest.approx(0.5)
        assert held_out_logits.lead(curves, ~some, some) == pytest.approx(-0.5)


def test_jackknife_over_folds_covers_a_known_correlation():
    """One value a fold: their interval holds the truth about as often as it says."""
    covered = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = torch.from_numpy(rng.normal(size=(200, 2)))
        y = x[:, :1] + torch.from_numpy(rng.normal(size=(200, 1)))
        found = held_out_logits.read({"x": x}, y)
        values = jackknife(10, lambda kept, found=found: float(found.curves(kept)[0, 0]))
        half = 2.262 * values.std(ddof=1) / np.sqrt(10)
        covered += abs(values.mean() - np.sqrt(0.5)) < half
    assert covered >= 33
