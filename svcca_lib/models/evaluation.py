"""A model as it is while it is recorded: in evaluation mode, no short cut past its layers.

Recordings may overlap, in threads or one inside the other: the first to come sets the mode and the
last to go gives it back, so that none of them meets a model in training mode.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn


class _Held:
    """What all recordings of this process hold, and how often."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.modules: dict[nn.Module, tuple[int, bool]] = {}  # how often, and the mode it had
        self.recordings = 0
        self.short_cuts = ExitStack()  # gives them back
        self.eager = False

    def take(self, model: nn.Module, modules: list[nn.Module]) -> None:
        modes = {module: module.training for module in modules}
        model.eval()
        for module, mode in modes.items():
            count, before = self.modules.get(module, (0, mode))
            self.modules[module] = (count + 1, before)
        self.recordings += 1
        if self.recordings == 1:
            self.short_cuts.enter_context(_without_nested_tensors())
        # Compiled code calls no hooks. Nothing can be compiled where this was never imported.
        if not self.eager and "torch._dynamo" in sys.modules:
            self.short_cuts.enter_context(torch.compiler.set_stance("force_eager"))
            self.eager = True

    def give_back(self, modules: list[nn.Module]) -> None:
        for module in modules:
            count, mode = self.modules.pop(module)
            if count > 1:
                self.modules[module] = (count - 1, mode)
            else:
                module.training = mode
        self.recordings -= 1
        if self.recordings == 0:
            self.short_cuts.close()
            self.eager = False


@contextmanager
def _without_nested_tensors() -> Iterator[None]:
    """Keep torch's transformers from the short cut whose layers give nested tensors, or do not run.

    The short cut is of the same numbers, and off anyway where a module inside is hooked.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


_HELD = _Held()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Hold a model in evaluation mode, and let what is compiled run eagerly.

    Raises
    ------
    TypeError
        If it has no evaluation mode.
    """
    modules = list(model.modules())
    with _HELD.lock:
        try:
            _HELD.take(model, modules)
        except NotImplementedError as error:  # of what `ExportedProgram.module` gives
            raise TypeError(
                f"model has no evaluation mode ({error}); of an exported program give "
                f"torch.export.unflatten(program)"
            ) from error
    try:
        yield
    finally:
        with _HELD.lock:
            _HELD.give_back(modules)
