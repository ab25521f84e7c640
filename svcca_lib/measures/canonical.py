r"""Measures on subspaces: canonical correlations, summed up in different ways, and regression.

They see a layer through an orthonormal basis of its subspace (`svcca_lib.Subspace`): all directions
that were kept count the same, unless a measure weighs them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from svcca_lib._linalg import inner, product, singular_values, thin_svd
from svcca_lib.chance import chance_correlation
from svcca_lib.inputs import Precision, resolved, rows_of
from svcca_lib.layer import joint_moments_of, moments_of, products
from svcca_lib.measures.measure import Coordinates, Measure, function, in_one_precision
from svcca_lib.measures.similarity import Expected, Similarity
from svcca_lib.moments import Moments
from svcca_lib.outputs import Value, like_input
from svcca_lib.subspace import Energy, Subspace, check_cut, decompose, decompose_all, subspace_of

MeanOver: TypeAlias = Literal["kept", "smaller_layer", "weighted"]
Side: TypeAlias = Literal["x", "y"]

# A rotation of the neurons, one scale for the layer, another mean.
EUCLIDEAN = frozenset({"orthogonal", "isotropic", "translation"})


class _OnSubspaces(Measure[Similarity]):
    """What the measures of this module share: layers prepared as subspaces, whole."""

    precision: Precision  # an option of each, among its others

    def width(self, layer: Subspace) -> int:
        return layer.n_features

    def prepare(self, x: Any, name: str) -> Subspace:
        if isinstance(x, Subspace):
            return x
        if isinstance(x, Moments):
            return decompose(moments_of(x, name), *self._cut())
        return subspace_of(x, name, self.precision, *self._cut())

    def pair(self, x: Any, y: Any) -> tuple[Subspace, Subspace, Tensor | None]:
        if any(z is None or isinstance(z, Subspace | Moments) for z in (x, y)):
            return super().pair(x, y)
        return resolved(lambda precision: self._arrays(x, y, precision), self.precision)

    def _arrays(
        self, x: Any, y: Any, precision: Precision
    ) -> tuple[Subspace, Subspace, Tensor | None]:
        rows = [rows_of(z, name, precision) for z, name in ((x, "x"), (y, "y"))]
        *layers, cross = joint_moments_of(*rows)
        a, b = (
            replace(s, dtype=getattr(torch, self.precision))
            for s in decompose_all(layers, *self._cut())
        )
        return a, b, None if cross is None else self.condensed(a, b, cross)

    def coordinates(self, layer: Subspace) -> Coordinates:
        return Coordinates(layer.tensors.weights, (layer.kept,))

    def condensed(self, a: Subspace, b: Subspace, products: Tensor) -> Tensor:
        x, y = a.tensors, b.tensors
        # What the cross-scatter says of directions that no Gram matrix resolves is rounding.
        if x.left is not None or y.left is not None:
            return alignment(a, b)
        return product(inner(x.weights, products), y.weights)

    def _cut(self) -> tuple[float, Energy]:
        return 1.0, "variance"


class _OnCutSubspaces(_OnSubspaces):
    """The same for measures whose options say where a layer is cut."""

    keep: float
    energy: Energy

    def __post_init__(self) -> None:
        super().__post_init__()
        check_cut(self.keep, self.energy)

    def _cut(self) -> tuple[float, Energy]:
        return float(self.keep), self.energy


@dataclass(frozen=True, kw_only=True)
class SVCCA(_OnCutSubspaces):
    r"""Singular vector canonical correlation analysis (section 2 of the paper).

    Each layer is cut to its leading singular directions; the similarity is the mean of the
    canonical correlations between the two subspaces, equation (1).

    Parameters
    ----------
    keep : float, default 0.99
        Fraction of each layer kept, in (0, 1].
    energy : {"variance", "singular_values"}
        Fraction of what: of the variance (section 2, the default) or of the sum of singular values
        (Appendix A). The paper says both.
    mean_over : {"kept", "smaller_layer", "weighted"}
        What the sum of correlations is divided by. ``"kept"``: the number of correlations,
        ``min(x_kept, y_kept)``, which gives 1 on the diagonal as in the paper's Figure 4.
        ``"smaller_layer"``: equation (1) to the letter, the number of neurons of the smaller layer.
        ``"weighted"``: a mean weighted by the variance of both layers that each pair of directions
        explains; the colour bar of Figure 4 names a weighting that the paper does not define, and
        this one is ours.
    squared : bool, default False
        The mean of the *squared* correlations: shares of variance instead of correlations, whose
        `chance` is exact, ``max(x_kept, y_kept) / (n - 1)``.
    precision : {"float64", "float32"}

    Notes
    -----
    Misleads when n is small against the directions kept (look at ``chance``), when the layers'
    signal has few dimensions among many noise directions (see `pwcca`), and when pixels are used as
    datapoints, because neighbours are not independent.

    The correlations of torch inputs that require a gradient are differentiable; differentiate
    ``svcca(x, y).correlations.sum()``.

    References
    ----------
    Raghu, Gilmer, Yosinski, Sohl-Dickstein, "SVCCA: Singular Vector Canonical Correlation Analysis
    for Deep Learning Dynamics and Interpretability", NeurIPS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import svcca
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(1000, 20))
    >>> rotation, _ = np.linalg.qr(rng.normal(size=(20, 20)))
    >>> round(svcca(x, 3 * x @ rotation + 5).similarity, 6)
    1.0
    >>> r = svcca(x, rng.normal(size=(1000, 20)))
    >>> bool(abs(r.similarity - r.chance) < 0.02)
    True
    """

    keep: float = 0.99
    energy: Energy = "variance"
    mean_over: MeanOver = "kept"
    squared: bool = False
    precision: Precision = "float64"

    name: ClassVar[str] = "svcca"
    symmetric: ClassVar[bool] = True
    invariant_to: ClassVar[frozenset[str]] = EUCLIDEAN

    def compare(self, a: Subspace, b: Subspace, cross: Tensor | None = None) -> Similarity:
        return _canonical(self.name, a, b, cross, self.mean_over, squared=self.squared)


@dataclass(frozen=True, kw_only=True)
class CCA(_OnSubspaces):
    """Canonical correlation analysis of whole layers: `svcca` without its cut.

    Only directions that are pure rounding are removed: of the numbers as they came, so that float32
    activations are given as such, for copied to float64 they pass for exact. The similarity is the
    mean correlation.

    Parameters
    ----------
    squared : bool, default False
        The mean of the *squared* correlations: shares of variance instead of correlations, whose
        `chance` is exact, ``max(x_kept, y_kept) / (n - 1)``.
    precision : {"float64", "float32"}

    Notes
    -----
    Every direction counts the same, noise included: a layer that shares 50 directions and adds 150
    of noise scores as one that adds 150 useful ones (Appendix Figure 1 of the paper).

    References
    ----------
    Hotelling, "Relations between two sets of variates", Biometrika 28 (1936).
    Bjoerck and Golub, "Numerical methods for computing angles between linear subspaces",
    Mathematics of Computation 27 (1973).

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import cca
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(500, 4))
    >>> r = cca(x, x @ rng.normal(size=(4, 4)))  # invariant to any invertible map
    >>> r.correlations.round(6).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    squared: bool = False
    precision: Precision = "float64"

    name: ClassVar[str] = "cca"
    symmetric: ClassVar[bool] = True
    invariant_to: ClassVar[frozenset[str]] = EUCLIDEAN | {"invertible"}

    def compare(self, a: Subspace, b: Subspace, cross: Tensor | None = None) -> Similarity:
        return _canonical(self.name, a, b, cross, "kept", squared=self.squared)


@dataclass(frozen=True, kw_only=True)
class PWCCA(_OnCutSubspaces):
    r"""Projection-weighted CCA (Morcos, Raghu, Bengio 2018).

    The mean of the canonical correlations with weights
    :math:`\alpha_i = \sum_j |\langle h_i, z_j \rangle|`, where :math:`h_i` are the canonical
    variates of the layer named by `side`, orthonormal in data space, and :math:`z_j` its centred
    neurons: directions that the layer uses more count more.

    Parameters
    ----------
    side : {"x", "y"}
        The layer whose neurons give the weights. PWCCA is not symmetric by definition.
    keep, energy
        An SVCCA cut before the CCA; by default none.
    squared : bool, default False
        The weighted mean of the squared correlations.
    precision : {"float64", "float32"}

    Notes
    -----
    The weights follow the neurons' scales, so PWCCA is invariant to rotations of the *other* layer
    but not to rotations of the weighting one: a sum of absolute values depends on the axes. For the
    same reason it is not unique where correlations are equal, above all where n <= p + q makes some
    of them 1: any rotation of their variates would do, and each gives other weights.

    References
    ----------
    Morcos, Raghu, Bengio, "Insights on representational similarity in neural networks with
    canonical correlation", NeurIPS 2018, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import cca, pwcca
    >>> rng = np.random.default_rng(0)
    >>> signal = 10 * rng.normal(size=(2000, 2))
    >>> x = np.hstack([signal, rng.normal(size=(2000, 20))])
    >>> y = np.hstack([signal, rng.normal(size=(2000, 20))])
    >>> pwcca(x, y).similarity > cca(x, y).similarity
    True
    """

    side: Side = "x"
    keep: float = 1.0
    energy: Energy = "variance"
    squared: bool = False
    precision: Precision = "float64"

    name: ClassVar[str] = "pwcca"
    symmetric: ClassVar[bool] = False
    invariant_to: ClassVar[frozenset[str]] = EUCLIDEAN - {"orthogonal"} | {
        "permutation",
        "reflection",
    }

    def compare(self, a: Subspace, b: Subspace, cross: Tensor | None = None) -> Similarity:
        a, b = in_one_precision(a, b)
        matrix = alignment(a, b, cross)
        u, rho, v = _singular_pairs(matrix)
        layer, vectors = (a.tensors, u) if self.side == "x" else (b.tensors, v)
        counted = rho**2 if self.squared else rho
        # Z^T h_i = V diag(s) Q^T h_i, so the inner products with all neurons need no rows.
        alpha = (layer.directions @ (layer.values[:, None] * vectors)).abs().sum(0)
        return Similarity(
            measure=self.name,
            similarity=min(1.0, float(((alpha * counted).sum() / alpha.sum()).detach())),
            n=a.n,
            weights=CanonicalWeights.of(a, b, matrix, (u, v)),
            correlations=like_input(rho, numpy=a.numpy),
            x_kept=a.kept,
            y_kept=b.kept,
            independent=CanonicalChance(a.kept, b.kept, a.n, squared=self.squared),
        )


@dataclass(frozen=True, kw_only=True)
class LinearRegression(_OnSubspaces):
    r"""Share of the variance of `y` that a linear map of `x` explains, :math:`R^2`.

    :math:`\lVert Q_x^\top Y \rVert_F^2 / \lVert Y \rVert_F^2`. Not symmetric: `x` predicts `y`.

    Parameters
    ----------
    precision : {"float64", "float32"}

    Notes
    -----
    In-sample: it rises with the number of neurons of `x` alone, to 1 at p = n - 1. See ``chance``.

    References
    ----------
    Kornblith, Norouzi, Lee, Hinton, "Similarity of neural network representations revisited",
    ICML 2019, table 1.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import linear_regression
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> round(linear_regression(x, x[:, :1]).similarity, 6)
    1.0
    """

    precision: Precision = "float64"

    name: ClassVar[str] = "linear_regression"
    symmetric: ClassVar[bool] = False
    invariant_to: ClassVar[frozenset[str]] = EUCLIDEAN

    def compare(self, a: Subspace, b: Subspace, cross: Tensor | None = None) -> Similarity:
        a, b = in_one_precision(a, b)
        values = b.tensors.values
        explained = ((alignment(a, b, cross) * values) ** 2).sum() / (values**2).sum()
        return Similarity(
            measure=self.name,
            similarity=min(1.0, float(explained.detach())),
            n=a.n,
            x_kept=a.kept,
            y_kept=b.kept,
            independent=Expected(min(1.0, a.kept / (a.n - 1))),
        )


svcca = function(SVCCA)
cca = function(CCA)
pwcca = function(PWCCA)
linear_regression = function(LinearRegression)


def _canonical(
    measure: str,
    a: Subspace,
    b: Subspace,
    cross: Tensor | None,
    mean_over: MeanOver,
    *,
    squared: bool,
) -> Similarity:
    a, b = in_one_precision(a, b)
    matrix = alignment(a, b, cross)
    k = min(a.kept, b.kept)
    pairs = None
    if mean_over == "weighted":
        u, rho, v = _singular_pairs(matrix)
        pairs = u, v
        weights = explained_along(a.tensors.values, u) + explained_along(b.tensors.values, v)
        counted = rho**2 if squared else rho
        similarity, scale = float(((weights * counted).sum() / weights.sum()).detach()), 1.0
    else:
        rho = singular_values(matrix).clamp(max=1.0)
        divisor = k if mean_over == "kept" else min(a.n_features, b.n_features)
        counted = rho**2 if squared else rho
        similarity, scale = float(counted.detach().sum()) / divisor, k / divisor
    return Similarity(
        measure=measure,
        similarity=min(1.0, similarity),
        n=a.n,
        weights=CanonicalWeights.of(a, b, matrix, pairs),
        correlations=like_input(rho, numpy=a.numpy),
        x_kept=a.kept,
        y_kept=b.kept,
        independent=CanonicalChance(a.kept, b.kept, a.n, scale, squared),
    )


def alignment(a: Subspace, b: Subspace, cross: Tensor | None = None) -> Tensor:
    r"""Inner products :math:`Q_a^\top Q_b` of two orthonormal bases, shape (a.kept, b.kept).

    Its singular values are the cosines of the principal angles, that is the canonical correlations
    (Bjoerck and Golub 1973). Where it is not given, it is formed through the neurons or through the
    bases, whichever takes fewer multiplications; the bases are kept for the next comparison.
    """
    if cross is not None:
        return cross
    x, y = a.tensors, b.tensors
    if not (x.ready or y.ready):
        through_bases = a.n_features * a.kept + b.n_features * b.kept + a.kept * b.kept
        if a.n_features * b.n_features < through_bases:
            return x.weights.T @ products(x.responses, y.responses) @ y.weights
    return inner(x.basis, y.basis)


def explained_along(values: Tensor, vectors: Tensor) -> Tensor:
    """Share of a layer's variance along its canonical variates, ``|X^T h_i|^2 = |diag(s) u_i|^2``.

    Parameters
    ----------
    values : Tensor, shape (kept,)
        Singular values of the layer.
    vectors : Tensor, shape (kept, k)
        Left, or right, singular vectors of the alignment.
    """
    shares: Tensor = ((values[:, None] * vectors) ** 2).sum(0) / (values**2).sum()
    return shares


@dataclass(frozen=True, eq=False)
class CanonicalWeights(Value):
    """Canonical weights, computed when asked for; no larger than the weights of both layers."""

    maps: tuple[Tensor, Tensor]  # (p, kept_a) and (q, kept_b): from centred neurons to the bases
    scales: tuple[float, float]  # of the layers, see `Factors`
    alignment: Tensor  # (kept_a, kept_b)
    vectors: tuple[Tensor, Tensor] | None  # its singular vectors, where they are known
    numpy: bool

    @classmethod
    def of(
        cls, a: Subspace, b: Subspace, matrix: Tensor, vectors: tuple[Tensor, Tensor] | None
    ) -> CanonicalWeights:
        scales = a.tensors.scale, b.tensors.scale
        return cls((a.tensors.weights, b.tensors.weights), scales, matrix, vectors, a.numpy)

    def __call__(self) -> tuple[Any, Any]:
        u, v = self.vectors or _singular_pairs(self.alignment)[::2]
        x, y = (m @ w * s for m, w, s in zip(self.maps, (u, v), self.scales, strict=True))
        return like_input(x, numpy=self.numpy), like_input(y, numpy=self.numpy)


@dataclass(frozen=True)
class CanonicalChance:
    """What independent layers of these sizes would score, computed when asked for."""

    x_kept: int
    y_kept: int
    n: int
    scale: float = 1.0
    squared: bool = False

    def __call__(self) -> float:
        expected = chance_correlation(self.x_kept, self.y_kept, self.n, squared=self.squared)
        return self.scale * expected


def _singular_pairs(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    u, s, v = thin_svd(matrix)
    return u, s.clamp(max=1.0), v
