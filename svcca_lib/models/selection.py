"""Which layers of a model are meant: names, patterns, modules."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

LayerSpec: TypeAlias = str | nn.Module | Sequence[str | nn.Module]


def resolve(model: nn.Module, layers: LayerSpec) -> list[tuple[str, list[str]]]:
    """Turn what the user wrote into (what it was called, names of submodules)."""
    by_module = {module: name for name, module in submodules(model).items() if name}
    names = list(by_module.values())
    specs = [layers] if isinstance(layers, (str, nn.Module)) else layers
    if not isinstance(specs, Sequence) or not specs:
        raise TypeError(
            f"layers must be a name, a module, a pattern or a sequence of them; got {layers!r}"
        )
    resolved = []
    for spec in specs:
        if isinstance(spec, nn.Module):
            if spec not in by_module:
                raise ValueError(f"layers: this {type(spec).__name__} is no part of the model")
            resolved.append((by_module[spec], [by_module[spec]]))
        elif not isinstance(spec, str):
            raise TypeError(f"layers must hold names or modules; got {type(spec).__name__}")
        elif spec in names:
            resolved.append((spec, [spec]))
        elif spec == "all":
            own = getattr(model, "layers", None)
            if isinstance(own, tuple) and own and all(isinstance(n, str) for n in own):
                resolved.extend((name, [name]) for name in own)
            else:
                resolved.append(("all", names))
        else:
            matching = [name for name in names if fnmatchcase(name, spec)]
            if not matching:
                raise ValueError(f"no layer {spec!r} in the model; {near(spec, names)}")
            resolved.append((spec, matching))
    return resolved


def submodules(model: nn.Module) -> dict[str, nn.Module]:
    """Name the modules that give responses: all but those that make a weight (weight_norm)."""
    weights: set[nn.Module] = set()
    for module in model.modules():
        if isinstance(module, ParametrizationList):
            weights.update(module.modules())
        elif is_parametrized(module):
            weights.add(module.parametrizations)
    return {name: module for name, module in model.named_modules() if module not in weights}


def near(wrong: str, names: list[str]) -> str:
    """Say which names are like a wrong one, or else which there are."""
    near = difflib.get_close_matches(wrong, names, n=5, cutoff=0.5)
    if near:
        return f"did you mean {', '.join(repr(n) for n in near)}?"
    shown = ", ".join(repr(n) for n in names[:10])
    return f"it has {shown}{' ...' if len(names) > 10 else ''}"


def ancestors(name: str) -> Iterator[str]:
    """Names of the modules that hold this one, the outermost first."""
    parts = name.split(".")
    return (".".join(parts[:i]) for i in range(1, len(parts)))
