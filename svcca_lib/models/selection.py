"""Which layers of a model are meant: names, patterns, types, the parts of a transformer.

The forms are documented once, in `svcca_lib.capture`. What wraps a model to compile or to spread it
(`torch.compile`, `DataParallel`) is taken off here, so that names are those of the bare model.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from types import UnionType
from typing import Any, NoReturn, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils.data import DataLoader

from svcca_lib.models.parts import PARTS, part

_One: TypeAlias = str | nn.Module | type[nn.Module] | UnionType
LayerSpec: TypeAlias = _One | Sequence[_One]

_log = logging.getLogger(__name__)

# Levels that `torch.compile`, FSDP and activation checkpointing put into the names of layers.
_WRAPS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_ONE_SIGN = re.compile(r"(?:\?|\[[^\]]+\])+")


@dataclass(frozen=True)
class Wanted:
    """One thing that was asked for.

    Attributes
    ----------
    spec : str
        What it was called.
    modules : dict of str to Module
        What it may mean, by name; one of several may not run, the only one has to.
    run : int or None
        Which run of the module, counted from 1; None for every one.
    leaves : bool
        Whether only those are meant that call no other.
    """

    spec: str
    modules: Mapping[str, nn.Module]
    run: int | None = None
    leaves: bool = False

    def among(self, called: Sequence[str]) -> list[str]:
        """Which of the recorded runs are meant: ``"relu"``, or ``"relu#1"`` where it ran often."""
        meant = [name for name in called if module_of(name) in self.modules]
        if self.run is not None:
            meant = [name for name in meant if name == self.spec]
        if self.leaves:
            above = {holder for name in called for holder in ancestors(module_of(name))}
            meant = [name for name in meant if module_of(name) not in above]
        return meant

    def missing(self, called: Sequence[str]) -> str:
        """Say why nothing of this was recorded."""
        ran = [name for name in called if module_of(name) in self.modules]
        if ran and self.run is not None:
            name = module_of(self.spec)
            times = f"{len(ran)} times" if len(ran) > 1 else f"once: ask for {name!r}"
            return f"there is no layer {self.spec!r}: {name!r} runs {times}"
        return (
            f"layer {self.spec!r} did not run in the model's forward pass: nothing calls it, or "
            f"what does takes its weights or its .forward(), where nothing can be recorded"
        )


def module_of(run: str) -> str:
    """Name of the module that ran: ``"relu"`` of ``"relu#2"``."""
    return run.partition("#")[0]


def ancestors(name: str) -> Iterator[str]:
    """Names of the modules that hold this one, the outermost first."""
    parts = name.split(".")
    return (".".join(parts[:i]) for i in range(1, len(parts)))


def bare(model: Any) -> nn.Module:
    """Return the module whose layers are meant, without what compiles or spreads it.

    Raises
    ------
    TypeError
        If it is no module, or one that runs outside Python.
    """
    model = _unwrapped(model)
    kind = type(model).__name__
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError(
            f"model is scripted or traced ({kind}) and runs outside Python, where no layer can be "
            f"recorded; give the torch.nn.Module that it was made from"
        )
    if isinstance(model, nn.Module):
        return model
    what = f"model must be a torch.nn.Module; got {kind}"
    if kind == "ExportedProgram":
        what += ", whose layers run again as torch.export.unflatten(program)"
    elif isinstance(getattr(model, "model", None), nn.Module):
        what += ", whose .model is one: give that"
    else:
        what += "; outputs of anything else can be compared as arrays: svcca(x, y)"
    raise TypeError(what)


def _unwrapped(model: Any) -> Any:
    spread = isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel))
    inner = model.module if spread else getattr(model, "_orig_mod", None)
    return _unwrapped(inner) if isinstance(inner, nn.Module) else model


def resolve(model: nn.Module, layers: LayerSpec) -> list[Wanted]:
    """Turn what the user wrote into modules; see `svcca_lib.capture`.

    Raises
    ------
    TypeError, ValueError
        As `capture`.
    """
    single = isinstance(layers, (str, nn.Module, type, UnionType))
    specs: Any = [layers] if single else layers
    if not isinstance(specs, Sequence) or not specs:
        got = repr(layers) if isinstance(layers, (int, float, Sequence, type(None))) else ""
        loader = isinstance(layers, (DataLoader, Tensor, np.ndarray))
        hint = "; a loader for the second model is loader_b=" if loader else ""
        raise TypeError(
            f"layers must be a name, a module, a pattern, a type or a sequence of them; "
            f"got {got or type(layers).__name__}{hint}"
        )
    tree = _Tree(model)
    return [wanted for spec in specs for wanted in tree.wanted(spec)]


class _Tree:
    """The modules of a model by their names, and what is meant by each form."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.modules: dict[str, nn.Module] = {}  # by every name: a shared one has several
        self.first: dict[nn.Module, str] = {}
        weights = _makers_of_weights(model)
        for full, module in model.named_modules(remove_duplicate=False):
            if module in weights:
                continue
            levels = full.split(".")
            name = ".".join(level for level in levels if level not in _WRAPS)
            self.modules.setdefault(name, module)
            self.first.setdefault(module, name)
        self.names = [name for name in self.modules if name]

    def wanted(self, spec: Any) -> list[Wanted]:
        if isinstance(spec, nn.Module):
            if spec not in self.first and _unwrapped(spec) is not self.model:
                raise ValueError(f"layers: this {type(spec).__name__} is no part of the model")
            return [self.exactly(self.first.get(spec, ""))]
        if isinstance(spec, (type, UnionType)):
            return [self.of_type(spec)]
        if not isinstance(spec, str):
            raise TypeError(f"layers must hold names or modules; got {type(spec).__name__}")
        if "module" not in self.modules:
            spec = spec.removeprefix("module.")  # as DataParallel would call it
        spec = ".".join(level for level in spec.split(".") if level not in _WRAPS)
        if spec in self.modules:
            return [self.exactly(spec)]
        if spec == "all":
            return self.all_layers()
        if spec in PARTS:
            return [Wanted(spec, self.usable(part(spec, self.once()), spec))]
        return [self.one_run(spec) or self.matching(spec)]

    def exactly(self, name: str) -> Wanted:
        if name not in self.modules:
            self.none(name)
        module = self.modules[name]
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"layer {name!r} is scripted or traced and runs outside Python, where nothing can "
                f"be recorded; put the torch.nn.Module that it was made from in its place"
            )
        if not _runs(module):
            held = [child for child, _ in module.named_children()]
            form = "#" if held and all(child.isdigit() for child in held) else "*"
            raise ValueError(
                f"layer {name!r} is a {type(module).__name__}, which holds {len(held)} layers and "
                f"never runs itself; ask for {'.'.join(filter(None, [name, form]))!r}"
            )
        return Wanted(name, {name: module})

    def all_layers(self) -> list[Wanted]:
        own = getattr(self.model, "layers", None)
        if isinstance(own, tuple) and own and all(isinstance(name, str) for name in own):
            return [self.exactly(name) for name in own]
        once = self.once()
        if len(once) > 1:
            del once[""]
        return [Wanted("all", self.usable(once, "all"), leaves=True)]

    def of_type(self, kind: Any) -> Wanted:
        known = isinstance(kind, UnionType) or issubclass(kind, nn.Module)
        if not known:
            raise TypeError(f"layers by type must be a torch.nn.Module; got {kind.__name__}")
        name = getattr(kind, "__name__", str(kind))
        found = {n: m for n, m in self.once().items() if isinstance(_unwrapped(m), kind)}
        if not found:
            there = sorted({type(module).__name__ for module in self.first})
            raise ValueError(f"no layer of type {name} in the model; it has {', '.join(there)}")
        return Wanted(name, self.usable(found, name))

    def one_run(self, spec: str) -> Wanted | None:
        """``"relu#2"`` as `capture` names it, ``"relu_1"`` and ``"layer1_0_relu_1"`` as fx does."""
        name, sign, run = spec.rpartition("#")
        if sign and name in self.modules and run.isdigit():
            return Wanted(spec, {name: self.modules[name]}, int(run))
        nodes = {name.replace(".", "_"): name for name in self.names}
        nodes |= {name: name for name in self.names}
        node = spec.removeprefix("_")
        if node in nodes:
            return self.exactly(nodes[node])
        before, _, times = node.rpartition("_")
        if before not in nodes or not times.isdigit():
            return None
        name, again = nodes[before], int(times) + 1
        return Wanted(f"{name}#{again}", {name: self.modules[name]}, again)

    def matching(self, pattern: str) -> Wanted:
        found = _matches(pattern, self.names)
        if not found:
            self.none(pattern)
        for sign in _ONE_SIGN.finditer(pattern):
            every = f"{pattern[: sign.start()]}#{pattern[sign.end() :]}"
            more = [name for name in _matches(every, self.names) if name not in found]
            shapes = {_shape(name) for name in _matches(every, found)}
            if more and shapes and shapes.isdisjoint(map(_shape, more)):
                _log.warning(
                    "%r leaves out %s, whose number has more or fewer digits; %r means every one",
                    *(pattern, _listed(more), every),
                )
        each = {self.modules[name]: name for name in reversed(found)}
        names = [name for name in found if each[self.modules[name]] == name]
        return Wanted(pattern, self.usable({n: self.modules[n] for n in names}, pattern))

    def none(self, spec: str) -> NoReturn:
        raise ValueError(f"no layer {spec!r} in the model; {near(spec, self.names)}")

    def once(self) -> dict[str, nn.Module]:
        """Each module by its first name."""
        return {name: module for name, module in self.modules.items() if self.first[module] == name}

    def usable(self, found: dict[str, nn.Module], spec: str) -> dict[str, nn.Module]:
        """Those of several that can run and be recorded; the only one has to."""
        if len(found) == 1:
            return dict(self.exactly(next(iter(found))).modules)
        scripted = [n for n, module in found.items() if isinstance(module, torch.jit.ScriptModule)]
        if scripted:
            _log.warning("scripted, cannot be recorded, left out: %s", _listed(scripted))
        kept = {n: module for n, module in found.items() if n not in scripted and _runs(module)}
        if not kept:
            raise ValueError(f"layers {spec!r}: none of {_listed(list(found))} runs by itself")
        return kept


def recordable(model: nn.Module) -> dict[str, nn.Module]:
    """Name the modules that can be listened to, each once."""
    once = _Tree(model).once()
    return {
        n: module for n, module in once.items() if not isinstance(module, torch.jit.ScriptModule)
    }


def _makers_of_weights(model: nn.Module) -> set[nn.Module]:
    """Modules that make a weight (weight_norm), and give no responses."""
    weights: set[nn.Module] = set()
    for module in model.modules():
        lists = [child for child in module.children() if isinstance(child, ParametrizationList)]
        weights.update(maker for each in lists for maker in (module, *each.modules()))
    return weights


def near(wrong: str, names: list[str]) -> str:
    """Say which names are like a wrong one, or else which there are."""
    near = difflib.get_close_matches(wrong, names, n=5, cutoff=0.5)
    if near:
        return f"did you mean {', '.join(repr(n) for n in near)}?"
    return f"it has {_listed(names)}" if names else "it has none below itself, which is ''"


def _runs(module: nn.Module) -> bool:
    """Whether a module has a forward pass: lists and dicts of modules have none."""
    return type(module).forward is not nn.Module.forward or "forward" in vars(module)


def _matches(pattern: str, names: Sequence[str]) -> list[str]:
    """Names that a pattern covers; ``#`` in it is a whole number."""
    # Without the frame "(?s:...)\\Z" that fnmatch puts around an expression.
    signs = r"\d+".join(translate(piece)[4:-3] for piece in pattern.split("#"))
    form = re.compile(signs, re.DOTALL)
    return [name for name in names if form.fullmatch(name)]


def _shape(name: str) -> str:
    return re.sub(r"\d", "0", name)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (" ..." if len(names) > 10 else "")
