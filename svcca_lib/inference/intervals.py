"""How far a similarity can be trusted: where the number of endless data lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its parts are loaded when used: the import stays fast

from svcca_lib.inference.halves import halved
from svcca_lib.inference.resampling import Groups, like
from svcca_lib.inputs import ArrayLike


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
        Confidence interval for the similarity that endless data would give. It need not hold
        `observed`, which is too high.
    level : float
        Its nominal coverage.
    corrected : float
        `observed` less its estimated upward bias: the middle of what the two laws say.
    resampled : array, shape (n_resamples,)
        Similarities on halves of the datapoints, with as many directions as all datapoints keep; of
        `cka` those of the debiased estimate. Two that follow each other are of complementary
        halves.
    """

    measure: str
    observed: float
    low: float
    high: float
    level: float
    corrected: float
    resampled: Any


def quantile(level: float, freedom: int) -> float:
    """Student's factor of a two-sided interval.

    Raises
    ------
    ValueError
        If `level` is outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be a coverage in (0, 1), such as 0.95; got {level}")
    return float(scipy.stats.t.ppf((1 + level) / 2, freedom))


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
    r"""Confidence interval for the similarity that endless data would give.

    What is estimated is the measure of the population: of endless datapoints like these, with the
    directions that the cut (``keep``) keeps of *them*. A sample says too much, by a bias that is
    often larger than its spread, so an interval around the observed value covers nothing. Canonical
    correlations that are well above zero are too high by about a / n, those that are zero by about
    :math:`b / \sqrt n`; halves of the data show how fast the bias grows, and the interval reaches
    from what the second law says to what the first one says, each with its standard error:

    .. math::
        D &= \bar\theta_{n/2} - \hat\theta, \\
        \mathrm{low} &= \hat\theta - (1 + \sqrt 2)\, D - t\,e_2, \\
        \mathrm{high} &= \hat\theta - D + t\,e_1.

    `linear_regression` and `cka` (which is estimated by its debiased form) are smooth functions of
    the moments; for them the first law alone is used. How many directions endless data would keep
    is estimated in the same way from the variance that they hold, and the interval covers every
    number of them that is possible.

    Parameters
    ----------
    x, y : array_like, shape (n, ...)
        Two layers on the same datapoints, of the shape that the measure takes.
    measure : str
        "svcca", "cca", "cka", "procrustes", "linear_regression" or "dft_cca" (with ``keep=1``).
    level : float, default 0.95
        Nominal coverage, in (0, 1).
    n_resamples : int
        Halves drawn, in pairs that complement each other: an odd number is rounded up, and there
        are at least 4.
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
        As the measure itself; if a layer holds no rows, as moments and subspaces do not; if
        `groups` is not one label a row; if `level` is outside (0, 1) or `n_resamples` below 2.
    ValueError
        If no interval would cover: for ``"pwcca"``, whose weights follow single directions that no
        usual sample tells apart, and measures that are not in the list above; where datapoints (or
        groups) are fewer than 4 for each direction kept, of both layers together, or than 8.

    Notes
    -----
    Covers the datapoints, not the random seeds of training: see `paired_difference`. Measured on
    layers whose truth is known, with 8 to 50 datapoints a neuron (`cka` from 2) and from few strong
    correlations to many weak ones or none, 95 % intervals covered at least 92 % in 159 cells of 100
    draws and 89 % in one, which covers 93.9 % of 1,000; the guide has the table, and what makes it
    again is ``interval_coverage`` of the paper's experiments. Where many correlations are zero the
    interval is four to six times as wide as the spread of the number itself would ask for, because
    a sample cannot tell zero from small. Use 100 halves or more: from few the standard errors are
    rough.

    References
    ----------
    Politis, Romano, Wolf, "Subsampling", Springer (1999). Shao and Wu, "A general theory for
    jackknife variance estimation", Annals of Statistics 17 (1989). Wachter, "The limiting empirical
    measure of multiple discriminant ratios", Annals of Statistics 8 (1980).

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import bootstrap_interval
    >>> rng = np.random.default_rng(0)
    >>> x, noise = rng.normal(size=(500, 20)), rng.normal(size=(500, 20))
    >>> y = np.hstack([0.6 * x[:, :10] + 0.8 * noise[:, :10], noise[:, 10:]])
    >>> interval = bootstrap_interval(x, y, "cca")
    >>> interval.low < 0.3 < interval.high < interval.observed  # ten correlations are 0.6, ten 0
    True
    """
    quantile(level, 1)
    found = halved(
        (x, y),
        ("x", "y"),
        measure,
        options,
        n_resamples=n_resamples,
        groups=groups,
        seed=seed,
        factor=lambda freedom: quantile(level, freedom),
    )
    (observed,) = found.observed
    bounds = [e.bounds(quantile(level, found.freedom)) for e in found.estimates]
    low = min(float(low) for low, _ in bounds)
    high = max(float(high) for _, high in bounds)
    low, high = float(np.clip(low, min(0.0, observed), 1)), float(np.clip(high, 0, 1))
    own = found.estimates[0]
    return Interval(
        measure=measure,
        observed=observed,
        low=low,
        high=high,
        level=level,
        corrected=float(np.clip(own.values.mean(), low, high)),
        resampled=like(own.halves.reshape(-1), x),
    )
