"""Which tokens of a batch are real, and which only fill it up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

Mask: TypeAlias = str | Callable[[Any], Any] | None

# What transformers and torch call it; torch's are true where a token is padding.
_AUTO = ("attention_mask", "src_key_padding_mask", "key_padding_mask")
_DECODER = ("decoder_attention_mask", "tgt_key_padding_mask")
_DECODED = (*_DECODER, "decoder_input_ids", "decoder_inputs_embeds", "tgt")


def keys_of(mask: Mask) -> tuple[str, ...]:
    """Keys of a batch that hold a mask, which a model need not take."""
    return (*_AUTO, *_DECODER, *((mask,) if isinstance(mask, str) else ()))


def real_tokens(mask: Mask, batch: Any, layer: str = "") -> Tensor | None:
    """Find which tokens of a batch are real.

    Parameters
    ----------
    mask : "auto", str, callable or None
        "auto" takes the `attention_mask` of the batch, or torch's `src_key_padding_mask` or
        `key_padding_mask`; another name is a key of the batch; a function gives it for a batch.
    batch : anything
        A mapping or a named tuple, or a sequence that begins with one, holds a mask.
    layer : str
        Its name. Layers of a decoder beside an encoder have tokens of their own: "auto" takes
        `decoder_attention_mask` or `tgt_key_padding_mask`, and without them all are real.

    Returns
    -------
    Tensor, shape (n, tokens), bool
        True for a real token; None if the batch tells nothing or `mask` is None.

    Raises
    ------
    TypeError, ValueError
        If a key is not there, or the mask is not one of zeros and ones with a row a datapoint.

    Notes
    -----
    Non-zero means real, as in `attention_mask`. Keys that end in ``key_padding_mask`` are read the
    other way round, as torch does.
    """
    if mask is None:
        return None
    if callable(mask):
        given = mask(batch)
        return None if given is None else _checked(given, "mask(batch)")
    if not isinstance(mask, str):
        raise TypeError(
            f"mask must be 'auto', a key of the batch, a function or None; got {mask!r}"
        )
    fields = _fields(batch)
    names: tuple[str, ...] = (mask,)
    if mask == "auto":
        own = "decoder" in layer.split(".") and any(fields.get(k) is not None for k in _DECODED)
        names = _DECODER if own else _AUTO
    found = [name for name in names if fields.get(name) is not None]
    if not found:
        if mask == "auto":
            return None
        held = f"it holds {', '.join(map(repr, fields))}" if fields else "it has no keys"
        raise ValueError(f"mask={mask!r} is no key of the batch; {held}")
    real = _checked(fields[found[0]], f"the batch's {found[0]!r}")
    return ~real if found[0].endswith("key_padding_mask") else real


def _fields(batch: Any) -> Mapping[str, Any]:
    if isinstance(batch, Mapping):
        return batch
    if hasattr(batch, "_asdict"):
        fields: dict[str, Any] = batch._asdict()
        return fields
    if isinstance(batch, (tuple, list)) and batch:
        return _fields(batch[0])
    return {}


def _checked(found: Any, name: str) -> Tensor:
    if isinstance(found, np.ndarray):
        found = torch.from_numpy(found)
    if not isinstance(found, Tensor):
        raise TypeError(f"{name} must be a tensor of tokens; got {type(found).__name__}")
    if found.ndim != 2:
        raise ValueError(
            f"{name} must have a row a datapoint and a column a token, (n, tokens); got shape "
            f"{tuple(found.shape)}: give mask=function(batch) -> (n, tokens), or mask=None to read "
            f"all tokens on purpose"
        )
    real = found != 0
    if found.dtype != torch.bool and not bool((found == real).all()):
        raise ValueError(
            f"{name} must hold ones for real tokens and zeros for padding; got other values: give "
            f"mask=function(batch) -> (n, tokens) of True and False"
        )
    return real


def lengths_as_mask(lengths: Tensor, longest: int) -> Tensor:
    """Turn the lengths of sequences that begin at the left into a mask, (n, longest)."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]
