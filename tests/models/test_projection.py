"""Projection is least squares in data space, whatever the directions' scale and dependence."""

import re

import numpy as np
import pytest
import torch
from oracles import centred, layer

from svcca_lib import Subspace, project, projection_matrix, svcca

RNG = np.random.default_rng(0)
X = layer(RNG, 120, np.geomspace(5, 0.5, 8))
Y = X @ RNG.normal(size=(8, 6)) + RNG.normal(size=(120, 6))
W = RNG.normal(size=(8, 5))


def by_definition(x, w):
    """The hat matrix of the variates, applied to the centred layer."""
    h = np.linalg.qr(centred(x) @ w)[0]
    return x.mean(axis=0) + h @ h.T @ centred(x)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_projects_by_the_hat_matrix_of_the_leading_variates(k):
    np.testing.assert_allclose(project(X, W, k), by_definition(X, W[:, :k]), atol=1e-10)


def test_all_directions_are_the_default():
    np.testing.assert_array_equal(project(X, W), project(X, W, 5))


def test_every_direction_of_the_layer_gives_the_layer_back():
    np.testing.assert_allclose(project(X, svcca(X, X, keep=1).x_weights), X, atol=1e-10)
    np.testing.assert_allclose(project(X, np.eye(8)), X, atol=1e-10)


def test_it_is_a_projection():
    once = project(X, W, 3)
    np.testing.assert_allclose(project(once, W, 3), once, atol=1e-10)
    residual = X - once
    np.testing.assert_allclose(residual.T @ (centred(X) @ W[:, :3]), 0, atol=1e-9)


def test_nothing_in_the_span_is_closer():
    h = centred(X) @ W[:, :2]
    best = np.linalg.norm(X - project(X, W, 2))
    for _ in range(20):
        other = X.mean(axis=0) + h @ RNG.normal(size=(2, 8))
        assert np.linalg.norm(X - other) > best


def test_mapping_by_the_directions_of_whitened_data_is_no_projection():
    # P^T P Sigma^(-1/2) x leaves most of the layer unexplained at full k.
    r = svcca(X, Y, keep=1)
    covariance = np.cov(X.T)
    values, vectors = np.linalg.eigh(covariance)
    whiten = vectors / np.sqrt(values) @ vectors.T
    p = np.linalg.qr(np.linalg.solve(whiten, r.x_weights))[0].T
    wrong = X.mean(axis=0) + centred(X) @ whiten @ p.T @ p
    full = r.x_weights.shape[1]
    assert np.linalg.norm(X - wrong) > 0.5 * np.linalg.norm(centred(X))
    np.testing.assert_allclose(
        np.linalg.norm(X - project(X, r.x_weights, full)),
        np.linalg.norm(X - by_definition(X, r.x_weights)),
        rtol=1e-9,
    )


def test_directions_by_variance_lose_the_least():
    w = Subspace.fit(X, keep=1).weights
    s = np.linalg.svd(centred(X), compute_uv=False)
    for k in range(1, 9):
        error = np.linalg.norm(X - project(X, w, k)) ** 2
        assert error == pytest.approx((s[k:] ** 2).sum(), abs=1e-9)


@pytest.mark.parametrize("scale", [np.logspace(-12, 12, 5), -np.ones(5), np.full(5, 1e-100)])
def test_the_scale_of_a_direction_does_not_matter(scale):
    np.testing.assert_allclose(project(X, W * scale), project(X, W), atol=1e-9)


def test_dependent_and_idle_directions_add_nothing():
    dead = np.hstack([X, np.zeros((120, 1))])
    w = np.vstack([W, np.zeros((1, 5))])
    idle = np.eye(9)[:, 8:]  # reads only the dead neuron
    many = np.hstack([w, w[:, :1] * 3, w[:, :2] @ [[1.0], [1.0]], idle, np.zeros((9, 1))])
    np.testing.assert_allclose(project(dead, many), project(dead, w), atol=1e-9)
    _, down, up = projection_matrix(dead, many)
    assert np.isfinite(down).all()
    assert np.isfinite(up).all()
    np.testing.assert_allclose(project(dead, idle), np.broadcast_to(dead.mean(0), dead.shape))


def test_directions_blind_to_the_layer_leave_its_mean():
    # Reads the difference of two equal neurons: what is left is rounding, not a direction.
    twin = np.hstack([X[:, :1] + 0.1, X[:, :1] + 0.1, X])
    w = np.zeros((10, 1))
    w[0], w[1] = 1 / 3, -1 / 3
    w[2] = 1e-17
    np.testing.assert_allclose(project(twin, w), np.broadcast_to(twin.mean(0), twin.shape))


def test_maps_reproduce_the_projection_and_apply_to_new_data():
    mean, down, up = projection_matrix(X, W, 3)
    assert mean.shape == (8,)
    assert down.shape == (8, 3)
    assert up.shape == (3, 8)
    np.testing.assert_allclose(mean + (X - mean) @ down @ up, project(X, W, 3), atol=1e-10)
    new = RNG.normal(size=(4, 8))
    restricted = mean + (new - mean) @ down @ up
    assert np.linalg.matrix_rank(restricted - mean) == 3
    again = mean + (restricted - mean) @ down @ up
    np.testing.assert_allclose(again, restricted, atol=1e-9)


def test_numpy_in_numpy_out_torch_in_torch_out():
    t, w = torch.from_numpy(X), torch.from_numpy(W)
    for weights in (W, w):
        assert isinstance(project(X, weights), np.ndarray)
        assert isinstance(project(t, weights), torch.Tensor)
        np.testing.assert_array_equal(project(t, weights).numpy(), project(X, W))
    assert all(isinstance(part, torch.Tensor) for part in projection_matrix(t, W))
    assert all(isinstance(part, np.ndarray) for part in projection_matrix(X, w))


def test_a_single_neuron_has_a_single_direction():
    np.testing.assert_allclose(project(X[:, :1], np.array([[2.0]])), X[:, :1], atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (X, W[:7]),
            ValueError,
            "weights must have one row a neuron of x; got (7, 5) for x of shape (120, 8)",
        ),
        (
            (X, W[:, 0]),
            ValueError,
            "weights must be 2-D; got shape (8,); reshape it to (datapoints, neurons)",
        ),
        ((X, W, 0), ValueError, "k must be a number of directions from 1 to 5; got 0"),
        ((X, W, 6), ValueError, "k must be a number of directions from 1 to 5; got 6"),
        ((X, W, 2.0), ValueError, "k must be a number of directions from 1 to 5; got 2.0"),
        ((X, W, True), ValueError, "k must be a number of directions from 1 to 5; got True"),
        (
            (X, W * np.nan),
            ValueError,
            "weights must be finite; got 40 NaN or infinite values in shape (8, 5)",
        ),
        ((X[:1], W), ValueError, "x needs at least 2 rows (datapoints); got shape (1, 8)"),
    ],
)
def test_bad_input_gets_one_clear_sentence(arguments, error, message):
    for function in (project, projection_matrix):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            function(*arguments)
