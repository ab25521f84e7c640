"""Rows become moments: means and scatter matrices of a layer, or of two, in constant memory.

The second of four stages: inputs, moments, subspace, measures. All that is decomposed or compared
is summed up here, in blocks: streams, and the rows of a layer (`svcca_lib.layer`).

CCA needs a layer only through its second moments, so a stream of any length can be compared: feed
batches to `Moments`, merge what several workers gathered, and give the result to `svcca`. Averaging
CCA over minibatches is a different, meaningless number (0.639 where the true value is 0.059).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from svcca_lib._linalg import difference, empty, mean_of
from svcca_lib.inputs import Rows, rows_of
from svcca_lib.lengths import Lengths
from svcca_lib.pair_moments import Batch, PairMoments

# Datapoints converted, centred and multiplied at a time: they stay in the cache.
BLOCK = 2000


class Moments(PairMoments):
    """Streaming first and second moments of one layer, or of a pair of layers.

    Feed either single layers (``update(x)``) or pairs (``update(x, y)``) of shape (batch, p) and
    (batch, q), never both to one object. Batches may have any size, one row included.

    Attributes
    ----------
    n : int
        Datapoints seen so far.
    mean_x, mean_y : Tensor, shape (p,) and (q,)
        Means over the datapoints, float64.
    xx, yy, xy : Tensor, shape (p, p), (q, q) and (p, q)
        Scatter matrices ``sum_i (x_i - mean_x) (y_i - mean_y)^T``, float64; divide by ``n - 1`` for
        covariances. `yy` and `xy` are None for a single layer.

    Notes
    -----
    Squaring the data squares its condition number: from moments, directions whose singular value is
    below about 1e-7 of the largest cannot be told from rounding and are cut. After SVCCA's cut at
    99 % of the variance this never matters; for raw CCA of an ill-conditioned layer give the arrays
    themselves to `cca`.

    Beside the moments a few vectors are kept (`svcca_lib.lengths`), from which the debiased CKA of
    the stream is exact.

    References
    ----------
    Chan, Golub, LeVeque, "Algorithms for computing the sample variance", The American
    Statistician 37 (1983).

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import Moments, svcca
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(900, 5)); y = x @ rng.normal(size=(5, 4))
    >>> m = Moments()
    >>> for rows in np.split(np.arange(900), 9):
    ...     m.update(x[rows], y[rows])
    >>> abs(svcca(m).similarity - svcca(x, y).similarity) < 1e-12
    True
    """

    _SIZES = 2  # p, q

    def _allocate(self, layout: tuple[int, ...], device: torch.device) -> None:
        super()._allocate(layout, device)
        self._lengths = Lengths.about(self.means)

    @staticmethod
    def _checked(x: Any, name: str) -> Rows:
        return rows_of(x, name, min_rows=1)

    @staticmethod
    def _step(layers: Sequence[Rows]) -> int:
        return BLOCK if layers[0].device.type == "cpu" else len(layers[0])

    @staticmethod
    def _block(rows: Rows, start: int, stop: int, buffer: Tensor | None) -> Batch:
        values = rows.block(start, stop).detach()
        n, p = values.shape
        if buffer is None:
            buffer = empty((n + 1, p), values)
        mean = mean_of(values)
        centred = difference(values, mean, buffer[:n])
        return Batch((p,), centred, mean, buffer, rows.rounding)


class Swept(Moments):
    """Moments of rows that are at hand: what needs the rows' lengths can look at the rows."""

    def _allocate(self, layout: tuple[int, ...], device: torch.device) -> None:
        super()._allocate(layout, device)
        self._lengths = None
