"""Record what the layers of any torch model respond to a stream of batches.

Hooks are set on the layers asked for and removed on the way out, also when something fails. Every
output is copied before the layer above can overwrite it (an in-place ReLU does). The data is read
once, and each batch goes through every model, so that the rows of all layers belong together
whatever order the loader takes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from svcca_lib.models.batches import Feed, first_tensor, iterate, run_model, to_device
from svcca_lib.models.selection import LayerSpec, ancestors, resolve

_log = logging.getLogger(__name__)


def capture(
    model: nn.Module,
    layers: LayerSpec,
    batches: Any,
    *,
    batch_size: int = 256,
    feed: Feed | None = None,
    progress: bool = False,
) -> dict[str, Tensor]:
    """Record layers of a model over a data set.

    Parameters
    ----------
    model : torch.nn.Module
        Any. It runs where its parameters are, in evaluation mode and without gradients, and is left
        as it was found.
    layers : str, torch.nn.Module, or a sequence of them
        Which submodules: by name (``"layer1.0.conv1"``), as the module itself, by a pattern
        (``"layer1.*"``, ``"c[12]"``; ``*`` matches dots too), or ``"all"``: the names in
        ``model.layers`` where the model has such a tuple, else every module that calls no other.
    batches : iterable, Tensor or array
        A DataLoader or any iterable of batches; or one tensor, cut into batches of `batch_size`. A
        batch may be a tensor; a tuple or list, whose first element is the input; or a dict, given
        to the model as keyword arguments.
    batch_size : int, default 256
        For a single tensor.
    feed : callable, optional
        ``feed(model, batch)`` runs the model on a batch of any other kind, already on its device.
    progress : bool, default False
        Show a progress bar.

    Returns
    -------
    dict of str to Tensor
        Outputs on the CPU, joined along the datapoints, in the order of `layers`; within a pattern
        in the order in which the model runs them. A module that runs k > 1 times in a forward pass
        gives k entries, ``"relu#1"`` to ``"relu#k"``. Of an output that is a tuple, list or dict
        the first tensor in it is taken: the sequence of hidden states of an LSTM.

    Raises
    ------
    ValueError
        If a name or pattern matches nothing (near names are listed), a layer did not run or gave no
        tensor with one row a datapoint, its shape changes between batches, or there is no batch.
    TypeError
        If `layers` is of another type.

    Notes
    -----
    All outputs are held at once: ``n * c * h * w`` numbers a layer. Where that is too much,
    `svcca_lib.compare` gathers moments instead.

    The rows of one call belong together. Rows of two calls do only if the loader gives the same
    order twice: a shuffling one does not, and a model compared with itself then scores near 0.
    Compare two models with `svcca_lib.compare`, or give both to one pass as a ``ModuleDict``.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from svcca_lib import capture
    >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))
    >>> out = capture(model, ["0", "2"], torch.ones(10, 3), batch_size=4)
    >>> {name: tuple(x.shape) for name, x in out.items()}
    {'0': (10, 8), '2': (10, 2)}
    """
    chunks: dict[str, list[Tensor]] = {}
    with recording((model, layers), feed=feed) as run:
        for batch in iterate(batches, batch_size, progress=progress):
            (outputs,) = run(batch)
            for name, output in outputs.items():
                parts = chunks.setdefault(name, [])
                if parts and parts[0].shape[1:] != output.shape[1:]:
                    raise ValueError(
                        f"layer {name!r} changes shape between batches: {tuple(parts[0].shape[1:])}"
                        f" and then {tuple(output.shape[1:])} for a datapoint; pad the data"
                    )
                parts.append(output.cpu())
    # Joined one by one, so that only one layer at a time is held twice.
    return {name: torch.cat(chunks.pop(name)) for name in list(chunks)}


@contextmanager
def recording(
    *models: tuple[nn.Module, LayerSpec], feed: Feed | None = None
) -> Iterator[Callable[[Any], tuple[dict[str, Tensor], ...]]]:
    """Hook layers of one or more models; gives a function from a batch to all their outputs.

    Parameters
    ----------
    *models : pairs of model and layers
        As in `capture`.
    feed : callable, optional
        As in `capture`.

    Yields
    ------
    callable
        ``run(batch)`` gives one dict a model, name to output: a copy, on the model's device, that
        nothing overwrites.

    Raises
    ------
    TypeError, ValueError
        As `capture`, on entry or at the first batch.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from svcca_lib.models.capture import recording
    >>> a, b = nn.Sequential(nn.Linear(3, 8)), nn.Sequential(nn.Linear(3, 5))
    >>> with recording((a, "0"), (b, "all")) as run:
    ...     xs, ys = run(torch.ones(4, 3))
    >>> tuple(xs["0"].shape), tuple(ys["0"].shape)
    ((4, 8), (4, 5))
    """
    with ExitStack() as stack:
        recorders = [_Recorder(model, layers, feed, stack) for model, layers in models]
        yield lambda batch: tuple(recorder(batch) for recorder in recorders)


class _Recorder:
    """The hooks of one model; they live as long as the stack."""

    def __init__(
        self, model: nn.Module, layers: LayerSpec, feed: Feed | None, stack: ExitStack
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}")
        self.model, self.feed = model, feed or run_model
        # A user's own feed may take apart a batch of any kind: its rows are not known.
        self.rows_known = feed is None
        self.wanted = resolve(model, layers)
        self.names: list[str] | None = None  # what is recorded, known after the first batch
        self.outputs: dict[str, list[Any]] = {}
        self.device = next(
            (t.device for t in chain(model.parameters(), model.buffers())), torch.device("cpu")
        )
        stack.callback(_restore, {module: module.training for module in model.modules()})
        for name in dict.fromkeys(chain.from_iterable(names for _, names in self.wanted)):
            handle = model.get_submodule(name).register_forward_hook(self._hook(name))
            stack.callback(handle.remove)

    def _hook(self, name: str) -> Callable[..., None]:
        def record(module: nn.Module, args: Any, output: Any) -> None:
            tensor = first_tensor(output)
            copy = None if tensor is None else tensor.detach().clone()
            self.outputs.setdefault(name, []).append(copy)

        return record

    def __call__(self, batch: Any) -> dict[str, Tensor]:
        self.outputs = {}  # another recorder of the same model may have run it since
        batch = to_device(batch, self.device)
        self.model.eval()
        with torch.no_grad():
            self.feed(self.model, batch)
        called: dict[str, Any] = {}
        for name, calls in self.outputs.items():
            for i, output in enumerate(calls, 1):
                called[f"{name}#{i}" if len(calls) > 1 else name] = output
        self.outputs = {}
        sample = first_tensor(batch) if self.rows_known else None
        rows = None if sample is None or sample.ndim == 0 else len(sample)
        if self.names is None:
            self.names = self._choose(called, rows)
        missing = [name for name in self.names if name not in called]
        if missing:
            raise ValueError(f"layer {missing[0]!r} ran in the first batch but not in a later one")
        return {name: called[name] for name in self.names}

    def _choose(self, called: dict[str, Any], rows: int | None) -> list[str]:
        """Which of the outputs of the first batch were asked for; complain about those missing."""

        def usable(output: Any) -> bool:
            return output is not None and output.ndim >= 2 and rows in (None, len(output))

        chosen: dict[str, None] = {}
        for spec, names in self.wanted:
            runs = [name for name in called if name.split("#")[0] in names]
            if spec == "all":
                above = {p for name in called for p in ancestors(name.split("#")[0])}
                runs = [name for name in runs if name.split("#")[0] not in above]
            if not runs:
                raise ValueError(f"layer {spec!r} did not run in the model's forward pass")
            if len(names) > 1:
                odd = [name for name in runs if not usable(called[name])]
                if odd:
                    _log.warning("no row a datapoint, left out: %s", ", ".join(odd))
                runs = [name for name in runs if name not in odd] or runs[:1]
            for name in runs:
                if not usable(called[name]):
                    got = called[name]
                    what = "no tensor" if got is None else f"shape {tuple(got.shape)}"
                    raise ValueError(
                        f"layer {name!r} must give a tensor with one row a datapoint "
                        f"({rows} in this batch) and at least one neuron; got {what}"
                    )
            chosen.update(dict.fromkeys(runs))
        return list(chosen)


def _restore(modes: dict[nn.Module, bool]) -> None:
    for module, training in modes.items():
        module.training = training
