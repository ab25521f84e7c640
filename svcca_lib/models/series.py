"""Many checkpoints of a model against one: how its layers become what they are in the end."""

from __future__ import annotations

import copy
import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from torch import nn
from tqdm import tqdm

from svcca_lib.errors import is_whole, short_of_memory
from svcca_lib.measures.pairwise import warn_once
from svcca_lib.models.axes import Channels
from svcca_lib.models.batches import Feed, random_order
from svcca_lib.models.budget import MARGIN, Memory, parsed
from svcca_lib.models.cells import ADVICE, Cell, Cells
from svcca_lib.models.masks import Mask
from svcca_lib.models.readings import Conv, Tokens
from svcca_lib.models.rows import Reader
from svcca_lib.models.selection import LayerSpec, near
from svcca_lib.models.source import Source
from svcca_lib.models.stream import Held, Outputs, Stream, Wanted
from svcca_lib.models.table import read_only
from svcca_lib.models.tabulate import Comparison
from svcca_lib.names import cells, mathtext

Load: TypeAlias = Callable[[Any], nn.Module] | Sequence[nn.Module]
Asked: TypeAlias = Literal["all", "diagonal"] | Sequence[Cell]


@dataclass(frozen=True, eq=False)
class LayerSeries:
    """Similarity of the layers of many checkpoints with those of one.

    Attributes
    ----------
    matrix : ndarray, shape (len(steps), len(layers_a), len(layers_b))
        Similarities; NaN where a pair was not asked for, or a layer is constant over the data.
    steps : tuple
        Of each checkpoint.
    layers_a, layers_b : tuple of str
        Layers of the checkpoints and of the reference.
    chance : ndarray, shape as `matrix`
        Expected similarity of independent layers of these sizes.
    n : int
        Rows that each layer gave.
    measure, reading : str
        The measure, and how convolutions and tokens were read.
    """

    matrix: np.ndarray
    steps: tuple[Any, ...]
    layers_a: tuple[str, ...]
    layers_b: tuple[str, ...]
    chance: np.ndarray = field(repr=False)
    n: int
    measure: str
    reading: str

    def __post_init__(self) -> None:
        for name in ("matrix", "chance"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    @property
    def diagonal(self) -> np.ndarray:
        """Similarity of each layer with its namesake, shape (steps, layers of both names)."""
        both = [name for name in self.layers_a if name in self.layers_b]
        rows, columns = ([names.index(n) for n in both] for names in (self.layers_a, self.layers_b))
        return self.matrix[:, rows, columns].copy()

    def to_pandas(self) -> Any:
        """Return a DataFrame with a row a step and a column a pair that was asked for."""
        import pandas as pd

        pairs, values = self._columns()
        return pd.DataFrame(
            values, index=list(self.steps), columns=pd.MultiIndex.from_tuples(pairs)
        )

    def to_csv(self, path: str | Path) -> None:
        """Write a row a step and a column a pair that was asked for, to full precision."""
        pairs, values = self._columns()
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(cells(["step", *(f"{a} with {b}" for a, b in pairs)]))
            for step, row in zip(self.steps, values, strict=True):
                writer.writerow([*cells([step]), *map(repr, row.tolist())])

    def plot(self, ax: Any = None, *, cmap: str = "viridis") -> Any:
        """Draw the similarity of each layer with its namesake against the steps.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.
        cmap : str
            Colours of the layers, from the first to the last.

        Returns
        -------
        matplotlib.axes.Axes
        """
        import matplotlib.pyplot as plt

        if ax is None:
            ax = plt.subplots(layout="constrained")[1]
        names = [name for name in self.layers_a if name in self.layers_b]
        colours = plt.get_cmap(cmap)(np.linspace(0, 0.95, max(len(names), 1)))
        for name, colour, values in zip(names, colours, self.diagonal.T, strict=True):
            ax.plot(range(len(self.steps)), values, color=colour, label=mathtext(name), marker=".")
        shown = range(0, len(self.steps), max(1, math.ceil(len(self.steps) / 12)))
        ax.set_xticks(list(shown), [mathtext(str(self.steps[i])) for i in shown])
        ax.set(xlabel="step", ylabel=self.measure, ylim=(None, 1.02), title=self.reading)
        if len(names) <= 20:
            ax.legend(fontsize="small", ncols=1 + len(names) // 10)
        return ax

    def _columns(self) -> tuple[list[Cell], np.ndarray]:
        flat = self.matrix.reshape(len(self.steps), -1)
        pairs = [(a, b) for a in self.layers_a for b in self.layers_b]
        asked = ~np.isnan(flat).all(0)
        return [pair for pair, keep in zip(pairs, asked, strict=True) if keep], flat[:, asked]

    def __repr__(self) -> str:
        known = self.matrix[~np.isnan(self.matrix)]
        range_ = f", {known.min():.3f} to {known.max():.3f}" if known.size else ""
        return (
            f"LayerSeries({self.measure}, {len(self.steps)} steps x {len(self.layers_a)} x "
            f"{len(self.layers_b)} layers{range_}, n={self.n}, {self.reading})"
        )


def compare_series(
    load: Load,
    steps: Sequence[Any],
    loader: Any,
    reference: int | nn.Module = -1,
    *,
    layers: LayerSpec = "all",
    layers_b: LayerSpec | None = None,
    cells: Asked = "all",
    measure: str = "svcca",
    conv: Conv = "dft",
    tokens: Tokens | None = None,
    mask: Mask = "auto",
    channels: Channels = "auto",
    axes: Mapping[str, str] | None = None,
    batch_size: int = 256,
    feed: Feed | None = None,
    memory: Memory = None,
    progress: bool = True,
    **options: Any,
) -> LayerSeries:
    """Compare the layers of many checkpoints with those of one: time x layer x layer.

    One checkpoint is in memory at a time, beside the reference, whose outputs are computed once
    where they fit the memory.

    Parameters
    ----------
    load : callable, or sequence of torch.nn.Module
        ``load(step)`` gives the model of a step, and may give the same module each time with other
        weights; or the models themselves, one a step.
    steps : sequence
        What the checkpoints are called.
    loader : iterable, Tensor or array
        As in `compare`: a fixed set of inputs.
    reference : int or torch.nn.Module, default -1
        What is compared with: the place of a step, the last by default, or another model.
    layers, layers_b
        Layers of the checkpoints and of the reference, as in `compare`.
    cells : {"all", "diagonal"} or sequence of (str, str)
        Which pairs of layers: all; each with its namesake; or those named.
    measure, conv, tokens, mask, channels, axes, batch_size, feed, memory, **options
        As in `compare`.
    progress : bool, default True
        Show a progress bar over the steps.

    Returns
    -------
    LayerSeries

    Raises
    ------
    TypeError, ValueError
        As `compare`; if there is no step, not a model for each, or a pair names a layer that there
        is not, or a checkpoint has other layers than the first.

    Notes
    -----
    A reference that is one of the steps is compared with itself there: 1 on the diagonal.

    References
    ----------
    Raghu et al. 2017, Appendix Figure 3.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from svcca_lib import compare_series
    >>> models = [nn.Sequential(nn.Linear(4, 6), nn.Tanh()) for _ in range(3)]
    >>> found = compare_series(models, [0, 10, 20], torch.randn(100, 4), measure="cka",
    ...     cells="diagonal", progress=False)
    >>> found.matrix.shape, found.diagonal[-1].round(6).tolist()
    ((3, 2, 2), [1.0, 1.0])
    """
    steps = tuple(steps)
    if not steps:
        raise ValueError("steps holds no step")
    if not callable(load) or isinstance(load, nn.Module):
        models = list(load) if isinstance(load, Sequence) else []
        if len(models) != len(steps):
            raise ValueError(
                f"load must be a function from a step to a model, or a model for each of the "
                f"{len(steps)} steps; got {len(models) or type(load).__name__}"
            )
        load = dict(enumerate(models)).__getitem__
        places: Sequence[Any] = range(len(steps))
    else:
        places = steps
    source = Source(
        models=(),
        loader=loader,
        conv=conv,
        tokens=tokens,
        mask=mask,
        channels=channels,
        axes=axes,
        batch_size=batch_size,
        feed=feed,
        progress=False,
    )
    if not isinstance(reference, nn.Module):
        if not is_whole(reference):
            raise TypeError(
                f"reference must be the place of a step or a model; got {type(reference).__name__}"
            )
        if not -len(steps) <= reference < len(steps):
            raise ValueError(f"reference must be a place in {len(steps)} steps; got {reference}")
    series = _Series(source, load, cells, measure, options, layers, layers_b, memory)
    return series.run(steps, places, reference, progress)


@dataclass(frozen=True, eq=False)
class _Series:
    """What all steps of a series share."""

    source: Source
    load: Callable[[Any], nn.Module]
    asked: Asked
    measure: str
    options: Mapping[str, Any]
    layers: LayerSpec
    layers_b: LayerSpec | None
    memory: Memory

    def run(
        self, steps: tuple[Any, ...], places: Sequence[Any], reference: int | nn.Module, bar: bool
    ) -> LayerSeries:
        if isinstance(reference, nn.Module):
            model = reference
        else:  # the next step may write other weights into the same module
            model = copy.deepcopy(self._loaded(places[reference]))
        other = (model, self.layers if self.layers_b is None else self.layers_b)
        source = replace(self.source, models=(other,))
        budget = parsed(self.memory, source.device)
        budget -= int(MARGIN * budget)
        # The same rows each time, whatever order is drawn and though it can be read only once.
        if isinstance(source.loader, Iterator) or random_order(source.loader) is not None:
            source = replace(source, loader=Held(iter(source.loader), budget // 4))
        reader = Reader(source.reading)
        with short_of_memory(lambda: ADVICE):
            with source.opened() as outputs:
                stream = Stream(outputs, budget // 2)
                known = self._comparison(stream, reader, budget).layers()[-1]
            budget -= stream.held
            kind, found = reader.kind, list[_Found]()
            cautions: dict[str, str | None] = {}
            for step, place in zip(steps, tqdm(places, disable=not bar, unit="step"), strict=True):
                own = replace(source, models=((self._loaded(place), self.layers),))
                if stream.rereads:
                    own = replace(own, models=(*own.models, other))
                with own.opened() as outputs:
                    beside = outputs if stream.rereads else Beside(outputs, stream)
                    comparison = self._comparison(Stream(beside, budget // 4), reader, budget)
                    sides = comparison.layers(known=[known])
                    if reader.kind is not kind:
                        raise ValueError(
                            "with conv='dft' the reference and the checkpoints must both have "
                            "layers (n, c, h, w), or neither; read them by conv='mean'"
                        )
                    names = tuple(tuple(side) for side in sides)
                    if found and names[0] != found[0].names[0]:
                        raise ValueError(
                            f"step {step!r} has other layers than the first: {names[0]}, and "
                            f"{found[0].names[0]}"
                        )
                    cells, _ = comparison.cells(sides, self._cells(*names))
                cautions |= {f"step {step!r}, {k}": v for k, v in cells.cautions.items()}
                found.append(_Found.of(cells))
        warn_once(cautions, stacklevel=4)
        return LayerSeries(
            matrix=np.stack([one.matrix for one in found]),
            chance=np.stack([one.chance for one in found]),
            steps=steps,
            layers_a=found[0].names[0],
            layers_b=found[0].names[1],
            n=next(iter(known.values())).n,
            measure=self.measure,
            reading=str(source.reading),
        )

    def _loaded(self, place: Any) -> nn.Module:
        model = self.load(place)
        if not isinstance(model, nn.Module):
            raise TypeError(f"load({place!r}) must give a torch.nn.Module; got {model!r}")
        return model

    def _comparison(self, stream: Stream, reader: Reader, budget: int) -> Comparison:
        return Comparison(stream, reader, self.measure, self.options, budget, progress=False)

    def _cells(self, names: tuple[str, ...], others: tuple[str, ...]) -> Sequence[Cell] | None:
        if self.asked == "all":
            return None
        if self.asked == "diagonal":
            both = [(name, name) for name in names if name in others]
            if not both:
                raise ValueError("cells='diagonal' needs layers of the same name in both models")
            return both
        if isinstance(self.asked, str):  # type: ignore[unreachable]
            raise ValueError(f"cells must be 'all', 'diagonal' or pairs; got {self.asked!r}")
        pairs = [(a, b) for a, b in self.asked]
        for pair in pairs:
            for name, known in zip(pair, (names, others), strict=True):
                if name not in known:
                    raise ValueError(f"cells names no layer {name!r}; {near(name, list(known))}")
        if not pairs:
            raise ValueError("cells holds no pair of layers")
        return pairs


@dataclass(frozen=True)
class Beside:
    """Outputs of a checkpoint beside the rows of the reference, which are known."""

    outputs: Callable[[str, Wanted], Iterator[Outputs]]
    reference: Stream

    def __call__(self, what: str, wanted: Wanted = None) -> Iterator[Outputs]:
        """Read the data once."""
        own, other = (None, None) if wanted is None else ((wanted[0],), (wanted[1],))
        both = zip(self.outputs(what, own), self.reference(what, other), strict=True)
        return ((mine, theirs) for (mine,), (theirs,) in both)


@dataclass(frozen=True, eq=False)
class _Found:
    """Numbers of one step."""

    names: tuple[tuple[str, ...], tuple[str, ...]]
    matrix: np.ndarray
    chance: np.ndarray

    @classmethod
    def of(cls, cells: Cells) -> _Found:
        names = tuple(cells.names[0]), tuple(cells.names[1])
        matrix = np.full((len(names[0]), len(names[1])), math.nan)
        chance = matrix.copy()
        for (a, b), result in cells.results.items():
            at = names[0].index(a), names[1].index(b)
            matrix[at] = result.similarity
            chance[at] = math.nan if result.chance is None else result.chance
        return cls(names, matrix, chance)
