"""Record what the layers of any torch model respond to a stream of batches.

Hooks are set on the layers asked for and removed on the way out, also when something fails. Every
output is copied before the layer above can overwrite it (an in-place ReLU does). The data is read
once, and each batch goes through every model, so that the rows of all layers belong together
whatever order the loader takes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from threading import get_ident
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from svcca_lib.errors import short_of_memory
from svcca_lib.models.axes import Asked, Axes, Trace, matches
from svcca_lib.models.batches import ID_KEYS, Feed, iterate, run_model, to_device
from svcca_lib.models.evaluation import evaluating
from svcca_lib.models.masks import Mask, keys_of, real_tokens
from svcca_lib.models.outputs import Output, opened
from svcca_lib.models.readings import Reading, Tokens
from svcca_lib.models.selection import LayerSpec, bare, module_of, near, recordable, resolve

_log = logging.getLogger(__name__)


def capture(
    model: nn.Module,
    layers: LayerSpec,
    batches: Any,
    *,
    tokens: Tokens | None = None,
    mask: Mask = "auto",
    axes: Mapping[str, str] | None = None,
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
    layers : str, torch.nn.Module, type, or a sequence of them
        Which submodules; see Notes for the forms.
    batches : iterable, Tensor or array
        A DataLoader or any iterable of batches; or one tensor, cut into batches of `batch_size`. A
        batch may be a tensor; a tuple or list, whose first element is the input; or a dict, given
        to the model as keyword arguments, but for ids that its forward pass does not take (see
        `svcca_lib.compare`).
    tokens : {"datapoints", "mean", "first", "last"}, optional
        Read layers (n, tokens, d) as rows, as `svcca_lib.compare` does: the real tokens alone, so
        that batches may be of different lengths. By default they stay as they are, padding and all.
    mask : "auto", str, callable or None, default "auto"
        With `tokens`, which of them are real; as in `svcca_lib.compare`.
    axes : dict of str to str, optional
        What the axes of layers are where no module tells; as in `svcca_lib.compare`.
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
        gives k entries, ``"relu#1"`` to ``"relu#k"``. Of an output that is a tuple, list, dict or
        output object the first tensor with rows and neurons is taken: the sequence of hidden states
        of an LSTM. Datapoints come first, also of layers with ``batch_first=False``; the other axes
        stay in the order they came. Packed sequences and nested tensors are padded with zeros.

    Raises
    ------
    ValueError
        If a name or pattern matches nothing (near names are listed), a layer did not run or gave no
        tensor with one row a datapoint, its shape changes between batches, or there is no batch; if
        a mask does not fit, or nothing tells what the axes of a layer are.
    TypeError
        If `layers` or `mask` is of another type, or the model is not a module whose layers run in
        Python: scripted, traced and exported ones do not.
    MemoryError
        If memory does not do for all outputs.

    Notes
    -----
    *Layers* are given as one of these, or a sequence of them. Of names that fit more than one form
    the first is meant.

    - ``"layer1.0.conv1"``: a name, as `named_modules` gives it. A shared module has several.
    - ``""``: the model itself, its own output.
    - ``"relu#2"``: the second run of a module that runs often; fx's ``"relu_1"`` means the same.
    - ``"all"``: the names in ``model.layers`` where the model has such a tuple, else every module
      that calls no other.
    - ``"residual"``, ``"attn"``, ``"mlp"``: the parts of a transformer by the names that torch,
      torchvision, timm and Hugging Face give them: the stream of states after each block (also of a
      ResNet or ConvNeXt), and what each attention and each MLP adds to it.
    - ``"blocks.#"``: a pattern. ``#`` is a whole number of any length, so that this is every block;
      ``*`` is any text, dots too (``"blocks.*"`` is also all that is inside the blocks); ``?`` is
      one character and ``[12]`` one of those: ``"blocks.?"`` ends at block 9, which is logged.
    - a module of the model, or a type such as ``nn.Conv2d``: every module of it.

    Of several modules that a form means, those that do not run are left out, and those without a
    row a datapoint as well, which is logged. Names are those of the bare model, also where it is
    compiled or wrapped in ``DataParallel``; it runs eagerly meanwhile, since compiled code calls no
    hooks. An operation that is no module (an addition) is the output ``""`` of torchvision's
    ``create_feature_extractor(model, ["layer1.0.add"])``.

    *Memory*: all outputs are held at once, ``n * c * h * w`` numbers a layer. Where that is too
    much, `svcca_lib.compare` gathers moments instead.

    *The rows* of one call belong together. Rows of two calls do only if the loader gives the same
    order twice: a shuffling one does not, and a model compared with itself then scores near 0.
    Compare two models with `svcca_lib.compare`, or give both to one pass as a ``ModuleDict``.

    *Threads* may record one model at a time or at once: each gets what it ran itself. The mode that
    the model was in comes back when the last of them is done.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from svcca_lib import capture
    >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))
    >>> out = capture(model, ["0", "2"], torch.ones(10, 3), batch_size=4)
    >>> {name: tuple(x.shape) for name, x in out.items()}
    {'0': (10, 8), '2': (10, 2)}

    By number, by type, and the model's own output:

    >>> [list(capture(model, form, torch.ones(10, 3))) for form in ("#", nn.Linear, "")]
    [['0', '1', '2'], ['0', '2'], ['']]
    """
    if tokens is None and mask not in ("auto", None):
        raise ValueError("mask needs a reading of tokens: tokens='datapoints', 'mean', ...")
    reading = None if tokens is None else Reading(tokens=tokens)
    view = View(reading, mask, Asked(axes=axes), maps=False)
    chunks: dict[str, list[Tensor]] = {}
    seen = 0

    def advice() -> str:
        each = {name: sum(part.nbytes for part in parts) for name, parts in chunks.items()}
        largest = max(each, key=each.__getitem__, default="")
        return (
            f"capture holds every output, so far {sum(each.values()) / 1e9:.3g} GB for {seen:,} "
            f"rows, most of it of layer {largest!r}; take fewer layers or datapoints, or compare "
            f"and gather, which hold moments only"
        )

    with short_of_memory(advice), recording((model, layers), feed=feed, view=view) as run:
        for batch in iterate(batches, batch_size, progress=progress):
            (outputs,) = run(batch)
            run.check(batches, batch_size)
            for name, output in outputs.items():
                parts = chunks.setdefault(name, [])
                if parts and parts[0].shape[1:] != output.shape[1:]:
                    raise ValueError(
                        f"layer {name!r} changes shape between batches: {tuple(parts[0].shape[1:])}"
                        f" and then {tuple(output.shape[1:])} for a datapoint; pad the data, or "
                        f"read tokens as rows: tokens='datapoints', 'mean', 'first' or 'last'"
                    )
                parts.append(output.cpu())
            seen += len(output)
        # Joined one by one, so that only one layer at a time is held twice.
        joined = {}
        with torch.inference_mode(False):  # else nobody could ever write into them
            for name in list(chunks):
                joined[name] = torch.cat(chunks[name])
                del chunks[name]
        return joined


@dataclass(frozen=True)
class View:
    """What is made of the outputs of layers, as in `svcca_lib.compare`.

    Attributes
    ----------
    reading : Reading or None
        How tokens become rows; None gives the outputs as they are, datapoints first.
    mask : "auto", str, callable or None
        Which tokens are real.
    asked : Asked
        What the user says of the axes.
    maps : bool
        Bring channels over space to (n, c, h, w), for a reading of them; else they stay as is.
    """

    reading: Reading | None = None
    mask: Mask = None
    asked: Asked = field(default_factory=Asked)
    maps: bool = True


@contextmanager
def recording(
    *models: tuple[nn.Module, LayerSpec],
    feed: Feed | None = None,
    view: View | None = None,
    ids: Sequence[Any] = ID_KEYS,
) -> Iterator[Recording]:
    """Hook layers of one or more models; gives a function from a batch to all their outputs.

    Parameters
    ----------
    *models : pairs of model and layers
        As in `capture`.
    feed : callable, optional
        As in `capture`.
    view : View, optional
        What is made of the outputs; by default nothing.
    ids : sequence
        Keys of a dict batch that hold ids and are no input.

    Yields
    ------
    Recording
        ``run(batch)``, or ``run(batch_a, batch_b)`` with a batch for each model, gives one dict a
        model, name to output: a copy, on the model's device, that nothing overwrites.

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
    view = view or View()
    with ExitStack() as stack:
        run = feed or partial(run_model, ids=(*ids, *keys_of(view.mask)))
        # A user's own feed may take apart a batch of any kind: its rows are not known.
        known = feed is None
        yield Recording([_Recorder(m, layers, run, known, view, stack) for m, layers in models])


class Recording:
    """Models with their layers hooked; runs them on one batch after another."""

    def __init__(self, recorders: Sequence[_Recorder]) -> None:
        self._recorders = recorders

    def __call__(self, *batches: Any) -> tuple[dict[str, Tensor], ...]:
        """Outputs of each model, by name, of the batch of each or of one for all."""
        each = batches * len(self._recorders) if len(batches) == 1 else batches
        return tuple(run(batch) for run, batch in zip(self._recorders, each, strict=True))

    def check(self, batches: Any, batch_size: int) -> None:
        """Check, after the first batch, what was asked against what the models turned out to be.

        Raises
        ------
        ValueError
            If a tensor was cut along time, or `axes` names a layer that there is not.
        """
        if any(recorder.time_first for recorder in self._recorders) and (
            isinstance(batches, (Tensor, np.ndarray)) and len(batches) > batch_size
        ):
            raise ValueError(
                f"the model takes (tokens, n, d), batch_first=False, and a tensor of "
                f"{len(batches)} tokens was cut along them into batches of {batch_size}; give a "
                f"list of batches, or batch_size={len(batches)}"
            )
        names = [name for recorder in self._recorders for name in recorder.axes]
        for pattern in self._recorders[0].view.asked.axes or ():
            if not any(matches(name, pattern) for name in names):
                raise ValueError(f"axes names no layer {pattern!r}; {near(pattern, names)}")

    def narrow(self, wanted: Sequence[Collection[str]] | None) -> None:
        """Give, from now on, the outputs of these layers of each model; None for all again."""
        for i, recorder in enumerate(self._recorders):
            recorder.only = None if wanted is None else frozenset(wanted[i])

    @property
    def inputs(self) -> tuple[int, Tensor | None]:
        """Datapoints of the last batch, and, where padding was left out, the rows of each."""
        return self._recorders[0].inputs

    def readings(self) -> dict[str, str]:
        """What each layer's output was taken for, in words; known after the first batch."""
        said = [recorder.readings() for recorder in self._recorders]
        joined = dict(chain.from_iterable(each.items() for each in said))
        for name in joined:
            words = [each[name] for each in said if name in each]
            if len(set(words)) > 1:
                joined[name] = f"model a {words[0]}; model b {words[1]}"
        return joined


class _Recorder:
    """The hooks of one model; they live as long as the stack."""

    def __init__(
        self,
        model: nn.Module,
        layers: LayerSpec,
        feed: Feed,
        rows_known: bool,
        view: View,
        stack: ExitStack,
    ) -> None:
        self.model, self.feed, self.rows_known, self.view = bare(model), feed, rows_known, view
        self.names: list[str] | None = None  # what is recorded, known after the first batch
        self.only: frozenset[str] | None = None  # and of that what is wanted at present
        self.inputs: tuple[int, Tensor | None] = 0, None
        self.outputs: dict[str, list[Output | None]] = {}
        self.thread: int | None = None  # that runs the model for this recorder
        self.trace: Trace | None = Trace()  # of the first batch
        self.axes: dict[str, Axes] = {}
        self.masked: set[str] = set()  # layers of which only real tokens are read
        self.time_first = False
        self.device = next(
            (t.device for t in chain(self.model.parameters(), self.model.buffers())),
            torch.device("cpu"),
        )
        stack.enter_context(evaluating(self.model))
        self.wanted = resolve(self.model, layers)
        wanted = {name: m for one in self.wanted for name, m in one.modules.items()}
        # All of them, since every module may tell what the axes of the wanted ones are.
        self.modules = recordable(self.model) | wanted
        for name, module in self.modules.items():
            hook = self._hook(name, name in wanted)
            stack.callback(module.register_forward_hook(hook).remove)

    def _hook(self, name: str, wanted: bool) -> Callable[..., None]:
        def record(module: nn.Module, args: Any, value: Any) -> None:
            if self.thread != get_ident():  # another recorder runs the model
                return
            if not wanted and self.trace is None:
                return
            output = opened(value)
            if output is not None and self.trace is not None:
                letters = self.trace.see(name, module, args, output)
                output = replace(output, letters=letters)
            if wanted and self._recorded(name):
                with torch.inference_mode(False):  # as the copies of `capture`, and for moments
                    copy = None if output is None else output.copied()
                self.outputs.setdefault(name, []).append(copy)

        return record

    def _recorded(self, name: str) -> bool:
        return self.only is None or any(module_of(one) == name for one in self.only)

    def __call__(self, batch: Any) -> dict[str, Tensor]:
        self.outputs = {}
        batch = to_device(batch, self.device)
        self.model.eval()
        self.thread = get_ident()
        try:
            with torch.no_grad():
                self.feed(self.model, batch)
        finally:
            self.thread = None
        called: dict[str, Output | None] = {}
        for name, calls in self.outputs.items():
            for i, output in enumerate(calls, 1):
                called[f"{name}#{i}" if len(calls) > 1 else name] = output
        self.outputs = {}
        if self.names is None:
            sample = opened(batch) if self.rows_known else None
            rows = self._find_axes(called, None if sample is None else sample.tensor)
            self.names = self._choose(called, rows)
        wanted = [name for name in self.names if self.only is None or name in self.only]
        missing = [name for name in wanted if name not in called]
        if missing:
            raise ValueError(f"layer {missing[0]!r} ran in the first batch but not in a later one")
        if self.view.reading is None:
            return {name: self._read(name, called[name], None) for name in wanted}
        masks = self._masks(batch, wanted)
        return {name: self._read(name, called[name], masks[name]) for name in wanted}

    def _masks(self, batch: Any, names: Sequence[str]) -> dict[str, Tensor | None]:
        """Real tokens for each layer; None where nothing is padded, and all layers can be read."""
        part = {name: "decoder" if "decoder" in name.split(".") else "" for name in names}
        found = {each: real_tokens(self.view.mask, batch, each) for each in set(part.values())}
        self.masked.update(name for name in names if found[part[name]] is not None)
        padded = {
            each: None if real is None or bool(real.all()) else real for each, real in found.items()
        }
        return {name: padded[part[name]] for name in names}

    def _find_axes(self, called: Mapping[str, Output | None], sample: Tensor | None) -> int | None:
        """Decide the axes of each output of the first batch; gives the batch's datapoints."""
        trace, self.trace = self.trace, None
        assert trace is not None
        rows, along = trace.rows(sample)
        self.time_first = along == 1
        for name, output in called.items():
            if output is not None and output.tensor.ndim >= 2:
                module = self.modules[module_of(name)]
                self.axes[name] = trace.axes(name, output, rows, self.view.asked, module)
        return rows

    def _as_it_is(self, axes: Axes) -> bool:
        """Whether an output is to be no more than a tensor, datapoints first."""
        maps = axes.kind != "tokens" and len(axes.letters) != 3
        return self.view.reading is None or (maps and not self.view.maps)

    def _read(self, name: str, output: Output | None, real: Tensor | None) -> Tensor:
        axes = self.axes[name]
        if output is None or output.tensor.ndim != len(axes.letters):
            got = "no tensor" if output is None else f"shape {tuple(output.tensor.shape)}"
            raise ValueError(
                f"layer {name!r} gave {len(axes.letters)} axes in the first batch and {got} in a "
                f"later one"
            )
        if "n" in axes.letters:
            self.inputs = output.tensor.shape[axes.letters.index("n")], None
        reading = self.view.reading
        if reading is None or self._as_it_is(axes):
            return axes.datapoints_first(output.tensor, name)
        own = real if output.real is None else output.real
        self.masked.update([name] if own is not None else [])
        if own is not None:
            self.inputs = self.inputs[0], own.sum(1)
        return reading.arranged(output.tensor, axes, own, name)

    def readings(self) -> dict[str, str]:
        """What each layer's output was taken for, in words."""
        reading, names = self.view.reading or Reading(), self.names or ()
        return {name: reading.of(self.axes[name], masked=name in self.masked) for name in names}

    def _unclear(self, name: str) -> bool:
        axes = self.axes.get(name)
        return (
            axes is not None
            and axes.kind == "unknown"
            and ("n" not in axes.letters or not self._as_it_is(axes))
        )

    def _choose(self, called: Mapping[str, Output | None], rows: int | None) -> list[str]:
        """Which of the outputs of the first batch were asked for; complain about those missing."""

        def usable(name: str) -> bool:
            output, axes = called[name], self.axes.get(name)
            if output is None or axes is None:
                return False
            return rows is None or axes.rows(output.tensor) in (None, rows)

        chosen: dict[str, None] = {}
        for wanted in self.wanted:
            runs = wanted.among(list(called))
            if not runs:
                raise ValueError(wanted.missing(list(called)))
            if len(wanted.modules) > 1:
                odd = [name for name in runs if not usable(name)]
                if odd:
                    _log.warning("no row a datapoint, left out: %s", ", ".join(odd))
                runs = [name for name in runs if name not in odd] or runs[:1]
                dark = [name for name in runs if self._unclear(name)]
                if dark:
                    _log.warning("axes not known, left out (say axes=): %s", ", ".join(dark))
                runs = [name for name in runs if name not in dark] or runs[:1]
            for name in runs:
                if not usable(name):
                    got = called[name]
                    what = "no tensor" if got is None else f"shape {tuple(got.tensor.shape)}"
                    raise ValueError(
                        f"layer {name!r} must give a tensor with one row a datapoint "
                        f"({rows} in this batch) and at least one neuron; got {what}"
                    )
            chosen.update(dict.fromkeys(runs))
        return list(chosen)
