"""Images become spectra, and spectra their products at every frequency.

Real images have conjugate spectra, so that the frequencies f and -f give the same correlations:
each pair is computed once and counted twice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from svcca_lib._linalg import empty
from svcca_lib.fourier.blocks import select
from svcca_lib.fourier.grid import Size, grid_of, shared_frequencies
from svcca_lib.moments import accumulate

CHUNK = 2**18  # values transformed at a time: the FFT's temporaries stay small
BLOCK = 2**23  # values whose spectra are multiplied at a time


class Transform:
    """Centred DFT of the images of a layer (n, c, h, w), some of them at a time.

    The mean is taken off before the transform: a large mean would leave its rounding everywhere.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.places = torch.tensor(grid_of(size_of(images)).places, device=images.device)
        self.mean = images.mean(0)
        # Exactly zero once centred, see `svcca_lib.moments.centre`; two images tell of most values
        # that they vary, and only the others are looked at in full.
        constant = images[0] == images[-1]
        constant[constant.clone()] = (images[:, constant] == images[0, constant]).all(0)
        self.constant = constant if bool(constant.any()) else None

    def __call__(self, start: int, stop: int) -> Tensor:
        """Coefficients of the images from `start` to `stop`, (frequencies, images, c)."""
        c, h, w = self.images.shape[1:]
        kind = torch.complex128 if self.images.dtype == torch.float64 else torch.complex64
        spectra = empty((len(self.places), stop - start, c), self.images, kind)
        rows = max(1, CHUNK // (c * h * w))
        for first in range(start, stop, rows):
            last = min(first + rows, stop)
            chunk = self.images[first:last] - self.mean
            if self.constant is not None:
                chunk.masked_fill_(self.constant, 0.0)
            spectra[:, first - start : last - start] = self._dft(chunk)
        return spectra

    def everything(self) -> Tensor:
        """Coefficients of all images, (frequencies, n, c)."""
        return self(0, len(self.images))

    def of_mean(self) -> Tensor:
        """Coefficients of the mean image, (frequencies, c)."""
        return self._dft(self.mean[None])[:, 0]

    def _dft(self, images: Tensor) -> Tensor:
        flat: Tensor = torch.fft.rfft2(images, norm="ortho").reshape(images.shape[:2].numel(), -1)
        # Transposed as a whole and then selected: faster than the other way round.
        return flat.T.contiguous()[self.places].view(len(self.places), *images.shape[:2])


def size_of(images: Tensor) -> Size:
    """Height and width of images (n, c, h, w)."""
    return images.shape[2], images.shape[3]


def joint_products(x: Transform, y: Transform) -> tuple[Tensor, Tensor, Tensor]:
    """``x^H x`` and ``y^H y`` at every frequency, ``x^H y`` at the shared ones, in one pass.

    On a CPU a block of spectra is used up while it is in the cache: all spectra of two layers can
    be gigabytes, and writing and reading those takes longer than the arithmetic.
    """
    n = len(x.images)
    at_x, at_y, _ = shared_frequencies(size_of(x.images), size_of(y.images))
    values = max(t.images[0].numel() for t in (x, y))
    rows = n if x.images.is_cuda else max(1, BLOCK // values)
    p, q = x.images.shape[1], y.images.shape[1]
    kind = torch.complex128 if x.images.dtype == torch.float64 else torch.complex64
    xx, yy, xy = (
        torch.zeros(shape, dtype=kind, device=x.images.device)
        for shape in ((len(x.places), p, p), (len(y.places), q, q), (len(at_x), p, q))
    )
    for start in range(0, n, rows):
        a, b = (t(start, min(start + rows, n)) for t in (x, y))
        accumulate(xx, a, a)
        accumulate(yy, b, b)
        accumulate(xy, select(a, at_x), select(b, at_y))
    return xx, yy, xy
