"""Input at the border of the library: checked once, and turned into torch.

The first of the four stages: inputs, moments, subspace, measures.

All arithmetic is torch on the device the data is on. NumPy in gives NumPy out, torch in gives
torch out. Data are converted *before* they are centred: in float32 the rank of a layer is already
wrong (167 of 256 directions found on one network's activations).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from svcca_lib.errors import UnresolvedError, one_of

T = TypeVar("T")
ArrayLike: TypeAlias = np.ndarray | Tensor
Precision: TypeAlias = Literal["float64", "float32"]

_DTYPES = {"float64": torch.float64, "float32": torch.float32}


def resolved(attempt: Callable[[Precision], T], precision: Precision) -> T:
    """Return `attempt(precision)`, or in float64 where float32 cannot tell what is kept."""
    try:
        return attempt(precision)
    except UnresolvedError:
        return attempt("float64")


@dataclass(frozen=True, eq=False)
class Rows:
    """The responses of one layer, checked.

    Attributes
    ----------
    values : Tensor, shape (n, p) or (n, c, h, w)
        Datapoints first; of the wanted precision.
    name : str
        The argument's name, for errors.
    numpy : bool
        Whether they came as NumPy, and results go back as such.
    """

    values: Tensor
    name: str
    numpy: bool


def rows_of(x: Any, name: str, precision: str = "float64") -> Rows:
    """Check a layer (n, p), as `as_tensor` does."""
    values = as_tensor(x, name, ndim=2, precision=precision)
    return Rows(values, name, isinstance(x, np.ndarray))


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


def images_of(x: Any, name: str, precision: str = "float64", min_rows: int = 2) -> Rows:
    """Check a layer with space (n, c, h, w); a matrix of vectors becomes images of one pixel."""
    tensor = as_tensor(x, name, ndim=(2, 4), precision=precision, min_rows=min_rows).detach()
    values = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
    return Rows(values, name, isinstance(x, np.ndarray))
