"""The first reading: each layer's own moments become what a measure compares."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from torch import Tensor

from svcca_lib.errors import ConstantLayerError
from svcca_lib.fourier.grid import grid_of
from svcca_lib.fourier.moments import FourierMoments
from svcca_lib.inputs import rounding_of
from svcca_lib.measures.measure import Measure
from svcca_lib.models.budget import Shape, in_words, most_products, own_moments
from svcca_lib.models.products import Frame
from svcca_lib.models.rows import Reader, narrow
from svcca_lib.models.stream import Outputs, Stream
from svcca_lib.pair_moments import PairMoments

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer after the first reading.

    Attributes
    ----------
    prepared : Any
        What the measure compares; None of a layer that is constant over the data.
    frame : Frame or None
        Where its coordinates are taken from.
    spread : Tensor, shape (..., p)
        Sum of squares about the mean of each neuron.
    shape : Shape
    n : int
        Rows.
    """

    prepared: Any
    frame: Frame | None
    spread: Tensor
    shape: Shape
    n: int


def shapes_of(outputs: Mapping[str, Tensor], reader: Reader) -> dict[str, Shape]:
    """Shapes of layers, from the outputs of one batch."""
    found = {}
    for name, output in outputs.items():
        one = reader(output[:1], name)
        fourier = reader.kind is FourierMoments
        height, width = one.shape[2:] if one.ndim == 4 else (1, 1)
        found[name] = Shape(
            width=one.shape[1],
            entries=len(grid_of((height, width)).keys) if fourier else 1,
            itemsize=16 if fourier else 8,
            output=output.nbytes,
            rows=len(one) * len(output),
        )
    return found


def gathered(
    stream: Stream,
    reader: Reader,
    measure: Callable[[], Measure[Any]],
    budget: int,
    known: Sequence[Mapping[str, Layer]] = (),
) -> tuple[dict[str, Layer], ...]:
    """Read the moments of every layer and prepare it, in as many readings as the budget needs.

    Parameters
    ----------
    stream : Stream
    reader : Reader
    measure : callable
        Gives the measure; called after the first batch, when the kind of moments is known.
    budget : int
        Bytes.
    known : sequence of dict of str to Layer
        Layers of the last sides that were gathered before.

    Raises
    ------
    TypeError, ValueError
        If a layer cannot be read, layers give different numbers of rows, there are fewer than two
        rows, or the moments of a layer do not fit the budget.
    """
    shapes: tuple[dict[str, Shape], ...] = ()
    layers: tuple[dict[str, Layer], ...] = ()
    chunk: tuple[list[str], ...] | None = None
    while not layers or sum(map(len, layers)) < sum(map(len, shapes)):
        if layers:
            chunk = _next_chunk(shapes, layers, budget, budget)
        moments: tuple[dict[str, PairMoments], ...] = ()
        for outputs in stream("moments of layers", chunk):
            if not layers:
                reader.meet(*outputs)
                measure()  # a wrong combination is known after the first batch
                sides = outputs[: len(outputs) - len(known)]
                shapes = tuple(shapes_of(side, reader) for side in sides)
                layers = tuple({} for _ in sides)
                # Rows may take up to a quarter of the budget.
                chunk = _next_chunk(shapes, layers, budget, budget - stream.room)
                whole = sum(map(len, chunk)) == sum(map(len, shapes))
                if not whole:
                    stream.drop()
                _log.info(
                    "%s layers: moments of %s%s, products of pairs of %s at most (memory=%s)",
                    " and ".join(str(len(side)) for side in (*shapes, *known)),
                    in_words(sum(s.own for side in shapes for s in side.values())),
                    "" if whole else " in more than one reading of the data",
                    in_words(most_products([[*side.values()] for side in shapes])),
                    in_words(budget),
                )
            assert chunk is not None
            moments = moments or tuple({name: reader.kind() for name in names} for names in chunk)
            _add(outputs, moments, reader, stream)
        stream.done()
        chosen = measure()
        for i, side in enumerate(moments):
            for name in list(side):
                layers[i][name] = _layer(chosen, side.pop(name), name, shapes[i][name])
    ordered = [{name: done[name] for name in s} for done, s in zip(layers, shapes, strict=True)]
    return (*ordered, *map(dict, known))


def _next_chunk(
    shapes: Sequence[Mapping[str, Shape]],
    layers: Sequence[Mapping[str, Layer]],
    budget: int,
    room: int,
) -> tuple[list[str], ...]:
    """Layers whose moments are gathered next: as many as there is room for."""
    held = sum(nbytes(layer.prepared) for side in layers for layer in side.values())
    chunk: tuple[list[str], ...] = tuple([] for _ in shapes)
    taken: list[Shape] = []
    for names, side, done in zip(chunk, shapes, layers, strict=True):
        for name in side:
            if name in done:
                continue
            more = [*taken, side[name]]
            needed = held + own_moments(more, sum(s.output for s in more))
            if needed > room and taken:
                return chunk
            if needed > budget:
                raise ValueError(
                    f"the moments of layer {name!r}, with what is held beside them, take "
                    f"{in_words(needed)}, more than memory={in_words(budget)}; give more, smaller "
                    f"batches, fewer layers, or a reading with fewer neurons"
                )
            names.append(name)
            taken = more
    return chunk


def _add(
    sides: Outputs, moments: Sequence[dict[str, PairMoments]], reader: Reader, stream: Stream
) -> None:
    """Add a batch to the moments of each layer, one after the other; others are only kept."""
    kept: list[dict[str, Tensor]] = []
    first: tuple[str, int] | None = None
    for outputs, singles in zip(sides, moments, strict=False):
        kept.append({})
        for name, single in singles.items():
            output = outputs.pop(name)
            values = reader(output, name)
            if stream.keeps:
                kept[-1][name] = narrow(values, output.dtype)
            batch = reader.batch(values, name, rounding_of(output))
            first = first or (name, batch.n)
            reader.same_rows([first, (name, batch.n)])
            single.match((*batch.sizes, *(0,) * len(batch.sizes)), batch.mean.device)
            single.numpy = True
            single.add(batch)
    if stream.keeps:
        stream.keep([*kept, *map(dict, sides[len(moments) :])])


def _layer(measure: Measure[Any], moments: PairMoments, name: str, shape: Shape) -> Layer:
    if moments.n < 2:
        raise ValueError(f"a comparison needs at least 2 rows (datapoints); got {moments.n}")
    mean, scatter = moments.means[0], moments.xx
    assert scatter is not None
    spread = scatter.diagonal(dim1=-2, dim2=-1).real.clone()
    prepared = prepared_layer(measure, moments, name)
    if prepared is None:
        return Layer(None, None, spread, shape, moments.n)
    prepared = _apart(prepared)
    size = moments.size if isinstance(moments, FourierMoments) else ()
    frame = Frame.of(mean, measure.coordinates(prepared), size, lifted=measure.lifted)
    return Layer(prepared, frame, spread, shape, moments.n)


def prepared_layer(measure: Measure[Any], moments: PairMoments, name: str) -> Any:
    """Prepare a layer for comparison; None of one that is constant over the data."""
    try:
        return measure.prepare(moments, f"layer {name!r}")
    except ConstantLayerError as error:
        _log.warning("%s; its similarities are NaN", error)
        return None


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Collection) and not isinstance(value, str):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(part)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))


def nbytes(value: Any) -> int:
    """Bytes of the tensors in a value."""
    return sum(t.nbytes for t in _tensors(value))


def _apart(value: Any) -> Any:
    """The same, without the larger tensors that its own were cut from."""
    if isinstance(value, Tensor):
        return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value
    if not is_dataclass(value) or isinstance(value, type):
        return value
    parts = {field.name: getattr(value, field.name) for field in fields(value)}
    changed = {name: _apart(part) for name, part in parts.items()}
    return replace(value, **{k: v for k, v in changed.items() if v is not parts[k]})
