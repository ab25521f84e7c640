r"""DFT-CCA: the CCA of two convolutional layers, one spatial frequency at a time.

Flattened, a layer of c channels of h x w pixels has c h w neurons, too many for a CCA. On data that
are closed under translation, and through layers that commute with translation, neurons of
different spatial frequency are uncorrelated (Theorems 1 and 2 of the paper): in the Fourier basis
the covariance is block diagonal, one c x c block a frequency. The CCA of the flat layers is then
exactly the union of h w small CCAs. On other data this is an approximation, and the measure is
defined by the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from svcca_lib._ambient import undisturbed
from svcca_lib._linalg import singular_values, thin_svd
from svcca_lib.errors import one_of
from svcca_lib.fourier.blocks import by_field, products, select
from svcca_lib.fourier.grid import Size, grid_of, multiplicities_of, shared_frequencies
from svcca_lib.fourier.moments import FourierMoments, joint_moments_of, spectral_moments_of
from svcca_lib.fourier.pairs import expected_sum
from svcca_lib.fourier.subspace import (
    Cut,
    FourierSubspace,
    check_cuts,
    decompose,
    leading,
    subspace_of,
)
from svcca_lib.inputs import Precision, images_of, resolved
from svcca_lib.measures.canonical import EUCLIDEAN, MeanOver, Side
from svcca_lib.measures.measure import Coordinates, Measure, function, in_one_precision
from svcca_lib.measures.similarity import Similarity
from svcca_lib.outputs import HandedOut, Value, like_input
from svcca_lib.pair_moments import PairMoments
from svcca_lib.subspace import Energy


@dataclass(frozen=True, eq=False, repr=False)
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
    sizes : pair of (int, int)
        Height and width of both layers.
    """

    frequencies: Any = HandedOut()
    multiplicities: Any = HandedOut()
    counts: Any = HandedOut()
    sizes: tuple[Size, Size] = field(default=((1, 1), (1, 1)), repr=False)

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
        with undisturbed():
            return self._directions(side, k)

    def _directions(self, side: Side, k: int | None) -> Any:
        weights = torch.as_tensor(self.x_weights if side == "x" else self.y_weights)
        rho = torch.as_tensor(self.correlations)
        counts = torch.as_tensor(self.counts).to(rho.device)
        twice = torch.as_tensor(self.multiplicities).to(rho.device)
        total = int((counts * twice).sum())
        k = total if k is None else k
        if not 1 <= k <= total:
            raise ValueError(f"k must be a number of directions from 1 to {total}; got {k}")

        frequency, column = leading(counts, rho.shape[1]).nonzero(as_tuple=True)
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

        height, width = self.sizes[side == "y"]
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


@dataclass(frozen=True, kw_only=True)
class DFTCCA(Measure[FourierSimilarity]):
    r"""CCA of two convolutional layers, one spatial frequency at a time (section 3 of the paper).

    Every channel is transformed by an orthonormal two-dimensional DFT; at each frequency the
    coefficients of the channels, (n, c1) and (n, c2) complex numbers, go through a CCA.

    Parameters
    ----------
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
    squared : bool, default False
        The mean of the squared correlations, as in `svcca`.
    precision : {"float64", "float32"}

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

    keep: float = 1.0
    energy: Energy = "variance"
    cut: Cut = "layer"
    mean_over: MeanOver = "kept"
    squared: bool = False
    precision: Precision = "float64"

    name: ClassVar[str] = "dft_cca"
    symmetric: ClassVar[bool] = True
    # A layer's channels are its neurons: mixing them by any invertible matrix changes nothing.
    invariant_to: ClassVar[frozenset[str]] = EUCLIDEAN | {"invertible"}
    moments: ClassVar[type[PairMoments]] = FourierMoments
    datapoints: ClassVar[tuple[str, str]] = ("images", "channels")
    remedy: ClassVar[str] = "more images than channels"
    layers: ClassVar[str] = """\
x, y : array_like, shape (n, c1, h1, w1) and (n, c2, h2, w2) or (n, c2), or FourierSubspace
    Two layers on the same images, or `FourierMoments` of both as the only argument. A
    `FourierSubspace` keeps the cut it was made with."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_cuts(self.keep, self.energy, self.cut)

    def width(self, layer: FourierSubspace) -> int:
        return layer.channels

    def prepare(self, x: Any, name: str) -> FourierSubspace:
        if isinstance(x, FourierSubspace):
            return x
        settings = float(self.keep), self.energy, self.cut
        if isinstance(x, FourierMoments):
            return decompose(spectral_moments_of(x, name), *settings)
        return subspace_of(x, name, self.precision, *settings)

    def pair(self, x: Any, y: Any) -> tuple[FourierSubspace, FourierSubspace, Tensor | None]:
        if any(z is None or isinstance(z, FourierSubspace | FourierMoments) for z in (x, y)):
            return super().pair(x, y)
        return resolved(lambda precision: self._arrays(x, y, precision), self.precision)

    def _arrays(
        self, x: Any, y: Any, precision: Precision
    ) -> tuple[FourierSubspace, FourierSubspace, Tensor]:
        images = (images_of(z, name, precision) for z, name in ((x, "x"), (y, "y")))
        *layers, cross = joint_moments_of(*images)
        a, b = (decompose(z, float(self.keep), self.energy, self.cut) for z in layers)
        return a, b, self.condensed(a, b, cross)

    def coordinates(self, layer: FourierSubspace) -> Coordinates:
        return Coordinates(layer.tensors.weights, layer.tensors.counts.tolist())

    def condensed(self, a: FourierSubspace, b: FourierSubspace, products: Tensor) -> Tensor:
        return _alignment(a, b, products)

    def compare(
        self, a: FourierSubspace, b: FourierSubspace, cross: Tensor | None = None
    ) -> FourierSimilarity:
        return _compare(a, b, cross, self.mean_over, squared=self.squared)


dft_cca = function(DFTCCA)


def _alignment(a: FourierSubspace, b: FourierSubspace, cross: Tensor | None = None) -> Tensor:
    """Inner products of the two bases at every shared frequency, (F, k_a, k_b).

    `cross` holds those of the channels, where they are known.
    """
    at_a, at_b, _ = shared_frequencies(a.size, b.size)
    left, right = select(a.tensors.weights, at_a), select(b.tensors.weights, at_b)
    if cross is None:
        cross = products(select(a.tensors.coefficients, at_a), select(b.tensors.coefficients, at_b))
    matrix: Tensor = left.mH @ cross @ right
    for i, (f, g) in enumerate(zip(at_a, at_b, strict=True)):
        if f in a.tensors.left or g in b.tensors.left:
            matrix[i] = a.tensors.basis(f, left.shape[2]).mH @ b.tensors.basis(g, right.shape[2])
    return matrix


def _compare(
    a: FourierSubspace,
    b: FourierSubspace,
    cross: Tensor | None,
    mean_over: MeanOver,
    *,
    squared: bool,
) -> FourierSimilarity:
    a, b = in_one_precision(a, b)
    at_a, at_b, real = shared_frequencies(a.size, b.size)
    matrix = _alignment(a, b) if cross is None else cross
    kept_a, kept_b = a.tensors.counts[at_a], b.tensors.counts[at_b]
    counts = torch.minimum(kept_a, kept_b)
    twice = torch.tensor(multiplicities_of(len(at_a), real), device=matrix.device)
    flat_a, flat_b = int((twice * kept_a).sum()), int((twice * kept_b).sum())
    k = int(counts.max())
    svd = None
    if mean_over == "weighted":
        u, rho, v = svd = _singular_pairs(matrix, real, k)
        # Variance of each layer along its canonical variates, as in `svcca`.
        shares = [
            twice[:, None]
            * ((values[:, : vectors.shape[1], None] * vectors).abs() ** 2).sum(1)
            / (twice[:, None] * values**2).sum()
            for values, vectors in ((a.tensors.values[at_a], u), (b.tensors.values[at_b], v))
        ]
        weights = shares[0] + shares[1]
        counted = rho**2 if squared else rho
        similarity = float((weights * counted).sum() / weights.sum())
        divisor = min(flat_a, flat_b)
    else:
        rho = _spectra(matrix, kept_a, kept_b, real)[:, :k].clamp(max=1.0)
        neurons = [s.channels * s.size[0] * s.size[1] for s in (a, b)]
        divisor = min(flat_a, flat_b) if mean_over == "kept" else min(neurons)
        # No direction at any shared frequency: nothing is shared.
        counted = rho**2 if squared else rho
        similarity = float((twice[:, None] * counted).sum()) / max(divisor, 1)

    numpy = a.numpy
    return FourierSimilarity(
        measure="dft_cca",
        similarity=min(1.0, similarity),
        n=a.n,
        correlations=like_input(rho, numpy=numpy),
        x_kept=flat_a,
        y_kept=flat_b,
        weights=SpectralWeights(
            maps=(a.tensors.weights, b.tensors.weights),
            at=(at_a, at_b),
            scales=(a.tensors.scale, b.tensors.scale),
            alignment=matrix,
            real=real,
            k=k,
            vectors=svd and svd[::2],
            numpy=numpy,
        ),
        independent=SpectralChance(
            kept=torch.stack([kept_a, kept_b]).cpu().numpy().astype(np.int32),
            real=real,
            n=a.n,
            divisor=max(divisor, 1),
            squared=squared,
        ),
        frequencies=like_input(_keys(a.size, b.size), numpy=numpy),
        multiplicities=like_input(twice, numpy=numpy),
        counts=like_input(counts, numpy=numpy),
        sizes=(a.size, b.size),
    )


@dataclass(frozen=True, eq=False)
class SpectralWeights(Value):
    """Canonical weights at every shared frequency, computed when asked for."""

    maps: tuple[Tensor, Tensor]  # (frequencies, c, kept) of both layers
    at: tuple[list[int], list[int]]  # where the shared frequencies are in these
    scales: tuple[float, float]  # of the layers, see `SpectralFactors`
    alignment: Tensor  # (F, kept_a, kept_b)
    real: int
    k: int
    vectors: tuple[Tensor, Tensor] | None  # singular vectors of the alignment, where known
    numpy: bool

    def __call__(self) -> tuple[Any, Any]:
        u, v = self.vectors or _singular_pairs(self.alignment, self.real, self.k)[::2]
        maps = (select(weights, at) for weights, at in zip(self.maps, self.at, strict=True))
        x, y = (m @ w * s for m, w, s in zip(maps, (u, v), self.scales, strict=True))
        return like_input(x, numpy=self.numpy), like_input(y, numpy=self.numpy)


@dataclass(frozen=True, eq=False)
class SpectralChance:
    """What independent layers of these sizes would score, computed when asked for."""

    kept: np.ndarray  # (2, F): of x and of y, at each frequency
    real: int
    n: int
    divisor: int
    squared: bool

    def __call__(self) -> float:
        twice = multiplicities_of(self.kept.shape[1], self.real)
        total = sum(
            m * expected_sum(p, q, self.n, m == 2, self.squared)
            for p, q, m in zip(*self.kept.tolist(), twice, strict=True)
            if min(p, q)
        )
        return float(total) / self.divisor


@lru_cache(maxsize=256)
def _keys(a: Size, b: Size) -> Tensor:
    """Cycles per image of the frequencies that two sizes share; many pairs of layers hold them."""
    return torch.tensor([grid_of(a).keys[f] for f in shared_frequencies(a, b)[0]])


def _spectra(matrix: Tensor, kept_a: Tensor, kept_b: Tensor, real: int) -> Tensor:
    """Singular values at each frequency, (F, k), of the parts that are not padding.

    High frequencies keep few directions of the widest frequency's: those of about one size are
    decomposed together.
    """
    values = matrix.new_zeros(len(matrix), min(matrix.shape[1:]), dtype=matrix.real.dtype)
    complex_valued = torch.arange(len(matrix), device=matrix.device) >= real
    steps = [-(kept // -4) * 4 for kept in (kept_a, kept_b)]
    keys = list(zip(*(t.tolist() for t in (complex_valued, *steps)), strict=True))
    for key in dict.fromkeys(keys):
        is_complex, p, q = key
        at = [i for i, other in enumerate(keys) if other == key]
        if min(p, q):
            part = matrix[at, :p, :q]
            found = singular_values(part if is_complex else part.real)
            values[at, : found.shape[1]] = found
    return values


def _singular_pairs(matrix: Tensor, real: int, k: int) -> tuple[Tensor, Tensor, Tensor]:
    u, s, v = by_field(thin_svd, matrix, real)
    return u[:, :, :k], s[:, :k].clamp(max=1.0), v[:, :, :k]
