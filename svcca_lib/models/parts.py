"""The parts of a transformer by the names that libraries give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

# What torch, torchvision, timm, open_clip and Hugging Face call them, in lower case.
ATTENTION = ("attn", "attention", "self_attn", "self_attention", "selfattention")
MLP = ("mlp", "ffn", "feed_forward", "feedforward", "ff", "densereludense", "block_sparse_moe")
# BERT's family normalises the sum with the stream inside its attention; this is what is added.
_ADDED = {"output.LayerNorm": "output.dense", "LayerNorm": "dense"}
# The last map of an MLP that is no module of its own: torch; OPT, BART, Whisper; BERT.
MLP_ENDS = ("linear2", "fc2", "output.dense")
# Residual blocks without attention, by class: ResNet and ConvNeXt of torchvision, timm and HF.
BLOCKS = (
    *("BasicBlock", "Bottleneck", "CNBlock", "ConvNeXtBlock"),
    *("ResNetBasicLayer", "ResNetBottleNeckLayer", "ConvNextLayer"),
)

PARTS = {
    "residual": f"what holds a module called {', '.join(ATTENTION)}, or a {', '.join(BLOCKS)}",
    "attn": f"a module called {', '.join(ATTENTION)}",
    "mlp": f"a module called {', '.join(MLP)}, or {', '.join(MLP_ENDS)} beside an attention",
}


def part(which: str, modules: Mapping[str, Any]) -> dict[str, Any]:
    """Find the parts of a transformer among its modules.

    Parameters
    ----------
    which : {"residual", "attn", "mlp"}
        The stream of states after each block; what each attention adds to it; what each MLP adds.
    modules : dict of str to Module
        All of the model's, by name.

    Raises
    ------
    ValueError
        If there is none that is known by its name.

    Examples
    --------
    >>> from torch import nn
    >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    >>> list(part("residual", dict(model.named_modules())))
    ['layers.0', 'layers.1']
    """
    attention = _outermost(modules, ATTENTION)
    mlp = [
        f"{name}_output" if f"{name}_output" in modules else name  # of ALBERT, the second map
        for name in _outermost(modules, MLP)
    ]
    for name in attention:
        block = name.rpartition(".")[0]
        ends = (f"{block}.{end}".removeprefix(".") for end in MLP_ENDS)
        if not any(m.startswith(f"{block}.") for m in mlp):
            mlp += [end for end in ends if end in modules][:1]
    if which == "residual":
        lists = [n for n, m in modules.items() if isinstance(m, (nn.ModuleList, nn.ModuleDict))]
        blocks = {_block(name, attention, mlp, lists) for name in attention}
        blocks |= {name for name, m in modules.items() if type(m).__name__ in BLOCKS}
        found = [name for name in modules if name in blocks]
    elif which == "mlp":
        found = mlp
    else:
        found = [
            next((f"{name}.{a}" for n, a in _ADDED.items() if f"{name}.{n}" in modules), name)
            for name in attention
        ]
    if not found:
        kinds = sorted({type(m).__name__ for m in modules.values()})
        raise ValueError(
            f"no {which!r} in the model, which would be {PARTS[which]}; name the layers, or give "
            f"their type, of {', '.join(kinds)}"
        )
    return {name: modules[name] for name in found}


def _outermost(modules: Mapping[str, Any], called: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for name in modules:  # outer modules come before what they hold
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if name.rpartition(".")[2].lower() in called and not inside:
            found.append(name)
    return found


def _block(name: str, attention: list[str], mlp: list[str], lists: list[str]) -> str:
    """Name of the smallest module that holds this attention and an MLP, but no other attention."""
    holder = parent = name.rpartition(".")[0]
    while holder:
        if sum(other.startswith(f"{holder}.") for other in attention) > 1:
            break
        if holder not in lists and any(other.startswith(f"{holder}.") for other in mlp):
            return holder
        holder = holder.rpartition(".")[0]
    return parent
