"""Images become moments at every frequency: in one pass over arrays, or streamed.

What `svcca_lib.moments` is to layers without space, with one more axis.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from svcca_lib.errors import same_kind, same_rows
from svcca_lib.fourier.blocks import products, select
from svcca_lib.fourier.grid import Size, grid_of, shared_frequencies
from svcca_lib.fourier.spectra import Transform, joint_products, size_of
from svcca_lib.inputs import Rows, images_of
from svcca_lib.moments import Batch, PairMoments


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
    numpy : bool
        Whether the layer came as NumPy.
    """

    name: str
    n: int
    size: Size
    gram: Tensor
    spectra: Callable[[], Tensor] | None
    numpy: bool


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
        ((mean, scatter),) = layer.only(name)
        gram = _without_constants(scatter, mean, layer.n)
        return SpectralMoments(name, layer.n, layer.size, gram, None, layer.numpy)
    spectra = Transform(layer.values).everything()
    return _of_rows(layer, products(spectra, spectra), lambda: spectra)


def joint_moments_of(x: Rows, y: Rows) -> tuple[SpectralMoments, SpectralMoments, Tensor]:
    """Sum up two layers in one pass, and their products at the shared frequencies, (F, c1, c2).

    Raises
    ------
    ValueError
        If they differ in datapoints, precision or device.
    """
    same_rows(len(x.values), len(y.values))
    same_kind(*((z.values.dtype, z.values.device) for z in (x, y)))
    a, b = Transform(x.values), Transform(y.values)
    xx, yy, xy = joint_products(a, b)
    # Spectra are asked for where the Gram matrix falls short.
    first = _of_rows(x, xx, functools.cache(a.everything))
    return first, _of_rows(y, yy, functools.cache(b.everything)), xy


def _of_rows(layer: Rows, gram: Tensor, spectra: Callable[[], Tensor]) -> SpectralMoments:
    images = layer.values
    return SpectralMoments(layer.name, len(images), size_of(images), gram, spectra, layer.numpy)


def _without_constants(gram: Tensor, mean: Tensor, n: int) -> Tensor:
    """Set to zero what is left of constant channels: the rounding of their batch means."""
    squares = gram.diagonal(dim1=-2, dim2=-1).real  # (F, c)
    largest = mean.abs().amax(0)  # of any frequency: the DFT spreads rounding over all of them
    constant = squares <= n * (8 * torch.finfo(squares.dtype).eps * largest) ** 2
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
    def batch(x: Any, name: str) -> Batch:
        """Check a batch of one layer and transform it."""
        transform = Transform(images_of(x, name, min_rows=1).values)
        sizes = tuple(transform.images.shape[1:])
        return Batch(sizes, transform.everything(), transform.of_mean())

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
