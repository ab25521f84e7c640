"""Images become moments at every frequency: in one pass over arrays, or streamed.

What `svcca_lib.moments` is to layers without space, with one more axis.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from svcca_lib._linalg import empty, mean_of
from svcca_lib.errors import same_kind, same_rows
from svcca_lib.fourier.blocks import products, select
from svcca_lib.fourier.grid import Size, grid_of, shared_frequencies
from svcca_lib.fourier.spectra import size_of, transformed
from svcca_lib.inputs import Rows, images_of
from svcca_lib.layer import centre, in_range, swept
from svcca_lib.pair_moments import Batch, PairMoments, Sums

BLOCK = 2**23  # values transformed and multiplied at a time


@dataclass(frozen=True, eq=False)
class SpectralMoments:
    """One layer, summed up at every frequency.

    Attributes
    ----------
    name : str
        For errors.
    n : int
        Datapoints (images).
    size : (int, int)
        Height and width.
    gram : Tensor, shape (F, c, c), complex
        Scatter matrices of the channels at the distinct frequencies.
    spectra : callable or None
        Gives the centred coefficients, (F, n, c); None of a layer that was streamed.
    squares : Tensor, shape (c,)
        Mean square of each channel, its mean included: what rounding was relative to. The DFT
        spreads it evenly.
    rounding : float
        Relative error of the numbers as they came, see `svcca_lib.inputs.rounding_of`.
    numpy : bool
        Whether the layer came as NumPy.
    """

    name: str
    n: int
    size: Size
    gram: Tensor
    spectra: Callable[[], Tensor] | None
    squares: Tensor
    rounding: float
    numpy: bool
    scale: float = 1.0


def spectral_moments_of(layer: Rows | FourierMoments, name: str) -> SpectralMoments:
    """Sum up a layer at every frequency.

    Parameters
    ----------
    layer : Rows of shape (n, c, h, w), or FourierMoments of one layer
    name : str
        The argument's name, for errors.

    Raises
    ------
    ValueError
        If `layer` holds moments of no layer, of two, or of fewer than two images.
    """
    if isinstance(layer, FourierMoments):
        return _of_sums(layer, name)
    return _at_once(layer)


def joint_moments_of(x: Rows, y: Rows) -> tuple[SpectralMoments, SpectralMoments, Tensor]:
    """Sum up two layers in one sweep, and their products at the shared frequencies, (F, c1, c2).

    Raises
    ------
    ValueError
        If they differ in datapoints, precision or device, or have a NaN or infinity.
    """
    same_rows(len(x), len(y))
    same_kind(*((z.dtype, z.device) for z in (x, y)))
    moments, rows = swept(FourierMoments, x, y)
    halves = zip(moments.halves(), rows, strict=True)
    a, b = (_of_sums(half, z.name, z) for half, z in halves)
    assert moments.xy is not None  # of two layers
    return a, b, moments.xy.to(x.dtype.to_complex())


def _at_once(layer: Rows) -> SpectralMoments:
    """Sum up one layer; its spectra are kept, for each comparison needs them."""
    images = layer.values
    n, c = images.shape[:2]
    squares = (images.detach() ** 2).movedim(1, 0).reshape(c, -1).mean(1)
    if in_range(layer, squares) is not layer:
        return _at_once(in_range(layer, squares))
    spectra = _spectra(images)
    gram = products(spectra, spectra)
    return SpectralMoments(
        layer.name, n, size_of(images), gram, lambda: spectra, squares, layer.rounding,
        layer.numpy, layer.scale,
    )  # fmt: skip


def _spectra(images: Tensor) -> Tensor:
    """Coefficients of all images, (F, n, c); a value that does not vary is exactly zero."""
    flat, _ = centre(images.detach().flatten(1))
    return transformed(flat.view(images.shape), images.new_zeros(images.shape[1:]))


def _of_sums(moments: FourierMoments, name: str, layer: Rows | None = None) -> SpectralMoments:
    """Moments of one layer; of its images, where there are any."""
    (sums,) = moments.only(name)
    eps = torch.finfo(torch.float64 if layer is None else layer.dtype).eps
    gram = _without_constants(sums, moments.n, eps)
    squares = _squares(sums, moments)
    if layer is None:
        return SpectralMoments(
            name, moments.n, moments.size, gram, None, squares, moments.rounding[0], moments.numpy
        )

    # Asked for where the Gram matrix falls short.
    spectra = functools.cache(lambda: _spectra(layer.values))
    kind = layer.dtype.to_complex()
    return SpectralMoments(
        name, moments.n, moments.size, gram.to(kind), spectra, squares, layer.rounding,
        moments.numpy, layer.scale,
    )  # fmt: skip


def _squares(sums: Sums, moments: FourierMoments) -> Tensor:
    """Mean square of the values of each channel, means included, (c,), by Parseval."""
    height, width = moments.size
    each = sums.scatter.diagonal(dim1=-2, dim2=-1).real / moments.n + sums.mean.abs() ** 2
    twice = torch.tensor(grid_of((height, width)).multiplicities, device=each.device)
    squares: Tensor = (twice[:, None] * each).sum(0) / (height * width)
    return squares


def _without_constants(sums: Sums, n: int, eps: float) -> Tensor:
    """Set to zero what is left of constant channels: the rounding of the means of blocks."""
    mean, gram = sums
    squares = gram.diagonal(dim1=-2, dim2=-1).real  # (F, c)
    largest = mean.abs().amax(0)  # of any frequency: the DFT spreads rounding over all of them
    constant = squares <= n * (8 * eps * largest) ** 2
    if not bool(constant.any()):
        return gram
    return gram.masked_fill(constant[:, :, None] | constant[:, None, :], 0.0)


class FourierMoments(PairMoments):
    """Streaming moments of one or two convolutional layers, one moment a frequency.

    The counterpart of `svcca_lib.Moments` for `dft_cca`: feed batches of layers (batch, c, h, w) or
    (batch, c), merge what several workers gathered (`merge`, `all_reduce`), and give the result to
    `dft_cca`. Memory does not depend on the number of images: about
    ``8 * h * w * (c1**2 + c2**2 + c1 * c2)`` bytes.

    Attributes
    ----------
    n : int
        Images seen so far.
    xx, yy : Tensor, shape (F1, c1, c1) and (F2, c2, c2), complex128
        Scatter matrices at the distinct frequencies of each layer.
    xy : Tensor, shape (F, c1, c2), complex128
        Cross-scatter at the frequencies that both layers have.

    Notes
    -----
    As with `Moments`, directions whose singular value is below about 1e-7 of the largest of their
    frequency cannot be told from rounding and are cut.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import FourierMoments, dft_cca
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(60, 3, 4, 4)), rng.normal(size=(60, 2, 4, 4))
    >>> m = FourierMoments()
    >>> for rows in np.split(np.arange(60), 4):
    ...     m.update(x[rows], y[rows])
    >>> abs(dft_cca(m).similarity - dft_cca(x, y).similarity) < 1e-12
    True
    """

    _SIZES = 6  # c1, h1, w1, c2, h2, w2
    _dtype = torch.complex128

    @property
    def size(self) -> Size:
        """Height and width of the first layer."""
        return self._layout[1], self._layout[2]

    @staticmethod
    def _checked(x: Any, name: str) -> Rows:
        return images_of(x, name, min_rows=1)

    @staticmethod
    def _step(layers: Sequence[Rows]) -> int:
        values = max(math.prod(layer.shape[1:]) for layer in layers)
        return max(1, BLOCK // values) if layers[0].device.type == "cpu" else len(layers[0])

    @staticmethod
    def _block(rows: Rows, start: int, stop: int, buffer: Tensor | None) -> Batch:
        images = rows.block(start, stop).detach()
        mean = mean_of(images.flatten(1)).view(images.shape[1:])
        n, c = images.shape[:2]
        if buffer is None:
            entries = len(grid_of(size_of(images)).keys)
            buffer = empty((entries, n + 1, c), images, images.dtype.to_complex())
        spectra = transformed(images, mean, buffer[:, :n])
        of_mean = transformed(mean[None], torch.zeros_like(mean))[:, 0]
        return Batch(tuple(images.shape[1:]), spectra, of_mean, buffer, rows.rounding)

    @staticmethod
    def _entries(sizes: tuple[int, ...]) -> tuple[int, ...]:
        return (len(grid_of(sizes[1:]).keys),)

    @staticmethod
    def meeting(
        x: Tensor, y: Tensor, x_sizes: tuple[int, ...], y_sizes: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Select the frequencies that both layers have."""
        at_x, at_y, _ = shared_frequencies(x_sizes[1:], y_sizes[1:])
        return select(x, at_x), select(y, at_y)
