"""Is a similarity more than chance: the datapoints of one layer are shuffled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from svcca_lib.inference.resampling import Groups, at_least, like, members_of, with_rows
from svcca_lib.measures.measure import comparable
from svcca_lib.measures.registry import measure_named
from svcca_lib.permutations import orders_of


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
        As the measure itself; if a layer is given as moments, which hold no rows; if `groups` is
        not one label a row, or no two groups can trade places; if `n_permutations` is not positive.

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
    at_least(1, n_permutations, "n_permutations")
    chosen = measure_named(measure, options)
    for layer, name in ((x, "x"), (y, "y")):
        with_rows(layer, name, "its rows are shuffled", prepared=True)
    a, b = chosen.prepare(x, "x"), chosen.prepare(y, "y")
    comparable(a, b)
    shuffled = orders_of(members_of(groups, b.n), n_permutations, seed)
    observed = chosen.cautioned(a, b).similarity
    null = np.array([chosen.compare(a, b.reordered(order)).similarity for order in shuffled])
    # Where n <= p every order gives 1, up to rounding: equal is what they are.
    rounding = 1e-3 if options.get("precision") == "float32" else 1e-9
    return PermutationTest(
        measure=measure,
        observed=observed,
        null=like(null, x),
        p_value=float(1 + (null >= observed - rounding).sum()) / (1 + n_permutations),
        chance=float(null.mean()),
    )
