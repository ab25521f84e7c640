r"""Measures of similarity between two layers.

A layer is an ``(n, p)`` matrix: rows are datapoints, columns neurons. Two layers must have been
recorded on the same datapoints in the same order; they may differ in width. Every measure is a
plain function of two layers that returns a `Similarity`, and one row of `MEASURES`, which says how
a layer is prepared once for many comparisons and what the measure is invariant to.

CCA, SVCCA, PWCCA and linear regression see a layer through an orthonormal basis of its subspace
(`svcca_lib.Subspace`); linear and RBF CKA and Procrustes see its centred rows, so that directions
of little variance count little.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import scipy  # its parts are loaded when used: the import stays fast
import torch
from torch import Tensor

from svcca_lib._arrays import (
    ArrayLike,
    Precision,
    SampleSizeWarning,
    as_tensor,
    centre,
    like_input,
    one_of,
    same_rows,
    some_variance,
    warn_once,
)
from svcca_lib._linalg import descending_eigh, on_cpu, one_thread_each, singular_values, thin_svd
from svcca_lib.moments import LayerMoments, Moments
from svcca_lib.subspace import (
    Energy,
    Subspace,
    alignment,
    check_cut,
)

Layer: TypeAlias = ArrayLike | Subspace
MeanOver: TypeAlias = Literal["kept", "smaller_layer", "weighted"]
Side: TypeAlias = Literal["x", "y"]


@dataclass(frozen=True, eq=False)
class Similarity:
    """What a measure found.

    Attributes
    ----------
    measure : str
        Name of the measure.
    similarity : float
        In [0, 1]; 1 for layers that the measure cannot tell apart. (Debiased CKA, an unbiased
        estimate, scatters around 0 for independent layers and can fall just below it.)
    n : int
        Datapoints.
    correlations : array, shape (k,), or None
        Canonical correlations, descending, in [0, 1]; ``k = min(x_kept, y_kept)``. None for
        measures that have none.
    x_kept, y_kept : int or None
        Directions of each layer that entered the comparison.
    x_weights, y_weights : array, shape (p, k) and (q, k), or None
        ``(x - x.mean(0)) @ x_weights`` are the canonical variates of `x`: orthonormal columns, in
        the order of `correlations`. Computed when asked for.
    chance : float or None
        Expected similarity of *independent* layers of these sizes: what the number would be with
        nothing to find. None where no closed form is known (use `svcca_lib.permutation_test`).

    Notes
    -----
    A similarity means something only by its distance from `chance`. With n datapoints and k kept
    directions a side, independent layers have ``sum(rho**2) = k * k / (n - 1)``.
    """

    measure: str
    similarity: float
    n: int
    correlations: Any = None
    x_kept: int | None = None
    y_kept: int | None = None
    _weights: Callable[[], tuple[Any, Any]] | None = field(default=None, repr=False)
    _chance: Callable[[], float] | None = field(default=None, repr=False)

    @cached_property
    def _both_weights(self) -> tuple[Any, Any]:
        return (None, None) if self._weights is None else self._weights()

    @property
    def x_weights(self) -> Any:
        """Weights of the canonical variates of `x`, shape (p, k)."""
        return self._both_weights[0]

    @property
    def y_weights(self) -> Any:
        """Weights of the canonical variates of `y`, shape (q, k)."""
        return self._both_weights[1]

    @cached_property
    def chance(self) -> float | None:
        """Expected similarity of independent layers of these sizes."""
        return None if self._chance is None else self._chance()


def svcca(
    x: Layer | Moments,
    y: Layer | None = None,
    *,
    keep: float = 0.99,
    energy: Energy = "variance",
    mean_over: MeanOver = "kept",
    precision: Precision = "float64",
) -> Similarity:
    r"""Singular vector canonical correlation analysis (section 2 of the paper).

    Each layer is cut to its leading singular directions; the similarity is the mean of the
    canonical correlations between the two subspaces, equation (1).

    Parameters
    ----------
    x, y : array_like, shape (n, p) and (n, q), or Subspace
        Two layers on the same datapoints, or `Moments` of both as the only argument. A `Subspace`
        keeps the cut it was made with.
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
    precision : {"float64", "float32"}

    Returns
    -------
    Similarity

    Raises
    ------
    TypeError, ValueError
        If a layer is not a finite real matrix with some variance, the two differ in rows, or an
        option is outside its range.

    Warns
    -----
    SampleSizeWarning
        If ``n <= p + 1`` for either layer.

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
    one_of(mean_over, ("kept", "smaller_layer", "weighted"), "mean_over")
    a, b, cross = _subspaces(x, y, keep, energy, precision)
    return _warned(_canonical("svcca", a, b, cross, mean_over), a, b)


def cca(
    x: Layer | Moments, y: Layer | None = None, *, precision: Precision = "float64"
) -> Similarity:
    """Canonical correlation analysis of whole layers: `svcca` without its cut.

    Only directions that are pure rounding are removed. The similarity is the mean correlation.

    Parameters
    ----------
    x, y : array_like, shape (n, p) and (n, q), or Subspace
        Two layers on the same datapoints, or `Moments` of both as the only argument.
    precision : {"float64", "float32"}

    Returns
    -------
    Similarity

    Raises
    ------
    TypeError, ValueError
        As `svcca`.

    Warns
    -----
    SampleSizeWarning
        If ``n <= p + 1`` for either layer: with p = n - 1 the similarity is 1 for any data.

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
    a, b, cross = _subspaces(x, y, 1.0, "variance", precision)
    return _warned(_canonical("cca", a, b, cross, "kept"), a, b)


def pwcca(
    x: Layer | Moments,
    y: Layer | None = None,
    *,
    side: Side = "x",
    keep: float = 1.0,
    energy: Energy = "variance",
    precision: Precision = "float64",
) -> Similarity:
    r"""Projection-weighted CCA (Morcos, Raghu, Bengio 2018).

    The mean of the canonical correlations with weights
    :math:`\alpha_i = \sum_j |\langle h_i, z_j \rangle|`, where :math:`h_i` are the canonical
    variates of the layer named by `side`, orthonormal in data space, and :math:`z_j` its centred
    neurons: directions that the layer uses more count more.

    Parameters
    ----------
    x, y : array_like, shape (n, p) and (n, q), or Subspace
        Two layers on the same datapoints, or `Moments` of both as the only argument.
    side : {"x", "y"}
        The layer whose neurons give the weights. PWCCA is not symmetric by definition.
    keep, energy
        An SVCCA cut before the CCA; by default none.
    precision : {"float64", "float32"}

    Returns
    -------
    Similarity

    Raises
    ------
    TypeError, ValueError
        As `svcca`.

    Warns
    -----
    SampleSizeWarning
        If ``n <= p + 1`` for either layer.

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
    one_of(side, ("x", "y"), "side")
    a, b, cross = _subspaces(x, y, keep, energy, precision)
    return _warned(_projection_weighted(a, b, cross, side), a, b)


def linear_regression(
    x: Layer | Moments, y: Layer | None = None, *, precision: Precision = "float64"
) -> Similarity:
    r"""Share of the variance of `y` that a linear map of `x` explains, :math:`R^2`.

    :math:`\lVert Q_x^\top Y \rVert_F^2 / \lVert Y \rVert_F^2`. Not symmetric: `x` predicts `y`.

    Parameters
    ----------
    x, y : array_like, shape (n, p) and (n, q), or Subspace
        Predictor and target on the same datapoints, or `Moments` of both as the only argument.
    precision : {"float64", "float32"}

    Returns
    -------
    Similarity

    Raises
    ------
    TypeError, ValueError
        As `svcca`.

    Warns
    -----
    SampleSizeWarning
        If ``n <= p + 1`` for either layer.

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
    a, b, cross = _subspaces(x, y, 1.0, "variance", precision)
    return _warned(_regression(a, b, cross), a, b)


def cka(
    x: ArrayLike | Moments,
    y: ArrayLike | None = None,
    *,
    kernel: Literal["linear", "rbf"] = "linear",
    debiased: bool = False,
    bandwidth: float = 1.0,
    precision: Precision = "float64",
) -> Similarity:
    r"""Centred kernel alignment (Kornblith et al. 2019).

    :math:`\mathrm{HSIC}(K, L) / \sqrt{\mathrm{HSIC}(K, K)\,\mathrm{HSIC}(L, L)}`; with a linear
    kernel :math:`\lVert X^\top Y \rVert_F^2 / (\lVert X^\top X \rVert_F \lVert Y^\top Y \rVert_F)`
    of the centred layers.

    Parameters
    ----------
    x, y : array_like, shape (n, p) and (n, q)
        Two layers on the same datapoints; for the biased linear kernel also `Moments` of both.
    kernel : {"linear", "rbf"}
    debiased : bool, default False
        Use the unbiased estimator of HSIC (Song et al. 2012), whose expectation for independent
        layers is 0 at any width; needs n >= 4.
    bandwidth : float, default 1.0
        For ``"rbf"``: the kernel's standard deviation as a multiple of the median distance between
        datapoints.
    precision : {"float64", "float32"}

    Returns
    -------
    Similarity

    Raises
    ------
    TypeError, ValueError
        As `svcca`; also for `Moments` with another kernel than the biased linear one.

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
    prepare = _cka_layer(kernel=kernel, debiased=debiased, bandwidth=bandwidth, precision=precision)
    if isinstance(x, Moments):
        first, second = _halves(x, y)
        a, b = prepare(first, "the first layer of x"), prepare(second, "the second layer of x")
        return _cka(a, b, x.xy)
    a, b = prepare(x, "x"), prepare(_given(y), "y")
    comparable(a, b)
    return _cka(a, b)


def procrustes(
    x: ArrayLike | Moments, y: ArrayLike | None = None, *, precision: Precision = "float64"
) -> Similarity:
    r"""Orthogonal Procrustes similarity of two layers scaled to unit norm.

    :math:`\lVert X^\top Y \rVert_* / (\lVert X \rVert_F \lVert Y \rVert_F)`, which is
    :math:`1 - d^2 / 2` for the distance d that is left after the best rotation (and zero-padding of
    the narrower layer).

    Parameters
    ----------
    x, y : array_like, shape (n, p) and (n, q)
        Two layers on the same datapoints, or `Moments` of both as the only argument.
    precision : {"float64", "float32"}

    Returns
    -------
    Similarity

    Raises
    ------
    TypeError, ValueError
        As `svcca`.

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
    if isinstance(x, Moments):
        first, second = _halves(x, y)
        a = _row_layer(first, "the first layer of x", precision)
        b = _row_layer(second, "the second layer of x", precision)
        return _rotation(a, b, x.xy)
    a, b = _row_layer(x, "x", precision), _row_layer(_given(y), "y", precision)
    comparable(a, b)
    return _rotation(a, b)


# --- a pair of layers, however it came ---------------------------------------------------------


def _given(y: Any) -> Any:
    if y is None:
        raise TypeError("y is missing: give two layers, or Moments of both as the only argument")
    return y


def _subspace(
    x: Layer | Moments, name: str, keep: float, energy: Energy, precision: Precision
) -> Subspace:
    if isinstance(x, Subspace):
        return x
    if isinstance(x, Moments):
        mean, scatter = _layer(x, name)
        return Subspace._from_scatter(scatter, mean, x.n, name, keep, energy, numpy=x.numpy)
    return Subspace._from_rows(x, name, keep, energy, precision)


def _subspaces(
    x: Layer | Moments, y: Layer | None, keep: float, energy: Energy, precision: Precision
) -> tuple[Subspace, Subspace, Tensor | None]:
    """Both layers decomposed, and the cross-scatter where that is all there is."""
    keep = check_cut(keep, energy)
    if not isinstance(x, Moments):
        y = _given(y)
        a = _subspace(x, "x", keep, energy, precision)
        b = _subspace(y, "y", keep, energy, precision)
        comparable(a, b)
        return a, b, None
    first, second = _halves(x, y)
    a = _subspace(first, "the first layer of x", keep, energy, precision)
    b = _subspace(second, "the second layer of x", keep, energy, precision)
    return a, b, x.xy


def _halves(m: Moments, y: Any) -> tuple[Moments, Moments]:
    """Moments of each layer, of moments that are the only argument."""
    if y is not None:
        raise TypeError("Moments hold both layers already: give them as the only argument")
    if not m.paired:
        what = "a single layer" if m.n else "nothing"
        raise ValueError(f"x must be Moments of two layers (update(x, y)); it holds {what}")
    if m.n < 2:
        raise ValueError(f"x must hold at least 2 datapoints; got {m.n}")
    return m.halves()


def _layer(m: Moments, name: str) -> LayerMoments:
    """Mean and scatter matrix of a single layer, rounding of its constant neurons removed."""
    if len(m._layers) != 1:
        raise ValueError(f"{name} must be Moments of one layer (update(x)); got {m}")
    if m.n < 2:
        raise ValueError(f"{name} must hold at least 2 datapoints; got {m.n}")
    ((mean, scatter),) = m._layers
    return LayerMoments(mean, _without_constants(scatter, mean, m.n, name))


def _without_constants(scatter: Tensor, mean: Tensor, n: int, name: str) -> Tensor:
    """Set to zero what is left of constant neurons: the rounding of their batch means."""
    rounding = n * (8 * torch.finfo(scatter.dtype).eps * mean) ** 2
    constant = scatter.diagonal() <= rounding
    some_variance(scatter.diagonal()[~constant], name, (n, len(scatter)))
    return scatter.masked_fill(constant | constant[:, None], 0.0)


class _Decomposed(Protocol):
    """A layer known by its singular values: a Subspace, here or at every frequency."""

    @property
    def n(self) -> int: ...
    @property
    def _values(self) -> Tensor: ...


def comparable(a: _Decomposed | _Rows, b: _Decomposed | _Rows) -> None:
    """Raise unless two prepared layers share their datapoints, precision and device."""
    same_rows(a.n, b.n)
    one_kind(*(s.rows if isinstance(s, _Rows) else s._values for s in (a, b)))


def one_kind(x: Tensor, y: Tensor) -> None:
    """Raise unless two layers have one precision and one device."""
    if (x.dtype, x.device) != (y.dtype, y.device):
        raise ValueError(
            f"x and y must have one precision and one device; "
            f"got {x.dtype} on {x.device} and {y.dtype} on {y.device}"
        )


def _warned(result: Similarity, a: Subspace, b: Subspace, stacklevel: int = 3) -> Similarity:
    wide = max(a.n_features, b.n_features)
    if a.n <= wide + 1:
        warnings.warn(
            f"{a.n} datapoints for a layer of {wide} neurons: independent layers of these sizes "
            f"would score {result.chance:.3f} by {result.measure}; use more datapoints than "
            f"neurons, or a held-out or debiased measure",
            SampleSizeWarning,
            stacklevel=stacklevel,
        )
    return result


# --- measures on subspaces ---------------------------------------------------------------------


def _matrix(a: Subspace, b: Subspace, cross: Tensor | None) -> Tensor:
    return alignment(a, b) if cross is None else a._weights.T @ cross @ b._weights


def _directions(
    a: Subspace, b: Subspace, matrix: Tensor, svd: tuple[Tensor, Tensor] | None = None
) -> Callable[[], tuple[Any, Any]]:
    """Canonical weights, from the SVD of the alignment, when somebody asks for them."""
    wa, wb, numpy = a._weights, b._weights, a._numpy

    def weights() -> tuple[Any, Any]:
        u, v = svd if svd is not None else _singular_pairs(matrix)[::2]
        return like_input(wa @ u, numpy=numpy), like_input(wb @ v, numpy=numpy)

    return weights


def _singular_pairs(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    u, s, v = thin_svd(matrix)
    return u, s.clamp(max=1.0), v


def _canonical(
    measure: str, a: Subspace, b: Subspace, cross: Tensor | None, mean_over: MeanOver
) -> Similarity:
    matrix = _matrix(a, b, cross)
    k = min(a.kept, b.kept)
    svd = None
    if mean_over == "weighted":
        u, rho, v = _singular_pairs(matrix)
        svd = (u, v)
        # Variance of each layer along its canonical variates: |X^T h_i|^2 = |diag(s) u_i|^2.
        shares = [
            ((values[:, None] * vectors) ** 2).sum(0) / (values**2).sum()
            for values, vectors in ((a._values, u), (b._values, v))
        ]
        weights = shares[0] + shares[1]
        similarity, scale = float(((weights * rho).sum() / weights.sum()).detach()), 1.0
    else:
        rho = singular_values(matrix).clamp(max=1.0)
        divisor = k if mean_over == "kept" else min(a.n_features, b.n_features)
        similarity, scale = float(rho.detach().sum()) / divisor, k / divisor
    return Similarity(
        measure=measure,
        similarity=min(1.0, similarity),
        n=a.n,
        correlations=like_input(rho, numpy=a._numpy),
        x_kept=a.kept,
        y_kept=b.kept,
        _weights=_directions(a, b, matrix, svd),
        _chance=lambda: scale * chance_correlation(a.kept, b.kept, a.n),
    )


def _projection_weighted(a: Subspace, b: Subspace, cross: Tensor | None, side: Side) -> Similarity:
    matrix = _matrix(a, b, cross)
    u, rho, v = _singular_pairs(matrix)
    layer, vectors = (a, u) if side == "x" else (b, v)
    # Z^T h_i = V diag(s) Q^T h_i, so the inner products with all neurons need no rows.
    alpha = (layer._directions @ (layer._values[:, None] * vectors)).abs().sum(0)
    return Similarity(
        measure="pwcca",
        similarity=min(1.0, float(((alpha * rho).sum() / alpha.sum()).detach())),
        n=a.n,
        correlations=like_input(rho, numpy=a._numpy),
        x_kept=a.kept,
        y_kept=b.kept,
        _weights=_directions(a, b, matrix, (u, v)),
        _chance=lambda: chance_correlation(a.kept, b.kept, a.n),
    )


def _regression(a: Subspace, b: Subspace, cross: Tensor | None) -> Similarity:
    explained = ((_matrix(a, b, cross) * b._values) ** 2).sum() / (b._values**2).sum()
    return Similarity(
        measure="linear_regression",
        similarity=min(1.0, float(explained.detach())),
        n=a.n,
        x_kept=a.kept,
        y_kept=b.kept,
        _chance=lambda: min(1.0, a.kept / (a.n - 1)),
    )


# --- measures on centred rows ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Rows:
    """A centred layer, scaled to unit norm, whose sums of squares several comparisons share."""

    rows: Tensor  # (n, p) centred; for an RBF kernel the doubly centred kernel matrix (n, n)
    kernel: str = "linear"
    debiased: bool = False

    @property
    def n(self) -> int:
        return len(self.rows)

    @cached_property
    def squares(self) -> Tensor:
        """Diagonal of the centred kernel matrix, shape (n,)."""
        if self.kernel == "linear":
            return (self.rows**2).sum(1)
        return self.rows.diagonal()

    @cached_property
    def gram(self) -> Tensor:
        return self.rows @ self.rows.T if self.kernel == "linear" else self.rows

    @cached_property
    def hsic(self) -> float:
        return _hsic(self, self)

    @cached_property
    def spectrum(self) -> Tensor:
        return singular_values(self.rows)

    def _reordered(self, order: Tensor) -> _Rows:
        """The same layer with its datapoints in another order."""
        rows = self.rows[order] if self.kernel == "linear" else self.rows[order][:, order]
        other = replace(self, rows=rows)
        other.__dict__["hsic"] = self.hsic  # known already: it does not depend on the order
        return other


@dataclass(frozen=True, eq=False)
class _Scatter:
    """What moments tell of a layer of unit norm, where no rows are held."""

    scatter: Tensor  # (p, p), trace 1
    scale: float  # trace before
    n: int

    @cached_property
    def norm(self) -> float:
        return float(torch.linalg.norm(self.scatter))

    @cached_property
    def spectrum(self) -> Tensor:
        return descending_eigh(self.scatter)[0].sqrt()

    def cross(self, other: _Scatter, xy: Tensor) -> Tensor:
        """Cross-scatter of the two layers at unit norm."""
        return xy / math.sqrt(self.scale) / math.sqrt(other.scale)


def _row_layer(x: Any, name: str, precision: Precision) -> Any:
    if isinstance(x, Moments):
        scatter = _layer(x, name).scatter
        scale = float(scatter.trace())
        return _Scatter(scatter / scale, scale, x.n)
    tensor = as_tensor(x, name, ndim=2, precision=precision)
    rows = centre(tensor.detach())[0]
    # Unit norm first: CKA takes fourth powers, which overflow float32 at activations of 1e9.
    return _Rows(rows / some_variance(rows**2, name, tuple(rows.shape)).sqrt())


def _cka_layer(
    *, kernel: str, debiased: bool, bandwidth: float, precision: Precision
) -> Callable[[Any, str], Any]:
    one_of(kernel, ("linear", "rbf"), "kernel")
    if not bandwidth > 0:
        raise ValueError(f"bandwidth must be a positive multiple of the median; got {bandwidth}")

    def prepare(x: Any, name: str) -> Any:
        if isinstance(x, Moments):
            if kernel == "linear" and not debiased:
                return _row_layer(x, name, precision)
            raise ValueError(
                "moments hold what the biased linear CKA needs and nothing more; "
                "give the arrays for kernel='rbf' or debiased=True"
            )
        rows = _row_layer(x, name, precision).rows
        if debiased and len(rows) < 4:
            raise ValueError(f"debiased CKA needs at least 4 datapoints; {name} has {len(rows)}")
        if kernel == "rbf":
            distances = torch.cdist(rows, rows)
            off_diagonal = ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
            sigma = bandwidth * distances[off_diagonal].median()
            if not sigma > 0:
                raise ValueError(
                    f"{name} gives no RBF bandwidth: the median distance between datapoints is 0"
                )
            k = torch.exp(-(distances**2) / (2 * sigma**2))
            rows = k - k.mean(0) - k.mean(1, keepdim=True) + k.mean()
        layer = _Rows(rows, kernel, debiased)
        # The unbiased estimate ignores what single datapoints add to all their products. Where that
        # is all there is (one datapoint stands out, the others agree), rounding would be left.
        scale = float(layer.squares.sum()) ** 2
        if debiased and not layer.hsic > len(rows) * torch.finfo(rows.dtype).eps * scale:
            raise ValueError(
                f"{name} leaves nothing to the debiased CKA: all datapoints but one, at most, agree"
            )
        return layer

    return prepare


def _hsic(a: _Rows, b: _Rows) -> float:
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
    diagonal = a.squares @ b.squares
    traces = a.squares.sum() * b.squares.sum()
    return float(full - diagonal + traces / ((n - 1) * (n - 2)) - 2 * diagonal / (n - 2))


def _cka(a: Any, b: Any, xy: Tensor | None = None) -> Similarity:
    if xy is not None:
        value = float(a.cross(b, xy).square().sum()) / (a.norm * b.norm)
        chance = 1 / ((a.n - 1) * a.norm * b.norm)
        return Similarity("cka", min(1.0, value), a.n, _chance=lambda: chance)
    norm = math.sqrt(max(a.hsic, 0.0)) * math.sqrt(max(b.hsic, 0.0))
    value = _hsic(a, b) / norm if norm > 0 else math.nan
    if a.debiased:
        return Similarity("cka", min(1.0, value), a.n, _chance=lambda: 0.0)
    # Over random pairings of the datapoints E[tr(K P L P^T)] = tr(K) tr(L) / (n - 1), exactly.
    return Similarity(
        "cka",
        min(1.0, value),
        a.n,
        _chance=lambda: float(a.squares.sum() * b.squares.sum()) / ((a.n - 1) * norm),
    )


def _rotation(a: Any, b: Any, xy: Tensor | None = None) -> Similarity:
    if xy is not None:
        return _aligned_rotation(a.cross(b, xy), a.n, lambda: [a.spectrum, b.spectrum])
    cross = a.rows.T @ b.rows if max(a.rows.shape[1], b.rows.shape[1]) <= a.n else _short(a, b)
    return _aligned_rotation(cross, a.n, lambda: [a.spectrum, b.spectrum])


def _short(a: _Rows, b: _Rows) -> Tensor:
    """A matrix no larger than (n, n) with the singular values of ``a.rows.T @ b.rows``."""
    factors = []
    for layer in (a, b):
        rows = layer.rows
        # rows = L Q with Q orthonormal, so rows^T can be exchanged for the smaller L^T.
        factors.append(torch.linalg.qr(rows.T)[1].T if rows.shape[1] > layer.n else rows)
    return factors[0].T @ factors[1]


def _corner_of_rotation(rng: np.random.Generator, n: int, p: int, q: int) -> np.ndarray:
    """The p x q corner of a random n x n rotation, without making the rotation.

    It is ``A R^-1`` where ``[A; B] = Q R`` is Gaussian of shape (n, q). B is needed only through
    its own triangular factor, whose entries are normal above a diagonal of chi variates (Bartlett).
    """
    a = rng.normal(size=(p, q))
    rows = min(n - p, q)
    b = np.triu(rng.normal(size=(rows, q)), 1)
    b[np.arange(rows), np.arange(rows)] = np.sqrt(rng.chisquare(n - p - np.arange(rows)))
    r = scipy.linalg.qr(np.vstack([a, b]), mode="r")[0][:q]
    corner: np.ndarray = scipy.linalg.solve_triangular(r, a.T, trans="T").T
    return corner


def _aligned_rotation(cross: Tensor, n: int, spectra: Callable[[], list[Tensor]]) -> Similarity:
    def chance() -> float:
        # Only the two spectra matter: between them stands a corner of a random rotation.
        sx, sy = (s[: n - 1].cpu().numpy().astype(np.float64) for s in spectra())
        rng = np.random.default_rng(0)
        draws = [
            np.linalg.svd(
                sx[:, None] * _corner_of_rotation(rng, n - 1, len(sx), len(sy)) * sy,
                compute_uv=False,
            ).sum()
            for _ in range(4)
        ]
        return min(1.0, float(np.mean(draws)))

    value = float(singular_values(cross).sum())
    return Similarity("procrustes", min(1.0, value), n, _chance=chance)


# --- chance ------------------------------------------------------------------------------------


def chance_correlation(x_kept: int, y_kept: int, n: int, *, complex_valued: bool = False) -> float:
    r"""Expected mean canonical correlation of *independent* layers.

    For independent data the squared correlations are the eigenvalues of a Jacobi ensemble: exactly
    beta distributed when one side has a single direction, and close to Wachter's law (1980)
    otherwise, with :math:`E[\sum_i \rho_i^2] = k_x k_y / (n - 1)` in every case.

    Parameters
    ----------
    x_kept, y_kept : int
        Directions that enter the CCA.
    n : int
        Independent datapoints.
    complex_valued : bool, default False
        Whether the data are complex, as Fourier coefficients are: a complex direction has two real
        dimensions, which matters where one side has a single direction.

    Returns
    -------
    float
        In (0, 1]; 1 as soon as one side fills the n - 1 dimensions that centring leaves.

    Notes
    -----
    Datapoints that are not independent (pixels of one image, tokens of one sentence) lift the real
    floor above this number; `svcca_lib.permutation_test` finds it by shuffling whole images.

    References
    ----------
    Wachter, "The limiting empirical measure of multiple discriminant ratios", Annals of
    Statistics 8 (1980).

    Examples
    --------
    >>> from svcca_lib import chance_correlation
    >>> round(chance_correlation(50, 50, 10_000), 3), round(chance_correlation(50, 50, 102), 3)
    (0.06, 0.633)
    """
    for name, value, least in (("x_kept", x_kept, 1), ("y_kept", y_kept, 1), ("n", n, 2)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}; got {value}")
    freedom = n - 1
    few, many = sorted((x_kept, y_kept))
    if many >= freedom:
        return 1.0
    if few == 1:
        a, b = (many, freedom) if complex_valued else (many / 2, freedom / 2)
        gammaln = scipy.special.gammaln
        return float(np.exp(gammaln(a + 0.5) + gammaln(b) - gammaln(a) - gammaln(b + 0.5)))
    a, b = few / freedom, many / freedom
    low = (math.sqrt(a * (1 - b)) - math.sqrt(b * (1 - a))) ** 2
    high = min(1.0, (math.sqrt(a * (1 - b)) + math.sqrt(b * (1 - a))) ** 2)
    # sqrt(lambda) averaged over Wachter's density by Gauss-Chebyshev quadrature of the second kind.
    theta = np.arange(1, 2001) * (np.pi / 2001)
    half = (high - low) / 2
    value = (high + low) / 2 + half * np.cos(theta)
    density = half**2 * np.sin(theta) ** 2 / (2 * np.pi * a * value * (1 - value))
    continuous = float((np.sqrt(value) * density).sum() * (np.pi / 2001))
    certain = max(0, few + many - freedom) / few  # subspaces too large not to meet
    return min(1.0, continuous + certain)


# --- all pairs ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measure:
    """One measure for `pairwise`: how a layer is prepared, how two are compared, what is ignored.

    Attributes
    ----------
    bind : callable
        Takes the measure's options, checks them, and gives two functions: ``prepare(layer, name)``,
        run once per layer, and ``compare(prepared, prepared) -> Similarity``, run once per pair.
        Layers may also come as moments of one layer each; then the third argument of ``compare`` is
        their cross-scatter.
    symmetric : bool
        Whether exchanging the layers leaves the similarity as it is.
    invariant_to : frozenset of str
        Of ``"orthogonal"``, ``"isotropic"`` (one scale for the whole layer), ``"invertible"`` (any
        invertible linear map of the neurons) and ``"translation"``: the maps of either layer that
        leave the similarity unchanged.
    """

    bind: Callable[..., tuple[Callable[[Any, str], Any], Callable[..., Similarity]]]
    symmetric: bool
    invariant_to: frozenset[str]


def _bind_svcca(
    keep: float = 0.99,
    energy: Energy = "variance",
    mean_over: MeanOver = "kept",
    precision: Precision = "float64",
) -> Any:
    one_of(mean_over, ("kept", "smaller_layer", "weighted"), "mean_over")
    return (
        lambda x, name: _subspace(x, name, keep, energy, precision),
        lambda a, b, xy=None: _warned(_canonical("svcca", a, b, xy, mean_over), a, b, 4),
    )


def _bind_cca(precision: Precision = "float64") -> Any:
    return (
        lambda x, name: _subspace(x, name, 1.0, "variance", precision),
        lambda a, b, xy=None: _warned(_canonical("cca", a, b, xy, "kept"), a, b, 4),
    )


def _bind_pwcca(
    side: Side = "x",
    keep: float = 1.0,
    energy: Energy = "variance",
    precision: Precision = "float64",
) -> Any:
    one_of(side, ("x", "y"), "side")
    return (
        lambda x, name: _subspace(x, name, keep, energy, precision),
        lambda a, b, xy=None: _warned(_projection_weighted(a, b, xy, side), a, b, 4),
    )


def _bind_linear_regression(precision: Precision = "float64") -> Any:
    return (
        lambda x, name: _subspace(x, name, 1.0, "variance", precision),
        lambda a, b, xy=None: _warned(_regression(a, b, xy), a, b, 4),
    )


def _bind_cka(
    kernel: Literal["linear", "rbf"] = "linear",
    debiased: bool = False,
    bandwidth: float = 1.0,
    precision: Precision = "float64",
) -> Any:
    layer = _cka_layer(kernel=kernel, debiased=debiased, bandwidth=bandwidth, precision=precision)
    return layer, _cka


def _bind_procrustes(precision: Precision = "float64") -> Any:
    return lambda x, name: _row_layer(x, name, precision), _rotation


_EUCLIDEAN = frozenset({"orthogonal", "isotropic", "translation"})

MEASURES: dict[str, Measure] = {
    "svcca": Measure(_bind_svcca, True, _EUCLIDEAN),
    "cca": Measure(_bind_cca, True, _EUCLIDEAN | {"invertible"}),
    "pwcca": Measure(_bind_pwcca, False, frozenset({"isotropic", "translation"})),
    "linear_regression": Measure(_bind_linear_regression, False, _EUCLIDEAN),
    "cka": Measure(_bind_cka, True, _EUCLIDEAN),
    "procrustes": Measure(_bind_procrustes, True, _EUCLIDEAN),
}


def bound(measure: str, options: Mapping[str, Any]) -> tuple[Measure, Any, Any]:
    """Look a measure up and give it its options: the measure, its ``prepare`` and ``compare``.

    Raises
    ------
    ValueError
        If the measure is unknown or an option outside its range.
    TypeError
        If it has no such option.
    """
    chosen = MEASURES[one_of(measure, tuple(MEASURES), "measure")]
    known = tuple(inspect.signature(chosen.bind).parameters)
    for option in options:
        if option not in known:
            raise TypeError(f"{measure} takes the options {', '.join(known)}; got {option!r}")
    return chosen, *chosen.bind(**options)


def pairwise(
    xs: Sequence[Layer] | Mapping[str, Layer],
    ys: Sequence[Layer] | Mapping[str, Layer] | None = None,
    measure: str = "svcca",
    **options: Any,
) -> Any:
    """Compare every layer of one network with every layer of another.

    Each layer is prepared once, so that L x M comparisons cost L + M decompositions and L x M
    products with small singular value decompositions.

    Parameters
    ----------
    xs, ys : sequence or dict of layers
        Arrays of shape (n, p_i), widths may differ, or `Subspace` for the measures built on them.
        `ys` left out means `xs` against itself.
    measure : str
        A key of ``svcca_lib.MEASURES``: "svcca", "cca", "pwcca", "linear_regression", "cka",
        "procrustes" or, for layers of shape (n, c, h, w), "dft_cca".
    **options
        Of that measure, such as ``keep=0.99`` or ``kernel="rbf"``.

    Returns
    -------
    array, shape (len(xs), len(ys))
        Similarities, float64; NumPy if the first layer came as NumPy, else torch on its device.

    Raises
    ------
    TypeError, ValueError
        As the measure itself; the error names the layer, such as ``xs['c1']``.

    Notes
    -----
    The whole matrix shares its datapoints, so neighbouring cells are not independent evidence.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import pairwise
    >>> rng = np.random.default_rng(0)
    >>> layers = {"fc1": rng.normal(size=(400, 8)), "fc2": rng.normal(size=(400, 5))}
    >>> pairwise(layers).round(1).tolist()
    [[1.0, 0.1], [0.1, 1.0]]
    """
    chosen, prepare, compare = bound(measure, options)
    named = _named(xs, "xs") + ([] if ys is None else _named(ys, "ys"))
    tensors = [t._values if isinstance(t, Subspace) else t for _, t in named]
    many = len(named) >= torch.get_num_threads()
    on_cpus = on_cpu(*(t for t in tensors if isinstance(t, Tensor)))
    each = one_thread_each if many and on_cpus else _in_turn
    mirrored = ys is None and chosen.symmetric
    # Warnings of the threads are this call's, and are given once.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # A layer met by many needs its basis more than its rows, which take more memory.
        prepared = each(lambda layer: _primed(prepare(layer[1], layer[0])), named)
        left = prepared[: len(xs)]
        right = left if ys is None else prepared[len(xs) :]
        for other in prepared:
            comparable(left[0], other)
        cells = [(i, j) for i in range(len(left)) for j in range(i if mirrored else 0, len(right))]
        found = each(lambda cell: compare(left[cell[0]], right[cell[1]]).similarity, cells)
    warn_once(caught, stacklevel=2)

    matrix = np.empty((len(left), len(right)))
    for (i, j), similarity in zip(cells, found, strict=True):
        matrix[i, j] = similarity
        if mirrored:
            matrix[j, i] = similarity
    first = named[0][1]
    if isinstance(first, np.ndarray) or getattr(first, "_numpy", False):
        return matrix
    return torch.from_numpy(matrix).to(first.device if isinstance(first, Tensor) else "cpu")


def _in_turn(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    return list(map(work, items))


def _primed(layer: Any) -> Any:
    return layer._primed() if isinstance(layer, Subspace) else layer


def _named(layers: Any, name: str) -> list[tuple[str, Any]]:
    if isinstance(layers, Mapping):
        named = [(f"{name}[{key!r}]", layer) for key, layer in layers.items()]
    elif isinstance(layers, Sequence):
        named = [(f"{name}[{i}]", layer) for i, layer in enumerate(layers)]
    else:
        raise TypeError(f"{name} must be a sequence or dict of layers; got {type(layers).__name__}")
    if not named:
        raise ValueError(f"{name} holds no layer")
    return named
