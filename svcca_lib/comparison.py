"""Compare two models layer by layer in one pass over the data.

`compare` is the one line; `gather` and `NetworkMoments.table` are its two halves, for those who
want several measures from one pass. Activations are never held: every batch is turned into second
moments, of each layer and of each pair of layers, and let go.
"""

from __future__ import annotations

import csv
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from svcca_lib._arrays import ConstantLayerError, as_tensor, one_of, warn_once
from svcca_lib.activations import Feed, LayerSpec, iterate, recording
from svcca_lib.fourier import FourierMoments, channels_as_neurons
from svcca_lib.moments import Batch, Moments, PairMoments, _sum, accumulate
from svcca_lib.similarity import Similarity, bound

_log = logging.getLogger(__name__)

Conv: TypeAlias = Literal["dft", "channels", "mean", "pixels"]
Tokens: TypeAlias = Literal["datapoints", "mean", "first", "last"]

Size: TypeAlias = tuple[int, ...]  # (h, w), or () of a layer without space
_Place: TypeAlias = tuple[Size, slice]  # which group, which columns of it

# With conv="dft" a measure becomes the one that sees the same directions at each frequency.
_IN_FOURIER: dict[str, dict[str, float]] = {
    "svcca": {"keep": 0.99},
    "cca": {"keep": 1.0},
    "dft_cca": {},
}


@dataclass(frozen=True, eq=False)
class LayerTable:
    """Similarity of every layer of one model with every layer of another.

    Attributes
    ----------
    matrix : ndarray, shape (len(layers_a), len(layers_b))
        Similarities; NaN for a layer that is constant over the data (a class token before the first
        attention, a dead layer).
    layers_a, layers_b : tuple of str
        Rows and columns.
    n : int
        Rows that each layer gave: images, or pixels or tokens where these are the datapoints.
    measure, reading : str
        The measure, and how convolutions and tokens were read.
    chance : ndarray, shape as `matrix`
        Expected similarity of independent layers of these sizes on n independent datapoints.

    Notes
    -----
    Pixels of one image and tokens of one sentence are not independent: where they are the
    datapoints the real floor is above `chance`.
    """

    matrix: np.ndarray
    layers_a: tuple[str, ...]
    layers_b: tuple[str, ...]
    n: int
    measure: str
    reading: str
    _chances: Sequence[Callable[[], float | None]] = field(repr=False)

    @cached_property
    def chance(self) -> np.ndarray:
        """Expected similarity of independent layers of these sizes; computed when asked for."""
        return np.array([f() for f in self._chances], dtype=float).reshape(self.matrix.shape)

    def to_pandas(self) -> Any:
        """Return the matrix as a labelled pandas DataFrame (needs pandas)."""
        import pandas as pd

        return pd.DataFrame(self.matrix, index=list(self.layers_a), columns=list(self.layers_b))

    def to_csv(self, path: str | Path) -> None:
        """Write the matrix as CSV with row and column labels, to full precision."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["layer", *self.layers_b])
            for name, row in zip(self.layers_a, self.matrix, strict=True):
                writer.writerow([name, *map(repr, row.tolist())])

    def plot(self, ax: Any = None) -> Any:
        """Draw the matrix as a heat-map (needs matplotlib).

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        import matplotlib.pyplot as plt

        if ax is None:
            wide, high = (2 + 0.35 * max(4, len(names)) for names in (self.layers_b, self.layers_a))
            ax = plt.subplots(figsize=(wide, high), layout="constrained")[1]
        image = ax.imshow(self.matrix, vmin=0, vmax=1, cmap="viridis")
        ax.set_xticks(range(len(self.layers_b)), self.layers_b, rotation=90)
        ax.set_yticks(range(len(self.layers_a)), self.layers_a)
        ax.set(xlabel="model b", ylabel="model a", title=f"{self.measure} ({self.n} datapoints)")
        ax.figure.colorbar(image, ax=ax, shrink=0.8)
        return ax

    def describe(self) -> str:
        """Say in words what the matrix shows, beside what independent layers would.

        Returns
        -------
        str
            How similar layers of the same name are, or, where no name is in both models, each layer
            of `layers_a` and the one most like it; how many layers are most like their namesake;
            the chance level, with advice where it leaves little to see; layers that are constant.

        Examples
        --------
        >>> import torch
        >>> from torch import nn
        >>> from svcca_lib import compare
        >>> model = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
        >>> table = compare(model, model, torch.randn(200, 4), measure="cca", progress=False)
        >>> print(table.describe().partition(";")[0])
        cca on 200 datapoints: layers of the same name score 1.00 on average
        """
        shared = [name for name in self.layers_a if name in self.layers_b]
        rows = shared or list(self.layers_a)
        found: dict[str, tuple[str, float, float]] = {}
        likest: dict[str, str] = {}
        for a in rows:
            i = self.layers_a.index(a)
            if np.isnan(self.matrix[i]).all():
                continue
            likest[a] = self.layers_b[int(np.nanargmax(self.matrix[i]))]
            j = self.layers_b.index(a if shared else likest[a])
            if not math.isnan(self.matrix[i, j]):
                found[a] = (self.layers_b[j], self.matrix[i, j], self.chance[i, j])
        head = f"{self.measure} on {self.n:,} datapoints"
        if not found:
            return f"{head}: nothing to compare, every layer is constant over the data."
        values = {a: value for a, (_, value, _) in found.items()}
        low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
        mean = float(np.mean(list(values.values())))
        what = "layers of the same name" if shared else "layers and those most like them"
        parts = [
            f"{head}: {what} score {mean:.2f} on average; highest is "
            f"{_pair(high, found[high][0])} ({values[high]:.2f}), lowest "
            f"{_pair(low, found[low][0])} ({values[low]:.2f})."
        ]
        if len(shared) > 1:
            namesakes = sum(likest[a] == a for a in found)
            parts.append(f"{namesakes} of {len(found)} are most like their namesake.")
        chances = np.array([chance for *_, chance in found.values()])
        if not np.isnan(chances).all():
            level = float(np.nanmean(chances))
            parts.append(f"Independent layers of these sizes would score {level:.2f}.")
            if level > 0.5:
                parts.append(
                    "That leaves little to see: take more datapoints, or a reading with fewer "
                    "neurons."
                )
        constant = [a for a in rows if a not in found]
        if constant:
            parts.append(f"Constant over the data: {', '.join(constant)}.")
        return " ".join(parts)

    def __str__(self) -> str:
        width = max(map(len, (*self.layers_a, *self.layers_b, "0.000")))
        head = " ".join(f"{name:>{width}}" for name in ("", *self.layers_b))
        rows = (
            " ".join([f"{name:>{width}}", *(f"{value:{width}.3f}" for value in row)])
            for name, row in zip(self.layers_a, self.matrix, strict=True)
        )
        return "\n".join([f"{self.measure}, n = {self.n}, {self.reading}", head, *rows])


def _pair(a: str, b: str) -> str:
    return a if a == b else f"{a} with {b}"


def compare(
    model_a: nn.Module,
    model_b: nn.Module,
    loader: Any,
    layers_a: LayerSpec = "all",
    layers_b: LayerSpec | None = None,
    measure: str = "svcca",
    *,
    conv: Conv = "dft",
    tokens: Tokens | None = None,
    batch_size: int = 256,
    feed: Feed | None = None,
    progress: bool = True,
    **options: Any,
) -> LayerTable:
    """Compare every layer of one model with every layer of another, in one pass over the data.

    Parameters
    ----------
    model_a, model_b : torch.nn.Module
        Any two models that take the same batches; one model twice compares it with itself.
    loader : iterable, Tensor or array
        A DataLoader, or whatever `capture` takes. Any order will do: each batch goes through both.
    layers_a, layers_b : str, torch.nn.Module, or a sequence of them
        As in `capture`: names, modules, patterns, or ``"all"``. `layers_b` is by default as
        `layers_a`.
    measure : str
        "svcca", "cca", "pwcca", "linear_regression", "cka" (linear), "procrustes" or "dft_cca".
    conv : {"dft", "channels", "mean", "pixels"}
        How layers (n, c, h, w) are read. ``"dft"``: one CCA a frequency, between layers of any
        size, a vector meeting the frequency zero (`dft_cca`; for svcca and cca).
        ``"channels"``: pixels as datapoints, for layers of one size. ``"mean"``: the mean over
        space. ``"pixels"``: every pixel of every channel a neuron.
    tokens : {"datapoints", "mean", "first", "last"}, optional
        How layers (n, tokens, d) are read; the last dimension holds the neurons. It must be said
        where there are any.
    batch_size, feed
        As in `capture`.
    progress : bool, default True
        Show a progress bar.
    **options
        Of the measure, such as ``keep=0.99``.

    Returns
    -------
    LayerTable

    Raises
    ------
    TypeError, ValueError
        As `capture` and the measure; also if layers give different numbers of datapoints, or a
        layer cannot be read as asked.

    Notes
    -----
    *Memory* does not grow with the data. It holds the moments of each layer and of all pairs: with
    P and Q neurons in all the layers of the two models, about ``8 * P * Q`` bytes, and the squares
    of the single layers. With ``"dft"`` P and Q count channels, and the product is counted once a
    pixel of the smaller layer: 16 layers of 64 channels, half of them at 32 x 32, take about 3 GB;
    choose fewer layers, or ``"mean"``, where that is too much.

    *It misleads* where the reading does: see `channels_as_neurons`, `pixels_as_neurons` and
    `dft_cca`. ``"mean"`` throws away where things are; two layers can agree in it and in nothing
    else.

    References
    ----------
    Raghu et al. 2017, Figures 4 and 7.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from svcca_lib import compare
    >>> model = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
    >>> table = compare(model, model, torch.randn(200, 4), measure="cca", progress=False)
    >>> table.layers_a, table.matrix.diagonal().round(6).tolist()
    (('0', '1'), [1.0, 1.0])
    """
    moments = gather(
        model_a,
        model_b,
        loader,
        layers_a,
        layers_b,
        conv=conv,
        tokens=tokens,
        batch_size=batch_size,
        feed=feed,
        progress=progress,
        _check=lambda m: m._bound(measure, options),
    )
    return moments._table(measure, options, stacklevel=3)


def gather(
    model_a: nn.Module,
    model_b: nn.Module,
    loader: Any,
    layers_a: LayerSpec = "all",
    layers_b: LayerSpec | None = None,
    *,
    conv: Conv = "dft",
    tokens: Tokens | None = None,
    batch_size: int = 256,
    feed: Feed | None = None,
    progress: bool = True,
    _check: Callable[[NetworkMoments], Any] = lambda m: None,
) -> NetworkMoments:
    """Gather the moments of all layers and pairs of layers of two models, for `table` to compare.

    Parameters
    ----------
    model_a, model_b, loader, layers_a, layers_b, conv, tokens, batch_size, feed, progress
        As in `compare`.

    Returns
    -------
    NetworkMoments

    Raises
    ------
    TypeError, ValueError
        As `compare`.

    Notes
    -----
    Moments tell nothing about which datapoints they came from: a permutation test or a bootstrap
    needs the responses themselves. Both models have to see the same datapoints in the same order;
    a loader that shuffles anew for each model would make any two of them look unrelated.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from svcca_lib import gather
    >>> model = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
    >>> moments = gather(model, model, torch.randn(200, 4), progress=False)
    >>> [moments.table(m).matrix.shape for m in ("svcca", "cka")]
    [(2, 2), (2, 2)]
    """
    moments = NetworkMoments(conv=conv, tokens=tokens)
    same = model_a is model_b and layers_b is None
    models = [(model_a, layers_a)]
    if not same:
        models.append((model_b, layers_a if layers_b is None else layers_b))
    with recording(*models, feed=feed) as run:
        for batch in iterate(loader, batch_size, progress=progress):
            outputs = run(batch)
            moments.update(outputs[0], None if same else outputs[1])
            _check(moments)  # a wrong combination is known after the first batch
            _check = _passed
    return moments


def _prepared(prepare: Callable[[Any, str], Any], moments: PairMoments, name: str) -> Any:
    """Prepare a layer for comparison; None of one that is constant over the data."""
    try:
        return prepare(moments, f"layer {name!r}")
    except ConstantLayerError as error:
        _log.warning("%s; its similarities are NaN", error)
        return None


def _chance_of(result: Similarity) -> Callable[[], float | None]:
    return lambda: result.chance


def _passed(moments: NetworkMoments) -> None:
    """Nothing left to check."""


class NetworkMoments:
    """Streaming moments of all layers of one or two networks, and of all pairs of layers.

    Parameters
    ----------
    conv, tokens
        How layers are read, as in `compare`.

    Attributes
    ----------
    n : int
        Rows seen so far.

    Notes
    -----
    Layers of one size are put side by side, so that each batch costs one matrix product for all
    pairs of them.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import NetworkMoments
    >>> rng = np.random.default_rng(0)
    >>> m = NetworkMoments()
    >>> for _ in range(3):
    ...     x = rng.normal(size=(50, 4))
    ...     m.update({"a": x, "b": x[:, :2]}, {"c": -x})
    >>> m.table("cca").matrix.round(6).tolist()
    [[1.0], [1.0]]
    """

    def __init__(self, *, conv: Conv = "dft", tokens: Tokens | None = None) -> None:
        self.conv = one_of(conv, ("dft", "channels", "mean", "pixels"), "conv")
        if tokens is not None:
            one_of(tokens, ("datapoints", "mean", "first", "last"), "tokens")
        self.tokens = tokens
        self._kind: type[PairMoments] = Moments  # the first batch decides
        self._device: torch.device | None = None
        self._left: dict[str, PairMoments] = {}
        self._right: dict[str, PairMoments] | None = None
        # For each pair of sizes, layers side by side: (..., channels of left, channels of right).
        self._cross: dict[tuple[Size, Size], Tensor] = {}
        self._places: tuple[dict[str, _Place], dict[str, _Place]] = ({}, {})

    @property
    def n(self) -> int:
        """Rows seen so far."""
        return next((m.n for m in self._left.values()), 0)

    def update(self, xs: Mapping[str, Any], ys: Mapping[str, Any] | None = None) -> None:
        """Add a batch of all layers.

        Parameters
        ----------
        xs, ys : dict of str to array_like, first dimension the batch
            Outputs of the layers of the first and second network: (batch, p), (batch, c, h, w) or
            (batch, tokens, d). `ys` left out, every time, means `xs` against itself.

        Raises
        ------
        TypeError, ValueError
            If a layer cannot be read as asked, layers differ in their number of datapoints, or a
            layer differs from the batches before.
        """
        if not xs or ys == {}:
            raise ValueError("a batch needs at least one layer of each network; got none")
        if not self._left:
            images = any(x.ndim == 4 for x in (*xs.values(), *(ys or {}).values()))
            self._kind = FourierMoments if self.conv == "dft" and images else Moments
            self._left = {name: self._kind() for name in xs}
            self._right = None if ys is None else {name: self._kind() for name in ys}
        if list(xs) != list(self._left) or (ys and list(ys)) != (self._right and list(self._right)):
            raise ValueError("every batch must hold the same layers, in the same order")

        left = {name: self._kind._batch(self._read(x, name), name) for name, x in xs.items()}
        right = left
        if ys is not None:
            right = {name: self._kind._batch(self._read(y, name), name) for name, y in ys.items()}
        self._same_rows(left, right)
        n, new = self.n, next(iter(left.values())).n
        # Chan's update needs the means before the batch.
        shift = (n * new / (n + new)) ** 0.5
        sides = [self._side(self._left, left, shift)]
        sides.append(sides[0] if self._right is None else self._side(self._right, right, shift))
        self._places = (sides[0].places, sides[1].places)
        for a, rows_a in sides[0].groups.items():
            for b, rows_b in sides[1].groups.items():
                x, y = self._kind._meeting(rows_a, rows_b, (0, *a), (0, *b))
                if (a, b) not in self._cross:
                    self._cross[a, b] = (x[..., :1, :].mH @ y[..., :1, :]).zero_()
                accumulate(self._cross[a, b], x, y)
        for singles, batches in ((self._left, left), (self._right or {}, right)):
            for name, single in singles.items():
                single._add(batches[name])

    def all_reduce(self, group: dist.ProcessGroup | None = None) -> None:
        """Join the moments of every process of a torch.distributed group, in place on each.

        Works with any backend (gloo on CPUs, nccl on GPUs). Every process takes part, with at least
        one batch of its own.

        Raises
        ------
        RuntimeError
            If torch.distributed has not been initialised.
        ValueError
            If the processes hold other layers, or one holds none.
        """
        if not dist.is_available() or not dist.is_initialized():
            raise RuntimeError(
                "all_reduce needs an initialised process group; "
                "call torch.distributed.init_process_group first"
            )
        mine = [list(self._left), list(self._right or ()), list(self._cross)]
        found: list[Any] = [None] * dist.get_world_size(group)
        dist.all_gather_object(found, mine, group)
        if not self.n or any(other != found[0] for other in found):
            raise ValueError(
                "every process must hold the same layers, of at least one batch; "
                f"they hold {', '.join(str(len(left)) for left, *_ in found)} of the first model"
            )
        device = torch.device("cpu")
        if dist.get_backend(group) == "nccl":
            device = torch.device("cuda", torch.cuda.current_device())
        own = self.n
        sides = [self._left] if self._right is None else [self._left, self._right]
        before = [{name: m._means[0] for name, m in side.items()} for side in sides]
        for side in sides:
            for single in side.values():
                single.all_reduce(group)
        # As the scatters of single layers: each process moves its own to the common means.
        shifts: list[dict[Size, Tensor]] = []
        for side, means in zip(sides, before, strict=True):
            columns: dict[Size, list[Tensor]] = {}
            for name, single in side.items():
                size, _ = self._places[len(shifts)][name]
                columns.setdefault(size, []).append((means[name] - single._means[0])[..., None, :])
            shifts.append({size: torch.cat(parts, dim=-1) for size, parts in columns.items()})
        for (a, b), cross in self._cross.items():
            x, y = self._kind._meeting(shifts[0][a], shifts[-1][b], (0, *a), (0, *b))
            accumulate(cross, x * own, y)
            cross.copy_(_sum(cross, device, group))

    def table(self, measure: str = "svcca", **options: Any) -> LayerTable:
        """Compare all pairs of layers by one measure.

        Parameters
        ----------
        measure, **options
            As in `compare`.

        Returns
        -------
        LayerTable

        Raises
        ------
        TypeError, ValueError
            As `compare`, or if fewer than 2 rows were seen.
        """
        return self._table(measure, options, stacklevel=3)

    def _table(self, measure: str, options: Mapping[str, Any], stacklevel: int) -> LayerTable:
        if self.n < 2:
            raise ValueError(f"a comparison needs at least 2 rows (datapoints); got {self.n}")
        chosen, prepare, pair = self._bound(measure, options)
        left = {name: _prepared(prepare, m, name) for name, m in self._left.items()}
        right = left
        if self._right is not None:
            right = {name: _prepared(prepare, m, name) for name, m in self._right.items()}
        found: dict[tuple[str, str], Similarity] = {}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for a, x in left.items():
                for b, y in right.items():
                    if self._right is None and chosen.symmetric and (b, a) in found:
                        found[a, b] = found[b, a]
                    elif x is None or y is None:
                        found[a, b] = Similarity(measure, math.nan, self.n)
                    else:
                        found[a, b] = pair(x, y, self._between(a, b))
        warn_once(caught, stacklevel)
        return LayerTable(
            matrix=np.array([r.similarity for r in found.values()]).reshape(len(left), len(right)),
            layers_a=tuple(left),
            layers_b=tuple(right),
            n=self.n,
            measure=measure,
            reading=f"conv={self.conv}" + (f", tokens={self.tokens}" if self.tokens else ""),
            _chances=[_chance_of(result) for result in found.values()],
        )

    def _bound(self, measure: str, options: Mapping[str, Any]) -> Any:
        if self._kind is FourierMoments:
            if measure not in _IN_FOURIER:
                raise ValueError(
                    f"conv='dft' works with svcca, cca and dft_cca; for {measure} read the "
                    f"convolutions by conv='mean', 'channels' or 'pixels'"
                )
            return bound("dft_cca", {**_IN_FOURIER[measure], **options})
        if measure == "dft_cca":
            raise ValueError("dft_cca needs layers (n, c, h, w) and conv='dft'; use cca or svcca")
        return bound(measure, options)

    def _read(self, x: Any, name: str) -> Tensor:
        """Turn a layer's output into rows, or leave it as images for the DFT."""
        tensor = as_tensor(x, f"layer {name!r}", ndim=(2, 3, 4), min_rows=1).detach()
        self._device = self._device or tensor.device  # two models may be on two
        tensor = tensor.to(self._device)
        if tensor.ndim == 3:  # (n, tokens, d)
            if self.tokens is None:
                raise ValueError(
                    f"layer {name!r} gives (n, tokens, d) = {tuple(tensor.shape)}; say how to read "
                    f"it: tokens='datapoints', 'mean', 'first' or 'last'"
                )
            readings: dict[str, Callable[[], Tensor]] = {
                "datapoints": lambda: tensor.flatten(0, 1),
                "mean": lambda: tensor.mean(1),
                "first": lambda: tensor[:, 0],
                "last": lambda: tensor[:, -1],
            }
            return readings[self.tokens]()
        if tensor.ndim == 4 and self._kind is Moments:  # (n, c, h, w)
            if self.conv == "mean":
                return tensor.mean((2, 3))
            return channels_as_neurons(tensor) if self.conv == "channels" else tensor.flatten(1)
        return tensor

    def _same_rows(self, *sides: Mapping[str, Batch]) -> None:
        rows = {name: batch.n for side in sides for name, batch in side.items()}
        name, n = next(iter(rows.items()))
        for other, m in rows.items():
            if m != n:
                raise ValueError(
                    f"layers {name!r} and {other!r} give {n} and {m} datapoints in one batch with "
                    f"conv={self.conv!r}, tokens={self.tokens!r}; choose a reading that gives one "
                    f"row an image, or layers of one size"
                )

    def _side(
        self, singles: Mapping[str, PairMoments], batches: Mapping[str, Batch], shift: float
    ) -> _Side:
        """Put the layers of each size side by side, and the move of their means below."""
        columns: dict[Size, list[Tensor]] = {}
        places: dict[str, _Place] = {}
        for name, batch in batches.items():
            single = singles[name]
            single._match((*batch.sizes, *(0,) * len(batch.sizes)), batch.mean.device)
            single.numpy = True
            width, *size = batch.sizes
            group = columns.setdefault(tuple(size), [])
            start = sum(part.shape[-1] for part in group)
            places[name] = (tuple(size), slice(start, start + width))
            moved = (batch.mean - single._means[0])[..., None, :] * shift
            group.append(torch.cat([batch.centred, moved], dim=-2))
        return _Side(places, {size: torch.cat(parts, -1) for size, parts in columns.items()})

    def _between(self, a: str, b: str) -> Tensor:
        """Cross-scatter of two layers."""
        (size_a, columns_a), (size_b, columns_b) = self._places[0][a], self._places[1][b]
        return self._cross[size_a, size_b][..., columns_a, columns_b]


@dataclass(frozen=True, eq=False)
class _Side:
    """A batch of one network: where each layer is, and for each size the rows of its layers."""

    places: dict[str, _Place]
    groups: dict[Size, Tensor]
