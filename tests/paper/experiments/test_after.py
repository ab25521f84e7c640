"""The experiments of the chapters on later work, against what has to come out of each."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from svcca_lib import Subspace, cca, cka, dft_cca, pairwise, pwcca, svcca
from svcca_lib.paper.data.images import spread
from svcca_lib.paper.data.sources import load
from svcca_lib.paper.experiments import (
    chance_levels,
    component_deletion,
    convergence_clocks,
    definitions,
    matching,
    mistakes,
    subset_translation,
)
from svcca_lib.paper.experiments import signal_and_noise as signals
from svcca_lib.paper.experiments.dynamics import (
    depth_correlation,
    matrix_correlation,
    settling_times,
)
from svcca_lib.paper.experiments.overlapping import jackknife, over_pairs, ring
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.config import TrainConfig
from svcca_lib.paper.training.networks import NetworkConfig
from svcca_lib.paper.training.trained import train

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def runs(digits, store):
    network = NetworkConfig("convnet", (1, 8, 8), 10, width=4, fc=(9, 7))
    configs = [
        TrainConfig(
            network,
            digits.fingerprint,
            seed=seed,
            steps=12,
            batch_size=32,
            evaluations=1,
            checkpoints=(0.0, 0.5, 1.0),
        )
        for seed in (0, 1)
    ]
    return [train(config, digits, store) for config in configs]


# ------------------------------------------------------------------------------------ forks


@pytest.fixture(scope="module")
def six(runs, digits, store):
    return definitions.six_readings(
        *runs, digits, store, layers=("c1", "p2", "fc1"), fractions=(0.0, 1.0), images=150
    )


def outputs(run, layer, digits, images, fraction=1.0):
    inputs = digits.normalised(digits.train_images[spread(len(digits.train_images), images)])
    from svcca_lib import capture

    return capture(run.network(fraction), layer, inputs)[layer]


def test_each_reading_is_the_measure_with_these_options(six, runs, digits):
    for i, (energy, mean) in enumerate(definitions.READINGS):
        a, b = (outputs(run, "p2", digits, 150) for run in runs)
        expected = dft_cca(a, b, keep=0.99, energy=energy, mean_over=mean)
        assert six.seeds[i, 1] == pytest.approx(expected.similarity, abs=1e-9)
        assert six.chance[i, 1] == pytest.approx(expected.chance, abs=1e-9)
    early = outputs(runs[0], "fc1", digits, 150, 0.0)
    late = outputs(runs[0], "fc1", digits, 150)
    assert six.own[0, 0, 2] == pytest.approx(svcca(early, late).similarity, abs=1e-9)


def test_only_the_mean_over_neurons_leaves_a_layer_unlike_itself(six):
    kept = [i for i, (_, mean) in enumerate(definitions.READINGS) if mean != "smaller_layer"]
    np.testing.assert_allclose(six.own[kept, -1], 1, atol=1e-9)
    over = definitions.READINGS.index(("variance", "smaller_layer"))
    np.testing.assert_allclose(six.own[over, -1], six.kept[0] / six.neurons, atol=1e-9)
    assert (six.own[over, -1] < 1).any()


def test_each_reading_has_a_settling_order_and_one_of_the_cells(runs, digits, store):
    layers = ("c1", "p2", "fc1", "fc2", "logits")
    found = definitions.six_readings(
        *runs, digits, store, layers=layers, fractions=(0.0, 1.0), images=150
    )
    in_order = found.bottom_up((0.0, 1.0), 0.8)
    assert [d.rho for d in in_order] == [
        depth_correlation(settling_times((0.0, 1.0), own / own[-1], 0.8)[:-1]).rho
        for own in found.own
    ]
    orders = found.orders()
    assert orders[0] == pytest.approx(1)
    assert orders[4] == pytest.approx(matrix_correlation(found.layers[4], found.layers[0]).rho)
    assert -1 < found.depth_alone < 1
    ratios = found.kept[1] / found.kept[0]  # the sum of singular values cuts less
    assert found.widest_ratio == pytest.approx(ratios.max())


def test_matrices_of_layers_are_symmetric_and_hold_the_end(six):
    np.testing.assert_allclose(six.layers, six.layers.transpose(0, 2, 1))
    np.testing.assert_allclose(six.layers.diagonal(axis1=1, axis2=2), six.own[:, -1], atol=1e-9)
    assert (six.kept[1] >= six.kept[0]).all()  # the sum of singular values cuts less
    assert six.neurons.tolist() == [256, 16, 9]


# ----------------------------------------------------------------------------------- floors


def test_any_two_layers_are_one_when_images_are_few_and_apart_when_many():
    x, y = torch.from_numpy(RNG.normal(size=(2, 400, 20)))
    found = chance_levels.by_sample_size(x, {"same": x, "other": y}, (18, 400))
    for pair in found.pairs.values():
        assert pair["CCA"][0] == pytest.approx(1)
        assert pair["PWCCA"][0] == pytest.approx(1)
    assert found.pairs["same"]["CCA"][1] == pytest.approx(1)
    assert found.pairs["shuffled"]["CCA"][1] < 0.25
    assert abs(found.pairs["shuffled"]["CCA, held out"][1]) < 0.1
    assert abs(found.pairs["shuffled"]["CKA, debiased"][1]) < 0.05
    assert np.isnan(found.pairs["same"]["CCA, held out"][0])  # directions are arbitrary
    assert found.pairs["other"]["SVCCA"][1] == pytest.approx(svcca(x, y).similarity, abs=1e-9)


def test_constant_images_have_a_high_floor_and_white_ones_that_of_pixels():
    n, c, side = 60, 3, 6
    white = torch.from_numpy(RNG.normal(size=(2, n, c, side, side)))
    found = chance_levels.pixel_floors(*white)
    assert found.rows == n * side * side
    assert found.images == pytest.approx(found.closed_form, abs=0.02)
    flat = torch.from_numpy(RNG.normal(size=(2, n, c, 1, 1))).expand(2, n, c, side, side)
    found = chance_levels.pixel_floors(*flat)
    # As many datapoints as images, not as pixels: the floor says so.
    assert found.pixels == pytest.approx(found.closed_form, abs=0.02)
    assert found.images > 4 * found.closed_form
    assert n / 2 < found.effective < 2 * n


# --------------------------------------------------------------------------------- matching


def test_hits_do_not_hang_on_the_last_digits():
    exact = np.array([[0.5, 0.5], [0.1, 0.9]])
    shaken = exact + np.array([[0, 1e-9], [0, 0]])
    assert matching.hits(exact) == 0.75
    assert matching.hits(shaken) == pytest.approx(0.75, abs=1e-6)
    half = np.array([[0.5 - matching.TIE / 2, 0.5], [0.1, 0.9]])  # half as good as the best
    assert matching.hits(half) == pytest.approx((1 / 3 + 1) / 2)


def test_hits_counts_diagonals_shares_ties_and_forgives_neighbours():
    table = np.array([[0.9, 0.1, 0.0], [0.8, 0.7, 0.0], [0.5, 0.5, 0.5]])
    assert matching.hits(table) == pytest.approx((1 + 0 + 1 / 3) / 3)
    assert matching.hits(table, off=1) == pytest.approx((1 + 1 + 2 / 3) / 3)


def test_coordinates_keep_every_distance():
    x = torch.from_numpy(RNG.normal(size=(12, 40)))
    small = matching.coordinates(x)
    assert small.shape == (12, 12)
    np.testing.assert_allclose(torch.cdist(small, small), torch.cdist(x, x), atol=1e-9)
    assert matching.coordinates(x[:, :5]) is not small
    assert matching.coordinates(x[:, :5]).shape == (12, 5)


@pytest.mark.parametrize("reading", ["flattened", "means"])
def test_tables_are_those_of_the_measures(reading, runs, digits, store):
    layers = ("c1", "p2", "fc1")
    found = matching.match(runs, digits, store, layers=layers, images=40, reading=reading)
    read = {
        "flattened": lambda x: x.flatten(1).double(),
        "means": lambda x: (x.mean((2, 3)) if x.ndim == 4 else x).double(),
    }[reading]
    xs, ys = ([read(outputs(run, layer, digits, 40)) for layer in layers] for run in runs)
    assert set(found.tables) == set(matching.INDICES)
    with pytest.warns(match="datapoints") if reading == "flattened" else nothing():
        for index, (measure, options) in matching.INDICES.items():
            if index in ("CCA", "PWCCA") and reading == "flattened":
                continue  # not unique where there are fewer images than neurons
            for i, j, a, b in ((0, 1, xs, ys), (1, 0, ys, xs), (0, 0, xs, xs)):
                expected = pairwise(a, b, measure, **options)
                np.testing.assert_allclose(found.tables[index][i, j], expected, atol=1e-5)


class nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def test_frequencies_are_those_of_dft_cca(runs, digits, store):
    found = matching.match(
        runs, digits, store, layers=("c1", "p2", "fc1"), images=100, reading="dft"
    )
    x, y = outputs(runs[0], "c1", digits, 100), outputs(runs[1], "p2", digits, 100)
    for index, keep in matching.FOURIER_KEEP.items():
        expected = dft_cca(x, y, keep=keep).similarity
        assert found.tables[index][0, 1, 0, 1] == pytest.approx(expected, abs=1e-9)
        assert found.tables[index][1, 0, 1, 0] == pytest.approx(expected, abs=1e-9)


def test_specificity_compares_seeds_with_neighbours():
    tables = np.ones((2, 2, 3, 3))
    tables[0, 0] = tables[1, 1] = [[1, 0.5, 0.1], [0.5, 1, 0.9], [0.1, 0.9, 1]]
    tables[0, 1] = tables[1, 0] = np.diag([0.6, 0.7, 0.95])
    found = matching.Matching({"any": tables}, ("a", "b", "c"), 10)
    np.testing.assert_allclose(found.specificity("any"), [2 / 3, 2 / 3])  # b falls to its neighbour
    np.testing.assert_allclose(found.accuracy("any"), [1, 1])
    equal = matching.Matching({"any": np.ones((2, 2, 3, 3))}, ("a", "b", "c"), 10)
    np.testing.assert_allclose(equal.specificity("any"), [1 / 2, 1 / 2])  # all ties


def test_some_of_the_networks_are_those_alone():
    rng = np.random.default_rng(1)
    tables = rng.normal(size=(4, 4, 3, 3))
    found = matching.Matching({"any": tables}, ("a", "b", "c"), 10).only([1, 3])
    np.testing.assert_array_equal(found.tables["any"][0, 1], tables[1, 3])
    assert len(found.accuracy("any")) == 2


def test_duplicate_rows_are_no_direction():
    """Squared, rounding would be: 1e-8 of the largest, far above what is cut as rounding."""
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.normal(size=(12, 40)))
    x[1] = x[0]
    assert Subspace.fit(matching.coordinates(x)).rank == 10


# ------------------------------------------------------------------------- signal and noise


def test_planted_layers_share_the_signal_and_nothing_else():
    x, y = signals.planted(4000, 20, 5, 0.2)
    rho = cca(x, y).correlations
    assert (rho[:5] > 0.999).all()
    assert rho[5] < 0.2
    assert signals.planted(50, 4, 4, 0.2)[0].shape == (50, 4)
    with pytest.raises(ValueError, match="between 0 and the 4 neurons; got 5"):
        signals.planted(50, 4, 5, 0.2)


def test_real_layers_keep_their_leading_directions_and_variances():
    layer = RNG.normal(size=(500, 8)) * np.geomspace(4, 0.5, 8)
    noisy = signals.noise_of_its_own(layer, 3)
    rho = cca(layer, noisy).correlations
    assert (rho[:3] > 0.99).all()
    assert rho[3] < 0.5
    assert noisy.var() == pytest.approx(layer.var(), rel=0.05)
    np.testing.assert_allclose(signals.noise_of_its_own(layer, 8), layer - layer.mean(axis=0))


def test_what_is_nearly_shared_has_a_pwcca_that_rounding_does_not_decide():
    def moved(own):
        x, y = signals.planted(400, 20, 8, 0.2, own=own)
        turned = x @ np.linalg.qr(np.random.default_rng(1).normal(size=(20, 20)))[0]
        x = turned @ np.linalg.qr(np.random.default_rng(1).normal(size=(20, 20)))[0].T  # rounded
        return abs(
            pwcca(x, y).similarity - pwcca(*signals.planted(400, 20, 8, 0.2, own=own)).similarity
        )

    assert moved(0.01) < 1e-7 < moved(0.0)
    layer = np.random.default_rng(2).normal(size=(500, 8)) * np.geomspace(4, 0.5, 8)
    rho = cca(layer, signals.noise_of_its_own(layer, 3, own=0.01)).correlations
    assert (rho[:3] > 0.99).all()
    assert (np.diff(rho[:3]) < -1e-9).all()  # one apart from the other


def test_below_is_more_than_rounding():
    ours, theirs = np.array([0.5, 1 - 1e-16, 0.9]), np.array([0.7, 1.0, 0.8])
    assert signals.below(ours, theirs, ["few", "all", "some"]) == ["few (by 0.200)"]


def test_indices_by_signal_are_the_measures():
    pair = signals.planted(300, 10, 4, 0.3)
    found = signals.by_signal(lambda d: pair, [4])
    assert found["PWCCA"][0] == pytest.approx(pwcca(*pair).similarity)
    sums = svcca(*pair, energy="singular_values").similarity
    assert found["SVCCA, 99 % of singular values"][0] == pytest.approx(sums)


def test_the_grid_is_measured_once_and_knows_its_corners(store):
    arguments = (store, (6, 800), (4, 8), (0, 4, 8))
    found = signals.grid(*arguments, noise=0.2, draws=1)
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(
        signals.EXPLORED, (2, 2, 3)
    )
    for values in found.values():
        np.testing.assert_allclose(values[1, 0, 1:], 1, atol=1e-6)  # all four neurons are signal
        assert values[1, 1, 0] < 0.2  # no signal, many datapoints
    assert found["PWCCA"][0, 1, 0] == pytest.approx(1)  # n < p
    again = signals.grid(*arguments, noise=0.2, draws=1)
    np.testing.assert_array_equal(again["CKA"], found["CKA"])
    assert [entry.kind for entry in store.entries()].count("explorer") == 1


# ------------------------------------------------------------------------------ translation


def test_what_the_readout_does_not_see_leaves_its_outputs_and_takes_cka_to_its_limit():
    layer, readout = RNG.normal(size=(300, 12)), RNG.normal(size=(4, 12))
    direction = subset_translation.unseen(readout, layer)
    assert np.linalg.norm(direction) == pytest.approx(1)
    np.testing.assert_allclose(readout @ direction, 0, atol=1e-12)
    subset = layer[:, 0] > 0.3
    moved = subset_translation.translated(layer, subset, direction, 1e4)
    np.testing.assert_allclose(moved @ readout.T, layer @ readout.T, atol=1e-6)
    np.testing.assert_allclose(moved[~subset], layer[~subset])
    end = subset_translation.limit(layer, subset)
    assert cka(layer, moved).similarity == pytest.approx(end, abs=1e-4)
    found = subset_translation.attack(layer, subset, direction, (0, 1e4))
    for values in found.values():
        assert values[0] == pytest.approx(1)
    assert found["mean CCA"][1] > 11 / 12 - 1e-6  # all directions but one are as they were
    with pytest.raises(ValueError, match="fewer outputs than neurons"):
        subset_translation.unseen(np.eye(12), layer)


# -------------------------------------------------------------------------------- grounding


def test_probe_reads_what_is_linear_and_no_more():
    x = RNG.normal(size=(400, 6))
    labels = (x[:, 2] > 0).astype(int)
    assert component_deletion.probe(x[:300], labels[:300], x[300:], labels[300:]) > 0.9
    blind = np.delete(x, 2, axis=1)
    assert component_deletion.probe(blind[:300], labels[:300], blind[300:], labels[300:]) < 0.7


def test_deletions_are_seen_over_neurons_and_never_over_directions_kept():
    scales = np.geomspace(3, 0.3, 8)
    layers = [RNG.normal(size=(300, 8)) * scales for _ in range(3)]
    layers[1] = layers[0] @ np.linalg.qr(RNG.normal(size=(8, 8)))[0]  # another basis: no distance
    labels = (layers[0][:, 0] > 0).astype(int)
    found = component_deletion.delete_components(layers, layers, (labels, labels), steps=4)
    assert found.width == found.kept[0] == 8
    assert found.kept[-1] == 1
    for index in ("CCA", "SVCCA", "PWCCA"):
        np.testing.assert_allclose(found.distance[index][0, 0], 0, atol=1e-6)
    np.testing.assert_allclose(
        found.distance["CCA, over neurons"][0, 0], 1 - found.kept / 8, atol=1e-9
    )
    np.testing.assert_allclose(found.distance["Procrustes"][0, 1, 0], 0, atol=1e-9)
    assert (np.diff(found.distance["CKA"][0, 0]) > 0).all()
    for i in (0, 2):
        cut = component_deletion.truncated(layers[i], int(found.kept[2]))
        for j in (0, 2):
            away = 1 - cka(layers[j], cut).similarity
            assert found.distance["CKA"][j, i, 2] == pytest.approx(away)


def test_what_is_noticed_is_set_by_the_seeds():
    whole = np.array([[0, 0.3, 0.9], [0.2, 0.5, 0.9]])
    deletion = component_deletion.Deletion(
        kept=np.array([10, 5, 1]),
        width=10,
        accuracy=np.array([[0.9, 0.9, 0.3], [0.9, 0.8, 0.2]]),
        distance={
            "sees": np.array([whole, [[0.4, 0.5, 0.9], [0, 0.3, 0.5]]]),
            "blind": np.zeros((2, 2, 3)),
        },
    )
    np.testing.assert_allclose(deletion.seeds("sees"), [0.2, 0.4])
    # Two thirds of the way to half of the components; half of the way from there to nine tenths
    np.testing.assert_allclose(deletion.noticed("sees"), [1 / 3, 0.7])
    np.testing.assert_allclose(deletion.lost("sees"), [0, 0.9 - 0.5])
    np.testing.assert_allclose(deletion.noticed("blind"), 1)
    np.testing.assert_allclose(deletion.lost("blind"), [0.6, 0.7])
    assert deletion.grounding("sees")[0] > 0.9
    np.testing.assert_array_equal(deletion.grounding("blind"), 0)
    turned = deletion.only([1, 0])
    np.testing.assert_allclose(turned.noticed("sees"), deletion.noticed("sees")[::-1])


def test_a_winner_falls_short_of_nothing_and_near_scores_share_a_place():
    scores = {"a": np.array([0.9, 0.5, 0.1]), "b": np.array([0.8, 0.3, 0.3])}
    np.testing.assert_allclose(component_deletion.shortfall(scores), [0, 0.5, 0.8])
    np.testing.assert_allclose(component_deletion.mean_ranks(scores, 0.01), [1, 2.25, 2.75])
    near = {"a": np.array([0.900, 0.905])}
    np.testing.assert_allclose(component_deletion.mean_ranks(near, 0.01), [1.75, 1.25])


# -------------------------------------------------------------------------- pairs of networks


def test_the_jackknife_of_a_mean_is_the_values_and_of_pairs_has_their_mean():
    rng = np.random.default_rng(1)
    values = rng.normal(size=6)
    np.testing.assert_allclose(jackknife(6, lambda kept: values[list(kept)].mean()), values)
    pairs = {(i, j): rng.normal() for i in range(5) for j in range(5) if i < j}
    assert over_pairs(pairs).mean() == pytest.approx(np.mean(list(pairs.values())))
    around = {pair: rng.normal() for pair in ring(5)}
    assert over_pairs(around).mean() == pytest.approx(np.mean(list(around.values())))
    with pytest.raises(ValueError, match="at least 3 of them; got 2"):
        over_pairs({(0, 1): 1.0})


def test_the_jackknife_is_as_wide_as_networks_vary():
    """Pairs that are sums of what each network is: 2 x the variance of networks, not of pairs."""
    rng = np.random.default_rng(1)
    found, means = [], []
    for _ in range(400):
        networks = rng.normal(size=5)
        pairs = {(i, j): networks[i] + networks[j] for i in range(5) for j in range(i)}
        found.append(over_pairs(pairs).var(ddof=1) / 5)
        means.append(np.mean(list(pairs.values())))
    assert np.mean(found) == pytest.approx(4 / 5, rel=0.2)
    assert np.var(means) == pytest.approx(4 / 5, rel=0.25)


# ----------------------------------------------------------------------------------- clocks


def test_distances_run_from_one_to_zero_over_layers_with_weights(runs):
    clock = convergence_clocks.distance_clock(runs[0], (0.0, 0.5, 1.0))
    assert clock.layers == ("c1", "c2", "c3", "c4", "c5", "fc1", "fc2", "logits")
    np.testing.assert_allclose(clock.left[0], 1)
    np.testing.assert_allclose(clock.left[-1], 0)
    start, middle, end = (runs[0].network(f).c3.conv.weight for f in (0.0, 0.5, 1.0))
    bias = [runs[0].network(f).c3.conv.bias for f in (0.0, 0.5, 1.0)]
    rest = torch.hypot((middle - end).norm(), (bias[1] - bias[2]).norm())
    way = torch.hypot((start - end).norm(), (bias[0] - bias[2]).norm())
    assert clock.left[1, 2] == pytest.approx(float(rest / way), rel=1e-5)


def test_settling_is_where_the_rest_falls_below_the_threshold():
    clock = convergence_clocks.Clock(
        np.array([0, 0.5, 1]), np.array([[1, 1], [0.5, 0.2], [0, 0]]), ("a", "b")
    )
    np.testing.assert_allclose(clock.settled(0.5), [0.5, 0.3125])


def test_rewinding_a_layer_moves_it_alone_and_takes_statistics_anew(runs, digits):
    end, earlier = runs[0].network(), runs[0].network(0.0)
    images = digits.normalised(digits.train_images[:80])
    before = copy.deepcopy(end.state_dict())
    back = convergence_clocks.rewound(end, earlier, "c1", images)
    for name, value in end.state_dict().items():
        torch.testing.assert_close(value, before[name])  # the finished network is as it was
    torch.testing.assert_close(back.c1.conv.weight, earlier.c1.conv.weight)
    torch.testing.assert_close(back.c4.conv.weight, end.c4.conv.weight)
    below = back.c2(back.c1(images))
    torch.testing.assert_close(back.bn1.running_mean, below.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)
    assert not back.training


def test_losses_are_those_of_whole_networks(runs, digits, store):
    """What is kept below a layer changes nothing: batch norms in training mode agree."""
    clock, loss = convergence_clocks.rewinding_clock(runs[0], digits, store, (0.0, 1.0), 60)
    at = spread(len(digits.train_images), 60), spread(len(digits.test_images), 60)
    train, test = (
        digits.normalised(x[rows])
        for x, rows in zip((digits.train_images, digits.test_images), at, strict=True)
    )
    whole = runs[0].network()
    whole.c3.load_state_dict(runs[0].network(0.0).c3.state_dict())
    for module in whole.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = 1.0
    whole.train()(train)
    logits = whole.eval()(test).double()
    expected = nn.functional.cross_entropy(logits, digits.test_labels[at[1]])
    assert loss[0, clock.layers.index("c3")] == pytest.approx(float(expected), rel=1e-5)


def test_a_network_is_not_changed_by_rewinding_to_its_end(runs, digits, store):
    clock, loss = convergence_clocks.rewinding_clock(runs[0], digits, store, (0.0, 0.5, 1.0), 80)
    assert np.ptp(loss[-1]) < 1e-12
    np.testing.assert_allclose(clock.left[-1], 0)
    assert (clock.left >= 0).all()
    assert loss.shape == (3, 8)


# --------------------------------------------------------------------------------- mistakes


def test_every_mistake_is_one_and_its_remedy_finds_the_truth():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 12), nn.ReLU(inplace=True), nn.BatchNorm1d(12), nn.Linear(12, 5)
    )
    inputs = torch.randn(400, 6) + torch.linspace(-2, 2, 400)[:, None]
    x = torch.randn(400, 10).relu().double()
    y = (0.5 * x + torch.randn(400, 10).relu()).double()
    made = [
        mistakes.shuffled_twice(model, "3", inputs),
        mistakes.not_centred(x, y),
        mistakes.too_few_images(x, y),
        mistakes.averaged_over_batches(x, y, 20),
        mistakes.overwritten(model, "0", inputs),
        mistakes.training_mode(model, "3", inputs, 20),
    ]
    for mistake in made:
        assert mistake.error > 0.05, mistake.name
        if mistake.truth is not None:
            assert mistake.right == pytest.approx(mistake.truth, abs=0.1), mistake.name
    assert made[4].wrong == 0  # nothing negative is left
    broken = mistakes.no_rank_cut(x, y)
    assert broken.wrong > 1 + 1e-3  # no correlation
    assert broken.right == pytest.approx(broken.truth, abs=1e-6)


def test_training_mode_leaves_the_model_as_it_was():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).eval()
    before = copy.deepcopy(model.state_dict())
    mistakes.training_mode(model, "2", torch.randn(60, 4), 20)
    assert not model.training
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_fewer_images_can_turn_a_ranking():
    x = torch.from_numpy(RNG.normal(size=(2000, 20)))
    near = 0.8 * x + 0.6 * torch.from_numpy(RNG.normal(size=(2000, 20)))
    far = 0.4 * x + 0.9 * torch.from_numpy(RNG.normal(size=(2000, 20)))
    mistake = mistakes.without_chance([(x, near), (x, far)], (2000, 25))
    assert mistake.wrong < 0 < mistake.right


def test_the_eight_mistakes_are_those_of_each_function(runs, digits):
    inputs = digits.normalised(digits.train_images[spread(len(digits.train_images), 120)])
    made = mistakes.eight(*runs, inputs, early=0.5, seed=3)
    assert len({m.name for m in made}) == 8
    x, y = (outputs(run, "fc1", digits, 120).double() for run in runs)
    early = outputs(runs[0], "fc1", digits, 120, 0.5).double()
    assert made[1] == mistakes.not_centred(x, y, 3)
    ahead = svcca(x, early).similarity - svcca(x, y).similarity
    assert made[6].right == pytest.approx(ahead, abs=1e-9)


def test_shuffled_pixels_have_a_lower_floor_than_shuffled_images():
    # Each image has a brightness of its own in every pixel: 40 datapoints, not 40 * 36.
    bright = torch.from_numpy(RNG.normal(size=(2, 40, 3, 1, 1)))
    maps = bright + 0.1 * torch.from_numpy(RNG.normal(size=(2, 40, 3, 6, 6)))
    mistake = mistakes.pixels_shuffled(*maps)
    assert mistake.wrong < 0.5 * mistake.right
