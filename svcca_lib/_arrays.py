"""Input at the border of the library: checked once, turned into torch, turned back on the way out.

All arithmetic is torch on the device the data is on. NumPy in gives NumPy out, torch in gives
torch out. Data are converted *before* they are centred: in float32 the rank of a layer is already
wrong (167 of 256 directions found on one network's activations).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from svcca_lib._linalg import difference

ArrayLike: TypeAlias = np.ndarray | Tensor
Precision: TypeAlias = Literal["float64", "float32"]

_DTYPES = {"float64": torch.float64, "float32": torch.float32}


class SampleSizeWarning(UserWarning):
    """Too few datapoints for the number of neurons: the similarity is high whatever the data."""


class ConstantLayerError(ValueError):
    """No neuron of a layer varies over the data: there is nothing to compare."""


def warn_once(caught: Sequence[warnings.WarningMessage], stacklevel: int) -> None:
    """Give the first warning of each kind again, and say how many more there were."""
    kinds: dict[type[Warning], list[str]] = {}
    for warning in caught:
        kinds.setdefault(warning.category, []).append(str(warning.message))
    for category, texts in kinds.items():
        more = f" (and {len(texts) - 1} more of these)" if len(texts) > 1 else ""
        warnings.warn(texts[0] + more, category, stacklevel=stacklevel + 1)


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


def as_tensor(
    x: Any,
    name: str,
    *,
    ndim: int | tuple[int, ...],
    precision: str = "float64",
    min_rows: int = 2,
) -> Tensor:
    """Convert an array to a real torch tensor of the wanted precision, checking it on the way.

    Parameters
    ----------
    x : array_like
        NumPy array or torch tensor, any real dtype, any strides, any device.
    name : str
        The argument's name, for the error.
    ndim : int or tuple of int
        The accepted number of dimensions.
    precision : {"float64", "float32"}
    min_rows : int
        Fewest datapoints accepted: 2 for a comparison, 1 for a batch of a stream.

    Raises
    ------
    TypeError
        If `x` is neither an array nor a tensor, or its dtype is complex, object or text.
    ValueError
        If it has the wrong number of dimensions, too few rows, no columns, or a NaN or infinity.
    """
    dtype = _DTYPES[one_of(precision, tuple(_DTYPES), "precision")]
    if not isinstance(x, (np.ndarray, Tensor)):
        raise TypeError(
            f"{name} must be a NumPy array or a torch tensor of activations "
            f"(datapoints first); got {type(x).__name__}"
        )
    if isinstance(x, np.ndarray):
        if x.dtype.kind not in "fiub":
            raise TypeError(f"{name} must hold real numbers; got dtype {x.dtype}")
        # longdouble and big-endian arrays are not known to torch; float64 is. Nor does torch take
        # read-only memory (np.load with mmap_mode="r") or negative strides, which NumPy calls
        # contiguous along an axis of length one: those are copied.
        array = np.ascontiguousarray(x, dtype=np.float64)
        if not array.flags.writeable or any(stride < 0 for stride in array.strides):
            array = array.copy()
        tensor = torch.from_numpy(array).to(dtype)
    else:
        if x.is_complex():
            raise TypeError(f"{name} must hold real numbers; got dtype {x.dtype}")
        tensor = x.to(dtype)
    expected = (ndim,) if isinstance(ndim, int) else ndim
    shape = tuple(tensor.shape)
    if tensor.ndim not in expected:
        wanted = " or ".join(f"{d}-D" for d in expected)
        hint = "; reshape it to (datapoints, neurons)" if expected == (2,) else ""
        raise ValueError(f"{name} must be {wanted}; got shape {shape}{hint}")
    if shape[0] < min_rows:
        rows = "row (datapoint)" if min_rows == 1 else "rows (datapoints)"
        raise ValueError(f"{name} needs at least {min_rows} {rows}; got shape {shape}")
    if 0 in shape:
        raise ValueError(f"{name} has no neurons; got shape {shape}")
    # A NaN or infinity shows in the sum; so may an overflow, and only then is each value looked at.
    if not torch.isfinite(tensor.detach().sum()) and not torch.isfinite(tensor).all():
        bad = int((~torch.isfinite(tensor)).sum())
        raise ValueError(
            f"{name} must be finite; got {bad} NaN or infinite values in shape {shape}"
        )
    return tensor


def same_rows(n_x: int, n_y: int) -> None:
    """Raise unless two layers were recorded on the same number of datapoints.

    Raises
    ------
    ValueError
        If they were not.
    """
    if n_x != n_y:
        raise ValueError(
            f"x and y must be responses to the same datapoints, row by row; "
            f"got {n_x} rows in x and {n_y} in y"
        )


def some_variance(squares: Tensor, name: str, shape: tuple[int, ...]) -> Tensor:
    """Return the total of a centred layer's squares, if there is something to compare.

    Parameters
    ----------
    squares : Tensor
        Sums of squares that add up to the total, such as the diagonal of a Gram matrix.
    name : str
        The argument's name, for the error.
    shape : tuple of int
        The layer's shape, for the error.

    Raises
    ------
    ConstantLayerError, ValueError
        If the total is zero; if it is too large for its floating-point type.
    """
    total = squares.detach().sum()
    if not total > 0:
        raise ConstantLayerError(
            f"{name} has no variance left after centring: every neuron is constant over the "
            f"{shape[0]} datapoints (shape {tuple(shape)})"
        )
    if not torch.isfinite(total):
        raise ValueError(
            f"{name} is too large to be squared in {total.dtype}; divide it by its scale"
        )
    return total


def centre(x: Tensor) -> tuple[Tensor, Tensor]:
    """Subtract the mean over datapoints (dimension 0); return the centred data and the mean.

    A neuron that strays from its mean by no more than rounding is constant and becomes exactly
    zero: a layer of constants would otherwise take what is left for signal.
    """
    mean = x.mean(dim=0)
    centred = difference(x, mean)
    rounding = 4 * torch.finfo(x.dtype).eps * mean.abs()
    # Two rows tell of most neurons that they vary; only the others are looked at in full.
    still = (centred[[0, -1]].abs() <= rounding).all(dim=0).nonzero()[:, 0]
    still = still[(centred[:, still].abs() <= rounding[still]).all(dim=0)]
    if len(still):
        centred = centred.index_fill(1, still, 0.0)
    return centred, mean


def like_input(value: Tensor, *, numpy: bool) -> Any:
    """Give a tensor back in the library the user's data came in."""
    return value.detach().cpu().numpy() if numpy else value
