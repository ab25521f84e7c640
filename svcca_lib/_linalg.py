"""Decompositions and products: NumPy's on CPUs, torch's on GPUs and where a gradient is asked for.

On CPUs NumPy's BLAS computes half of a symmetric product, for which torch has no call. All that is
large follows it there: libraries that take turns keep a pool of threads each, and one waits on the
cores that the threads of the other still hold. (SciPy's, which could add in place, holds Python's
lock besides.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import numpy as np
import scipy  # its parts are loaded when used: the import stays fast
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

A = TypeVar("A")
B = TypeVar("B")

# torch documents this error under that name, but does not mark it as exported.
_TorchError = torch.linalg.LinAlgError  # type: ignore[attr-defined]


def on_cpu(*tensors: Tensor) -> bool:
    """Whether NumPy can compute with all of these."""
    return not any(t.requires_grad or t.device.type != "cpu" for t in tensors)


def _array(x: Tensor) -> np.ndarray:
    """Return a tensor of this machine's memory as NumPy's; torch only notes a conjugation."""
    return x.resolve_conj().numpy()


def empty(shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Allocate a tensor on the device of another one, by default of its type.

    NumPy asks the kernel for huge pages: on a CPU, a gigabyte fills in half the time.
    """
    dtype = dtype or like.dtype
    if like.device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=like.device)
    return torch.from_numpy(np.empty(shape, str(dtype).removeprefix("torch.")))


def zeros(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Allocate as `empty` does, filled with zeros; on a CPU the kernel hands them out."""
    if like.device.type != "cpu":
        return torch.zeros(shape, dtype=like.dtype, device=like.device)
    return torch.from_numpy(np.zeros(shape, str(like.dtype).removeprefix("torch.")))


def mean_of(x: Tensor) -> Tensor:
    """Mean over the datapoints (n, p), as a product: sums of blocks, in all threads."""
    if on_cpu(x):
        with np.errstate(over="ignore", invalid="ignore"):  # not finite: gets its own sentence
            return torch.from_numpy(np.ones(len(x), x.numpy().dtype) @ x.numpy() / len(x))
    return x.mean(dim=0)


def squared_lengths(x: Tensor) -> Tensor:
    """Sum of the squares of each row of (n, p), (n,)."""
    if on_cpu(x):
        rows = x.numpy()
        return torch.from_numpy(np.einsum("ij,ij->i", rows, rows))
    return (x * x).sum(1)


def difference(x: Tensor, mean: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``x - mean`` in one memory layout, whatever that of `x`; `out` is overwritten."""
    if on_cpu(x):
        out = empty(tuple(x.shape), x) if out is None else out
        with np.errstate(over="ignore", invalid="ignore"):
            np.subtract(x.numpy(), mean.numpy(), out=out.numpy())
        return out
    return (x - mean).contiguous() if out is None else torch.sub(x, mean, out=out)


def inner(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Return ``x^T y`` of real layers (n, p) and (n, q), by default of `x` with itself."""
    y = x if y is None else y
    if on_cpu(x, y):
        with np.errstate(over="ignore", invalid="ignore"):  # an infinite sum gets its own sentence
            return torch.from_numpy(x.numpy().T @ y.numpy())
    return x.T @ y


def add_inner(out: Tensor, x: Tensor, y: Tensor) -> None:
    """``out += x^T y`` of real layers (n, p) and (n, q); the sum may be of wider numbers."""
    if on_cpu(x, y, out):
        total = out.numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            np.add(total, x.numpy().T @ y.numpy(), out=total)
    else:
        out += x.T @ y


def product(x: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``x y`` of real matrices, in `out` where there is one."""
    if on_cpu(x, y):
        return torch.from_numpy(
            np.matmul(x.numpy(), y.numpy(), None if out is None else out.numpy())
        )
    return torch.matmul(x, y, out=out)


_FREQUENCIES = 8  # whose products one thread holds at a time


def add_complex(out: Tensor, x: Tensor, y: Tensor) -> None:
    """``out += x^H y`` of complex layers (F, n, p) and (F, n, q) on a CPU.

    As real layers of twice the width, (re, im, re, im, ...): the complex product would copy `x` to
    conjugate it, and knows of no symmetry.
    """
    p, q = x.shape[2], y.shape[2]
    total = torch.view_as_real(out).numpy()
    left, right = (torch.view_as_real(t).flatten(2).numpy() for t in (x, y))

    def at(start: int) -> None:
        some = slice(start, start + _FREQUENCIES)
        with np.errstate(over="ignore", invalid="ignore"):  # an infinite sum is scaled, or refused
            parts = np.matmul(left[some].transpose(0, 2, 1), right[some]).reshape(-1, p, 2, q, 2)
            total[some, :, :, 0] += parts[:, :, 0, :, 0]
            total[some, :, :, 0] += parts[:, :, 1, :, 1]
            total[some, :, :, 1] += parts[:, :, 0, :, 1]
            total[some, :, :, 1] -= parts[:, :, 1, :, 0]

    one_thread_each(at, range(0, len(x), _FREQUENCIES))


def descending_eigh(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, largest first and never negative, and eigenvectors of a symmetric matrix."""
    if on_cpu(gram):
        values, vectors = map(torch.from_numpy, np.linalg.eigh(_array(gram)))
    else:
        values, vectors = torch.linalg.eigh(gram)
    return values.flip(-1).clamp(min=0), vectors.flip(-1)


def thin_svd(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thin SVD ``x = u @ diag(s) @ v^H``; the slower, safer driver where the fast one fails."""
    if on_cpu(x):
        try:
            parts = np.linalg.svd(_array(x), full_matrices=False)
        except np.linalg.LinAlgError:  # of divide and conquer; QR iteration (gesvd) converges
            parts = scipy.linalg.svd(_array(x), full_matrices=False, lapack_driver="gesvd")
        u, s, vh = map(torch.from_numpy, parts)
    else:
        try:
            u, s, vh = torch.linalg.svd(x, full_matrices=False)
        except _TorchError:
            if not x.is_cuda:
                raise
            # cuSOLVER's Jacobi method (gesvdj) does not always converge either.
            u, s, vh = torch.linalg.svd(x, full_matrices=False, driver="gesvd")
    return u, s, vh.mH


def singular_values(x: Tensor) -> Tensor:
    """Singular values alone, descending, with the same fall-back as `thin_svd`."""
    try:
        if on_cpu(x):
            return torch.from_numpy(np.linalg.svd(_array(x), compute_uv=False))
        values: Tensor = torch.linalg.svdvals(x)
        return values
    except (np.linalg.LinAlgError, _TorchError):
        return thin_svd(x)[1]


def one_thread_each(work: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """Map as `map` does, with one thread an item instead of all threads on each item.

    Small matrices are worth no more than a thread: a batch of 64 x 64 ones, decomposed on two,
    costs some twenty times the work of one, as they wait for each other. Here the items share the
    threads that torch has, and both libraries keep to one for each.
    """
    if len(items) == 1 or _inside.one:  # a thread of another call has no threads to share
        return list(map(work, items))
    with _one_thread() as threads:
        if threads == 1:  # handing each item to another thread can cost more than the item
            with _inside:
                return list(map(work, items))
        with ThreadPoolExecutor(threads, initializer=_enter) as pool:
            return list(pool.map(work, items))


class _Inside(threading.local):
    """Whether this thread is one of those that work alone."""

    one = False

    def __enter__(self) -> None:
        self.one = True

    def __exit__(self, *_: object) -> None:
        self.one = False


_inside = _Inside()


def _enter() -> None:
    _inside.one = True
    torch.set_num_threads(1)


class _OneThread:
    """Both libraries at one thread, while any thread of the program needs that.

    The numbers of threads belong to the process: of several that compute at once, the first keeps
    what they were, and the last restores it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    @contextmanager
    def __call__(self) -> Iterator[int]:
        with self._lock:
            if not self._inside:
                self._threads = torch.get_num_threads()
                self._limit = _blas().limit(limits=1)
            self._inside += 1
        try:
            yield self._threads
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._limit.restore_original_limits()
            torch.set_num_threads(self._threads)


_one_thread = _OneThread()


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
