"""Layers of two architectures against each other: what the matrix of Figure 7 shows.

The matrix itself is `dynamics.layer_matrices` with the other network as the finished one. Here are
the few numbers that say in words what it shows. A cell is a matter of all spatial frequencies only
where the two layers have one spatial size, so these are the cells that are averaged.

References
----------
Raghu et al. 2017, section 4.4, Figure 7.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from svcca_lib import capture
from svcca_lib.paper.training.networks import Network


def spatial_sizes(network: Network, inputs: Sequence[int]) -> tuple[int, ...]:
    """Height of each layer of a network for images of shape (c, h, w), 1 for vectors."""
    outputs = capture(network, network.layers, torch.zeros(2, *inputs))
    return tuple(
        outputs[name].shape[2] if outputs[name].ndim == 4 else 1 for name in network.layers
    )


def same_size_means(
    matrix: np.ndarray, rows: Sequence[int], columns: Sequence[int]
) -> dict[int, float]:
    """Average the cells of layers of one spatial size: height, the largest first -> mean.

    Of the (rows, columns) matrix, from the input upward, with the height of each layer. The inputs
    and vectors are left out.
    """
    a, b = np.array(rows), np.array(columns)
    a[0] = b[0] = 0  # the input is the same in both networks
    sizes = sorted({int(size) for size in a if size > 1 and size in b}, reverse=True)
    return {size: float(matrix[np.ix_(a == size, b == size)].mean()) for size in sizes}


def size_blocks(matrix: np.ndarray, rows: Sequence[int], columns: Sequence[int]) -> np.ndarray:
    """Average the cells of all pairs of spatial sizes: (sizes of rows, sizes of columns).

    The largest size first; the inputs and vectors are left out. See `same_size_means`.
    """
    heights = [np.array(side) for side in (rows, columns)]
    for side in heights:
        side[0] = 0
    over = [sorted({int(size) for size in side if size > 1}, reverse=True) for side in heights]
    a, b = heights
    return np.array(
        [[matrix[np.ix_(a == row, b == column)].mean() for column in over[1]] for row in over[0]]
    )


def best_matches(matrix: np.ndarray, margin: float = 0.01) -> np.ndarray:
    """Position of the column nearest to each row of a whole network's matrix, (rows - 3,).

    The first row and column, the input, and the last two, logits and softmax, which training makes
    alike in all networks, are left out. Columns within `margin` of the nearest are as near as it
    is: the mean of their positions in the whole matrix counts.
    """
    inner = matrix[1:-2, 1:-2]
    near = inner >= inner.max(axis=1, keepdims=True) - margin
    positions = 1.0 + np.arange(inner.shape[1])
    matches: np.ndarray = near @ positions / near.sum(axis=1)
    return matches
