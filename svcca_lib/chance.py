"""What independent layers would score."""

from __future__ import annotations

import math

import numpy as np
import scipy  # its parts are loaded when used: the import stays fast
from torch import Tensor


def chance_correlation(
    x_kept: int, y_kept: int, n: int, *, complex_valued: bool = False, squared: bool = False
) -> float:
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
    squared : bool, default False
        The mean of the squared correlations instead, ``max(x_kept, y_kept) / (n - 1)``, exactly.

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
    if squared:
        return many / freedom
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
    squares = (high + low) / 2 + half * np.cos(theta)
    density = half**2 * np.sin(theta) ** 2 / (2 * np.pi * a * squares * (1 - squares))
    continuous = float((np.sqrt(squares) * density).sum() * (np.pi / 2001))
    certain = max(0, few + many - freedom) / few  # subspaces too large not to meet
    return min(1.0, continuous + certain)


def rotated(spectra: tuple[Tensor, Tensor], n: int) -> float:
    """Return the expected nuclear norm of ``x^T r y`` for random rotations r of the datapoints.

    No closed form is known: it is a mean over a few draws of a fixed seed. Only the two spectra
    matter: between them stands a corner of a random rotation.

    Parameters
    ----------
    spectra : pair of Tensor, shape (k,)
        Singular values of two centred layers of unit norm.
    n : int
        Datapoints.
    """
    sx, sy = (s[: n - 1].cpu().numpy().astype(np.float64) for s in spectra)
    rng = np.random.default_rng(0)
    draws = [
        np.linalg.svd(
            sx[:, None] * corner_of_rotation(rng, n - 1, len(sx), len(sy)) * sy, compute_uv=False
        ).sum()
        for _ in range(4)
    ]
    return min(1.0, float(np.mean(draws)))


def corner_of_rotation(rng: np.random.Generator, n: int, p: int, q: int) -> np.ndarray:
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
