"""Results on the way out of the library: in the library that the data came in, and values.

A value does not change because someone writes into what it handed out, and it can be pickled and
copied without the gradients and the larger tensors that its own were cut from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor


def like_input(value: Tensor, *, numpy: bool) -> Any:
    """Give a tensor back in the library the user's data came in."""
    return value.detach().cpu().numpy() if numpy else value


def handed_out(value: Tensor, *, numpy: bool) -> Any:
    """Give a copy of a tensor that is kept, in the library the user's data came in."""
    return copied(like_input(value, numpy=numpy))


def copied(value: Any) -> Any:
    """Copy an array or tensor, or those of a tuple; anything else is a value already."""
    if isinstance(value, tuple):
        return tuple(map(copied, value))
    if isinstance(value, np.ndarray):
        return value.copy()
    return value.clone() if isinstance(value, Tensor) else value


class HandedOut:
    """A field of a dataclass that hands out copies of its array; None by default."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return None if instance is None else copied(instance.__dict__[self._name])

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self._name] = value


class Value:
    """What pickles and copies as the numbers it shows."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: _settled(value) for name, value in self.__dict__.items()}


def _settled(value: Any) -> Any:
    """The numbers alone: no gradient, and of the memory no more than they take."""
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(map(_settled, value))
    if not isinstance(value, Tensor):
        return value
    value = value.detach()
    return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value
