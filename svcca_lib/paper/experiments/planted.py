"""Layers whose relation is known because it was put there: what CCA must find, and what fools it.

References
----------
Raghu et al. 2017, Appendix B and Figure App.1.
"""

from __future__ import annotations

import numpy as np

from svcca_lib import cca


def distorted(neurons: np.ndarray, seed: int) -> np.ndarray:
    """Permute, rotate and scale neurons, (n, p): none looks as before, in the same subspace."""
    rng = np.random.default_rng(seed)
    p = neurons.shape[1]
    # Of several rotations, the one that is farthest from leaving some neuron as it is.
    rotation = min((_rotation(p, rng) for _ in range(20)), key=lambda r: np.abs(r).max())
    scales = rng.uniform(0.5, 4.0, size=p)
    mixed: np.ndarray = neurons[:, rng.permutation(p)] @ rotation * scales
    return mixed


def turned(neurons: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate three neurons, (n, 3), about the axis on which all three are equal.

    By 120 degrees each takes the place of the next: a permutation is a rotation too.
    """
    if neurons.shape[1] != 3:
        raise ValueError(f"expected three neurons, as columns; got shape {neurons.shape}")
    axis, angle = np.full(3, 3**-0.5), np.deg2rad(degrees)
    along = np.outer(axis, axis)
    across = np.cross(np.eye(3), axis)
    rotation = np.cos(angle) * np.eye(3) + (1 - np.cos(angle)) * along + np.sin(angle) * across
    rotated: np.ndarray = neurons @ rotation
    return rotated


def recovered(neurons: np.ndarray, layer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find each neuron, (n, p), in a layer, (n, q): the direction that correlates most with it.

    One CCA per neuron, of that neuron alone with the whole layer. The canonical variates are given
    mean and variance of the neuron, which CCA does not see. Returns these directions, (n, p), and
    their correlations, (p,).
    """
    directions, correlations = [], []
    for neuron in neurons.T:
        result = cca(neuron[:, None], layer)
        variate = (layer - layer.mean(axis=0)) @ result.y_weights[:, 0]
        # Of the two signs of a variate, the one of the neuron's own.
        sign = np.sign((neuron - neuron.mean()) @ variate)
        directions.append(neuron.mean() + sign * neuron.std() * variate / variate.std())
        correlations.append(result.correlations[0])
    return np.stack(directions, axis=1), np.array(correlations)


def shared_directions(
    n: int = 5000, shared: int = 50, extra: int = 150, noise: float = 0.03, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three layers: two contain the first, one with noise added, one with other useful directions.

    A is (n, shared), B and C are (n, shared + extra), each in a random basis, so that no single
    neuron is signal or noise. The extra directions of B have the standard deviation `noise`; those
    of C, like all others, have 1.
    """
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, shared))
    small, large = rng.normal(size=(2, n, extra))
    b, c = (
        np.hstack([a, more]) @ _rotation(shared + extra, rng) for more in (noise * small, large)
    )
    return a @ _rotation(shared, rng), b, c


def _rotation(p: int, rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(p, p)))
    return q * np.sign(np.diag(r))  # uniform over the orthogonal group
