"""Input at the border of the library: checked once, and turned into torch, block by block.

The first of the four stages: inputs, moments, subspace, measures.

All arithmetic is torch on the device the data is on. NumPy in gives NumPy out, torch in gives
torch out. Data are converted *before* they are centred: in float32 the rank of a layer is already
wrong (167 of 256 directions found on one network's activations).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from svcca_lib.errors import UnresolvedError, one_of

T = TypeVar("T")
ArrayLike: TypeAlias = np.ndarray | Tensor
Precision: TypeAlias = Literal["float64", "float32"]

_DTYPES = {"float64": torch.float64, "float32": torch.float32}
_EXACT = 2**53  # smaller integers are float64 numbers

# Relative error of numbers by the type they were made in. What is stored in half a word was, on
# every machine, computed in float32 and then rounded once: half an eps. What is stored in float32
# was computed in it as well, and carries the rounding of sums: some eps, see `rank_cut`.
ARITHMETIC = 32.0
_ROUNDING = {
    "float16": 0.5 * torch.finfo(torch.float16).eps,
    "bfloat16": 0.5 * torch.finfo(torch.bfloat16).eps,
    "float32": ARITHMETIC * torch.finfo(torch.float32).eps,
}


def rounding_of(x: Any) -> float:
    """Relative error of the numbers of an array by its dtype; 0 for float64 and for integers.

    float32 numbers that were copied to float64 are taken for what they say they are.
    """
    return _ROUNDING.get(str(x.dtype).removeprefix("torch.").lstrip("<>="), 0.0)


def resolved(attempt: Callable[[Precision], T], precision: Precision) -> T:
    """Return `attempt(precision)`, or in float64 where float32 cannot tell what is kept."""
    try:
        return attempt(precision)
    except UnresolvedError:
        return attempt("float64")


@dataclass(frozen=True, eq=False)
class Rows:
    """The responses of one layer, checked but for their values, which are looked at in blocks.

    Attributes
    ----------
    source : Tensor, array, or what gives arrays when its rows are sliced
        Datapoints first.
    shape : tuple of int
        (n, p) or (n, c, h, w).
    dtype : torch.dtype
        The wanted precision.
    name : str
        The argument's name, for errors.
    numpy : bool
        Whether results go back as NumPy arrays.
    rounding : float
        Relative error of the numbers as they came, see `rounding_of`.
    scale : float
        A power of two that every value is multiplied by.
    """

    source: Any
    shape: tuple[int, ...]
    dtype: torch.dtype
    name: str
    numpy: bool
    rounding: float
    scale: float = 1.0

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the values are."""
        return self.source.device if isinstance(self.source, Tensor) else torch.device("cpu")

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient is asked for."""
        return isinstance(self.source, Tensor) and self.source.requires_grad

    def block(self, start: int, stop: int, dtype: torch.dtype | None = None) -> Tensor:
        """Some of the datapoints, converted.

        Raises
        ------
        ValueError
            If an integer is too large for float64.
        """
        part = self.source if stop - start == len(self) else self.source[start:stop]
        if isinstance(part, Tensor):
            tensor = part if self.scale == 1.0 else part.double() * self.scale
        else:
            # longdouble and big-endian arrays are not known to torch; float64 is. Nor does torch
            # take read-only memory (np.load with mmap_mode="r") or negative strides, which NumPy
            # calls contiguous along an axis of length one: those are copied.
            known = part.dtype if part.dtype in (np.float32, np.float64) else np.float64
            array = np.ascontiguousarray(part, dtype=known)
            if not array.flags.writeable or any(stride < 0 for stride in array.strides):
                array = array.copy()
            tensor = torch.from_numpy(array)
            if self.scale != 1.0:
                tensor = tensor.double() * self.scale
        wide = str(part.dtype).removeprefix("torch.").lstrip("<>=") in ("int64", "uint64")
        tensor = tensor.to(dtype or self.dtype).reshape(-1, *self.shape[1:])
        if wide and bool((tensor.abs() >= _EXACT).any()):
            raise ValueError(
                f"{self.name} holds integers from 2**53 on, which float64 would round; "
                f"subtract an offset or divide them first"
            )
        return tensor

    @property
    def values(self) -> Tensor:
        """All datapoints, checked and converted.

        Raises
        ------
        ValueError
            If there is a NaN or infinity, or too large an integer.
        """
        tensor = self.block(0, len(self))
        # A NaN or infinity shows in the sum; so may an overflow, and only then is each value
        # looked at.
        if not torch.isfinite(tensor.detach().sum()) and not torch.isfinite(tensor).all():
            self.finite()
            raise ValueError(f"{self.name} is too large for {self.dtype}; divide it by its scale")
        return tensor

    def largest(self, rows: int) -> float:
        """Largest absolute value; values are looked at one by one, `rows` datapoints at a time.

        Raises
        ------
        ValueError
            If there is a NaN or infinity.
        """
        bad, largest = 0, 0.0
        for start in range(0, len(self), rows):
            part = self.block(start, min(start + rows, len(self)), torch.float64).detach()
            finite = torch.isfinite(part)
            bad += int((~finite).sum())
            largest = max(largest, float(part.abs().where(finite, 0.0).max()))
        if bad:
            raise ValueError(
                f"{self.name} must be finite; got {bad} NaN or infinite values "
                f"in shape {self.shape}"
            )
        return largest

    def finite(self) -> None:
        """Raise if there is a NaN or infinity.

        Raises
        ------
        ValueError
            If there is.
        """
        self.largest(len(self))


def rows_of(x: Any, name: str, precision: str = "float64", min_rows: int = 2) -> Rows:
    """Check a layer (n, p), as `as_tensor` does, but for its values."""
    return _checked(x, name, (2,), precision, min_rows)


def images_of(x: Any, name: str, precision: str = "float64", min_rows: int = 2) -> Rows:
    """Check a layer with space (n, c, h, w); a matrix of vectors becomes images of one pixel."""
    rows = _checked(x, name, (2, 4), precision, min_rows)
    return replace(rows, shape=(*rows.shape, 1, 1)) if len(rows.shape) == 2 else rows


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
        NumPy array or torch tensor, any real dtype, any strides, any device; or what has a shape, a
        dtype and rows to slice (an h5py dataset, a zarr array).
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
        If `x` is not such an array, has masked values, or its dtype is complex, object or text.
    ValueError
        If it has the wrong number of dimensions, too few rows, no columns, a NaN or infinity, or an
        integer from 2**53 on.
    """
    return _checked(x, name, (ndim,) if isinstance(ndim, int) else ndim, precision, min_rows).values


def _checked(x: Any, name: str, ndim: tuple[int, ...], precision: str, min_rows: int) -> Rows:
    dtype = _DTYPES[one_of(precision, tuple(_DTYPES), "precision")]
    if not all(hasattr(x, part) for part in ("shape", "dtype", "__getitem__")):
        hint = ""
        if hasattr(x, "to_numpy"):
            hint = f"; give {name}.to_numpy()"
        elif isinstance(x, (list, tuple)):
            hint = f"; give numpy.asarray({name})"
        raise TypeError(
            f"{name} must be a NumPy array or a torch tensor of activations "
            f"(datapoints first); got {type(x).__name__}{hint}"
        )
    if np.ma.is_masked(x):
        raise TypeError(
            f"{name} has masked values, which would count as data; "
            f"drop their rows, or give {name}.filled(...)"
        )
    tensor = isinstance(x, Tensor)
    if x.is_complex() if tensor else np.dtype(x.dtype).kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers; got dtype {x.dtype}")
    shape = tuple(x.shape)
    if len(shape) not in ndim:
        wanted = " or ".join(f"{d}-D" for d in ndim)
        hint = "; reshape it to (datapoints, neurons)" if ndim == (2,) else ""
        raise ValueError(f"{name} must be {wanted}; got shape {shape}{hint}")
    if shape[0] < min_rows:
        rows = "row (datapoint)" if min_rows == 1 else "rows (datapoints)"
        raise ValueError(f"{name} needs at least {min_rows} {rows}; got shape {shape}")
    if 0 in shape:
        raise ValueError(f"{name} has no neurons; got shape {shape}")
    return Rows(x, shape, dtype, name, not tensor, rounding_of(x))
