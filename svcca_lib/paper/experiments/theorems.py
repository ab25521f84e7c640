r"""The theorems behind DFT-CCA, measured on the layers of a real network.

A covariance is split into what the theorems allow and what they forbid, and the forbidden share of
its energy (its squared Frobenius norm) is the number: zero where a theorem holds. The transforms
and covariances are formed here in full, frequency against frequency, as the theorems state them;
`svcca_lib.dft_cca`, which relies on them, is what they are compared with.

References
----------
Raghu et al. 2017, section 3 and Appendix B: Lemmas 1 to 3, Theorems 1 and 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from svcca_lib import cca, dft_cca, pixels_as_neurons


@dataclass(frozen=True)
class Energy:
    """Energy of the covariances of all pairs of channels of two layers, (c1, c2)."""

    outside: Tensor  # what a theorem says is zero
    total: Tensor

    @property
    def share(self) -> float:
        """Share of the energy of all pairs together that is outside."""
        return float(self.outside.sum() / self.total.sum())

    @property
    def worst(self) -> float:
        """The same of the worst pair of channels; one that never varies has nothing outside."""
        return float(torch.where(self.total > 0, self.outside / self.total, 0.0).max())


def spectrum(x: Tensor) -> Tensor:
    """Orthonormal DFT of the centred layer: (n, c, h, w) real to (n, c, h, w) complex."""
    transformed: Tensor = torch.fft.fft2(_centred(x), norm="ortho")
    return transformed


def between_frequencies(x: Tensor, y: Tensor) -> Energy:
    """Covariance of two layers in the Fourier basis: the energy between different frequencies.

    Zero by Theorem 2 for each pair of channels, and so by Theorem 1 for the layers. Of two sizes,
    waves of less than half a cycle per pixel of the smaller layer can be equal.
    """
    energy = _covariance(spectrum(x), spectrum(y)).abs() ** 2  # (c1, h1 * w1, c2, h2 * w2)
    equal = _equal_frequencies(x.shape[2:], y.shape[2:])[:, None]
    return Energy(energy.masked_fill(equal, 0).sum((1, 3)), energy.sum((1, 3)))


def off_circulant(x: Tensor, y: Tensor) -> Energy:
    """Covariance of two layers pixel by pixel: the energy that is not block circulant.

    Zero by Lemma 1. The block circulant part of a matrix is its mean over all simultaneous shifts
    of its rows and columns; what remains is orthogonal to it. Layers have one size, (h, w).
    """
    x, y = _centred(x), _centred(y)
    (_, c, h, w), d = x.shape, y.shape[1]
    covariance = _covariance(x, y).reshape(c, h, w, d, h, w)
    rest = covariance - _circulant_part(covariance)
    return Energy((rest**2).sum((1, 2, 4, 5)), (covariance**2).sum((1, 2, 4, 5)))


def undiagonalised(x: Tensor, y: Tensor) -> float:
    """Lemma 2: the share of energy that the DFT leaves off a block circulant matrix's diagonal.

    It is the block circulant part of the covariance of two channels, (n, h, w), on any data.
    """
    h, w = x.shape[1:]
    x, y = _centred(x), _centred(y)
    covariance = _covariance(x[:, None], y[:, None]).reshape(1, h, w, 1, h, w)
    matrix = _circulant_part(covariance).reshape(h * w, h * w)
    waves = torch.fft.fft2(torch.eye(h * w).double().reshape(-1, h, w), norm="ortho")
    dft = waves.reshape(h * w, h * w)  # symmetric: F = F^T
    return off_diagonal(dft @ matrix.to(dft.dtype) @ dft.mH)


def moved_by_dft(x: Tensor, y: Tensor) -> float:
    """Lemma 3: the largest change of a canonical correlation when both channels go through the DFT.

    Of two channels, (n, h, w), on any data.
    """
    plain, transformed = (
        torch.linalg.svdvals(_basis(a).mH @ _basis(b))
        for a, b in (
            (_centred(x), _centred(y)),
            (spectrum(x[:, None]), spectrum(y[:, None])),
        )
    )
    return _largest_gap(plain, transformed)


@dataclass(frozen=True)
class Comparison:
    """DFT-CCA beside the CCA of the flat layers that it stands for.

    Chance has no meaning where the images are shifts of one another.
    """

    off_block: float  # share of the covariance's energy that lies between different frequencies
    flat: float  # mean canonical correlation of the flat layers
    fourier: float  # the same of all frequencies
    chance: float | None  # of the flat CCA of independent layers on as many images
    gap: float  # largest difference of i-th canonical correlations, a missing one being 0


def against_flat(x: Tensor, y: Tensor) -> Comparison:
    """Compare DFT-CCA of two layers, (n, c, h, w) each, with the CCA of the flat layers."""
    flat = cca(pixels_as_neurons(x), pixels_as_neurons(y))
    fourier = dft_cca(x, y)
    unrolled = fourier.correlations.repeat_interleave(fourier.multiplicities, dim=0).flatten()
    return Comparison(
        between_frequencies(x, y).share,
        flat.similarity,
        fourier.similarity,
        flat.chance,
        _largest_gap(flat.correlations, unrolled),
    )


def channel_covariance(x: Tensor, basis: Literal["pixels", "dft"]) -> Tensor:
    """Absolute covariance of one channel, (n, h, w), in either basis: (h * w, h * w)."""
    z = spectrum(x[:, None]) if basis == "dft" else _centred(x)[:, None]
    size = x.shape[1] * x.shape[2]
    return _covariance(z, z).abs().reshape(size, size) / (len(x) - 1)


def off_diagonal(matrix: Tensor) -> float:
    """Share of the energy of a square matrix that is off its diagonal."""
    energy = matrix.abs() ** 2
    return float(
        energy.masked_fill(torch.eye(len(matrix), dtype=torch.bool), 0).sum() / energy.sum()
    )


def _centred(x: Tensor) -> Tensor:
    x = x.double()
    return x - x.mean(0)


def _covariance(x: Tensor, y: Tensor) -> Tensor:
    """Products of all columns of centred x and y: (c1, h1 * w1, c2, h2 * w2)."""
    (n, c, h, w), (_, d, g, v) = x.shape, y.shape
    return (x.reshape(n, -1).mH @ y.reshape(n, -1)).reshape(c, h * w, d, g * v)


def _circulant_part(covariance: Tensor) -> Tensor:
    """Mean of (c1, h, w, c2, h, w) over all shifts of both positions together."""
    _, h, w, *_ = covariance.shape
    total = torch.zeros_like(covariance)
    for i in range(h):
        for j in range(w):
            total += torch.roll(covariance, (i, j, i, j), (1, 2, 4, 5))
    return total / (h * w)


def _equal_frequencies(one: Sequence[int], other: Sequence[int]) -> Tensor:
    """Mask (h1 * w1, h2 * w2) of the pairs that are one wave on both grids."""
    masks = []
    for m, n in zip(one, other, strict=True):
        a, b = (torch.fft.fftfreq(side, 1 / side).round() for side in (m, n))
        same = a[:, None] == b
        if m != n:  # half a cycle per pixel of the smaller grid is two waves of the larger one
            same &= 2 * b.abs() < min(m, n)
        masks.append(same)
    rows, columns = masks
    mask = rows[:, None, :, None] & columns[None, :, None, :]  # (h1, w1, h2, w2)
    flat: Tensor = mask.reshape(math.prod(one), math.prod(other))
    return flat


def _basis(x: Tensor) -> Tensor:
    """Orthonormal basis (n, rank) of the columns of centred x, real or complex."""
    u, s, _ = torch.linalg.svd(x.reshape(len(x), -1), full_matrices=False)
    basis: Tensor = u[:, s > max(x.shape) * torch.finfo(s.dtype).eps * s[0]]
    return basis


def _largest_gap(a: Tensor, b: Tensor) -> float:
    size = max(len(a), len(b))
    a, b = (functional.pad(z.sort(descending=True).values, (0, size - len(z))) for z in (a, b))
    return float((a - b).abs().max())
