"""How many directions: what stands above rounding, and how many hold a share of a layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# The Gram matrix has the squared condition number. A direction whose eigenvalue is this fraction of
# the largest one is still known to about eps / fraction; below that the thin SVD takes over.
GRAM_IS_SAFE = {torch.float64: 1e-6, torch.float32: 1e-4}


def rank_cut(
    values: Tensor,
    shape: tuple[int, ...],
    *,
    squared: bool = False,
    blocked: bool = False,
    offset: float = 0.0,
    noise: float = 0.0,
) -> int:
    """Count the values that stand above rounding: ``s > max(n, p) * eps * s[0]``.

    The cut is relative, so that no result depends on the unit of the activations. Without it, dead
    ReLUs, duplicated neurons, softmax outputs or n <= p would contribute directions of pure
    rounding noise, and with them correlations that are not there (up to 10.3 in one peer).

    Parameters
    ----------
    values : Tensor, shape (k,)
        In descending order: singular values, or the eigenvalues of a Gram matrix.
    shape : tuple of int
        Shape of the layer they belong to.
    squared : bool, default False
        Whether they are eigenvalues. Those carry the rounding of sums over the longer side, which
        grows as its square root (Higham and Mary 2019); cut at ``max(n, p) * eps``, a float32 layer
        of 20,000 datapoints would lose every direction below 5 % of the largest.
    blocked : bool, default False
        Whether float32 sums are of blocks that were added up in float64: good to 1 eps in all that
        was tried, and taken to be good to 32.
    offset : float, default 0
        Norm of what centring took away. The data were rounded before that, relative to their means,
        so that dependent neurons are no longer quite dependent under a mean large against s[0].
    noise : float, default 0
        Norm of the rounding of numbers that were made in less than float64, see `noise_norm`. Their
        cut is then that of eigenvalues in any case: one answer for arrays and for moments.
    """
    eps = torch.finfo(values.dtype).eps
    size = min(shape) + 4 * math.sqrt(max(shape))
    if blocked and values.dtype == torch.float32:
        size = min(size, 32.0)
    of_sums = size * eps
    relative = of_sums if squared else max(max(shape) * eps, math.sqrt(of_sums) if noise else 0.0)
    rounding = max(4 * eps * offset, noise) ** (2 if squared else 1)
    # Not >=, or a layer of zeros would have full rank.
    return int((values > max(relative * float(values[0]), rounding)).sum())


def noise_norm(rounding: float, squares: Tensor, n: int) -> float:
    r"""Norm of the rounding of a layer, as large as a direction can be that is nothing else.

    A matrix of n independent rows, whose entry j has standard deviation :math:`\sigma_j`, has a
    largest singular value of about :math:`\sqrt n \max_j \sigma_j + \lVert\sigma\rVert`
    (Bandeira and van Handel, "Sharp nonasymptotic bounds on the norm of random matrices with
    independent entries", Annals of Probability 44, 2016). Rounding is relative to the numbers, so
    that :math:`\sigma_j` is `rounding` times the root mean square of neuron j, before centring.

    Measured, dependent directions of linear layers, softmax and LayerNorm reach 0.5 to 4 of this
    with eps for `rounding` in float32 (30 under LayerNorm of inputs whose mean is five deviations),
    and 0.3 in float16 and bfloat16; see `svcca_lib.inputs.rounding_of` for what is taken. A
    direction of float32 numbers is real from about 1e-5 of their size on.

    Parameters
    ----------
    rounding : float
        Relative error of the numbers.
    squares : Tensor, shape (p,)
        Mean square of each neuron.
    n : int
        Datapoints.
    """
    if not rounding or not len(squares):
        return 0.0
    total, largest = float(squares.detach().sum()), float(squares.detach().max())
    return rounding * (math.sqrt(n * largest) + math.sqrt(total))


def directions_needed(
    singular_values: Tensor, rank: int, keep: float, energy: str = "variance"
) -> int:
    r"""Count the leading directions that hold the fraction `keep` of the layer.

    The paper states this cut twice, differently. Section 2: the directions that explain 99 % of the
    *variance*, :math:`\sum_{i \le k} s_i^2 \ge 0.99 \sum_i s_i^2`. Appendix A: the same with the
    *singular values* themselves. The second keeps more, on some layers twice as many.

    Parameters
    ----------
    singular_values : Tensor, shape (p,)
        In descending order.
    rank : int
        How many of them are more than rounding.
    keep : float
        Fraction in (0, 1]; 1 keeps the full rank.
    energy : {"variance", "singular_values"}
    """
    if keep == 1:
        return rank
    # Rounding below the rank holds no variance, but its singular values add up.
    s = (singular_values if energy == "variance" else singular_values[:rank]).double()
    held = torch.cumsum(s**2 if energy == "variance" else s, dim=0)
    # The smallest k with held[k - 1] >= keep * total. The slack lets an exact share, as of four
    # equal directions at keep = 0.75, not be missed for a rounding error: of each value in its own
    # precision, of their sum in float64.
    slack = 8 * torch.finfo(singular_values.dtype).eps + 4 * torch.finfo(s.dtype).eps * rank
    return min(rank, int((held < (keep - slack) * held[-1]).sum()) + 1)


def is_clear(values: Tensor, k: int, keep: float, energy: str) -> bool:
    """Whether the number of directions kept would be the same with the sums of float64.

    Shares of the variance from a float32 Gram matrix, of blocks added up in float64, were good to
    0.3 eps in all that was tried (spectra from flat to i**-2.4, with and without a mean); where the
    share `keep` is met or missed by less than 4 eps, it is not known.
    """
    held = torch.cumsum(values.double() ** (2 if energy == "variance" else 1), dim=0)
    margin = 4 * torch.finfo(values.dtype).eps * held[-1]
    wanted = keep * held[-1]
    return bool(held[k - 1] >= wanted + margin and (k == 1 or held[k - 2] < wanted - margin))
