"""Layers that several tests of inference share."""

import numpy as np


def related(seed=0, n=60, p=6, q=4, signal=1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) + 2.0
    return x, signal * x[:, :q] + rng.normal(size=(n, q))


def images(seed, n=40, size=6, channels=4):
    """Maps whose neighbouring pixels agree: each image has one random level per channel."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(size=(n, channels, 1, 1))
    return levels + 0.1 * rng.normal(size=(n, channels, size, size))
