"""Readers of the kinds of files: each gives the arrays of a file by name, and reads none."""

from __future__ import annotations

import importlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np

from svcca_lib.files.layers import EXTRA, Layer

Reader = Callable[[Path, ExitStack], dict[str, Layer]]


def npy(path: Path, opened: ExitStack) -> dict[str, Layer]:
    """A NumPy array, memory-mapped."""
    with _named(path, ".npy"), open(path, "rb") as file:
        shape, fortran, dtype = _header(file)
        if (
            dtype.hasobject or not shape or not all(shape)
        ):  # none of these can be mapped; what is wrong is said later
            return {path.stem: Layer(str(path), shape, dtype, _unread)}
        order: Any = "F" if fortran else "C"
        mapped = np.memmap(path, dtype, "r", file.tell(), shape, order)
    return {path.stem: Layer(str(path), shape, dtype, lambda start, stop: mapped[start:stop])}


def npz(path: Path, opened: ExitStack) -> dict[str, Layer]:
    """NumPy arrays in a zip file, stored or compressed."""
    with _named(path, ".npz"):
        archive = opened.enter_context(zipfile.ZipFile(path))
        found = {}
        for entry in archive.namelist():
            name = entry.removesuffix(".npy")
            if name == entry:
                continue
            member = _Member(path, archive, entry)
            opened.callback(member.close)
            place = f"{path}:{name}"
            found[name] = Layer(place, member.shape, member.dtype, member.read)
    return found


class _Member:
    """An array in a zip file, read from its beginning to its end, in blocks."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, entry: str) -> None:
        self._path, self._archive, self._entry = path, archive, entry
        self._file: IO[bytes] | None = None
        self._at = 0  # bytes read of it
        self._whole: np.ndarray | None = None
        with archive.open(entry) as file:
            self.shape, self._fortran, self.dtype = _header(file)
            self._start = file.tell()

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows."""
        with _named(self._path, ".npz"):
            if self._fortran:
                if self._whole is None:
                    self._whole = self._numbers(0, self.shape[::-1]).T
                return self._whole[start:stop]
            row = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
            return self._numbers(start * row, (stop - start, *self.shape[1:]))

    def close(self) -> None:
        """Close what is read from: the archive stays open until its members are."""
        if self._file is not None:
            self._file.close()

    def _numbers(self, offset: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return numbers that lie in a row, from so many bytes after the first."""
        self._go_to(self._start + offset)
        buffer = bytearray(self.dtype.itemsize * int(np.prod(shape, dtype=np.int64)))
        held, read = memoryview(buffer), 0
        while read < len(buffer):
            part = self._next(len(buffer) - read)
            held[read : read + len(part)] = part
            read += len(part)
        return np.ndarray(shape, self.dtype, buffer)

    def _go_to(self, place: int) -> None:
        """Read on to so many bytes from the beginning; from there again where that is behind.

        Nothing is skipped by seeking: it ends the check of the sum (CRC) that tells damage.
        """
        if self._file is None or self._at > place:
            self.close()
            self._file, self._at = self._archive.open(self._entry), 0
        while self._at < place:
            self._next(place - self._at)

    def _next(self, most: int) -> bytes:
        """Return the next bytes, at most so many and at least one."""
        assert self._file is not None
        part = self._file.read(min(most, 2**24))
        if not part:
            raise ValueError(f"it ends within {self._entry}")
        self._at += len(part)
        return part


def safetensors(path: Path, opened: ExitStack) -> dict[str, Layer]:
    """Tensors of a safetensors file, of which the slices asked for are read."""
    package = _package("safetensors", ".safetensors")
    import torch

    with _named(path, ".safetensors", package.SafetensorError):
        file = opened.enter_context(package.safe_open(path, framework="pt"))
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        found = {}
        for name, part in slices.items():
            shape = tuple(part.get_shape())
            sample = part[:0] if shape else torch.empty(())
            dtype = _dtype(sample.dtype)
            found[name] = Layer(f"{path}:{name}", shape, dtype, _slicing(part))
    return found


def _dtype(dtype: Any) -> np.dtype[Any]:
    """NumPy's type of torch's; float32 for the floating-point types that NumPy lacks."""
    import torch

    try:
        return np.dtype(torch.empty(0, dtype=dtype).numpy().dtype)
    except (TypeError, RuntimeError):
        return np.dtype(np.float32)


def hdf5(path: Path, opened: ExitStack) -> dict[str, Layer]:
    """Datasets of an HDF5 file, in all its groups."""
    h5py = _package("h5py", ".h5")
    with _named(path, "HDF5", OSError):
        file = opened.enter_context(h5py.File(path, "r"))
        datasets: dict[str, Any] = {}

        def add(name: str, thing: Any) -> None:
            if isinstance(thing, h5py.Dataset):
                datasets[name] = thing

        file.visititems(add)
        return _chunked(path, {name: d for name, d in datasets.items() if d.shape is not None})


def zarr(path: Path, opened: ExitStack) -> dict[str, Layer]:
    """Arrays of a zarr folder, in all its groups; or the one array that it is."""
    package = _package("zarr", ".zarr")
    with _named(path, ".zarr", Exception):  # stores of every make raise errors of their own
        root = package.open(str(path), mode="r")
        if not hasattr(root, "arrays"):
            return _chunked(path, {path.stem: root})
        return _chunked(path, dict(_arrays(root, "")))


def _arrays(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, array in sorted(group.arrays()):
        yield prefix + name, array
    for name, inner in sorted(group.groups()):
        yield from _arrays(inner, f"{prefix}{name}/")


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        ".npy": npy,
        ".npz": npz,
        ".safetensors": safetensors,
        ".h5": hdf5,
        ".hdf5": hdf5,
        ".zarr": zarr,
    }
)


def _chunked(path: Path, arrays: Mapping[str, Any]) -> dict[str, Layer]:
    """Layers of arrays that know their chunks, as those of HDF5 and zarr do."""
    return {
        name: Layer(
            f"{path}:{name}",
            tuple(array.shape),
            np.dtype(array.dtype),
            _slicing(array),
            (array.chunks or (1,))[0] if array.shape else 1,
        )
        for name, array in arrays.items()
    }


def _slicing(array: Any) -> Callable[[int, int], Any]:
    return lambda start, stop: array[start:stop]


def _unread(start: int, stop: int) -> Any:
    raise ValueError("there is nothing to read")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and type of the array that begins here."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"its version is {version}, which is not of plain arrays")


def _package(name: str, kind: str) -> Any:
    """Import what reads a kind of files; ModuleNotFoundError, in a sentence, if it is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ModuleNotFoundError(
            f"{kind} files are read by {name}, which is not installed: {EXTRA}", name=name
        ) from None


@contextmanager
def _named(path: Path, kind: str, *errors: type[Exception]) -> Iterator[None]:
    """Have what a damaged file raises name it.

    Raises
    ------
    ValueError
        If the file is not of the kind, or damaged.
    """
    damage: tuple[type[Exception], ...] = (
        *(ValueError, EOFError, zipfile.BadZipFile, zlib.error),
        *errors,
    )
    try:
        yield
    except damage as error:
        if isinstance(error, OSError) and error.errno in (2, 13, 21):  # not there, or not ours
            raise
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is no {kind} file, or damaged: {told}") from None
