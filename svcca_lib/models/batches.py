"""Which batches are meant: of one loader or one for each model, and if they belong together.

Two models see the same datapoints in the same order, or nothing that is said of them is true. One
loader is read once and each batch goes through both. Of two loaders the rows are counted batch by
batch, and their ids compared where they carry any.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import count
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import (
    DataLoader,
    Dataset,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from tqdm import tqdm

from svcca_lib.models.outputs import opened

Feed: TypeAlias = Callable[[nn.Module, Any], Any]
Ids: TypeAlias = str | int | Callable[[Any], Any] | None

# What the ids of datapoints are called in a dict batch, the likeliest first.
ID_KEYS = ("id", "ids", "index", "indices", "idx", "sample_id", "sample_ids", "example_id", "uid")

_RANDOM = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


def iterate(batches: Any, batch_size: int = 256, *, progress: bool | str = False) -> Iterator[Any]:
    """Batches of whatever was given; see `capture`.

    Raises
    ------
    TypeError, ValueError
        If `batches` cannot be iterated over, holds nothing, or `batch_size` is not positive.
    """
    batches = _checked(batches, "batches", batch_size)
    if isinstance(batches, Tensor):
        batches = torch.split(batches, batch_size) if len(batches) else ()
    empty = True
    for batch in tqdm(batches, disable=not progress, unit="batch", desc=said(progress)):
        empty = False
        yield batch
    if empty:
        raise ValueError("batches holds no batch")


def for_two(
    loader: Any,
    loader_b: Any = None,
    batch_size: int = 256,
    *,
    ids: Ids = "auto",
    feed: Feed | None = None,
    progress: bool | str = False,
) -> Iterator[tuple[Any, ...]]:
    """Batches for two models; see `svcca_lib.compare`.

    Yields
    ------
    tuple
        The one batch that goes through both models, or, of two loaders, the batch of each.

    Raises
    ------
    TypeError, ValueError
        As `iterate`; if one loader gives pairs of inputs, or two loaders give other numbers of rows
        or batches, other datapoints by their ids, or shuffle.
    """
    if loader_b is not None:
        yield from _side_by_side(loader, loader_b, batch_size, ids, feed, progress)
        return
    if ids not in ("auto", None):
        raise ValueError("ids says which datapoints two loaders must share; give loader_b as well")
    if isinstance(loader, tuple) and len(loader) == 2:
        x, y = (np.shape(part) if _is_array(part) else () for part in loader)
        if x and y and x[0] == y[0]:
            raise ValueError(
                f"loader is a tuple of two arrays of {x[0]} rows: of one for each model the second "
                f"goes to loader_b=; two batches for both models are a list"
            )
    zipped = isinstance(getattr(loader, "source", loader), zip)  # it may be held
    for batch in iterate(loader, batch_size, progress=progress):
        if feed is None and _two_inputs(batch, zipped):
            raise ValueError(
                "a batch of loader holds two inputs, of which both models would get the first; "
                "give the second model's batches as loader_b=, or say by "
                "feed=lambda model, batch: model(batch[0]) that the first is meant"
            )
        yield (batch,)


def said(progress: bool | str) -> str | None:
    """What a progress bar is called, if it was given in place of True."""
    return progress if isinstance(progress, str) else None


def run_model(model: nn.Module, batch: Any, ids: Sequence[Any] = ID_KEYS) -> Any:
    """Run a model on a batch of the kinds that `capture` names.

    Ids and masks in a dict are no input, unless the forward pass takes them.
    """
    if isinstance(batch, Mapping):
        if any(key in batch for key in ids):
            taken = inspect.signature(model.forward).parameters
            if all(p.kind is not p.VAR_KEYWORD for p in taken.values()):
                batch = {k: v for k, v in batch.items() if k not in ids or k in taken}
        return model(**batch)
    whole = isinstance(batch, PackedSequence) or not isinstance(batch, (tuple, list))
    return model(batch if whole else batch[0])


def to_device(value: Any, device: torch.device) -> Any:
    """Move every tensor of a batch, which stays of its type."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, nn.Module):
        return value
    mapping = isinstance(value, MutableMapping)
    moved = copy.copy(value) if mapping else value
    if callable(getattr(value, "to", None)):  # packed sequences, BatchEncoding (which moves itself)
        return moved.to(device)
    if mapping:
        moved.update({key: to_device(v, device) for key, v in value.items()})
        return moved
    if isinstance(value, Mapping):
        return {key: to_device(v, device) for key, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(to_device(v, device) for v in value))
    if isinstance(value, (tuple, list)):
        return [to_device(v, device) for v in value]
    return value


def _checked(batches: Any, name: str, batch_size: int) -> Any:
    """Return a tensor, or what can be iterated over for batches; complain about anything else."""
    if isinstance(batches, np.ndarray):
        batches = torch.from_numpy(batches)
    if isinstance(batches, Tensor):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {batch_size}")
        if batches.ndim == 0:
            raise ValueError(f"{name} must have a row a datapoint; got a single number")
    elif (
        isinstance(batches, (str, bytes, Mapping))
        or not isinstance(batches, Iterable)
        or hasattr(batches, "iloc")  # a table of pandas, which would give the names of its columns
    ):
        kind = type(batches).__name__
        remedy = "; put it into a DataLoader" if isinstance(batches, Dataset) else ""
        remedy = "; give its .to_numpy()" if hasattr(batches, "iloc") else remedy
        raise TypeError(f"{name} must be a tensor or an iterable of batches; got {kind}{remedy}")
    elif isinstance(batches, (tuple, list)):
        if any(isinstance(batch, DataLoader) for batch in batches):
            raise TypeError(
                f"{name} must be one DataLoader; got a {type(batches).__name__} of them (compare "
                f"takes the second model's as loader_b=)"
            )
        dims = {np.ndim(batch) if _is_array(batch) else -1 for batch in batches}
        if len(dims) > 1 and -1 not in dims:
            raise ValueError(
                f"{name} holds arrays of {' and '.join(map(str, sorted(dims)))} dimensions, which "
                f"are parts of one batch and not batches; put the batch into a list"
            )
    return batches


def _is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray))


def _two_inputs(batch: Any, zipped: bool) -> bool:
    """Whether a pair is surely an input for each model, and not an input and its label."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        return False
    x, y = batch
    if isinstance(x, Mapping) and isinstance(y, Mapping):
        return True
    if isinstance(x, (tuple, list)) and isinstance(y, (tuple, list)) and x and y:
        return _two_inputs((x[0], y[0]), True)  # batches with labels, of two loaders
    if not (_is_array(x) and _is_array(y)):
        return False
    x, y = torch.as_tensor(x), torch.as_tensor(y)
    if zipped and x.ndim == y.ndim > 1:
        return True
    alike = x.shape == y.shape and y.is_floating_point() and y.ndim > 1
    return alike and not torch.equal(x, y.to(x.dtype))


# --- one loader for each model -------------------------------------------------------------------


_NAMES = ("loader", "loader_b")


class _Side:
    """The batches of one model, and how far they were read."""

    def __init__(self, name: str, batches: Any) -> None:
        self.name, self.whole = name, isinstance(batches, Tensor)
        self.source = batches if self.whole else iter(batches)
        self.batches = self.rows = 0

    def next(self, rows: int) -> tuple[Any] | None:
        """Next batch, or None at the end; of a tensor as many rows as said."""
        if self.whole:
            batch = self.source[self.rows : self.rows + rows]
            return (batch,) if len(batch) else None
        return next(((batch,) for batch in self.source), None)

    def __str__(self) -> str:
        rows = f" ({self.rows} rows)" if self.rows else ""
        return f"{self.name} ended after {self.batches} batches{rows}"


def _side_by_side(
    loader: Any, loader_b: Any, batch_size: int, ids: Ids, feed: Feed | None, progress: bool | str
) -> Iterator[tuple[Any, Any]]:
    given = [
        _checked(batches, name, batch_size)
        for name, batches in zip(_NAMES, (loader, loader_b), strict=True)
    ]
    _no_shuffle(*given)
    if all(isinstance(g, Tensor) for g in given) and len(given[0]) != len(given[1]):
        raise ValueError(
            f"loader has {len(given[0])} rows and loader_b {len(given[1])}: both must give the "
            f"same datapoints, row by row"
        )
    total = next((n for n in map(_length, given) if n is not None), None)
    a, b = (_Side(name, g) for name, g in zip(_NAMES, given, strict=True))
    if a.source is b.source and not a.whole:
        raise ValueError("loader and loader_b are one iterator, which cannot be read twice")
    # A tensor is cut as the other loader's batches come.
    first, second = (b, a) if a.whole else (a, b)
    with tqdm(total=total, disable=not progress, unit="batch", desc=said(progress)) as bar:
        for i in count(1):
            one = first.next(batch_size)
            rows = _rows(one[0], feed) if one else None
            two = second.next(rows or batch_size)
            if one is None or two is None:
                break
            pair = (one[0], two[0]) if first is a else (two[0], one[0])
            n, m = (_rows(batch, feed) for batch in pair)
            if n is not None and m is not None and n != m:
                raise ValueError(
                    f"batch {i} has {n} rows in loader and {m} in loader_b, after {a.rows} rows in "
                    f"each: both must give the same datapoints, in batches of one size"
                )
            _same_ids(pair, ids, n, i)
            for side in (a, b):
                side.batches += 1
                side.rows += n or m or (batch_size if side.whole else 0)
            yield pair
            bar.update()
    if one is not None or two is not None:
        ended, other = (first, second) if one is None else (second, first)
        raise ValueError(
            f"{ended}, where {other.name} goes on: both must give the same datapoints, row by row"
        )
    if not a.batches:
        raise ValueError("loader and loader_b hold no batch")


def _rows(batch: Any, feed: Feed | None) -> int | None:
    """Rows of a batch; unknown if it is for the user's own feed, or holds no array."""
    found = opened(to_device(batch, torch.device("cpu"))) if feed is None else None
    return None if found is None or found.tensor.ndim == 0 else len(found.tensor)


def _same_ids(pair: tuple[Any, Any], ids: Ids, rows: int | None, i: int) -> None:
    """Raise unless the rows of a pair of batches are of the same datapoints, as far as they say."""
    if ids is None:
        return
    if ids == "auto":
        both = [key for key in ID_KEYS if all(isinstance(b, Mapping) and key in b for b in pair)]
        found = ([_one_each(batch[key], rows) for batch in pair] for key in both)
        a, b = next(([x, y] for x, y in found if x is not None and y is not None), [[], []])
    else:
        named = zip(pair, _NAMES, strict=True)
        a, b = (_named_ids(batch, ids, rows, f"batch {i} of {name}") for batch, name in named)
        if len(a) != len(b):
            raise ValueError(f"batch {i} has {len(a)} ids in loader and {len(b)} in loader_b")
    for row, (one, other) in enumerate(zip(a, b, strict=True)):
        if one != other:
            raise ValueError(
                f"row {row} of batch {i} is datapoint {one!r} in loader and {other!r} in loader_b: "
                f"both must give the same datapoints in the same order"
            )


def _named_ids(batch: Any, ids: Any, rows: int | None, where: str) -> list[Any]:
    try:
        given = ids(batch) if callable(ids) else batch[ids]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"ids={ids!r}: {where} has none ({type(error).__name__}: {error})"
        ) from error
    found = _one_each(given, rows)
    if found is None:
        what = f"shape {tuple(given.shape)}" if _is_array(given) else f"{type(given).__name__}"
        raise ValueError(f"ids of {where} must be one for each of {rows or 'the'} rows; got {what}")
    return found


def _one_each(ids: Any, rows: int | None) -> list[Any] | None:
    """Ids as a list, if there is one a row; tokens of a text are none, whatever their name."""
    plain = ids.tolist() if _is_array(ids) else ids
    if not isinstance(plain, (list, tuple, range)) or rows not in (None, len(plain)):
        return None
    nested = any(isinstance(each, (list, tuple, Mapping)) or _is_array(each) for each in plain)
    return None if nested else list(plain)


def _length(batches: Any) -> int | None:
    """Number of batches, if it is known."""
    try:
        return None if _is_array(batches) else len(batches)
    except TypeError:
        return None


def _no_shuffle(*loaders: Any) -> None:
    """Raise if two loaders draw their order, and not from equal generators."""
    drawn = [random_order(loader) for loader in loaders]
    generators = [getattr(sampler, "generator", None) for sampler in drawn]
    if drawn == [None, None]:
        return
    states = [g.get_state() for g in generators if isinstance(g, torch.Generator)]
    if len(states) == 2 and generators[0] is not generators[1] and torch.equal(*states):
        return
    which = " and ".join(n for n, order in zip(_NAMES, drawn, strict=True) if order is not None)
    raise ValueError(
        f"{which} would shuffle, and rows of the two models would not belong together; take "
        f"shuffle=False, or a generator of the same seed for each"
    )


def random_order(loader: Any) -> Any:
    """Sampler of a loader that draws its order anew each time; None if it does not."""
    samplers = (
        getattr(holder, "sampler", None)
        for holder in (loader, getattr(loader, "batch_sampler", None))
    )
    return next((s for s in samplers if isinstance(s, _RANDOM)), None)
