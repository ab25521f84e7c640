"""A training's layers held against their own past, while it runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from torch import nn

from svcca_lib.errors import is_whole, one_of
from svcca_lib.models.axes import Channels
from svcca_lib.models.batches import Feed
from svcca_lib.models.budget import MARGIN, Memory, in_words, parsed
from svcca_lib.models.layers import Layer
from svcca_lib.models.masks import Mask
from svcca_lib.models.readings import Conv, Tokens
from svcca_lib.models.rows import Reader
from svcca_lib.models.selection import LayerSpec
from svcca_lib.models.series import Beside
from svcca_lib.models.source import Source
from svcca_lib.models.stream import Stream
from svcca_lib.models.tabulate import Comparison

Past: TypeAlias = Literal["previous", "first"]
Log: TypeAlias = Callable[[dict[str, float], int], Any]


class PastSimilarity:
    """Training callback: how similar each layer is to what it was, on a fixed set of inputs.

    Call it with the model and the step wherever a training loop likes; `lightning` and
    `hugging_face` make callbacks for those trainers.

    Parameters
    ----------
    probe : Tensor, array or list of batches
        The inputs, the same at every step: a few hundred to a few thousand, more than the layers
        have neurons.
    every : int, default 100
        Steps between two comparisons; other steps cost nothing.
    past : {"previous", "first"}
        What is compared with: the last step that was looked at, or the first one.
    layers, measure, conv, tokens, mask, channels, axes, batch_size, feed, memory, **options
        As in `svcca_lib.compare`.
    log : callable, optional
        ``log(values, step)`` is given the similarities, named ``"svcca/layer"``.

    Attributes
    ----------
    history : list of (int, dict of str to float)
        Steps that were compared with their past, and the similarity of each layer.

    Raises
    ------
    TypeError, ValueError
        As `svcca_lib.compare`, at the first step; if the rows of all layers over the probe, which
        are held from one step to the next, do not fit the memory.

    Notes
    -----
    The model runs in evaluation mode and is left as it was found. Of several processes each
    computes the same, and trainers log what the first one finds.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from svcca_lib import PastSimilarity
    >>> model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    >>> watch = PastSimilarity(torch.randn(200, 4), every=2, measure="cka")
    >>> for step in range(4):
    ...     found = watch(model, step)  # after the step's update
    >>> watch.history[-1][0], round(watch.history[-1][1]["2"], 6)
    (2, 1.0)
    """

    def __init__(
        self,
        probe: Any,
        *,
        every: int = 100,
        past: Past = "previous",
        layers: LayerSpec = "all",
        measure: str = "svcca",
        conv: Conv = "dft",
        tokens: Tokens | None = None,
        mask: Mask = "auto",
        channels: Channels = "auto",
        axes: Mapping[str, str] | None = None,
        batch_size: int = 256,
        feed: Feed | None = None,
        memory: Memory = None,
        log: Log | None = None,
        **options: Any,
    ) -> None:
        if not is_whole(every) or every < 1:
            raise ValueError(f"every must be a number of steps, at least 1; got {every!r}")
        self._every, self._past_is = every, one_of(past, ("previous", "first"), "past")
        self._layers, self._measure, self._options = layers, measure, options
        self._memory, self._log = memory, log
        self._source = Source(
            models=(),
            loader=probe,
            conv=conv,
            tokens=tokens,
            mask=mask,
            channels=channels,
            axes=axes,
            batch_size=batch_size,
            feed=feed,
            progress=False,
        )
        if self._source.read_once:
            raise TypeError(
                f"probe is read at every step: give a tensor or a list of batches; got "
                f"{type(probe).__name__}, which can be read only once"
            )
        self._last: int | None = None
        self._past: tuple[Stream, dict[str, Layer]] | None = None
        self.history: list[tuple[int, dict[str, float]]] = []

    def __call__(self, model: nn.Module, step: int) -> dict[str, float] | None:
        """Compare the model with its past, if it is time to.

        Returns
        -------
        dict of str to float, or None
            Similarity of each layer; None of steps between, and of the first.
        """
        if step % self._every or step == self._last:  # batches may share a step
            return None
        self._last = step
        source = replace(self._source, models=((model, self._layers),))
        budget = parsed(self._memory, source.device)
        budget -= int(MARGIN * budget)
        reader = Reader(source.reading)
        with source.opened() as outputs:
            if self._past is None:
                stream = Stream(outputs, budget // 2)
                (now,) = self._comparison(stream, reader, budget).layers()
            else:
                before, then = self._past
                stream = Stream(Beside(outputs, before), budget // 2 + before.held)
                comparison = self._comparison(stream, reader, budget)
                now, _ = sides = comparison.layers(known=[then])
        if stream.rereads:
            raise ValueError(
                f"the rows of all layers over probe take more than {in_words(budget // 2)}, half "
                f"of memory=; take a smaller probe, fewer layers, or a reading with fewer neurons"
            )
        found = None
        if self._past is not None:
            same = [(name, name) for name in now if name in then]
            cells, _ = comparison.cells(sides, same)
            cells.warn(stacklevel=2)
            found = {
                name: cells.of((name, name), self._measure, now[name].n).similarity
                for name, _ in same
            }
            self.history.append((step, found))
            if self._log is not None:
                self._log(self.named(found), step)
        if self._past is None or self._past_is == "previous":
            self._past = stream.of_side(0), now
        return found

    def named(self, found: Mapping[str, float]) -> dict[str, float]:
        """Similarities under the names they are logged by."""
        return {f"{self._measure}/{name}": value for name, value in found.items()}

    def _comparison(self, stream: Stream, reader: Reader, budget: int) -> Comparison:
        return Comparison(stream, reader, self._measure, self._options, budget, progress=False)

    def lightning(self) -> Any:
        """Make a callback for Lightning's ``Trainer(callbacks=[...])``; needs lightning.

        After every optimiser step that is a multiple of `every`, similarities go to the trainer's
        loggers.

        Raises
        ------
        ImportError
            If neither lightning nor pytorch_lightning is installed.
        """
        watch = self

        class Callback(_base("lightning.pytorch", "pytorch_lightning").Callback):  # type: ignore[misc]
            def on_train_batch_end(
                self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
            ) -> None:
                step = trainer.global_step
                found = watch(pl_module, step)
                if found is not None and trainer.is_global_zero:
                    for logger in trainer.loggers:
                        logger.log_metrics(watch.named(found), step=step)

        return Callback()

    def hugging_face(self) -> Any:
        """Make a callback for the ``callbacks`` of ``transformers.Trainer``; needs transformers.

        After every step that is a multiple of `every`, similarities go to ``state.log_history``.

        Raises
        ------
        ImportError
            If transformers is not installed.
        """
        watch = self

        class Callback(_base("transformers").TrainerCallback):  # type: ignore[misc]
            def on_step_end(
                self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
            ) -> None:
                found = watch(model, state.global_step)
                if found is not None and state.is_world_process_zero:
                    state.log_history.append({**watch.named(found), "step": state.global_step})

        return Callback()


def _base(*names: str) -> Any:
    """Import the first of these packages that is installed."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ImportError(f"this callback needs {' or '.join(names)}, which is not installed")
