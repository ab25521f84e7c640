"""The layers that a file holds, by name; their rows are read when they are asked for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

import numpy as np

SUFFIXES = (".npy", ".npz", ".safetensors", ".h5", ".hdf5", ".zarr")
EXTRA = "pip install 'svcca-lib[files]'"
_FEW = 12  # names that an error lists


@dataclass(frozen=True, eq=False)
class Layer:
    """An array in a file, of which rows are read when they are sliced.

    Attributes
    ----------
    place : str
        File and name, as they are given on the command line: ``a.npz:fc1``.
    shape : tuple of int
        Datapoints first.
    dtype : numpy.dtype
        Of the numbers; float32 for the types that NumPy lacks (bfloat16, the float8 ones), whose
        rows come as torch tensors in their own type.
    chunk : int
        Rows that lie together in the file: blocks of a multiple of them are read fastest.
    """

    place: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[int, int], Any] = field(repr=False)  # rows from, and up to but without
    chunk: int = 1

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Any:
        """Read rows that follow one another: an array, or a torch tensor.

        Raises
        ------
        TypeError, ValueError
            If `rows` is no slice, or has a step.
        """
        if not isinstance(rows, slice):
            raise TypeError(f"{self.place} is read by slices of rows; got {rows!r}")
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"{self.place} is read by rows that follow one another; got {rows!r}")
        return self.read(start, max(start, stop))

    @property
    def fault(self) -> str:
        """Why it is no layer, in words; empty if it is one."""
        if self.dtype.hasobject:
            return "holds Python objects, which are not unpickled; save an array of numbers"
        if self.dtype.kind not in "fiub":
            return f"holds no real numbers but {self.dtype}"
        if self.ndim < 2:
            return f"has shape {self.shape}, and a layer is (datapoints, neurons)"
        if 0 in self.shape:
            return f"is empty: its shape is {self.shape}"
        return ""


class Layers(Mapping[str, Layer]):
    """The layers of a file, in the file's order; to be closed, or used in a ``with``.

    Attributes
    ----------
    left_out : tuple of str
        What else the file holds, and why it is no layer, each in words.
    """

    def __init__(self, found: Mapping[str, Layer], opened: ExitStack) -> None:
        self._layers = {name: layer for name, layer in found.items() if not layer.fault}
        wrong = (layer for layer in found.values() if layer.fault)
        self.left_out = tuple(f"{layer.place} {layer.fault}" for layer in wrong)
        self._opened = opened

    def __getitem__(self, name: str) -> Layer:
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def close(self) -> None:
        """Close the file; its layers can be read no more."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def names_file(text: str) -> bool:
    """Return whether a text names a file of layers by its suffix, with or without a layer.

    >>> names_file("runs/a.npz:fc1"), names_file("b.zarr"), names_file("convnet+0@0.05")
    (True, True, False)
    """
    return any(Path(path).suffix.lower() in SUFFIXES for path, _ in _splits(text))


def open_layers(place: str | Path) -> Layers:
    """Open a file of layers, without reading any.

    Parameters
    ----------
    place : str or Path
        A ``.npy``, ``.npz``, ``.safetensors``, ``.h5`` or ``.hdf5`` file, or a ``.zarr`` folder;
        after a colon the name of one layer, a group, or a pattern: ``a.npz:fc1``, ``a.h5:block1``,
        ``a.npz:conv*``.

    Returns
    -------
    Layers
        By name: `Layer` has ``shape``, ``dtype`` and rows to slice. That of a ``.npy`` file has the
        file's name. What is no layer, such as labels (n,), is in ``left_out``.

    Raises
    ------
    ModuleNotFoundError
        If the package that reads such files is not installed.
    OSError
        If there is no such file.
    ValueError
        If it is of another kind, damaged, or holds no such layer.

    Notes
    -----
    Compressed members of ``.npz`` files are read from their beginning: rows in ascending order cost
    one pass. One in Fortran order is held in memory once it is read.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from svcca_lib import svcca
    >>> from svcca_lib.files import open_layers
    >>> rng = np.random.default_rng(0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/a.npz", fc1=rng.normal(size=(90, 3)), labels=np.arange(90))
    ...     with open_layers(f"{folder}/a.npz") as layers:
    ...         print(list(layers), layers["fc1"].shape, layers["fc1"][:10].shape)
    ['fc1'] (90, 3) (10, 3)
    """
    from svcca_lib.files import formats

    path, wanted = _found(str(place))
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path} is of no kind that holds layers: {', '.join(SUFFIXES)}")
    opened = ExitStack()
    try:
        found = formats.READERS[suffix](path, opened)
        if wanted:
            found = _chosen(found, path, wanted)
        if not found:
            raise ValueError(f"{path} holds no arrays")
        layers = Layers(found, opened)
        if not layers:
            raise ValueError(layers.left_out[0])
    except BaseException:
        opened.close()
        raise
    return layers


def _splits(text: str) -> Iterator[tuple[str, str]]:
    """Yield a path and the name after it, for every colon that may stand between the two."""
    yield text, ""
    for place in reversed([i for i, character in enumerate(text) if character == ":"]):
        yield text[:place], text[place + 1 :]


def _found(text: str) -> tuple[Path, str]:
    """Return the file that is meant and the layer of it; OSError if there is none."""
    for path, name in _splits(text):
        if path and Path(path).exists():
            return Path(path), name
    meant = [path for path, _ in _splits(text) if Path(path).suffix.lower() in SUFFIXES]
    raise FileNotFoundError(f"there is no file {meant[-1] if meant else text}")


def _chosen(found: Mapping[str, Layer], path: Path, wanted: str) -> dict[str, Layer]:
    below = f"{wanted.rstrip('/')}/"
    chosen = {name: layer for name, layer in found.items() if name == wanted} or {
        name: layer
        for name, layer in found.items()
        if name.startswith(below) or fnmatchcase(name, wanted)
    }
    if not chosen:
        names = [name for name, layer in found.items() if not layer.fault]
        if len(names) > _FEW:
            names = difflib.get_close_matches(wanted, names, n=3) or names
        more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
        raise ValueError(
            f"{path} holds no layer {wanted!r}; it holds {', '.join(names[:_FEW])}{more}"
        )
    return chosen
