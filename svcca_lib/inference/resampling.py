"""Rows that belong together, drawn together: what permutations, folds and halves share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from svcca_lib.errors import is_whole
from svcca_lib.fourier.subspace import FourierSubspace
from svcca_lib.inputs import ArrayLike
from svcca_lib.pair_moments import PairMoments
from svcca_lib.permutations import Groups as Groups
from svcca_lib.permutations import members_of as members_of
from svcca_lib.subspace import Subspace


def at_least(least: int, value: int, name: str) -> None:
    """Raise unless a number is whole and large enough.

    Raises
    ------
    ValueError
        If it is not.
    """
    if not is_whole(value) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}")


def with_rows(layer: Any, name: str, purpose: str, *, prepared: bool = False) -> None:
    """Raise for a layer that holds no rows to draw from.

    Parameters
    ----------
    layer : Any
    name : str
        The argument's name, for the error.
    purpose : str
        What is done with the rows, for the error.
    prepared : bool
        Whether a layer that is decomposed already will do.

    Raises
    ------
    TypeError
        If the layer holds no rows.
    """
    decomposed = isinstance(layer, Subspace | FourierSubspace) and not prepared
    streamed = isinstance(layer, PairMoments)
    if decomposed or streamed:
        none = ", which hold no rows" if streamed else ""
        raise TypeError(f"{name} must be an array: {purpose}; got {type(layer).__name__}{none}")


def rows_at(layer: ArrayLike, rows: np.ndarray) -> ArrayLike:
    """Rows of a layer, in the library and precision it came in; without its gradient."""
    chosen = rows if isinstance(layer, np.ndarray) else torch.from_numpy(rows)
    drawn: ArrayLike = layer[chosen]
    return drawn if isinstance(drawn, np.ndarray) else drawn.detach()


def like(values: np.ndarray, x: Any) -> Any:
    """Numbers in the library that the layer came in."""
    decomposed = isinstance(x, Subspace | FourierSubspace)
    numpy = x.numpy if decomposed else isinstance(x, np.ndarray)
    return values if numpy else torch.from_numpy(values)
