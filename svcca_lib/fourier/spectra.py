"""Images become spectra, the distinct frequencies of them.

Real images have conjugate spectra, so that the frequencies f and -f give the same correlations:
each pair is computed once and counted twice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from svcca_lib._linalg import empty, on_cpu, one_thread_each
from svcca_lib.fourier.grid import Size, grid_of, runs_of

CHUNK = 2**18  # values transformed at a time: the FFT's temporaries stay small


def transformed(images: Tensor, mean: Tensor, out: Tensor | None = None) -> Tensor:
    """Orthonormal DFT of images (n, c, h, w) less their mean, (frequencies, n, c).

    The mean is taken off before the transform: a large mean would leave its rounding everywhere.
    """
    n, c, h, w = images.shape
    if out is None:
        out = empty((len(grid_of((h, w)).keys), n, c), images, images.dtype.to_complex())
    rows = max(1, CHUNK // (c * h * w))

    def at(first: int) -> None:
        chunk = images[first : first + rows] - mean
        spectra = torch.fft.rfft2(chunk, norm="ortho").flatten(2).permute(2, 0, 1)
        for run, places in runs_of((h, w)):
            out[run, first : first + rows] = spectra[places]

    starts = range(0, n, rows)
    if on_cpu(images):
        one_thread_each(at, starts)  # a chunk stays in the cache of its core
    else:
        for first in starts:
            at(first)
    return out


def size_of(images: Tensor) -> Size:
    """Height and width of images (n, c, h, w)."""
    return images.shape[2], images.shape[3]
