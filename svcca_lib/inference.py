r"""Is a similarity more than chance, how much of it generalises, and how far can it be trusted.

A similarity is the maximum of something, or contains one, so it is never zero and it grows with the
number of directions. Three answers, from cheap to thorough: the closed form `Similarity.chance`; a
`permutation_test`, which needs no assumption but that datapoints (or images) are exchangeable; and
`held_out_cca`, which measures the correlations where they were not fitted. `bootstrap_interval`
says how much another sample of datapoints would have changed the number.

Pixels of one image are not independent datapoints. Every function takes `groups`, one label a row,
and treats the rows of a group as one: images are shuffled, left out and resampled whole.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from svcca_lib.errors import SampleSizeWarning, same_rows
from svcca_lib.inputs import ArrayLike, Precision, as_tensor
from svcca_lib.layer import centre
from svcca_lib.measures.canonical import svcca
from svcca_lib.measures.measure import comparable
from svcca_lib.measures.registry import measure_named
from svcca_lib.outputs import like_input
from svcca_lib.subspace import Energy, Subspace

Groups = ArrayLike | Sequence[Any]


@dataclass(frozen=True, eq=False)
class PermutationTest:
    """What `permutation_test` found.

    Attributes
    ----------
    measure : str
        Name of the measure.
    observed : float
        Similarity of the layers as they are.
    null : array, shape (n_permutations,)
        Similarities after the datapoints of `y` were shuffled.
    p_value : float
        ``(1 + #{null >= observed}) / (1 + n_permutations)``; never 0.
    chance : float
        Mean of `null`: the similarity of layers that have nothing to do with each other.
    """

    measure: str
    observed: float
    null: Any
    p_value: float
    chance: float


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What `held_out_cca` found.

    Attributes
    ----------
    similarity : float
        Mean correlation of the canonical variates on data they were not fitted to; about 0 for
        independent layers, of either sign.
    fitted : float
        The same on the data they were fitted to: what CCA alone would report.
    correlations : array, shape (k,)
        Held-out correlation of each pair of variates, mean over the folds, in the order of the
        fitted ones; k is the fewest directions that any fold kept.
    folds : array, shape (folds,)
        `similarity` of each fold.
    """

    similarity: float
    fitted: float
    correlations: Any
    folds: Any


@dataclass(frozen=True, eq=False)
class Interval:
    """What `bootstrap_interval` found.

    Attributes
    ----------
    measure : str
        Name of the measure.
    observed : float
        Similarity on all datapoints.
    low, high : float
        Confidence interval for the similarity that endless data would give.
    level : float
        Its nominal coverage.
    corrected : float
        `observed` less its estimated upward bias.
    resampled : array, shape (n_resamples,)
        Similarities on halves of the datapoints.
    """

    measure: str
    observed: float
    low: float
    high: float
    level: float
    corrected: float
    resampled: Any


def permutation_test(
    x: Any,
    y: Any,
    measure: str = "svcca",
    *,
    n_permutations: int = 1000,
    groups: Groups | None = None,
    seed: int = 0,
    **options: Any,
) -> PermutationTest:
    """Test whether two layers are more similar than if their datapoints had nothing in common.

    The datapoints of `y` are shuffled, which keeps both layers as they are and breaks only what
    ties them together. A layer is decomposed once: a permutation changes the cross product alone.

    Parameters
    ----------
    x, y : array_like, shape (n, ...), or Subspace
        Two layers on the same datapoints, of the shape that the measure takes.
    measure : str
        A key of ``svcca_lib.MEASURES``.
    n_permutations : int
        The smallest p-value that can come out is ``1 / (1 + n_permutations)``.
    groups : array_like of n labels, optional
        Which rows belong together, such as ``image_of_row(maps)`` where pixels are datapoints.
        Whole groups trade places, each only with one of its own size; rows keep their order within.
    seed : int
        The same seed gives the same permutations.
    **options
        Of that measure, such as ``keep=0.9``.

    Returns
    -------
    PermutationTest

    Raises
    ------
    TypeError, ValueError
        As the measure itself; if `groups` is not one label a row, or no two groups can trade
        places; if `n_permutations` is not positive.

    Notes
    -----
    Misleads where datapoints are not exchangeable: tokens of one text, frames of one film, pixels
    of one image shuffled one by one (see `groups`). A small p-value says that the layers share
    *something*; any two trained networks do, if only brightness. Compare `observed` with `chance`.

    References
    ----------
    Phipson and Smyth, "Permutation p-values should never be zero", Statistical Applications in
    Genetics and Molecular Biology 9 (2010). Winkler et al., "Permutation inference for canonical
    correlation analysis", NeuroImage 220 (2020).

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import permutation_test
    >>> rng = np.random.default_rng(0)
    >>> x, noise = rng.normal(size=(60, 5)), rng.normal(size=(60, 5))
    >>> test = permutation_test(x, noise, n_permutations=99)
    >>> test.p_value > 0.05, abs(test.observed - test.chance) < 0.1
    (True, True)
    >>> permutation_test(x, x + noise, n_permutations=99).p_value
    0.01
    """
    _at_least(1, n_permutations, "n_permutations")
    chosen = measure_named(measure, options)
    a, b = chosen.prepare(x, "x"), chosen.prepare(y, "y")
    comparable(a, b)
    blocks = _exchangeable(_members(groups, b.n))
    observed = chosen.cautioned(a, b).similarity
    rng = np.random.default_rng(seed)
    null = np.empty(n_permutations)
    for i in range(n_permutations):
        order = np.arange(b.n)
        for block in blocks:
            order[block] = rng.permutation(block)
        null[i] = chosen.compare(a, b.reordered(torch.from_numpy(order))).similarity
    # Where n <= p every order gives 1, up to rounding: equal is what they are.
    rounding = 1e-3 if options.get("precision") == "float32" else 1e-9
    return PermutationTest(
        measure=measure,
        observed=observed,
        null=_like(null, x),
        p_value=float(1 + (null >= observed - rounding).sum()) / (1 + n_permutations),
        chance=float(null.mean()),
    )


def held_out_cca(
    x: ArrayLike,
    y: ArrayLike,
    *,
    keep: float = 1.0,
    energy: Energy = "variance",
    folds: int = 5,
    groups: Groups | None = None,
    seed: int = 0,
    precision: Precision = "float64",
) -> HeldOut:
    """Canonical correlations on data that the canonical directions were not fitted to.

    In each fold the directions are found on the other folds and correlated on this one. What CCA
    finds by fitting noise is gone: independent layers score 0 in expectation.

    Parameters
    ----------
    x, y : array_like, shape (n, p) and (n, q)
        Two layers on the same datapoints.
    keep, energy
        An SVCCA cut before the CCA, made on the fitting part; by default none.
    folds : int
        Parts the datapoints are divided into, at random.
    groups : array_like of n labels, optional
        Which rows belong together: groups are held out whole.
    seed : int
        The same seed gives the same folds.
    precision : {"float64", "float32"}

    Returns
    -------
    HeldOut

    Raises
    ------
    TypeError, ValueError
        As `svcca`; if `groups` is not one label a row; if a fold would hold fewer than 3
        datapoints.

    Notes
    -----
    Under-estimates: directions fitted on a finite sample are not the best ones, and with as few
    datapoints as neurons they are arbitrary, so that related layers score near 0 too; cut them with
    `keep`. The truth lies between `similarity` and `fitted`.

    References
    ----------
    Helmer et al., "On the stability of canonical correlation analysis and partial least squares
    with application to brain-behavior associations", Communications Biology 7 (2024).

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import held_out_cca
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(500, 50)), rng.normal(size=(500, 50))
    >>> r = held_out_cca(x, y)
    >>> round(r.fitted, 1), abs(r.similarity) < 0.02
    (0.3, True)
    """
    a = as_tensor(x, "x", ndim=2, precision=precision).detach()
    b = as_tensor(y, "y", ndim=2, precision=precision).detach()
    same_rows(len(a), len(b))
    _at_least(2, folds, "folds")
    members = _members(groups, len(a))
    shuffled = np.random.default_rng(seed).permutation(len(members))
    parts = [
        np.concatenate([members[i] for i in part]) if len(part) else np.empty(0, dtype=int)
        for part in np.array_split(shuffled, folds)
    ]
    smallest = min(len(part) for part in parts)
    if smallest < 3:
        raise ValueError(
            f"each fold needs at least 3 datapoints; folds={folds} leaves {smallest} of "
            f"{len(a)} rows in {len(members)} groups"
        )
    fitted, correlations = [], []
    for part in parts:
        test = torch.zeros(len(a), dtype=torch.bool)
        test[torch.from_numpy(part)] = True
        test = test.to(a.device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SampleSizeWarning)  # held-out data are its remedy
            fit = svcca(a[~test], b[~test], keep=keep, energy=energy, precision=precision)
        hx, hy = centre(a[test])[0] @ fit.x_weights, centre(b[test])[0] @ fit.y_weights
        norms = hx.norm(dim=0) * hy.norm(dim=0)
        # A variate of neurons that are silent on this fold predicts nothing.
        correlations.append((hx * hy).sum(0) / norms.masked_fill(norms == 0, torch.inf))
        fitted.append(fit.similarity)
    k = min(len(rho) for rho in correlations)
    numpy = isinstance(x, np.ndarray)
    each = torch.stack([rho.mean() for rho in correlations])
    return HeldOut(
        similarity=float(each.mean()),
        fitted=float(np.mean(fitted)),
        correlations=like_input(
            torch.stack([rho[:k] for rho in correlations]).mean(0), numpy=numpy
        ),
        folds=like_input(each, numpy=numpy),
    )


def bootstrap_interval(
    x: ArrayLike,
    y: ArrayLike,
    measure: str = "svcca",
    *,
    level: float = 0.95,
    n_resamples: int = 200,
    groups: Groups | None = None,
    seed: int = 0,
    **options: Any,
) -> Interval:
    r"""Confidence interval for a similarity over the choice of datapoints.

    Resamples *halves* of the datapoints, without replacement. The ordinary bootstrap draws
    datapoints twice, and two copies of a row correlate perfectly: canonical correlations come out
    too high, the more so the more directions there are, and percentile intervals can miss the
    truth altogether. Halves hold no copies, and the difference between half the data and all of
    them has, to first order, both the spread *and* the bias of the difference between all of them
    and endless data: :math:`1/(n/2) - 1/n = 1/n`. The interval
    :math:`[\hat\theta - q_{1 - \alpha/2},\ \hat\theta - q_{\alpha/2}]`, with the quantiles of
    :math:`\hat\theta_{n/2} - \hat\theta`, is therefore centred on the corrected value.

    Parameters
    ----------
    x, y : array_like, shape (n, ...)
        Two layers on the same datapoints, of the shape that the measure takes.
    measure : str
        A key of ``svcca_lib.MEASURES``.
    level : float, default 0.95
        Nominal coverage, in (0, 1).
    n_resamples : int
        Halves drawn.
    groups : array_like of n labels, optional
        Which rows belong together: groups are drawn whole.
    seed : int
        The same seed gives the same halves.
    **options
        Of that measure, such as ``keep=0.9``.

    Returns
    -------
    Interval

    Raises
    ------
    TypeError, ValueError
        As the measure itself; if `groups` is not one label a row or there are fewer than 4; if
        `level` is outside (0, 1) or `n_resamples` below 2.

    Warns
    -----
    SampleSizeWarning
        If half of the datapoints are too few for the number of neurons.

    Notes
    -----
    Covers the datapoints, not the random seeds of training. Measured on joint Gaussians with
    planted correlations, 95 % intervals covered 92 to 94 % (400 simulations each: 3 directions with
    n = 200 and 1000, 8 with n = 400). Too narrow and too high where many true correlations are
    zero, because the bias then falls as :math:`1/\sqrt n`, not as 1/n: with 3 of 6 at zero and
    n = 300 they covered 71 %, where the ordinary bootstrap's covered none. Use `permutation_test`
    and `held_out_cca` there. With a cut (svcca), the number of directions kept is drawn anew in
    each half.

    References
    ----------
    Wu, "On the asymptotic properties of the jackknife histogram", Annals of Statistics 18 (1990).
    Politis, Romano, Wolf, "Subsampling", Springer (1999).

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import bootstrap_interval
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(500, 3))
    >>> y = 0.6 * x + 0.8 * rng.normal(size=(500, 3))
    >>> interval = bootstrap_interval(x, y, "cca")
    >>> interval.low < 0.6 < interval.high
    True
    """
    _at_least(2, n_resamples, "n_resamples")
    if not 0 < level < 1:
        raise ValueError(f"level must be a coverage in (0, 1), such as 0.95; got {level}")
    for layer, name in ((x, "x"), (y, "y")):
        if isinstance(layer, Subspace):
            raise TypeError(f"{name} must be an array: each half is decomposed anew; got Subspace")
    chosen = measure_named(measure, options)
    a, b = chosen.prepare(x, "x"), chosen.prepare(y, "y")
    comparable(a, b)
    members = _members(groups, a.n)
    half = len(members) // 2
    if half < 2:
        raise ValueError(f"halves need at least 4 datapoints or groups; got {len(members)}")
    observed = chosen.compare(a, b).similarity
    rng = np.random.default_rng(seed)
    cautions: list[str] = []
    resampled = np.empty(n_resamples)
    for i in range(n_resamples):
        drawn = rng.choice(len(members), half, replace=False)
        rows = np.sort(np.concatenate([members[j] for j in drawn]))
        halves = [chosen.prepare(_rows(z, rows), name) for z, name in ((x, "x"), (y, "y"))]
        result = chosen.compare(*halves)
        resampled[i] = result.similarity
        cautions += filter(None, [chosen.caution(result, *halves)])
    if cautions:
        warnings.warn(cautions[0], SampleSizeWarning, stacklevel=2)
    # An odd number has no half: its smaller part varies a little more than it should.
    excess = (resampled - observed) * math.sqrt(half / (len(members) - half))
    low, high = observed - np.quantile(excess, [(1 + level) / 2, (1 - level) / 2])
    return Interval(
        measure=measure,
        observed=observed,
        low=float(max(low, min(0.0, observed))),
        high=float(min(high, 1.0)),
        level=level,
        corrected=float(observed - excess.mean()),
        resampled=_like(resampled, x),
    )


def _at_least(least: int, value: int, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}")


def _members(groups: Groups | None, n: int) -> list[np.ndarray]:
    """Rows of each group, in the order they came."""
    if groups is None:
        return list(np.arange(n)[:, None])
    labels = groups.cpu().numpy() if isinstance(groups, Tensor) else np.asarray(groups)
    if labels.shape != (n,):
        raise ValueError(f"groups must hold one label for each of {n} rows; got {labels.shape}")
    _, group, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    return np.split(np.argsort(group, kind="stable"), np.cumsum(sizes)[:-1])


def _exchangeable(members: list[np.ndarray]) -> list[np.ndarray]:
    """Groups that can trade places: for each size an array (groups, size) of rows."""
    by_size: dict[int, list[np.ndarray]] = {}
    for rows in members:
        by_size.setdefault(len(rows), []).append(rows)
    blocks = [np.stack(same) for same in by_size.values() if len(same) > 1]
    if not blocks:
        raise ValueError(
            f"groups can only trade places with others of their size; "
            f"no two of {len(members)} have the same"
        )
    return blocks


def _rows(layer: ArrayLike, rows: np.ndarray) -> ArrayLike:
    return layer[rows] if isinstance(layer, np.ndarray) else layer[torch.from_numpy(rows)]


def _like(values: np.ndarray, x: Any) -> Any:
    """Numbers in the library that the layer came in."""
    numpy = x.numpy if isinstance(x, Subspace) else isinstance(x, np.ndarray)
    return values if numpy else torch.from_numpy(values)
