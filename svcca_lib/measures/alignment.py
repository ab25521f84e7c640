r"""Measures on centred rows: linear and RBF CKA, and Procrustes.

Directions of little variance count little. Layers are scaled to unit norm first: CKA takes fourth
powers, which overflow float32 at activations of 1e9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self, TypeAlias

import torch
from torch import Tensor

from svcca_lib._linalg import descending_eigh, singular_values
from svcca_lib.chance import rotated
from svcca_lib.errors import some_variance
from svcca_lib.inputs import Precision, rows_of
from svcca_lib.layer import centre, moments_of
from svcca_lib.measures.canonical import EUCLIDEAN
from svcca_lib.measures.measure import CentredRows, Measure, function
from svcca_lib.measures.similarity import Expected, Similarity
from svcca_lib.moments import Moments

KernelName: TypeAlias = Literal["linear", "rbf"]
_LAYERS = """\
x, y : array_like, shape (n, p) and (n, q)
    Two layers on the same datapoints, or `Moments` of both as the only argument."""


@dataclass(frozen=True, eq=False)
class UnitRows(CentredRows):
    """A centred layer of unit norm, whose sums of squares several comparisons share.

    For an RBF kernel its rows are the doubly centred kernel matrix (n, n).
    """

    kernel: KernelName = "linear"
    debiased: bool = False

    @cached_property
    def squares(self) -> Tensor:
        """Diagonal of the centred kernel matrix, shape (n,)."""
        if self.kernel == "linear":
            return (self.rows**2).sum(1)
        return self.rows.diagonal()

    @property
    def trace(self) -> float:
        """Of the centred kernel matrix; that of rows of unit norm is 1."""
        return 1.0 if self.kernel == "linear" else float(self.squares.sum())

    @cached_property
    def gram(self) -> Tensor:
        """Centred kernel matrix, shape (n, n)."""
        return self.rows @ self.rows.T if self.kernel == "linear" else self.rows

    @cached_property
    def hsic(self) -> float:
        """HSIC of the layer with itself."""
        return _hsic(self, self)

    @cached_property
    def spectrum(self) -> Tensor:
        """Singular values, shape (min(n, p),)."""
        return singular_values(self.rows)

    def reordered(self, order: Tensor) -> Self:
        """The same layer with its datapoints in another order."""
        rows = self.rows[order] if self.kernel == "linear" else self.rows[order][:, order]
        other = replace(self, rows=rows)
        other.__dict__["hsic"] = self.hsic  # known already: it does not depend on the order
        return other


@dataclass(frozen=True, eq=False)
class Scatter:
    """What moments tell of a layer of unit norm, where no rows are held."""

    scatter: Tensor  # (p, p), trace 1
    scale: float  # trace before
    n: int
    quartic: float  # sum of the fourth powers of the lengths of the rows, at unit norm

    @property
    def sample(self) -> Tensor:
        """A tensor of the layer's precision and device."""
        return self.scatter

    @cached_property
    def norm(self) -> float:
        """Frobenius norm of the scatter matrix."""
        return float(torch.linalg.norm(self.scatter))

    @cached_property
    def debiased(self) -> float:
        """Unbiased HSIC of the layer with itself, up to the factor of `_unbiased`."""
        return _unbiased(self.norm**2, self.quartic, 1.0, self.n)

    @cached_property
    def spectrum(self) -> Tensor:
        """Singular values of the layer, shape (p,)."""
        return descending_eigh(self.scatter)[0].sqrt()

    def cross(self, other: Scatter, xy: Tensor) -> Tensor:
        """Cross-scatter of the two layers at unit norm."""
        return xy / math.sqrt(self.scale) / math.sqrt(other.scale)


Layer: TypeAlias = UnitRows | Scatter


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Of a layer its singular values, which take no rows along."""

    spectrum: Tensor


@dataclass(frozen=True, eq=False)
class RotationChance:
    """What random rotations of the datapoints would score, computed when asked for."""

    layers: tuple[Layer | Spectrum, Layer | Spectrum]
    n: int

    costly: ClassVar[bool] = True

    def __call__(self) -> float:
        x, y = self.layers
        return rotated((x.spectrum, y.spectrum), self.n)

    def __reduce__(self) -> tuple[Any, ...]:
        spectra = tuple(Spectrum(layer.spectrum.detach().clone()) for layer in self.layers)
        return RotationChance, (spectra, self.n)


def of_unit_norm(x: Any, name: str, precision: Precision) -> Layer:
    """Sum a layer up and scale it; its rows where there are any, else its scatter matrix."""
    if isinstance(x, Moments):
        layer = moments_of(x, name)
        scale = float(layer.gram.trace())
        quartic = float(x.lengths_about().products[0, 0]) / scale**2
        return Scatter(layer.gram / scale, scale, layer.n, quartic)
    rows, _ = centre(rows_of(x, name, precision).values.detach())
    total = (rows**2).sum()
    some_variance(total, name, tuple(rows.shape))
    return UnitRows(rows / total.sqrt())


@dataclass(frozen=True, kw_only=True)
class CKA(Measure[Similarity]):
    r"""Centred kernel alignment (Kornblith et al. 2019).

    :math:`\mathrm{HSIC}(K, L) / \sqrt{\mathrm{HSIC}(K, K)\,\mathrm{HSIC}(L, L)}`; with a linear
    kernel :math:`\lVert X^\top Y \rVert_F^2 / (\lVert X^\top X \rVert_F \lVert Y^\top Y \rVert_F)`
    of the centred layers.

    Parameters
    ----------
    kernel : {"linear", "rbf"}
    debiased : bool, default False
        Use the unbiased estimator of HSIC (Song et al. 2012), whose expectation for independent
        layers is 0 at any width; needs n >= 4. Exact from `Moments` too.
    bandwidth : float, default 1.0
        For ``"rbf"``: the kernel's standard deviation as a multiple of the median distance between
        datapoints.
    precision : {"float64", "float32"}

    Notes
    -----
    Linear CKA weighs directions by their variance, squared: one dominant direction can decide it
    (Nguyen et al. 2021), and moving a few datapoints away can drive it towards 0 without changing
    what the network computes (Davari et al. 2022). The biased estimate grows with width.

    References
    ----------
    Kornblith, Norouzi, Lee, Hinton, "Similarity of neural network representations revisited",
    ICML 2019.
    Song, Smola, Gretton, Bedo, Borgwardt, "Feature selection via dependence maximization", JMLR 13
    (2012), equation (5).

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import cka
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 10))
    >>> round(cka(x, 4 * x[:, ::-1] - 1).similarity, 6)
    1.0
    """

    kernel: KernelName = "linear"
    debiased: bool = False
    bandwidth: float = 1.0
    precision: Precision = "float64"

    name: ClassVar[str] = "cka"
    symmetric: ClassVar[bool] = True
    invariant_to: ClassVar[frozenset[str]] = EUCLIDEAN
    layers: ClassVar[str] = _LAYERS

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.bandwidth > 0:
            raise ValueError(
                f"bandwidth must be a positive multiple of the median; got {self.bandwidth}"
            )

    def prepare(self, x: Any, name: str) -> Layer:
        layer = of_unit_norm(x, name, self.precision)
        if isinstance(layer, Scatter):
            if self.of_rows:
                raise ValueError(
                    "moments hold what the linear CKA needs and nothing more; give the arrays, or "
                    "a Reservoir of the stream, for kernel='rbf'"
                )
            if self.debiased:
                self._enough(layer.n, name)
                self._resolved(layer.debiased, layer.n, layer.scatter.dtype, name)
            return layer
        if self.debiased:
            self._enough(layer.n, name)
        rows = layer.rows if self.kernel == "linear" else self._rbf(layer.rows, name)
        layer = UnitRows(rows, self.kernel, self.debiased)
        if self.debiased:
            size = float(layer.squares.sum())
            self._resolved(layer.hsic / size**2 if size else 0.0, layer.n, rows.dtype, name)
        return layer

    @staticmethod
    def _enough(n: int, name: str) -> None:
        if n < 4:
            raise ValueError(f"debiased CKA needs at least 4 datapoints; {name} has {n}")

    @staticmethod
    def _resolved(hsic: float, n: int, dtype: torch.dtype, name: str) -> None:
        """Raise where rounding is left of the HSIC of a layer of trace 1 with itself.

        The unbiased estimate ignores what single datapoints add to all their products, and that may
        be all there is: one datapoint stands out, the others agree.
        """
        if not hsic > n * torch.finfo(dtype).eps:
            raise ValueError(
                f"{name} leaves nothing to the debiased CKA: all datapoints but one, at most, agree"
            )

    @property
    def of_rows(self) -> bool:
        return self.kernel != "linear"

    @property
    def lifted(self) -> bool:
        return self.debiased and self.kernel == "linear"

    def pair(self, x: Any, y: Any) -> tuple[Layer, Layer, Tensor | None]:
        a, b, cross = super().pair(x, y)
        if self.lifted and isinstance(x, Moments) and cross is not None:
            cross = lifted(cross, x.lengths_about().products[0, 1])
        return a, b, cross

    def _rbf(self, rows: Tensor, name: str) -> Tensor:
        """Doubly centred kernel matrix, shape (n, n)."""
        distances = torch.cdist(rows, rows)
        off_diagonal = ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
        sigma = self.bandwidth * distances[off_diagonal].median()
        if not sigma > 0:
            raise ValueError(
                f"{name} gives no RBF bandwidth: the median distance between datapoints is 0"
            )
        k = torch.exp(-(distances**2) / (2 * sigma**2))
        return k - k.mean(0) - k.mean(1, keepdim=True) + k.mean()

    def compare(self, a: Layer, b: Layer, cross: Tensor | None = None) -> Similarity:
        if isinstance(a, Scatter) or isinstance(b, Scatter):
            if self.debiased:
                value, chance = _debiased_from_scatters(a, b, cross), 0.0
            else:
                value, chance = _from_scatters(a, b, cross)
            return Similarity(self.name, min(1.0, value), a.n, independent=Expected(chance))
        norm = math.sqrt(max(a.hsic, 0.0)) * math.sqrt(max(b.hsic, 0.0))
        value = chance = math.nan
        if norm > 0:
            value = min(1.0, _hsic(a, b) / norm)
            # Over random pairings of datapoints E[tr(K P L P^T)] = tr(K) tr(L) / (n - 1), exactly.
            chance = 0.0 if self.debiased else a.trace * b.trace / ((a.n - 1) * norm)
        return Similarity(self.name, value, a.n, independent=Expected(chance))


@dataclass(frozen=True, kw_only=True)
class Procrustes(Measure[Similarity]):
    r"""Orthogonal Procrustes similarity of two layers scaled to unit norm.

    :math:`\lVert X^\top Y \rVert_* / (\lVert X \rVert_F \lVert Y \rVert_F)`, which is
    :math:`1 - d^2 / 2` for the distance d that is left after the best rotation (and zero-padding of
    the narrower layer).

    Parameters
    ----------
    precision : {"float64", "float32"}

    Notes
    -----
    ``chance`` is the mean over a few fixed-seed draws of the nuclear norm that random rotations of
    the datapoints would give, since no closed form is known.

    References
    ----------
    Ding, Denain, Steinhardt, "Grounding representation similarity with statistical testing",
    NeurIPS 2021. Williams et al., "Generalized shape metrics on neural representations", NeurIPS
    2021.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import procrustes
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(300, 6))
    >>> rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    >>> round(procrustes(x, 2 * x @ rotation).similarity, 6)
    1.0
    """

    precision: Precision = "float64"

    name: ClassVar[str] = "procrustes"
    symmetric: ClassVar[bool] = True
    invariant_to: ClassVar[frozenset[str]] = EUCLIDEAN
    layers: ClassVar[str] = _LAYERS

    def prepare(self, x: Any, name: str) -> Layer:
        return of_unit_norm(x, name, self.precision)

    def compare(self, a: Layer, b: Layer, cross: Tensor | None = None) -> Similarity:
        if isinstance(a, Scatter) or isinstance(b, Scatter):
            product = _crossed(a, b, cross)
        elif max(a.rows.shape[1], b.rows.shape[1]) <= a.n:
            product = a.rows.T @ b.rows
        else:
            product = _short(a.rows).T @ _short(b.rows)
        value = min(1.0, float(singular_values(product).sum()))
        return Similarity(self.name, value, a.n, independent=RotationChance((a, b), a.n))


cka = function(CKA)
procrustes = function(Procrustes)


def _hsic(a: UnitRows, b: UnitRows) -> float:
    """HSIC up to a factor common to all: biased, or unbiased (Song et al. 2012, equation 5).

    Both see centred kernels, whose rows sum to 0, which removes most terms of the unbiased form: it
    depends on off-diagonal entries only, and adding a constant to a row and column changes nothing.
    """
    n = a.n
    p, q = a.rows.shape[1], b.rows.shape[1]
    if a.kernel == "linear" and p * q <= n * (p + q):
        full = (a.rows.T @ b.rows).square().sum()
    else:
        full = (a.gram * b.gram).sum()
    if not a.debiased:
        return float(full)
    traces = float(a.squares.sum() * b.squares.sum())
    return _unbiased(float(full), float(a.squares @ b.squares), traces, n)


def _unbiased(full: float, diagonal: float, traces: float, n: int) -> float:
    """Unbiased HSIC, up to a factor, of centred kernels.

    From the sum of all products of entries, of those on the diagonals, and the traces' product.
    """
    return full - diagonal + traces / ((n - 1) * (n - 2)) - 2 * diagonal / (n - 2)


def lifted(products: Tensor, lengths: Tensor) -> Tensor:
    """Products (p, q) of two layers with one row and column more, those of the squared lengths.

    It is what the products of the layers are if each has one more neuron, the squared length of its
    centred rows; only the corner is read.
    """
    with_corner = torch.nn.functional.pad(products, (0, 1, 0, 1))
    with_corner[-1, -1] = lengths
    return with_corner


def _debiased_from_scatters(a: Layer, b: Layer, cross: Tensor | None) -> float:
    """Debiased linear CKA of layers that came as moments, from their lifted products."""
    if not (isinstance(a, Scatter) and isinstance(b, Scatter)) or cross is None:
        return float(_crossed(a, b, cross).sum())  # says what is missing
    if cross.shape != (len(a.scatter) + 1, len(b.scatter) + 1):
        raise TypeError("debiased CKA of moments needs the products of the squared lengths too")
    full = float(a.cross(b, cross[:-1, :-1]).square().sum())
    corner = float(cross[-1, -1]) / a.scale / b.scale
    return _unbiased(full, corner, 1.0, a.n) / math.sqrt(a.debiased * b.debiased)


def _crossed(a: Layer, b: Layer, cross: Tensor | None) -> Tensor:
    """Cross-scatter of two layers that came as moments."""
    if isinstance(a, UnitRows) or isinstance(b, UnitRows) or cross is None:
        raise TypeError("layers that came as moments are compared by the moments of both")
    return a.cross(b, cross)


def _from_scatters(a: Layer, b: Layer, cross: Tensor | None) -> tuple[float, float]:
    """Biased linear CKA, and what independent layers would score."""
    product = _crossed(a, b, cross)
    norm = a.norm * b.norm  # type: ignore[union-attr]
    return float(product.square().sum()) / norm, 1 / ((a.n - 1) * norm)


def _short(rows: Tensor) -> Tensor:
    """A matrix no larger than (n, n) that can stand for rows (n, p) in ``rows^T other``.

    ``rows = L Q`` with Q orthonormal, so the singular values of the product are those with L.
    """
    return torch.linalg.qr(rows.T)[1].T if rows.shape[1] > len(rows) else rows
