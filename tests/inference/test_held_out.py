"""Correlations where they were not fitted, on data whose answer is known."""

import re
import warnings

import numpy as np
import pytest
import torch
from layers import images, related
from oracles import planted

from svcca_lib import (
    Moments,
    Subspace,
    cca,
    channels_as_neurons,
    held_out_cca,
    image_of_row,
    svcca,
)
from svcca_lib.inference import held_out


def streamed():
    moments = Moments()
    moments.update(related()[0])
    return moments


def test_what_cca_finds_in_noise_is_gone_on_held_out_data():
    rng = np.random.default_rng(5)
    runs = []
    for _ in range(10):
        x, y = rng.normal(size=(500, 50)), rng.normal(size=(500, 50))
        assert cca(x, y).similarity == pytest.approx(0.27, abs=0.02)
        runs.append(held_out_cca(x, y))
    assert np.mean([r.fitted for r in runs]) == pytest.approx(0.305, abs=0.02)
    assert abs(np.mean([r.similarity for r in runs])) < 0.01
    assert max(abs(r.similarity) for r in runs) < 0.03


def test_planted_correlations_survive_on_held_out_data():
    rhos = [0.9, 0.6, 0.3]
    x, y = planted(np.random.default_rng(6), 5000, rhos, 3, 3)
    r = held_out_cca(x, y)
    np.testing.assert_allclose(r.correlations, rhos, atol=0.03)
    assert r.similarity == pytest.approx(0.6, abs=0.02)
    assert r.similarity <= r.fitted + 0.01


@pytest.mark.parametrize("keep", [1.0, 0.7])
def test_held_out_correlations_are_those_of_the_definition(keep):
    x, y = related(n=50)
    r = held_out_cca(x, y, keep=keep, folds=4, seed=2)
    parts = np.array_split(np.random.default_rng(2).permutation(50), 4)
    rhos, fitted = [], []
    for test in parts:
        train = np.setdiff1d(np.arange(50), test)
        fit = svcca(x[train], y[train], keep=keep)
        hx, hy = x[test] @ fit.x_weights, y[test] @ fit.y_weights
        rhos.append([np.corrcoef(a, b)[0, 1] for a, b in zip(hx.T, hy.T, strict=True)])
        fitted.append(fit.similarity)
    k = min(len(rho) for rho in rhos)
    np.testing.assert_allclose(r.folds, [np.mean(rho) for rho in rhos], atol=1e-10)
    np.testing.assert_allclose(
        r.correlations, np.mean([rho[:k] for rho in rhos], axis=0), atol=1e-10
    )
    assert r.similarity == pytest.approx(np.mean(r.folds), abs=1e-12)
    assert r.fitted == pytest.approx(np.mean(fitted), abs=1e-12)


def test_groups_are_held_out_whole():
    # Pixels of one image on both sides of the split would let noise generalise.
    a, b = images(7, channels=12), images(8, channels=12)
    x, y = channels_as_neurons(a), channels_as_neurons(b)
    by_pixel, by_image = held_out_cca(x, y), held_out_cca(x, y, groups=image_of_row(a))
    assert by_pixel.similarity > 0.3
    assert abs(by_image.similarity) < 0.1


def test_fewer_datapoints_than_neurons_do_not_generalise_and_do_not_warn():
    rng = np.random.default_rng(9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        r = held_out_cca(rng.normal(size=(40, 50)), rng.normal(size=(40, 50)))
    assert r.fitted == pytest.approx(1, abs=1e-6)
    assert abs(r.similarity) < 0.1


def test_a_layer_silent_on_a_fold_predicts_nothing_there():
    x = np.random.default_rng(10).normal(size=(12, 1))
    silent = np.arange(12) // 4 == 1
    x[silent] = 0.0
    r = held_out_cca(x, x + 0.0, folds=3, groups=np.arange(12) // 4)
    np.testing.assert_allclose(sorted(r.folds), [0, 1, 1], atol=1e-12)


def test_held_out_numpy_in_numpy_out_torch_in_torch_out():
    x, y = related()
    a, b = held_out_cca(x, y), held_out_cca(torch.from_numpy(x), torch.from_numpy(y))
    assert a.similarity == b.similarity
    assert isinstance(a.folds, np.ndarray)
    assert isinstance(a.correlations, np.ndarray)
    assert isinstance(b.folds, torch.Tensor)
    assert isinstance(b.correlations, torch.Tensor)
    assert a.folds.shape == (5,)
    assert not np.array_equal(a.folds, held_out_cca(x, y, seed=1).folds)
    low = held_out_cca(x, y, precision="float32")
    assert low.folds.dtype == np.float32
    assert low.similarity == pytest.approx(a.similarity, abs=1e-3)
    by_value = held_out_cca(x, y, keep=0.9, energy="singular_values")
    assert by_value.similarity != held_out_cca(x, y, keep=0.9).similarity


def test_rows_are_fitted_in_the_precision_they_came_in(monkeypatch):
    # How much of the data is rounding depends on it.
    seen = []
    monkeypatch.setattr(
        held_out, "svcca", lambda a, b, **k: seen.append(a.dtype) or svcca(a, b, **k)
    )
    x, y = (z.astype(np.float32) for z in related())
    held_out_cca(x, y)
    assert set(seen) == {np.dtype(np.float32)}


def test_a_gradient_is_not_asked_of_the_fit():
    x, y = map(torch.from_numpy, related())
    r = held_out_cca(x.requires_grad_(), y)
    assert r.similarity == held_out_cca(x.detach(), y).similarity
    assert not r.correlations.requires_grad


X, Y = related()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: held_out_cca(X, Y[:9]),
            ValueError,
            "x and y must be responses to the same datapoints, row by row; "
            "got 60 rows in x and 9 in y",
        ),
        (
            lambda: held_out_cca(X, Y, folds=1),
            ValueError,
            "folds must be a whole number of at least 2; got 1",
        ),
        (
            lambda: held_out_cca(X, Y, folds=21),
            ValueError,
            "each fold needs at least 3 datapoints; folds=21 leaves 2 of 60 rows in 60 groups",
        ),
        (
            lambda: held_out_cca(X, Y, groups=np.arange(60) // 20),
            ValueError,
            "each fold needs at least 3 datapoints; folds=5 leaves 0 of 60 rows in 3 groups",
        ),
        (
            lambda: held_out_cca(X, Y[0]),
            ValueError,
            "y must be 2-D; got shape (4,); reshape it to (datapoints, neurons)",
        ),
        (
            lambda: held_out_cca(X, streamed()),
            TypeError,
            "y must be an array: each fold is decomposed anew; got Moments, which hold no rows",
        ),
        (
            lambda: held_out_cca(Subspace.fit(X), Y),
            TypeError,
            "x must be an array: each fold is decomposed anew; got Subspace",
        ),
    ],
)
def test_bad_input_gets_one_clear_sentence(call, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


def test_result_is_frozen():
    result = held_out_cca(X, Y)
    with pytest.raises(AttributeError):
        result.similarity = 1
