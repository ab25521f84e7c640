"""What can be read from a layer: a linear probe for the classes."""

from __future__ import annotations

import numpy as np


def probe(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> float:
    """Accuracy of a linear probe: least squares on one column a class, the largest one wins."""
    targets = np.eye(labels.max() + 1)[labels]
    with_bias = [np.hstack([x, np.ones((len(x), 1))]) for x in (train, test)]
    weights = np.linalg.lstsq(with_bias[0], targets, rcond=None)[0]
    return float(((with_bias[1] @ weights).argmax(axis=1) == test_labels).mean())
