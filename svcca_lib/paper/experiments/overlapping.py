"""How far a number is known that was measured on pairs of a few networks.

Five networks make ten pairs, but not ten independent values: each network is in four of them. The
jackknife leaves one network out at a time, with all its pairs, and turns what that changes into one
value a network, whose mean is the number and whose spread says how far it is known.

References
----------
Efron and Stein, "The jackknife estimate of variance", The Annals of Statistics 9 (1981): for a
statistic of pairs the variance found is not too small on average.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

FEWEST = 3  # with one of them left out there has to be a pair


def jackknife(networks: int, statistic: Callable[[Sequence[int]], float]) -> np.ndarray:
    """Turn a number measured on several networks into one value a network, (networks,).

    The statistic makes the number from the positions of some networks. The pseudo-values are
    n T - (n - 1) T without the network: their mean is T where T is a mean over networks or over
    pairs. They need not lie in the range of T. ValueError for fewer than 3 networks.

    Examples
    --------
    >>> import numpy as np
    >>> lengths = np.array([1.0, 2.0, 6.0])
    >>> jackknife(3, lambda kept: lengths[list(kept)].mean()).tolist()  # of a mean: its values
    [1.0, 2.0, 6.0]
    """
    if networks < FEWEST:
        raise ValueError(f"leaving a network out needs at least {FEWEST} of them; got {networks}")
    everyone = range(networks)
    without = [statistic([k for k in everyone if k != i]) for i in everyone]
    return networks * statistic(everyone) - (networks - 1) * np.array(without)


def over_pairs(values: Mapping[tuple[int, int], float]) -> np.ndarray:
    """Turn one value a pair of networks into one value a network; see `jackknife`.

    Keys are the positions of two networks; some pair has to be left whichever network is left out.

    Examples
    --------
    >>> over_pairs({(0, 1): 1.0, (1, 2): 1.0, (2, 0): 1.0}).tolist()
    [1.0, 1.0, 1.0]
    """

    def mean(kept: Sequence[int]) -> float:
        return float(np.mean([value for pair, value in values.items() if set(pair) <= set(kept)]))

    return jackknife(1 + max(max(pair) for pair in values), mean)


def over_ring(values: Sequence[float]) -> np.ndarray:
    """Turn one value for each network and the next (`ring`) into one a network; see `jackknife`.

    Examples
    --------
    >>> over_ring([1.0, 1.0, 1.0]).tolist()
    [1.0, 1.0, 1.0]
    """
    return over_pairs(dict(zip(ring(len(values)), values, strict=True)))


def ring(networks: int) -> list[tuple[int, int]]:
    """Pair each network with the next, and the last with the first.

    Examples
    --------
    >>> ring(3)
    [(0, 1), (1, 2), (2, 0)]
    """
    return [(i, (i + 1) % networks) for i in range(networks)]
