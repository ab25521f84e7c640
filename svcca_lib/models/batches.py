"""Which batches are meant, and how a model is run on one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from tqdm import tqdm

Feed: TypeAlias = Callable[[nn.Module, Any], Any]


def iterate(batches: Any, batch_size: int = 256, *, progress: bool = False) -> Iterator[Any]:
    """Batches of whatever was given; see `capture`.

    Raises
    ------
    TypeError, ValueError
        If `batches` cannot be iterated over, holds nothing, or `batch_size` is not positive.
    """
    if isinstance(batches, np.ndarray):
        batches = torch.from_numpy(batches)
    if isinstance(batches, Tensor):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {batch_size}")
        batches = torch.split(batches, batch_size) if len(batches) else ()
    elif isinstance(batches, (str, Mapping)) or not isinstance(batches, Iterable):
        raise TypeError(
            f"batches must be a tensor or an iterable of batches; got {type(batches).__name__}"
        )
    empty = True
    for batch in tqdm(batches, disable=not progress, unit="batch"):
        empty = False
        yield batch
    if empty:
        raise ValueError("batches holds no batch")


def run_model(model: nn.Module, batch: Any) -> Any:
    """Run a model on a batch of the kinds that `capture` names."""
    if isinstance(batch, Mapping):
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
    if callable(getattr(value, "to", None)):  # packed sequences, BatchEncoding and their like
        return value.to(device)
    if isinstance(value, MutableMapping):
        moved = copy.copy(value)
        moved.update({key: to_device(v, device) for key, v in value.items()})
        return moved
    if isinstance(value, Mapping):
        return {key: to_device(v, device) for key, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(to_device(v, device) for v in value))
    if isinstance(value, (tuple, list)):
        return [to_device(v, device) for v in value]
    return value
