r"""Restrict a layer to some of its directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from svcca_lib._linalg import thin_svd
from svcca_lib.errors import is_whole
from svcca_lib.inputs import ArrayLike, as_tensor
from svcca_lib.layer import centre
from svcca_lib.outputs import like_input
from svcca_lib.rank import rank_cut


def project(x: ArrayLike, weights: ArrayLike, k: int | None = None) -> Any:
    r"""Project a layer onto its leading directions, least squares in data space.

    With the canonical variates :math:`H = (X - \bar X) W_k`, whose columns span a k-dimensional
    space of responses, every neuron is replaced by the nearest response in that space,
    :math:`X_k = \bar X + H H^{+} (X - \bar X)`, which is :math:`H_k H_k^\top X` for orthonormal
    variates. Mapping by :math:`P^\top P \Sigma^{-1/2}` instead is no projection: all directions
    together would still leave most of the layer unexplained.

    Parameters
    ----------
    x : array_like, shape (n, p)
        A layer.
    weights : array_like, shape (p, m)
        One direction a column, most important first, such as ``svcca(x, y).x_weights`` or
        ``Subspace.fit(x).weights``; any scale.
    k : int, optional
        How many leading columns to keep; all by default.

    Returns
    -------
    array, shape (n, p)
        The restricted layer, float64, in the library that `x` came in.

    Raises
    ------
    TypeError, ValueError
        If an array is not a finite real matrix, the widths differ, or `k` is not in 1..m.

    Notes
    -----
    The projection is fitted on the rows given. To apply one fitted on training data to new data use
    `projection_matrix`.

    References
    ----------
    Raghu et al. 2017, section 2.2 and Figures 2 and 3.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import Subspace, project
    >>> x = np.random.default_rng(0).normal(size=(100, 6))
    >>> bool(np.allclose(project(x, Subspace.fit(x, keep=1).weights), x))
    True
    """
    rows, mean, matrix = _fit(x, weights, k)
    down, up = matrix
    return like_input(mean + (rows @ down) @ up, numpy=isinstance(x, np.ndarray))


def projection_matrix(x: ArrayLike, weights: ArrayLike, k: int | None = None) -> Any:
    r"""Maps that restrict a layer to its leading directions, for use on any data.

    Parameters
    ----------
    x, weights, k
        As `project`; `x` is the data the projection is fitted on.

    Returns
    -------
    mean : array, shape (p,)
    down : array, shape (p, k)
    up : array, shape (k, p)
        ``mean + (z - mean) @ down @ up`` restricts new responses z; on `x` itself that is
        ``project(x, weights, k)``.

    Raises
    ------
    TypeError, ValueError
        As `project`.

    Notes
    -----
    On data unlike `x` the restriction misleads: the projection was fitted on `x`, directions that
    hardly vary there are determined by noise, and what it cuts away may matter elsewhere. Judge an
    accuracy on data that neither the directions nor this fit have seen.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import Subspace, project, projection_matrix
    >>> x = np.random.default_rng(0).normal(size=(100, 6))
    >>> w = Subspace.fit(x).weights
    >>> mean, down, up = projection_matrix(x, w, k=2)
    >>> bool(np.allclose(mean + (x - mean) @ down @ up, project(x, w, k=2)))
    True
    """
    _, mean, (down, up) = _fit(x, weights, k)
    numpy = isinstance(x, np.ndarray)
    return tuple(like_input(part, numpy=numpy) for part in (mean, down, up))


def _fit(x: ArrayLike, weights: ArrayLike, k: int | None) -> Any:
    tensor = as_tensor(x, "x", ndim=2)
    # Directions may be a single column of a single neuron, so one row is enough here.
    columns = as_tensor(weights, "weights", ndim=2, min_rows=1).to(tensor.device)
    if len(columns) != tensor.shape[1]:
        raise ValueError(
            f"weights must have one row a neuron of x; got {tuple(columns.shape)} for "
            f"x of shape {tuple(tensor.shape)}"
        )
    m = columns.shape[1]
    k = m if k is None else k
    if not is_whole(k) or not 1 <= k <= m:
        raise ValueError(f"k must be a number of directions from 1 to {m}; got {k!r}")
    rows, mean = centre(tensor)
    responses = rows @ columns[:, :k]
    # H^+ X. The columns may have any scale, so each is brought to length 1 first, and may depend on
    # each other, so H^+ is cut at the rank.
    length = responses.norm(dim=0)
    rounding = torch.finfo(rows.dtype).eps * rows.norm() * columns[:, :k].norm(dim=0)
    scale = length.masked_fill(length <= max(rows.shape) * rounding, torch.inf)
    u, s, v = thin_svd(responses / scale)
    rank = rank_cut(s, responses.shape)
    up = (v[:, :rank] / s[:rank]) @ (u[:, :rank].T @ rows)
    return rows, mean, (columns[:, :k] / scale, up)
