"""Moments at every frequency become a subspace: decomposed, cut, compared many times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from svcca_lib._ambient import undisturbed
from svcca_lib._linalg import descending_eigh, thin_svd
from svcca_lib.errors import UnresolvedError, one_of, some_variance
from svcca_lib.fourier.blocks import by_field
from svcca_lib.fourier.grid import Size, grid_of
from svcca_lib.fourier.moments import SpectralMoments, spectral_moments_of
from svcca_lib.inputs import ArrayLike, Precision, images_of, resolved
from svcca_lib.outputs import Value, handed_out, like_input
from svcca_lib.rank import GRAM_IS_SAFE, directions_needed, noise_norm, rank_cut
from svcca_lib.subspace import Energy, check_cut

Cut: TypeAlias = Literal["layer", "frequency"]


@dataclass(frozen=True, eq=False)
class Held:
    """Spectra that are there, where others are computed when asked for."""

    spectra: Tensor

    def __call__(self) -> Tensor:
        """Return them."""
        return self.spectra


@dataclass(frozen=True, eq=False)
class SpectralFactors(Value):
    """A layer decomposed at every frequency, in torch.

    Attributes
    ----------
    values : Tensor, shape (F, c)
        Singular values, 0 where cut.
    weights : Tensor, shape (F, c, k), complex
        From coefficients to the basis; columns beyond counts are 0.
    counts : Tensor, shape (F,)
        Directions kept.
    spectra : callable or None
        Gives the centred coefficients, (F, n, c); None when made from moments.
    left : dict of int to Tensor, shape (n, k)
        Bases of the frequencies that the Gram matrix cannot resolve.
    scale : float
        The power of two that all of these are in units of.
    """

    values: Tensor
    weights: Tensor
    counts: Tensor
    spectra: Callable[[], Tensor] | None
    left: dict[int, Tensor]
    scale: float = 1.0

    def __getstate__(self) -> dict[str, Any]:
        spectra = None if self.spectra is None else Held(self.spectra())
        return super().__getstate__() | {"spectra": spectra}

    @property
    def coefficients(self) -> Tensor:
        """Centred coefficients, (F, n, c).

        Raises
        ------
        ValueError
            If there are none.
        """
        if self.spectra is None:
            raise ValueError("this FourierSubspace was made from moments and holds no images")
        return self.spectra()

    def to(self, dtype: torch.dtype) -> SpectralFactors:
        """The same in another precision of its real numbers."""
        if dtype == self.values.dtype:
            return self
        kind, spectra = dtype.to_complex(), self.spectra
        return SpectralFactors(
            values=self.values.to(dtype),
            weights=self.weights.to(kind),
            counts=self.counts,
            spectra=None if spectra is None else lambda: spectra().to(kind),
            left={f: basis.to(kind) for f, basis in self.left.items()},
            scale=self.scale,
        )

    def basis(self, frequency: int, columns: int) -> Tensor:
        """Orthonormal basis at one frequency, shape (n, columns); what is not kept is 0."""
        basis = self.left.get(frequency)
        if basis is None:
            return self.coefficients[frequency] @ self.weights[frequency, :, :columns]
        return torch.nn.functional.pad(basis, (0, columns - basis.shape[1]))


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
    tensors : SpectralFactors
        What measures read, in torch.
    numpy : bool
        Whether the layer came as NumPy.
    dtype : torch.dtype
        The precision asked for; tensors are float64 where float32 could not tell what is kept.

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
    tensors: SpectralFactors = field(repr=False)
    numpy: bool = field(repr=False)
    dtype: torch.dtype = field(repr=False)

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
        check_cuts(keep, energy, cut)
        with undisturbed():
            return subspace_of(x, "x", precision, keep, energy, cut)

    @property
    def frequencies(self) -> Any:
        """Cycles per image, (vertical, horizontal), shape (F, 2)."""
        return like_input(torch.tensor(grid_of(self.size).keys), numpy=self.numpy)

    @property
    def multiplicities(self) -> Any:
        """How many frequencies of the full DFT each one stands for, shape (F,)."""
        return like_input(torch.tensor(grid_of(self.size).multiplicities), numpy=self.numpy)

    @property
    def counts(self) -> Any:
        """Directions kept at each frequency, shape (F,)."""
        return handed_out(self.tensors.counts, numpy=self.numpy)

    @property
    def sample(self) -> Tensor:
        """A tensor of the layer's precision and device."""
        return self.tensors.values.to(self.dtype)

    def primed(self) -> FourierSubspace:
        """The layer itself: comparisons need its spectra."""
        return self

    def reordered(self, order: Tensor) -> FourierSubspace:
        """The same layer with its images in another order; nothing is decomposed again."""
        own = self.tensors
        spectra = own.coefficients[:, order]
        left = {f: basis[order] for f, basis in own.left.items()}
        return replace(self, tensors=replace(own, spectra=lambda: spectra, left=left))

    def __repr__(self) -> str:
        return (
            f"FourierSubspace(n={self.n}, channels={self.channels}, size={self.size}, "
            f"rank={self.rank}, kept={self.kept}, explained={self.explained:.4f})"
        )


def check_cuts(keep: float, energy: str, cut: str) -> None:
    """Check the arguments that say where a layer is cut.

    Raises
    ------
    TypeError, ValueError
        If `keep` is not a number in (0, 1], or `energy` or `cut` is unknown.
    """
    check_cut(keep, energy)
    one_of(cut, ("layer", "frequency"), "cut")


def subspace_of(
    x: ArrayLike, name: str, precision: Precision, keep: float, energy: Energy, cut: Cut
) -> FourierSubspace:
    """Take an array all the way, as `svcca_lib.subspace.subspace_of` does.

    Raises
    ------
    TypeError, ValueError
        As `FourierSubspace.fit`; messages call the layer `name`.
    """
    found = resolved(
        lambda p: decompose(spectral_moments_of(images_of(x, name, p), name), keep, energy, cut),
        precision,
    )
    return replace(found, dtype=getattr(torch, precision))


def decompose(layer: SpectralMoments, keep: float, energy: Energy, cut: Cut) -> FourierSubspace:
    """Decompose a layer at every frequency and cut it.

    Parameters
    ----------
    layer : SpectralMoments
    keep, energy, cut
        As in `dft_cca`, checked.

    Raises
    ------
    UnresolvedError
        If float32 cannot tell which directions are kept.
    ValueError
        If nothing varies.
    """
    gram, grid = layer.gram, grid_of(layer.size)
    c = gram.shape[-1]
    shape = (layer.n, c * layer.size[0] * layer.size[1])
    some_variance(gram.diagonal(dim1=-2, dim2=-1).real.sum(), layer.name, shape)
    eigenvalues, vectors = by_field(descending_eigh, gram, grid.real)
    values = eigenvalues.sqrt()
    twice = torch.tensor(grid.multiplicities, device=gram.device)
    left: dict[int, Tensor] = {}
    # A Gram matrix is rounded relative to the largest eigenvalue of its own frequency.
    clipped = _above_rounding(values, eigenvalues, layer, squared=True)
    coarse = layer.rounding > 0 and gram.dtype == torch.complex128
    counts = _cut(clipped, twice, shape, keep, energy, cut)
    if layer.spectra is not None:
        # Nor may what lies below a rank, and may be more than rounding, decide what is kept.
        below = counts < _cut(values, twice, shape, keep, energy, cut, floor=False)
        below &= not coarse
        whole = keep == 1 and not coarse
        unsafe = sorted({*_unresolved(eigenvalues, counts, whole), *below.nonzero()[:, 0].tolist()})
        if unsafe:
            clipped, vectors, bases = _through_qr(
                layer.spectra(), clipped, vectors, unsafe, grid.real
            )
            left = dict(zip(unsafe, bases, strict=True))
            clipped[unsafe] = _above_rounding(clipped[unsafe], clipped[unsafe], layer)
            counts = _cut(clipped, twice, shape, keep, energy, cut)
    values = clipped
    if gram.dtype == torch.complex64 and bool(
        (counts < _cut(values, twice, shape, keep, energy, cut, floor=False)).any()
    ):
        raise UnresolvedError(f"{layer.name} is not resolved in float32")
    floor = _cut(values, twice, shape, 1.0, energy, "layer")
    k = int(counts.max())
    alive = leading(counts, c)
    kept_values = values.masked_fill(~alive, 0.0)
    inverse = torch.where(alive, 1 / values, 0.0)
    energy_of = (twice * (values**2).sum(1)).sum()
    return FourierSubspace(
        n=layer.n,
        channels=c,
        size=layer.size,
        rank=int((twice * floor).sum()),
        kept=int((twice * counts).sum()),
        explained=min(1.0, float((twice * (kept_values**2).sum(1)).sum() / energy_of)),
        tensors=SpectralFactors(
            values=kept_values,
            weights=(vectors * inverse[:, None, :])[:, :, :k],
            counts=counts,
            spectra=layer.spectra,
            left={f: (basis * alive[f, : basis.shape[1]])[:, :k] for f, basis in left.items()},
            scale=layer.scale,
        ),
        numpy=layer.numpy,
        dtype=values.dtype,
    )


def _above_rounding(
    values: Tensor, known: Tensor, layer: SpectralMoments, *, squared: bool = False
) -> Tensor:
    """Singular values (F, c), 0 where what is known of them is rounding."""
    shape = layer.n, values.shape[1]
    noise = noise_norm(layer.rounding, layer.squares, layer.n)
    ranks = [rank_cut(v, shape, squared=squared, noise=noise) for v in known]
    return values * leading(torch.tensor(ranks, device=values.device), values.shape[1])


def _cut(
    values: Tensor,
    twice: Tensor,
    shape: Size,
    keep: float,
    energy: Energy,
    cut: Cut,
    *,
    floor: bool = True,
) -> Tensor:
    """Directions kept at each frequency, (F,), of singular values (F, c), rounding cut off."""
    pooled = values.repeat_interleave(twice, dim=0).flatten().sort(descending=True).values
    # The FFT spreads rounding over all frequencies, so what stands above it is decided over all.
    rank = rank_cut(pooled, shape) if floor else len(pooled)
    if cut == "layer":
        # Equal values stay together, the two members of a conjugate pair among them.
        return (values >= pooled[directions_needed(pooled, rank, keep, energy) - 1]).sum(1)
    ranks = (values >= pooled[rank - 1]).sum(1).tolist()
    counts = [
        directions_needed(v, r, keep, energy) if r else 0
        for v, r in zip(values, ranks, strict=True)
    ]
    return torch.tensor(counts, device=values.device)


def leading(counts: Tensor, columns: int) -> Tensor:
    """Mask (F, columns) of the first ``counts[f]`` entries of each row."""
    return torch.arange(columns, device=counts.device) < counts[:, None]


def _unresolved(eigenvalues: Tensor, counts: Tensor, whole: bool) -> list[int]:
    """Frequencies at which the Gram matrix does not resolve every direction that is kept."""
    # At keep = 1 every direction matters, those that the Gram matrix cannot resolve included; of
    # numbers coarser than float64, what it cuts is rounding.
    last = torch.full_like(counts, eigenvalues.shape[1]) if whole else counts
    smallest = eigenvalues.gather(1, (last - 1).clamp(min=0)[:, None])[:, 0]
    least = {**GRAM_IS_SAFE, torch.float32: 1e-3}[eigenvalues.dtype]  # complex sums lose more
    safe = smallest >= least * eigenvalues[:, 0]
    return (~safe & (counts > 0)).nonzero()[:, 0].tolist()


def _through_qr(
    spectra: Tensor, values: Tensor, vectors: Tensor, at: list[int], real: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Singular values, directions and left bases at some frequencies, without squaring the data."""

    def decompose(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, r = torch.linalg.qr(rows)
        u, s, v = thin_svd(r)
        return s, v, q @ u

    s, v, left = by_field(decompose, spectra[at], sum(f < real for f in at))
    values, vectors = values.clone(), vectors.clone()
    values[at], vectors[at] = 0.0, 0.0  # n < c leaves fewer than c of them
    values[at, : s.shape[1]] = s
    vectors[at, :, : s.shape[1]] = v
    return values, vectors, left
