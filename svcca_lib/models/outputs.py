"""What a module returned, opened: the one tensor in it, and which of its tokens are real."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from svcca_lib.models.masks import lengths_as_mask


@dataclass(frozen=True, eq=False)
class Output:
    """What one call of a layer gave.

    Attributes
    ----------
    tensor : Tensor
        Of a tuple, list, dict or output object the first tensor with rows and neurons.
    real : Tensor or None, shape (n, tokens), bool
        Which tokens are real, of sequences that knew their lengths (packed, nested).
    letters : str or None
        Its axes, if they are known; see `svcca_lib.models.axes.Axes`.
    """

    tensor: Tensor
    real: Tensor | None = None
    letters: str | None = None

    def copied(self) -> Output:
        """Return it with a copy of the tensor that nothing overwrites."""
        return replace(self, tensor=self.tensor.detach().clone())


def opened(value: Any) -> Output | None:
    """Open what a module returned; None if there is no tensor in it."""
    found = list(_leaves(value))
    return next((o for o in found if o.tensor.ndim >= 2), found[0] if found else None)


def _leaves(value: Any) -> Iterator[Output]:
    if isinstance(value, PackedSequence):
        padded, lengths = pad_packed_sequence(value, batch_first=True)
        real = lengths_as_mask(lengths.to(padded.device), padded.shape[1])
        # As the packed one does, a layer (n, tokens) of numbers has no neurons.
        yield Output(padded, real, "ntd" if padded.ndim == 3 else None)
    elif isinstance(value, Tensor) and value.is_nested:
        parts = value.unbind()
        lengths = torch.tensor([len(part) for part in parts], device=value.device)
        padded = torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True)
        yield Output(padded, lengths_as_mask(lengths, padded.shape[1]), "ntd")
    elif isinstance(value, Tensor):
        yield Output(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, (tuple, list)):
        for inner in value:
            yield from _leaves(inner)
    elif is_dataclass(value) and not isinstance(value, type):
        for inner in vars(value).values():
            yield from _leaves(inner)
