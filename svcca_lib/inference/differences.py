"""Which of two layers is nearer to a third: over datapoints, or over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy  # its parts are loaded when used: the import stays fast

from svcca_lib.inference.halves import halved
from svcca_lib.inference.intervals import quantile
from svcca_lib.inference.resampling import Groups
from svcca_lib.measures.registry import measure_named


@dataclass(frozen=True)
class Difference:
    """What `difference_test` or `paired_difference` found.

    Attributes
    ----------
    measure : str
        Name of the measure; empty where numbers were given.
    similarities : pair of float
        Similarity of x and y, and of x and z, as observed; over seeds their means.
    difference : float
        The first less the second; over datapoints less its estimated bias.
    low, high : float
        Confidence interval of the difference.
    level : float
        Its nominal coverage.
    p_value : float
        Of the hypothesis that there is no difference, two-sided.
    n : int
        Datapoints, groups or seeds: what the test is over.
    """

    measure: str
    similarities: tuple[float, float]
    difference: float
    low: float
    high: float
    level: float
    p_value: float
    n: int


def difference_test(
    x: Any,
    y: Any,
    z: Any,
    measure: str = "svcca",
    *,
    level: float = 0.95,
    n_resamples: int = 200,
    groups: Groups | None = None,
    seed: int = 0,
    **options: Any,
) -> Difference:
    """Test whether one layer is nearer to `x` than another is.

    Given arrays, the test is over datapoints: both similarities are taken on the same halves, so
    that what they have in common cancels, and their difference is extrapolated to endless data as
    in `bootstrap_interval`. The p-value is the larger of those of its two laws. Given lists with
    one layer a seed, each ``y[i]`` and ``z[i]`` is compared with ``x[i]``, and the test is over
    seeds: `paired_difference` of the similarities.

    Parameters
    ----------
    x, y, z : array_like, shape (n, ...), or sequences of them
        Three layers on the same datapoints, of the shape that the measure takes; or equally long
        lists of such layers, one a seed.
    measure : str
        As in `bootstrap_interval`; over seeds any key of ``svcca_lib.MEASURES``.
    level : float, default 0.95
        Nominal coverage of the interval, in (0, 1).
    n_resamples, groups, seed
        As in `bootstrap_interval`. Over seeds nothing is resampled, and `groups` is refused.
    **options
        Of that measure, such as ``keep=0.9``.

    Returns
    -------
    Difference

    Raises
    ------
    TypeError, ValueError
        As `bootstrap_interval`; if only some of the layers are lists, the lists differ in length,
        or they hold fewer than 2 layers.

    Notes
    -----
    Over datapoints it says what other images would show of *these* networks; whether other networks
    would show it too, only seeds can say. A cut keeps of each half as many directions as of all
    datapoints. Where y and z differ in width or in how many of their correlations are zero, so do
    their biases; the interval allows for both laws and is wider then (equally near layers, of
    which one has half of its correlations at zero, were told apart at 5 % in 6 of 60 draws, where
    the other kinds tried were in at most 2.5 %). Over seeds the bias of each
    similarity stays: compare layers of one width, or take a debiased measure.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import difference_test
    >>> rng = np.random.default_rng(0)
    >>> x, noise, other = rng.normal(size=(3, 400, 5))
    >>> test = difference_test(x, x + noise, x + 2 * other, "cka")
    >>> test.difference > 0, test.p_value < 0.001
    (True, True)
    >>> seeds = [rng.normal(size=(3, 400, 5)) for _ in range(5)]
    >>> far = [a + 2 * c for a, _, c in seeds]
    >>> near = [a + b for a, b, _ in seeds]
    >>> difference_test([a for a, _, _ in seeds], near, far, "cka").p_value < 0.001
    True
    """
    lists = [isinstance(layers, (list, tuple)) for layers in (x, y, z)]
    if all(lists):
        if groups is not None:
            raise ValueError("groups are of datapoints: a test over seeds draws none of them")
        return _over_seeds(x, y, z, measure, level, options)
    if any(lists):
        raise TypeError(
            "x, y and z must be three arrays, or three lists with one layer a seed; got "
            + ", ".join(type(layer).__name__ for layer in (x, y, z))
        )
    quantile(level, 1)
    found = halved(
        (x, y, z),
        ("x", "y", "z"),
        measure,
        options,
        n_resamples=n_resamples,
        groups=groups,
        seed=seed,
        factor=None,
    )
    (estimate,) = found.estimates
    low, high = estimate.bounds(quantile(level, found.freedom))
    values, errors = estimate.values, estimate.errors
    # Where the laws disagree on the sign, nothing is shown.
    agree = (values > 0).all() or (values < 0).all()
    statistic = float(_ratios(values, errors).min()) if agree else 0.0
    return Difference(
        measure=measure,
        similarities=(found.observed[0], found.observed[1]),
        difference=float(values.mean()),
        low=max(float(low), -1.0),
        high=min(float(high), 1.0),
        level=level,
        p_value=_two_sided(statistic, found.freedom),
        n=found.freedom + 1,
    )


def paired_difference(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    *,
    level: float = 0.95,
) -> Difference:
    """Estimate how much larger the numbers of one list are than those of another, pair by pair.

    Student's interval and test of the mean of ``first[i] - second[i]``: for numbers that come one a
    seed, such as the similarity of two layers in each of several trainings.

    Parameters
    ----------
    first, second : sequence of float
        Equally long; at least 2.
    level : float, default 0.95
        Nominal coverage, in (0, 1).

    Returns
    -------
    Difference

    Raises
    ------
    ValueError
        If the lists are not of one length of at least 2, a number is not finite, or `level` is
        outside (0, 1).

    Notes
    -----
    With few seeds the interval is wide because it has to be: with 3, Student's factor is 4.3. The
    differences are taken to be normal, which a few of them cannot show. Seeds that share a network,
    as all pairs of a few networks do, are not independent: give each network one pair.

    References
    ----------
    Student, "The probable error of a mean", Biometrika 6 (1908).

    Examples
    --------
    >>> from svcca_lib import paired_difference
    >>> test = paired_difference([0.71, 0.69, 0.73], [0.61, 0.63, 0.62])
    >>> round(test.difference, 2), round(test.low, 2), round(test.high, 2), round(test.p_value, 2)
    (0.09, 0.02, 0.16, 0.03)
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(
            f"expected two equally long lists of at least 2 numbers, one a seed; got shapes "
            f"{a.shape} and {b.shape}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("expected finite numbers, one a seed; got a NaN or an infinity")
    n = len(a)
    mean, error = float((a - b).mean()), float((a - b).std(ddof=1)) / math.sqrt(n)
    half = quantile(level, n - 1) * error
    return Difference(
        measure="",
        similarities=(float(a.mean()), float(b.mean())),
        difference=mean,
        low=mean - half,
        high=mean + half,
        level=level,
        p_value=_two_sided(float(_ratios(np.array(mean), np.array(error))), n - 1),
        n=n,
    )


def _over_seeds(
    xs: Sequence[Any],
    ys: Sequence[Any],
    zs: Sequence[Any],
    measure: str,
    level: float,
    options: dict[str, Any],
) -> Difference:
    if not len(xs) == len(ys) == len(zs):
        raise ValueError(
            f"x, y and z must hold one layer a seed each; got {len(xs)}, {len(ys)} and {len(zs)}"
        )
    chosen = measure_named(measure, options)
    near, far = (
        [chosen.between(a, b, stacklevel=4).similarity for a, b in zip(xs, others, strict=True)]
        for others in (ys, zs)
    )
    return replace(paired_difference(near, far, level=level), measure=measure)


def _ratios(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Sizes of values in standard errors; no difference without an error is no difference."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(values == 0, 0.0, np.abs(values) / errors))


def _two_sided(statistic: float, freedom: int) -> float:
    return min(1.0, 2 * float(scipy.stats.t.sf(statistic, freedom)))
