r"""DFT-CCA: layers of a convolutional network compared one spatial frequency at a time.

Flattened, a layer of c channels of h x w pixels has c h w neurons, too many for a CCA. On data that
are closed under translation, and through layers that commute with translation, neurons of
different spatial frequency are uncorrelated (Theorems 1 and 2 of the paper): in the Fourier basis
the covariance is block diagonal, one c x c block a frequency. The CCA of the flat layers is then
exactly the union of h w small CCAs. On other data this is an approximation, and the measure is
defined by the blocks.

Real images have conjugate spectra, so that the frequencies f and -f give the same correlations:
each pair is computed once and counted twice.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from svcca_lib._arrays import (
    ArrayLike,
    Precision,
    SampleSizeWarning,
    as_tensor,
    like_input,
    one_of,
    same_rows,
    some_variance,
)
from svcca_lib._frequencies import Size, grid_of, multiplicities_of, shared_frequencies
from svcca_lib._linalg import descending_eigh, empty, inner, singular_values, thin_svd
from svcca_lib.moments import Batch, PairMoments, accumulate
from svcca_lib.similarity import (
    MEASURES,
    MeanOver,
    Measure,
    Side,
    Similarity,
    chance_correlation,
    comparable,
    one_kind,
)
from svcca_lib.subspace import (
    GRAM_IS_SAFE,
    Energy,
    check_cut,
    directions_needed,
    rank_cut,
)

Cut: TypeAlias = Literal["layer", "frequency"]

_CHUNK = 2**18  # values transformed at a time: the FFT's temporaries stay small
_BLOCK = 2**23  # values whose spectra are multiplied at a time


# --- spectra -----------------------------------------------------------------------------------


def _images(x: Any, name: str, precision: Precision = "float64", min_rows: int = 2) -> Tensor:
    """Check a layer; a matrix of vectors becomes images of one pixel."""
    tensor = as_tensor(x, name, ndim=(2, 4), precision=precision, min_rows=min_rows).detach()
    return tensor[:, :, None, None] if tensor.ndim == 2 else tensor  # (n, c, h, w)


class _Transform:
    """Centred DFT of the images of a layer (n, c, h, w), some of them at a time.

    The mean is taken off before the transform: a large mean would leave its rounding everywhere.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.places = torch.tensor(grid_of(_size(images)).places, device=images.device)
        self.mean = images.mean(0)
        # Exactly zero once centred, see `svcca_lib._arrays.centre`; two images tell of most values
        # that they vary, and only the others are looked at in full.
        constant = images[0] == images[-1]
        constant[constant.clone()] = (images[:, constant] == images[0, constant]).all(0)
        self.constant = constant if bool(constant.any()) else None

    def __call__(self, start: int, stop: int) -> Tensor:
        """Coefficients of the images from `start` to `stop`, (frequencies, images, c)."""
        c, h, w = self.images.shape[1:]
        kind = torch.complex128 if self.images.dtype == torch.float64 else torch.complex64
        spectra = empty((len(self.places), stop - start, c), self.images, kind)
        rows = max(1, _CHUNK // (c * h * w))
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


def _size(images: Tensor) -> Size:
    return images.shape[2], images.shape[3]


def _products(x: Tensor, y: Tensor) -> Tensor:
    """``x^H y`` at every frequency, (F, n, p) and (F, n, q) -> (F, p, q)."""
    if x.is_cuda:
        return x.mH @ y
    # On a CPU as real layers of twice the width, (re, im, re, im, ...): the batched complex product
    # would copy x to conjugate it, and knows of no symmetry.
    p, q = x.shape[2], y.shape[2]
    products = torch.empty(len(x), p, q, dtype=x.dtype)
    for product, a, b in zip(products, x, y, strict=True):
        parts = inner(*(torch.view_as_real(t).flatten(1) for t in (a, b)))
        parts = parts.view(p, 2, q, 2)
        product.real = parts[:, 0, :, 0] + parts[:, 1, :, 1]
        product.imag = parts[:, 0, :, 1] - parts[:, 1, :, 0]
    return products


def _joint_products(x: _Transform, y: _Transform) -> tuple[Tensor, Tensor, Tensor]:
    """``x^H x`` and ``y^H y`` at every frequency, ``x^H y`` at the shared ones, in one pass.

    On a CPU a block of spectra is used up while it is in the cache: all spectra of two layers can
    be gigabytes, and writing and reading those takes longer than the arithmetic.
    """
    n = len(x.images)
    at_x, at_y, _ = shared_frequencies(_size(x.images), _size(y.images))
    values = max(t.images[0].numel() for t in (x, y))
    rows = n if x.images.is_cuda else max(1, _BLOCK // values)
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
        accumulate(xy, _select(a, at_x), _select(b, at_y))
    return xx, yy, xy


def _by_field(decompose: Callable[[Tensor], Any], matrices: Tensor, real: int) -> Any:
    """Decompose a batch of matrices, the first `real` of them in real arithmetic.

    At its own conjugate a frequency of real images is real; in complex arithmetic, equal singular
    values could mix its directions into complex ones.
    """
    parts = [decompose(part) for part in (matrices[:real].real, matrices[real:]) if len(part)]
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    # Singular values (F, k) are real in either field, vectors (F, p, k) complex from here on.
    return tuple(
        torch.cat([t if t.ndim < 3 else t.to(matrices.dtype) for t in column])
        for column in zip(*parts, strict=True)
    )


# --- a layer, prepared once --------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class FourierSubspace:
    """The leading directions of a convolutional layer at every spatial frequency.

    What `Subspace` is to `svcca`, this is to `dft_cca`: made once by `FourierSubspace.fit`, given
    in place of the array, compared many times.

    Attributes
    ----------
    n : int
        Datapoints (images).
    channels : int
    size : (int, int)
        Height and width.
    frequencies : array of int, shape (F, 2)
        (vertical, horizontal) cycles per image: one of each conjugate pair; the real ones first,
        DC at position 0.
    multiplicities : array of int, shape (F,)
        1 for DC and the Nyquist corners, 2 for the others; they sum to h * w.
    counts : array of int, shape (F,)
        Directions kept at each frequency.
    rank, kept : int
        Numerical rank and kept directions of the flat layer: sums with multiplicities.
    explained : float
        Share of the variance that the kept directions hold.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import FourierSubspace
    >>> s = FourierSubspace.fit(np.random.default_rng(0).normal(size=(50, 3, 4, 4)))
    >>> s.kept, len(s.frequencies), int(s.multiplicities.sum())
    (48, 10, 16)
    """

    n: int
    channels: int
    size: Size
    rank: int
    kept: int
    explained: float
    _values: Tensor  # (F, c) singular values, 0 where cut
    _weights: Tensor  # (F, c, k) complex; columns beyond counts are 0
    _counts: Tensor  # (F,)
    _source: Callable[[], Tensor] | None  # centred (F, n, c); None when made from moments
    _left: dict[int, Tensor]  # frequency -> (n, k): bases that the Gram matrix cannot resolve
    _numpy: bool

    @classmethod
    def fit(
        cls,
        x: ArrayLike,
        keep: float = 1.0,
        energy: Energy = "variance",
        cut: Cut = "layer",
        *,
        precision: Precision = "float64",
    ) -> FourierSubspace:
        """Transform and decompose a layer.

        Parameters
        ----------
        x : array_like, shape (n, c, h, w) or (n, c)
            Responses of a convolutional layer, or of a layer without space.
        keep, energy, cut
            As in `dft_cca`.
        precision : {"float64", "float32"}

        Raises
        ------
        TypeError, ValueError
            If `x` is not a real array of one of these shapes with at least 2 rows, has a NaN, does
            not vary, or an option is outside its range.
        """
        return cls._from_images(x, "x", keep, energy, cut, precision)

    @classmethod
    def _from_images(
        cls, x: Any, name: str, keep: float, energy: Energy, cut: Cut, precision: Precision
    ) -> FourierSubspace:
        images = _images(x, name, precision)
        spectra = _Transform(images).everything()
        return cls._from_gram(
            _products(spectra, spectra),
            lambda: spectra,
            len(images),
            _size(images),
            name,
            keep,
            energy,
            cut,
            isinstance(x, np.ndarray),
        )

    @classmethod
    def _from_gram(
        cls,
        gram: Tensor,
        source: Callable[[], Tensor] | None,
        n: int,
        size: Size,
        name: str,
        keep: float,
        energy: Energy,
        cut: Cut,
        numpy: bool,
    ) -> FourierSubspace:
        keep = check_cut(keep, energy)
        one_of(cut, ("layer", "frequency"), "cut")
        grid = grid_of(size)
        c = gram.shape[-1]
        shape = (n, c * size[0] * size[1])
        some_variance(gram.diagonal(dim1=-2, dim2=-1).real, name, shape)
        eigenvalues, vectors = _by_field(descending_eigh, gram, grid.real)
        values = eigenvalues.sqrt()
        twice = torch.tensor(grid.multiplicities, device=gram.device)
        left: dict[int, Tensor] = {}
        # A Gram matrix is rounded relative to the largest eigenvalue of its own frequency.
        ranks = torch.tensor([rank_cut(v, (n, c), squared=True) for v in eigenvalues])
        values = values * _leading(ranks.to(gram.device), c)
        if source is not None:
            unsafe = _unresolved(eigenvalues, _cut(values, twice, shape, keep, energy, cut), keep)
            if unsafe:
                values, vectors, bases = _through_qr(source(), values, vectors, unsafe, grid.real)
                left = dict(zip(unsafe, bases, strict=True))
        floor = _cut(values, twice, shape, 1.0, energy, "layer")
        counts = _cut(values, twice, shape, keep, energy, cut)
        k = int(counts.max())
        alive = _leading(counts, c)
        kept_values = values.masked_fill(~alive, 0.0)
        inverse = torch.where(alive, 1 / values, 0.0)
        energy_of = (twice * (values**2).sum(1)).sum()
        return cls(
            n=n,
            channels=c,
            size=size,
            rank=int((twice * floor).sum()),
            kept=int((twice * counts).sum()),
            explained=min(1.0, float((twice * (kept_values**2).sum(1)).sum() / energy_of)),
            _values=kept_values,
            _weights=(vectors * inverse[:, None, :])[:, :, :k],
            _counts=counts,
            _source=source,
            _left={f: (basis * alive[f, : basis.shape[1]])[:, :k] for f, basis in left.items()},
            _numpy=numpy,
        )

    @property
    def frequencies(self) -> Any:
        """Cycles per image, (vertical, horizontal), shape (F, 2)."""
        return like_input(torch.tensor(grid_of(self.size).keys), numpy=self._numpy)

    @property
    def multiplicities(self) -> Any:
        """How many frequencies of the full DFT each one stands for, shape (F,)."""
        return like_input(torch.tensor(grid_of(self.size).multiplicities), numpy=self._numpy)

    @property
    def counts(self) -> Any:
        """Directions kept at each frequency, shape (F,)."""
        return like_input(self._counts, numpy=self._numpy)

    @property
    def _coefficients(self) -> Tensor:
        if self._source is None:
            raise ValueError("this FourierSubspace was made from moments and holds no images")
        return self._source()

    def _reordered(self, order: Tensor) -> FourierSubspace:
        """The same layer with its images in another order; nothing is decomposed again."""
        spectra = self._coefficients[:, order]
        return replace(
            self,
            _source=lambda: spectra,
            _left={f: basis[order] for f, basis in self._left.items()},
        )

    def _basis(self, frequency: int, columns: int) -> Tensor:
        """Orthonormal basis at one frequency, shape (n, columns); what is not kept is 0."""
        basis = self._left.get(frequency)
        if basis is None:
            return self._coefficients[frequency] @ self._weights[frequency, :, :columns]
        return torch.nn.functional.pad(basis, (0, columns - basis.shape[1]))

    def __repr__(self) -> str:
        return (
            f"FourierSubspace(n={self.n}, channels={self.channels}, size={self.size}, "
            f"rank={self.rank}, kept={self.kept}, explained={self.explained:.4f})"
        )


def _cut(
    values: Tensor, twice: Tensor, shape: Size, keep: float, energy: Energy, cut: Cut
) -> Tensor:
    """Directions kept at each frequency, (F,), of singular values (F, c)."""
    pooled = values.repeat_interleave(twice, dim=0).flatten().sort(descending=True).values
    # The FFT spreads rounding over all frequencies, so what stands above it is decided over all.
    rank = rank_cut(pooled, shape)
    if cut == "layer":
        # Equal values stay together, the two members of a conjugate pair among them.
        return (values >= pooled[directions_needed(pooled, rank, keep, energy) - 1]).sum(1)
    ranks = (values >= pooled[rank - 1]).sum(1).tolist()
    counts = [
        directions_needed(v, r, keep, energy) if r else 0
        for v, r in zip(values, ranks, strict=True)
    ]
    return torch.tensor(counts, device=values.device)


def _leading(counts: Tensor, columns: int) -> Tensor:
    """Mask (F, columns) of the first ``counts[f]`` entries of each row."""
    return torch.arange(columns, device=counts.device) < counts[:, None]


def _unresolved(eigenvalues: Tensor, counts: Tensor, keep: float) -> list[int]:
    """Frequencies at which the Gram matrix does not resolve every direction that is kept."""
    # At keep = 1 every direction matters, those that the Gram matrix cannot resolve included.
    last = torch.full_like(counts, eigenvalues.shape[1]) if keep == 1 else counts
    smallest = eigenvalues.gather(1, (last - 1).clamp(min=0)[:, None])[:, 0]
    safe = smallest >= GRAM_IS_SAFE[eigenvalues.dtype] * eigenvalues[:, 0]
    return (~safe & (counts > 0)).nonzero()[:, 0].tolist()


def _through_qr(
    spectra: Tensor, values: Tensor, vectors: Tensor, at: list[int], real: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Singular values, directions and left bases at some frequencies, without squaring the data."""

    def decompose(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, r = torch.linalg.qr(rows)
        u, s, v = thin_svd(r)
        return s, v, q @ u

    s, v, left = _by_field(decompose, spectra[at], sum(f < real for f in at))
    values, vectors = values.clone(), vectors.clone()
    values[at], vectors[at] = 0.0, 0.0  # n < c leaves fewer than c of them
    values[at, : s.shape[1]] = s
    vectors[at, :, : s.shape[1]] = v
    return values, vectors, left


# --- the measure -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class FourierSimilarity(Similarity):
    """What `dft_cca` found; see `Similarity` for what it shares with the other measures.

    Attributes
    ----------
    similarity : float
        The correlations of all frequencies, each counted with its multiplicity, over their number.
    correlations : array, shape (F, k)
        One row a frequency, in the order of `frequencies`; descending; 0 from ``counts[f]`` on.
    frequencies : array of int, shape (F, 2)
        (vertical, horizontal) cycles per image of the frequencies that both layers have: one of
        each conjugate pair; the real ones (DC, then Nyquist corners) first.
    multiplicities : array of int, shape (F,)
        1 for the real frequencies, 2 for those that stand for a conjugate pair.
    counts : array of int, shape (F,)
        Correlations at each frequency.
    x_kept, y_kept : int
        Directions of the flat layers at these frequencies (sums with multiplicities).
    x_weights, y_weights : array, shape (F, c1, k) and (F, c2, k), complex
        Canonical directions in the Fourier domain: the centred coefficients at frequency f, (n, c1)
        from an orthonormal DFT, times ``x_weights[f]`` are its canonical variates.
    chance : float
        Expected similarity of independent layers seen on n independent images. Shifted copies of an
        image are not independent: count the images before the shifts.
    """

    frequencies: Any = None
    multiplicities: Any = None
    counts: Any = None
    _sizes: tuple[Size, Size] = field(default=((1, 1), (1, 1)), repr=False)

    def directions(self, side: Side = "x", k: int | None = None) -> Any:
        r"""Canonical directions mapped back to the spatial domain: one real image a channel.

        Parameters
        ----------
        side : {"x", "y"}
        k : int, optional
            How many, by descending correlation; all by default, which is the square of the number
            of neurons in memory.

        Returns
        -------
        array, shape (k, c, h, w)
            The inner products of the centred layer with these images are its canonical variates;
            the i-th of x and the i-th of y belong together. A frequency that stands for a conjugate
            pair gives two images of equal correlation, a quarter of a wave apart.

        Raises
        ------
        ValueError
            If `side` is unknown or `k` is not between 1 and the number of directions.

        Notes
        -----
        The variates are orthonormal if the data are closed under translation; else only those of
        one frequency, as complex numbers, are.
        """
        one_of(side, ("x", "y"), "side")
        weights = torch.as_tensor(self.x_weights if side == "x" else self.y_weights)
        rho = torch.as_tensor(self.correlations)
        counts = torch.as_tensor(self.counts).to(rho.device)
        twice = torch.as_tensor(self.multiplicities).to(rho.device)
        total = int((counts * twice).sum())
        k = total if k is None else k
        if not 1 <= k <= total:
            raise ValueError(f"k must be a number of directions from 1 to {total}; got {k}")

        frequency, column = _leading(counts, rho.shape[1]).nonzero(as_tuple=True)
        order = rho[frequency, column].argsort(descending=True, stable=True)
        frequency, column = frequency[order], column[order]
        parts = twice[frequency]
        frequency = frequency.repeat_interleave(parts)[:k]
        column = column.repeat_interleave(parts)[:k]
        # The second image of a pair is the imaginary part.
        first = parts.cumsum(0) - parts
        second = (
            torch.arange(len(parts.repeat_interleave(parts)), device=rho.device)[:k]
            != first.repeat_interleave(parts)[:k]
        )

        height, width = self._sizes[side == "y"]
        cycles = torch.as_tensor(self.frequencies).to(rho)[frequency]
        y = torch.arange(height, dtype=rho.dtype, device=rho.device) / height
        x = torch.arange(width, dtype=rho.dtype, device=rho.device) / width
        angle = (
            -2 * torch.pi * (cycles[:, :1, None] * y[:, None] + cycles[:, 1:, None] * x)
        )  # (k, h, w)
        wave = torch.polar(torch.ones_like(angle), angle) / (height * width) ** 0.5
        filters = weights[frequency, :, column][:, :, None, None] * wave[:, None]  # (k, c, h, w)
        paired = (twice[frequency] == 2)[:, None, None, None]
        images = torch.where(second[:, None, None, None], filters.imag, filters.real)
        return like_input(
            torch.where(paired, 2**0.5 * images, images),
            numpy=isinstance(self.correlations, np.ndarray),
        )


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

    @staticmethod
    def _batch(x: Any, name: str) -> Batch:
        transform = _Transform(_images(x, name, min_rows=1))
        sizes = tuple(transform.images.shape[1:])
        return Batch(sizes, transform.everything(), transform.of_mean())

    @staticmethod
    def _entries(sizes: tuple[int, ...]) -> tuple[int, ...]:
        return (len(grid_of(sizes[1:]).keys),)

    @staticmethod
    def _meeting(
        x: Tensor, y: Tensor, x_sizes: tuple[int, ...], y_sizes: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        at_x, at_y, _ = shared_frequencies(x_sizes[1:], y_sizes[1:])
        return _select(x, at_x), _select(y, at_y)


def _select(x: Tensor, at: list[int]) -> Tensor:
    """Entries of the first dimension; without a copy where these are all."""
    return x if at == list(range(len(x))) else x[at]


def dft_cca(
    x: ArrayLike | FourierSubspace | FourierMoments,
    y: ArrayLike | FourierSubspace | None = None,
    *,
    keep: float = 1.0,
    energy: Energy = "variance",
    cut: Cut = "layer",
    mean_over: MeanOver = "kept",
    precision: Precision = "float64",
) -> FourierSimilarity:
    r"""CCA of two convolutional layers, one spatial frequency at a time (section 3 of the paper).

    Every channel is transformed by an orthonormal two-dimensional DFT; at each frequency the
    coefficients of the channels, (n, c1) and (n, c2) complex numbers, go through a CCA.

    Parameters
    ----------
    x, y : array_like, shape (n, c1, h1, w1) and (n, c2, h2, w2) or (n, c2), or FourierSubspace
        Two layers on the same images, or `FourierMoments` of both as the only argument. A
        `FourierSubspace` keeps the cut it was made with.
    keep : float, default 1.0
        Fraction of each layer kept before the CCA, in (0, 1]; 1 is DFT-CCA proper, 0.99 the SVCCA
        of the layers.
    energy : {"variance", "singular_values"}
        Fraction of what, as in `svcca`.
    cut : {"layer", "frequency"}
        Where `keep` applies. ``"layer"`` pools the singular values of all frequencies and cuts them
        together: the DFT is unitary, so on translation-invariant data these *are* the singular
        values of the flat layer, and the result is the SVCCA of the flat layers. High frequencies,
        which hold little of the variance, then keep few directions. ``"frequency"`` keeps the
        fraction `keep` of each frequency on its own.
    mean_over : {"kept", "smaller_layer", "weighted"}
        As in `svcca`, counting flat directions and neurons: ``"kept"`` divides the sum of all
        correlations, with multiplicities, by the smaller number of directions kept at the shared
        frequencies. ``"weighted"`` runs over pairs of directions of one frequency; a direction that
        meets none at its frequency has no weight.
    precision : {"float64", "float32"}

    Returns
    -------
    FourierSimilarity

    Raises
    ------
    TypeError, ValueError
        If a layer is not a finite real array of one of these shapes with some variance, the two
        differ in rows, or an option is outside its range.

    Warns
    -----
    SampleSizeWarning
        If ``n <= c + 1`` for either layer.

    Notes
    -----
    *Equal to the flat CCA only for translation-invariant data.* On ordinary images the blocks leave
    out correlations between frequencies (a few percent of the energy), and the number can fall on
    either side of the flat one.

    *Layers of different size* meet at the waves that both can hold: those of strictly less than
    half a cycle per pixel along each axis of the smaller layer; at exactly half a cycle (Nyquist)
    only where the two have the same length along that axis, because on the shorter grid that wave
    cannot be told from its mirror image. What the larger layer has above is ignored. A strided
    layer, though, folds it onto the waves below; `phases_as_channels` brings the larger layer to
    the size of the smaller without losing anything, and the equality with the flat CCA back.

    *A vector* such as a class logit has one pixel, and so only the frequency zero: the comparison
    sees the spatial mean of each channel, and its correlations are lower bounds of those with the
    whole layer.

    *Chance* depends on images, not pixels: n images, c directions at each frequency.

    References
    ----------
    Raghu et al. 2017, section 3, Theorems 1 and 2, and Appendix B and C.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import dft_cca
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 3, 6, 6))
    >>> mixed = np.einsum("nchw,dc->ndhw", np.roll(x, 2, axis=3), rng.normal(size=(3, 3)))
    >>> round(dft_cca(x, mixed).similarity, 6)  # blind to shifts and to mixing of channels
    1.0
    >>> r = dft_cca(x, x.mean(axis=(2, 3)))  # a vector meets the frequency zero alone
    >>> r.correlations.round(6).tolist(), r.frequencies.tolist()
    ([[1.0, 1.0, 1.0]], [[0, 0]])
    """
    one_of(mean_over, ("kept", "smaller_layer", "weighted"), "mean_over")
    keep = check_cut(keep, energy)
    if isinstance(x, FourierMoments):
        if y is not None:
            raise TypeError("FourierMoments hold both layers: give them as the only argument")
        if not x.paired:
            raise ValueError(f"x must be FourierMoments of two layers (update(x, y)); got {x}")
        a, b = (
            _prepared(half, f"the {which} layer of x", keep, energy, cut, precision)
            for half, which in zip(x.halves(), ("first", "second"), strict=True)
        )
        return _warned(_compare(a, b, x.xy, mean_over), a, b)
    if y is None:
        raise TypeError("y is missing: give two layers, or FourierMoments as the only argument")
    a, b, cross = _both(x, y, keep, energy, cut, precision)
    return _warned(_compare(a, b, cross, mean_over), a, b)


def _both(
    x: Any, y: Any, keep: float, energy: Energy, cut: Cut, precision: Precision
) -> tuple[FourierSubspace, FourierSubspace, Tensor | None]:
    """Prepare two layers; of two arrays the inner products too, gathered in the same pass."""
    if isinstance(x, FourierSubspace) or isinstance(y, FourierSubspace):
        a = _prepared(x, "x", keep, energy, cut, precision)
        b = _prepared(y, "y", keep, energy, cut, precision)
        comparable(a, b)
        return a, b, None
    images = [_images(z, name, precision) for z, name in ((x, "x"), (y, "y"))]
    same_rows(*map(len, images))
    one_kind(*images)
    transforms = [_Transform(z) for z in images]
    *grams, cross = _joint_products(*transforms)
    a, b = (
        FourierSubspace._from_gram(
            gram,
            functools.cache(transform.everything),  # asked for where the Gram matrix falls short
            len(transform.images),
            _size(transform.images),
            name,
            keep,
            energy,
            cut,
            isinstance(z, np.ndarray),
        )
        for gram, transform, name, z in zip(grams, transforms, "xy", (x, y), strict=True)
    )
    return a, b, cross


def _prepared(
    x: Any, name: str, keep: float, energy: Energy, cut: Cut, precision: Precision
) -> FourierSubspace:
    if isinstance(x, FourierSubspace):
        return x
    if isinstance(x, FourierMoments):
        if x.n < 2 or x.paired:
            raise ValueError(f"{name} must be FourierMoments of at least 2 images; got {x}")
        ((mean, scatter),) = x._layers
        gram = _without_constants(scatter, mean, x.n)
        size = (x._layout[1], x._layout[2])
        return FourierSubspace._from_gram(gram, None, x.n, size, name, keep, energy, cut, x.numpy)
    return FourierSubspace._from_images(x, name, keep, energy, cut, precision)


def _without_constants(gram: Tensor, mean: Tensor, n: int) -> Tensor:
    """Set to zero what is left of constant channels: the rounding of their batch means."""
    squares = gram.diagonal(dim1=-2, dim2=-1).real  # (F, c)
    largest = mean.abs().amax(0)  # of any frequency: the DFT spreads rounding over all of them
    constant = squares <= n * (8 * torch.finfo(squares.dtype).eps * largest) ** 2
    return gram.masked_fill(constant[:, :, None] | constant[:, None, :], 0.0)


def _alignment(a: FourierSubspace, b: FourierSubspace, cross: Tensor | None) -> Tensor:
    """Inner products of the two bases at every shared frequency, (F, k_a, k_b)."""
    at_a, at_b, _ = shared_frequencies(a.size, b.size)
    left, right = _select(a._weights, at_a), _select(b._weights, at_b)
    if cross is None:
        cross = _products(_select(a._coefficients, at_a), _select(b._coefficients, at_b))
    matrix: Tensor = left.mH @ cross @ right
    for i, (f, g) in enumerate(zip(at_a, at_b, strict=True)):
        if f in a._left or g in b._left:
            matrix[i] = a._basis(f, left.shape[2]).mH @ b._basis(g, right.shape[2])
    return matrix


def _compare(
    a: FourierSubspace, b: FourierSubspace, cross: Tensor | None, mean_over: MeanOver
) -> FourierSimilarity:
    at_a, at_b, real = shared_frequencies(a.size, b.size)
    matrix = _alignment(a, b, cross)
    kept_a, kept_b = a._counts[at_a], b._counts[at_b]
    counts = torch.minimum(kept_a, kept_b)
    twice = torch.tensor(multiplicities_of(len(at_a), real), device=matrix.device)
    flat_a, flat_b = int((twice * kept_a).sum()), int((twice * kept_b).sum())
    k = int(counts.max())
    svd = None

    def pairs() -> tuple[Tensor, Tensor, Tensor]:
        u, s, v = _by_field(thin_svd, matrix, real)
        return u[:, :, :k], s[:, :k].clamp(max=1.0), v[:, :, :k]

    if mean_over == "weighted":
        u, rho, v = svd = pairs()
        # Variance of each layer along its canonical variates, as in `svcca`.
        shares = [
            twice[:, None]
            * ((values[:, : vectors.shape[1], None] * vectors).abs() ** 2).sum(1)
            / (twice[:, None] * values**2).sum()
            for values, vectors in ((a._values[at_a], u), (b._values[at_b], v))
        ]
        weights = shares[0] + shares[1]
        similarity, scale = float((weights * rho).sum() / weights.sum()), 1.0
    else:
        rho = _by_field(singular_values, matrix, real)[:, :k].clamp(max=1.0)
        neurons = [s.channels * s.size[0] * s.size[1] for s in (a, b)]
        divisor = min(flat_a, flat_b) if mean_over == "kept" else min(neurons)
        # No direction at any shared frequency: nothing is shared.
        similarity = float((twice[:, None] * rho).sum()) / max(divisor, 1)
        scale = min(flat_a, flat_b) / max(divisor, 1)

    def both_weights() -> tuple[Any, Any]:
        u, _, v = svd or pairs()
        return tuple(
            like_input(_select(s._weights, at) @ vectors, numpy=a._numpy)
            for s, at, vectors in ((a, at_a, u), (b, at_b, v))
        )

    def chance() -> float:
        sizes = list(zip(kept_a.tolist(), kept_b.tolist(), twice.tolist(), strict=True))
        expected: dict[tuple[int, int, int], float] = {
            (p, q, m): m * min(p, q) * chance_correlation(p, q, a.n, complex_valued=m == 2)
            for p, q, m in set(sizes)
            if min(p, q)
        }
        return scale * sum(expected.get(s, 0.0) for s in sizes) / max(1, min(flat_a, flat_b))

    numpy = a._numpy
    return FourierSimilarity(
        measure="dft_cca",
        similarity=min(1.0, similarity),
        n=a.n,
        correlations=like_input(rho, numpy=numpy),
        x_kept=flat_a,
        y_kept=flat_b,
        _weights=both_weights,
        _chance=chance,
        frequencies=like_input(torch.tensor([grid_of(a.size).keys[f] for f in at_a]), numpy=numpy),
        multiplicities=like_input(twice, numpy=numpy),
        counts=like_input(counts, numpy=numpy),
        _sizes=(a.size, b.size),
    )


def _warned(
    result: FourierSimilarity, a: FourierSubspace, b: FourierSubspace, stacklevel: int = 3
) -> FourierSimilarity:
    wide = max(a.channels, b.channels)
    if a.n <= wide + 1:
        warnings.warn(
            f"{a.n} images for a layer of {wide} channels: independent layers of these sizes would "
            f"score {result.chance:.3f} by dft_cca; use more images than channels",
            SampleSizeWarning,
            stacklevel=stacklevel,
        )
    return result


def _bind_dft_cca(
    keep: float = 1.0,
    energy: Energy = "variance",
    cut: Cut = "layer",
    mean_over: MeanOver = "kept",
    precision: Precision = "float64",
) -> Any:
    one_of(mean_over, ("kept", "smaller_layer", "weighted"), "mean_over")
    return (
        lambda x, name: _prepared(x, name, keep, energy, cut, precision),
        lambda a, b, xy=None: _warned(_compare(a, b, xy, mean_over), a, b, 4),
    )


# A layer's channels are its neurons here: mixing them by any invertible matrix changes nothing.
MEASURES["dft_cca"] = Measure(
    _bind_dft_cca, True, frozenset({"orthogonal", "isotropic", "invertible", "translation"})
)


# --- the paper's readings of a convolution -----------------------------------------------------


def channels_as_neurons(x: ArrayLike) -> Any:
    """Read every pixel as a datapoint: (n, c, h, w) -> (n * h * w, c).

    The paper's reading for one layer at two times or in two networks.

    Parameters
    ----------
    x : array_like, shape (n, c, h, w)

    Returns
    -------
    array, shape (n * h * w, c)
        Row ``i * h * w + y * w + x`` is pixel (y, x) of image i; same library and dtype as `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is not a 4-D array or tensor.

    Notes
    -----
    Misleads in three ways. Pixel i of one layer is paired with pixel i of the other, so the layers
    must have the same height and width and see the same place. Neighbouring pixels are not
    independent: the rows are many, the evidence is not, so `chance` computed from n * h * w is far
    too low; shuffle whole images (`image_of_row`) to find the real floor. And the means of the
    channels are taken over space too, so what is common to all images is compared as well.

    References
    ----------
    Raghu et al. 2017, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import channels_as_neurons
    >>> channels_as_neurons(np.zeros((10, 3, 4, 5))).shape
    (200, 3)
    """
    _four(x)
    moved = np.moveaxis(x, 1, -1) if isinstance(x, np.ndarray) else x.movedim(1, -1)
    return moved.reshape(-1, x.shape[1])


def pixels_as_neurons(x: ArrayLike) -> Any:
    """Read every pixel of every channel as a neuron: (n, c, h, w) -> (n, c * h * w).

    The paper's reading for different layers, whose sizes need not agree.

    Parameters
    ----------
    x : array_like, shape (n, c, h, w)

    Returns
    -------
    array, shape (n, c * h * w)
        Channel first; same library and dtype as `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is not a 4-D array or tensor.

    Notes
    -----
    Misleads when ``n`` is not far above ``c * h * w``, which is nearly always: at
    ``n <= c * h * w + 1`` the CCA of any data is 1. `dft_cca` needs n above c only.

    References
    ----------
    Raghu et al. 2017, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import pixels_as_neurons
    >>> pixels_as_neurons(np.zeros((10, 3, 4, 5))).shape
    (10, 60)
    """
    _four(x)
    return x.reshape(len(x), -1)


def phases_as_channels(x: ArrayLike, stride: int | tuple[int, int]) -> Any:
    """Bring a layer to the size of a strided one: (n, c, h, w) -> (n, c * s * t, h / s, w / t).

    A layer that was strided or pooled commutes only with shifts by multiples of the stride. Each of
    the s * t phases of the pixel grid becomes a channel of its own, so no response is lost, and
    `dft_cca` of the result with the strided layer is exact on data closed under those shifts.

    Parameters
    ----------
    x : array_like, shape (n, c, h, w)
    stride : int or (int, int)
        How many times larger it is than the other layer, vertically and horizontally.

    Returns
    -------
    array, shape (n, c * s * t, h / s, w / t)
        Same library and dtype as `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is not a 4-D array or tensor, or the stride does not divide its size.

    Notes
    -----
    Needs n above ``c * s * t``: at the full size of the image this is `pixels_as_neurons`.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import phases_as_channels
    >>> phases_as_channels(np.zeros((10, 3, 4, 6)), 2).shape
    (10, 12, 2, 3)
    """
    _four(x)
    s, t = (stride, stride) if isinstance(stride, int) else stride
    n, c, h, w = x.shape
    if s < 1 or t < 1 or h % s or w % t:
        raise ValueError(f"stride must divide the layer's size {(h, w)}; got {stride}")
    split = x.reshape(n, c, h // s, s, w // t, t)
    order = (0, 1, 3, 5, 2, 4)  # (n, c, s, t, h / s, w / t)
    split = split.transpose(order) if isinstance(split, np.ndarray) else split.permute(order)
    return split.reshape(n, c * s * t, h // s, w // t)


def image_of_row(x: ArrayLike) -> np.ndarray:
    """Which image each row of ``channels_as_neurons(x)`` came from, shape (n * h * w,).

    The groups to shuffle in a permutation test: pixels of one image belong together.

    Parameters
    ----------
    x : array_like, shape (n, c, h, w)

    Raises
    ------
    TypeError, ValueError
        If `x` is not a 4-D array or tensor.

    Notes
    -----
    Without these groups a test takes neighbouring pixels for independent datapoints, and calls
    almost any similarity significant.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import image_of_row
    >>> image_of_row(np.zeros((2, 5, 1, 3))).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    _four(x)
    return np.repeat(np.arange(len(x)), x.shape[2] * x.shape[3])


def _four(x: Any) -> None:
    if not isinstance(x, (np.ndarray, Tensor)):
        raise TypeError(f"x must be a NumPy array or a torch tensor; got {type(x).__name__}")
    if x.ndim != 4:
        raise ValueError(f"x must be a convolutional layer (n, c, h, w); got {tuple(x.shape)}")
