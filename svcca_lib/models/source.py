"""Models with the data they are shown: what every comparison of them reads, once or again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from svcca_lib.models.axes import Asked, Channels
from svcca_lib.models.batches import ID_KEYS, Feed, Ids, for_two
from svcca_lib.models.capture import Recording, View, recording
from svcca_lib.models.masks import Mask
from svcca_lib.models.null import Inputs
from svcca_lib.models.readings import Conv, Reading, Tokens
from svcca_lib.models.selection import LayerSpec, bare
from svcca_lib.models.stream import Held, Outputs, Wanted


@dataclass(frozen=True)
class Source:
    """One model or two, and the batches that they see; see `svcca_lib.compare` for the fields."""

    models: tuple[tuple[nn.Module, LayerSpec], ...]
    loader: Any
    loader_b: Any = None
    conv: Conv = "dft"
    tokens: Tokens | None = None
    mask: Mask = "auto"
    channels: Channels = "auto"
    axes: Mapping[str, str] | None = None
    ids: Ids = "auto"
    batch_size: int = 256
    feed: Feed | None = None
    progress: bool = True
    inputs: Inputs = field(default_factory=Inputs)

    @classmethod
    def of_two(
        cls,
        model_a: nn.Module,
        model_b: nn.Module,
        loader: Any,
        layers_a: LayerSpec,
        layers_b: LayerSpec | None,
        **given: Any,
    ) -> Source:
        """Two models, or, with no layers of its own and no loader for the second, one of itself."""
        models = [(model_a, layers_a)]
        if model_a is not model_b or layers_b is not None or given.get("loader_b") is not None:
            models.append((model_b, layers_a if layers_b is None else layers_b))
        return cls(tuple(models), loader, **given)

    @property
    def reading(self) -> Reading:
        """How outputs become rows."""
        return Reading(self.conv, self.tokens)

    @property
    def device(self) -> torch.device | None:
        """Where the first model is."""
        return next((p.device for p in bare(self.models[0][0]).parameters()), None)

    @property
    def read_once(self) -> bool:
        """Whether a loader is used up by reading it."""
        return any(isinstance(given, Iterator) for given in (self.loader, self.loader_b))

    def held(self, limit: int) -> Source:
        """The same with batches held where they can be read only once."""
        if self.loader_b is self.loader:
            return self  # one iterator for both, which is refused
        loader, loader_b = (
            Held(given, limit) if isinstance(given, Iterator) else given
            for given in (self.loader, self.loader_b)
        )
        return replace(self, loader=loader, loader_b=loader_b)

    def let_go(self) -> None:
        """Hold no batches any longer."""
        for given in (self.loader, self.loader_b):
            if isinstance(given, Held):
                given.let_go()

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        """Hook the layers."""
        view = View(self.reading, self.mask, Asked(self.channels, self.axes))
        keys = ID_KEYS if self.ids == "auto" else (self.ids,)
        with recording(*self.models, feed=self.feed, view=view, ids=keys) as run:
            yield Opened(self, run)


@dataclass(frozen=True)
class Opened:
    """A source whose layers are hooked."""

    source: Source
    run: Recording

    def __call__(self, what: str, wanted: Wanted = None) -> Iterator[Outputs]:
        """Read the data once: the outputs of every batch, of those layers that are wanted."""
        own = self.source
        own.inputs.clear()
        self.run.narrow(wanted)
        batches = for_two(
            own.loader,
            own.loader_b,
            own.batch_size,
            ids=own.ids,
            feed=own.feed,
            progress=what if own.progress else False,
        )
        for batch in batches:
            outputs = self.run(*batch)
            for given in (own.loader, own.loader_b):
                self.run.check(given, own.batch_size)
            own.inputs.add(*self.run.inputs)
            with torch.inference_mode(False):  # what becomes of them outlives it
                yield outputs
