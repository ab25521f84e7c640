"""Images become spectra, the distinct frequencies of them.

Real images have conjugate spectra, so that the frequencies f and -f give the same correlations:
each pair is computed once and counted twice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from svcca_lib._linalg import empty
from svcca_lib.fourier.grid import Size, grid_of

CHUNK = 2**18  # values transformed at a time: the FFT's temporaries stay small


def transformed(images: Tensor, mean: Tensor, out: Tensor | None = None) -> Tensor:
    """Orthonormal DFT of images (n, c, h, w) less their mean, (frequencies, n, c).

    The mean is taken off before the transform: a large mean would leave its rounding everywhere.
    """
    n, c, h, w = images.shape
    places = torch.tensor(grid_of((h, w)).places, device=images.device)
    if out is None:
        out = empty((len(places), n, c), images, images.dtype.to_complex())
    rows = max(1, CHUNK // (c * h * w))
    for first in range(0, n, rows):
        chunk = images[first : first + rows] - mean
        flat = torch.fft.rfft2(chunk, norm="ortho").reshape(len(chunk) * c, -1)
        # Transposed as a whole and then selected: faster than the other way round.
        some = flat.T.contiguous()[places].view(len(places), len(chunk), c)
        out[:, first : first + rows] = some
    return out


def size_of(images: Tensor) -> Size:
    """Height and width of images (n, c, h, w)."""
    return images.shape[2], images.shape[3]
