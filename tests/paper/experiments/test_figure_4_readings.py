"""The scan of readings against the paper's Figure 4: each cell, each score, and the choice."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from svcca_lib import capture, positions_as_neurons, svcca
from svcca_lib.paper.experiments import figure_4_readings, published
from svcca_lib.paper.experiments.figure_4_agreement import (
    JUDGING,
    agreement,
    chosen,
    constant,
    table,
)
from svcca_lib.paper.experiments.figure_4_readings import (
    PERCENTS,
    READINGS,
    Score,
    Sums,
    read,
    scan,
)
from svcca_lib.paper.experiments.inputs import images_of
from svcca_lib.paper.training.config import TrainConfig
from svcca_lib.paper.training.networks import NetworkConfig
from svcca_lib.paper.training.trained import train

CORNERS = "4 places near the corners"
PLAIN = Score(squared=False, divisor="fewer kept", less_chance=False)
SQUARES = Score(squared=True, divisor="fewer kept", less_chance=False)


@pytest.fixture(scope="module")
def run(digits, store):
    network = NetworkConfig("convnet", (1, 8, 8), 10, width=4, fc=(9, 7))
    config = TrainConfig(
        network,
        digits.fingerprint,
        steps=20,
        batch_size=32,
        evaluations=1,
        checkpoints=(0.0, 0.35, 0.75, 1.0),
    )
    return train(config, digits, store)


@pytest.fixture(scope="module")
def found(run, digits, store):
    cuts = ("99 % of the singular values", "nothing cut")
    return scan(run, digits, store, images=200, readings=(CORNERS, "spatial means"), cuts=cuts)


def test_a_cell_is_the_svcca_of_the_layers_as_they_are_read(run, digits, found):
    batch = images_of(digits, 200, "test").inputs
    early, late = (capture(run.network(f), ["c2", "fc1", "in"], batch) for f in (0.35, 1.0))
    labels = run.network().labels
    sums = found[CORNERS, "99 % of the singular values"]
    places = READINGS[CORNERS]
    x, y = positions_as_neurons(early["c2"], places), positions_as_neurons(late["c2"], places)
    pixels = late["in"].flatten(1)
    for row, column, left, right in (
        ("c2", "c2", x, y),
        ("c2", "in", x, pixels),
        ("fc1", "c2", early["fc1"], y),
    ):
        cell = 1, labels.index(row), labels.index(column)
        for score in (PLAIN, SQUARES):
            expected = svcca(left, right, energy="singular_values", squared=score.squared)
            assert sums.scored(score)[cell] == pytest.approx(expected.similarity, abs=1e-9)
            less = replace(score, less_chance=True)
            calibrated = (expected.similarity - expected.chance) / (1 - expected.chance)
            assert sums.scored(less)[cell] == pytest.approx(calibrated, abs=1e-9)
        of_more = sums.scored(replace(PLAIN, divisor="more kept"))[cell]
        kept = sorted((expected.x_kept, expected.y_kept))
        plain = svcca(left, right, energy="singular_values").similarity
        assert of_more == pytest.approx(plain * kept[0] / kept[1], abs=1e-9)


def test_the_end_is_itself_under_every_reading(found):
    for sums in found.values():
        for score in (PLAIN, SQUARES, replace(SQUARES, less_chance=True)):
            np.testing.assert_allclose(sums.scored(score)[-1].diagonal(), 1, atol=1e-9)


def test_independent_layers_score_zero_less_chance():
    rng = np.random.default_rng(0)
    n, p, q = 400, 30, 12
    draws = []
    for _ in range(30):
        bases = (np.linalg.qr(rng.normal(size=(n, k)))[0] for k in (p, q))
        a, b = (basis - basis.mean(0) for basis in bases)
        a, b = np.linalg.qr(a)[0], np.linalg.qr(b)[0]
        draws.append(np.linalg.svd(a.T @ b, compute_uv=False))
    rho = np.array(draws)
    kept = np.array([[p, q], [p, q]])
    cells = np.zeros((2, 2, 2))
    cells[:, 0, 1] = rho.sum(1).mean()
    squares = np.zeros((2, 2, 2))
    squares[:, 0, 1] = (rho**2).sum(1).mean()
    sums = Sums(n, cells, squares, kept)
    for score in (PLAIN, SQUARES):
        assert sums.scored(score)[0, 0, 1] > 0.07
        less = sums.scored(replace(score, less_chance=True))[0, 0, 1]
        assert less == pytest.approx(0, abs=0.01)


def test_layers_that_fill_the_datapoints_tell_nothing_less_chance():
    kept = np.array([[9, 9]])
    sums = Sums(10, np.full((1, 2, 2), 9.0), np.full((1, 2, 2), 9.0), kept)
    assert (sums.scored(replace(PLAIN, less_chance=True)) == 0).all()
    assert (sums.scored(PLAIN) == 1).all()


def test_convolutions_are_read_at_places_the_input_whole_and_vectors_as_they_are():
    rng = torch.Generator().manual_seed(0)
    layers = {
        "in": torch.randn(6, 3, 4, 4, generator=rng),
        "c1": torch.randn(6, 5, 4, 4, generator=rng),
        "fc": torch.randn(6, 7, generator=rng),
    }
    shapes = {name: tuple(x.shape) for name, x in read(layers, READINGS["16 places"]).items()}
    assert shapes == {"in": (6, 48), "c1": (6, 80), "fc": (6, 7)}
    # A place a pixel: what is read is the layer, its axes in another order.
    whole = read(layers, READINGS["16 places"])["c1"].view(6, 16, 5)
    assert torch.equal(whole.movedim(1, 2).flatten(2), layers["c1"].flatten(2))
    assert torch.allclose(read(layers, ())["c1"].float(), layers["c1"].mean((2, 3)), atol=1e-6)


@pytest.mark.parametrize("figure", ["conv", "res"])
def test_the_papers_own_panels_agree_with_themselves(figure):
    labels = published.figure_4(figure, 0)[0]
    panels = np.stack([published.figure_4(figure, percent)[1] for percent in PERCENTS])
    itself = agreement(panels, labels, figure)
    np.testing.assert_allclose(itself.rank, 1)
    np.testing.assert_allclose(itself.rmse, 0)
    # In other units the ranks are the same, and the distance is what was added.
    moved = agreement(panels + 0.2, labels, figure)
    np.testing.assert_allclose(moved.rank, 1)
    assert moved.over(JUDGING) == (pytest.approx(1), pytest.approx(0.2))
    flat = agreement(np.full_like(panels, panels[[1, 2]].mean()), labels, figure)
    assert flat.over(JUDGING) == (0, pytest.approx(constant(figure, JUDGING)))


def test_a_planted_computation_is_found_and_the_judging_panels_do_not_choose():
    labels = published.figure_4("conv", 0)[0]
    panels = np.stack([published.figure_4("conv", percent)[1] for percent in PERCENTS])
    kept = np.full((4, 16), 40)
    rng = np.random.default_rng(0)

    def scans(judged):
        # Squares that give the paper's cells; correlations, and the other cut, in disorder.
        disorder = rng.uniform(size=panels.shape)
        squares = 40 * panels
        squares[[1, 2]] = judged
        right = Sums(10_000, 40 * disorder, squares, kept)
        wrong = Sums(10_000, 40 * disorder, 40 * rng.uniform(size=panels.shape), kept)
        return [{("centre", "nothing cut"): wrong, (CORNERS, "nothing cut"): right}]

    judging = panels[[1, 2]]
    for judged, rank in ((judging, 1), (1 - judging, -1)):  # however badly it does there
        ways = table(scans(40 * judged), labels, "conv")
        assert len(ways) == 2 * 12
        best = chosen(ways)
        assert (best.reading, best.score.squared) == (CORNERS, True)
        assert best["rank"] == pytest.approx(rank)


def test_the_range_is_that_of_the_networks():
    labels = published.figure_4("conv", 0)[0]
    panels = np.stack([published.figure_4("conv", percent)[1] for percent in PERCENTS])
    kept = np.full((4, 16), 40)
    exact, opposite = (
        {("centre", "nothing cut"): Sums(10**6, 40 * m, 40 * m, kept)} for m in (panels, 1 - panels)
    )
    ways = table([exact, opposite], labels, "conv")
    plain = ways[ways["score"] == PLAIN].iloc[0]
    assert (plain["lowest"], plain["highest"]) == (pytest.approx(-1), pytest.approx(1))
    assert plain["rank"] == pytest.approx(0)


def test_what_was_scanned_is_kept(run, digits, store, found, monkeypatch):
    monkeypatch.setattr(figure_4_readings, "_compared", None)
    cuts = ("99 % of the singular values", "nothing cut")
    ways = (CORNERS, "spatial means")
    again = scan(run, digits, store, images=200, readings=ways, cuts=cuts)
    for way, sums in again.items():
        np.testing.assert_array_equal(sums.squares, found[way].squares)
