"""How much of a similarity generalises: correlations where they were not fitted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from svcca_lib.errors import SampleSizeWarning, same_rows
from svcca_lib.inference.resampling import Groups, at_least, members_of, rows_at, with_rows
from svcca_lib.inputs import ArrayLike, Precision, as_tensor
from svcca_lib.layer import centre
from svcca_lib.measures.canonical import svcca
from svcca_lib.outputs import like_input
from svcca_lib.subspace import Energy


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
        As `svcca`; if a layer holds no rows, as moments and subspaces do not; if `groups` is not
        one label a row; if a fold would hold fewer than 3 datapoints.

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
    for layer, name in ((x, "x"), (y, "y")):
        with_rows(layer, name, "each fold is decomposed anew")
    a = as_tensor(x, "x", ndim=2, precision=precision).detach()
    b = as_tensor(y, "y", ndim=2, precision=precision).detach()
    same_rows(len(a), len(b))
    at_least(2, folds, "folds")
    members = members_of(groups, len(a))
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
        rest = np.setdiff1d(np.arange(len(a)), part)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SampleSizeWarning)  # held-out data are its remedy
            # The rows as they came: what is rounding depends on the precision they were made in.
            fit = svcca(
                rows_at(x, rest), rows_at(y, rest), keep=keep, energy=energy, precision=precision
            )
        hx, hy = (
            centre(z[torch.from_numpy(np.sort(part))])[0] @ torch.as_tensor(weights).to(z.dtype)
            for z, weights in ((a, fit.x_weights), (b, fit.y_weights))
        )
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
