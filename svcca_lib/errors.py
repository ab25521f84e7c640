"""What is refused or warned of, each in one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import TypeAlias

import torch
from torch import Tensor

Kind: TypeAlias = tuple[torch.dtype, torch.device]


_OUT_OF_MEMORY = re.compile("out of memory|not enough memory|can't allocate memory", re.IGNORECASE)
_AMOUNT = re.compile(r"allocate ([\d.]+) ?(\w+)")


class SampleSizeWarning(UserWarning):
    """Too few datapoints for the number of neurons: the similarity is high whatever the data."""


class UnresolvedError(ValueError):
    """float32 cannot tell which directions a layer keeps; float64 can."""


class ConstantLayerError(ValueError):
    """No neuron of a layer varies over the data: there is nothing to compare."""


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, Python's or NumPy's; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def one_of(value: str, allowed: tuple[str, ...], name: str) -> str:
    """Return `value` if it is one of `allowed`; otherwise say what is.

    Raises
    ------
    ValueError
        If it is not.
    """
    if value not in allowed:
        options = ", ".join(repr(a) for a in allowed)
        raise ValueError(f"{name} must be one of {options}; got {value!r}")
    return value


def same_rows(n_x: int, n_y: int, *, names: tuple[str, str] = ("x", "y")) -> None:
    """Raise unless two layers, called `names`, were recorded on the same number of datapoints.

    Raises
    ------
    ValueError
        If they were not.
    """
    if n_x != n_y:
        x, y = names
        raise ValueError(
            f"{x} and {y} must be responses to the same datapoints, row by row; "
            f"got {n_x} rows in {x} and {n_y} in {y}"
        )


def same_kind(x: Kind, y: Kind, *, names: tuple[str, str] = ("x", "y")) -> None:
    """Raise unless two layers, called `names`, have one precision and one device.

    Raises
    ------
    ValueError
        If they have not.
    """
    if x != y:
        raise ValueError(
            f"{names[0]} and {names[1]} must have one precision and one device; "
            f"got {x[0]} on {x[1]} and {y[0]} on {y[1]}"
        )


def some_variance(total: Tensor, name: str, shape: tuple[int, ...]) -> None:
    """Raise unless a centred layer's total of squares says that there is something to compare.

    Parameters
    ----------
    total : Tensor, shape ()
    name : str
        The argument's name, for the error.
    shape : tuple of int
        The layer's shape, for the error.

    Raises
    ------
    ConstantLayerError, ValueError
        If the total is zero; if it is too large for its floating-point type.
    """
    if not total > 0:
        raise ConstantLayerError(
            f"{name} has no variance left after centring: every neuron is constant over the "
            f"{shape[0]} datapoints (shape {tuple(shape)})"
        )
    if not torch.isfinite(total):
        raise ValueError(
            f"{name} is too large to be squared in {total.dtype}; divide it by its scale"
        )


@contextmanager
def short_of_memory(advice: Callable[[], str]) -> Iterator[None]:
    """Say what needs memory and what helps, in place of an allocator's own words.

    Parameters
    ----------
    advice : callable
        Gives the end of the sentence; asked when it is needed.

    Raises
    ------
    MemoryError
        For whatever torch, NumPy or Python raise where memory does not do.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _OUT_OF_MEMORY.search(str(error)):
            raise
        asked = _AMOUNT.search(str(error))
        amount, unit = asked.groups() if asked else ("more", "memory")
        if unit == "bytes":
            amount, unit = f"{float(amount) / 1e9:.3g}", "GB"
        raise MemoryError(f"memory is short, {amount} {unit} cannot be had: {advice()}") from error
