"""Layers of files against each other, in blocks of rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from svcca_lib.errors import ConstantLayerError
from svcca_lib.files.layers import Layer
from svcca_lib.inputs import as_tensor
from svcca_lib.measures.measure import Measure
from svcca_lib.measures.pairwise import warn_once
from svcca_lib.measures.registry import measure_named
from svcca_lib.measures.similarity import Similarity
from svcca_lib.models.moments import NetworkMoments
from svcca_lib.models.readings import Conv, Reading, Tokens
from svcca_lib.models.table import LayerTable

BLOCK = 2**25  # bytes of rows, as float64, that are read at once
_Rows = dict[str, Any]  # some rows of each layer


def compare_files(
    a: Mapping[str, Layer],
    b: Mapping[str, Layer] | None = None,
    measure: str = "svcca",
    *,
    conv: Conv | None = None,
    tokens: Tokens | None = None,
    **options: Any,
) -> LayerTable:
    """Compare every layer of one file with every layer of another, in blocks of rows.

    Parameters
    ----------
    a, b : mapping of str to Layer
        As `open_layers` gives them; `b` left out means `a` against itself.
    measure, **options
        As of `svcca_lib.pairwise`.
    conv, tokens
        How layers (n, c, h, w) and (n, tokens, d) are read, as of `svcca_lib.compare`; for
        "dft_cca" `conv` need not be said.

    Returns
    -------
    LayerTable

    Raises
    ------
    TypeError, ValueError
        As the measure; also if layers differ in rows, or it is not said how to read one.

    Notes
    -----
    Rows are read once and summed up as moments, so memory does not depend on their number. They are
    held where that takes less memory (few datapoints, many neurons), or where the measure needs
    them (`cka` with an RBF kernel).
    """
    measure_named(measure, options)  # a wrong name or option is known before anything is read
    every = [*a.values(), *(b or {}).values()]
    _readable(every, measure, conv, tokens)
    images = conv or (
        "dft" if measure == "dft_cca" else "mean"
    )  # of convolutions, if there are any
    moments = NetworkMoments(conv=images, tokens=tokens)
    sides = [a] if b is None else [a, b]
    blocks = _blocks(sides)
    first = next(blocks)
    small = NetworkMoments(conv=images, tokens=tokens)
    small.update(*first)
    chosen = small.measure(measure, options)
    if _takes_moments(chosen) and not _few(every):
        for block in _all(first, blocks):
            moments.update(*block)
        return moments.tabulate(measure, options, stacklevel=3)
    return _held(chosen, Reading(images, tokens), _all(first, blocks), str(moments.reading))


def _readable(layers: list[Layer], measure: str, conv: str | None, tokens: str | None) -> None:
    """Raise unless layers have the same datapoints, and it is known how to read them."""
    first = layers[0]
    for layer in layers:
        if len(layer) != len(first):
            raise ValueError(
                f"both must hold the same datapoints, row by row; {first.place} has "
                f"{len(first)} rows and {layer.place} {len(layer)}"
            )
        if layer.ndim == 3 and tokens is None:
            raise ValueError(
                f"{layer.place} has shape {layer.shape}, (n, tokens, d); say how to read it: "
                "--tokens mean, first, last or datapoints"
            )
        if layer.ndim == 4 and conv is None and measure != "dft_cca":
            raise ValueError(
                f"{layer.place} has shape {layer.shape}, (n, c, h, w); take --measure dft_cca, or "
                "say how to read it: --conv mean, pixels, channels, positions or dft"
            )
        if layer.ndim > 4:
            raise ValueError(
                f"{layer.place} has shape {layer.shape}; layers are (n, p), (n, tokens, d) or "
                "(n, c, h, w)"
            )
    if len(first) < 2:
        raise ValueError(f"{first.place} needs at least 2 rows (datapoints); got {len(first)}")


def _blocks(sides: list[Mapping[str, Layer]]) -> Iterator[list[_Rows]]:
    """Yield blocks of rows of every layer of each side, which are finite."""
    layers = [layer for side in sides for layer in side.values()]
    n = len(layers[0])
    row = sum(8 * math.prod(layer.shape[1:]) for layer in layers)
    rows, chunk = max(2, BLOCK // row), max(layer.chunk for layer in layers)
    if chunk <= 4 * rows:  # a chunk is read whole, however few of its rows are wanted
        rows = max(1, rows // chunk) * chunk
    for start in tqdm(range(0, n, rows), desc="blocks of rows", disable=None, leave=False):
        stop = min(start + rows, n)
        yield [
            {name: _finite(layer[start:stop], layer, start, stop) for name, layer in side.items()}
            for side in sides
        ]


def _finite(rows: Any, layer: Layer, start: int, stop: int) -> Any:
    """Return rows; ValueError, saying which, if there is a NaN or infinity."""
    if layer.dtype.kind == "f":
        finite = torch.isfinite(rows) if isinstance(rows, Tensor) else np.isfinite(rows)
        if not finite.all():
            flat = finite.reshape(len(rows), -1)
            bad = int((~flat).sum())
            raise ValueError(
                f"{layer.place} must be finite; got {bad} NaN or infinite values in rows {start} "
                f"to {stop - 1}, the first in row {start + int((~flat.all(1)).nonzero()[0][0])}"
            )
    return rows


def _all(first: list[_Rows], others: Iterator[list[_Rows]]) -> Iterator[list[_Rows]]:
    yield first
    yield from others


def _takes_moments(measure: Measure[Any]) -> bool:
    """Return whether a measure is satisfied with moments; it is asked by a small example."""
    example = measure.moments()
    example.update(torch.eye(8, 3, dtype=torch.float64))
    try:
        measure.prepare(example, "x")
    except (TypeError, ValueError):
        return False
    return True


def _few(layers: list[Layer]) -> bool:
    """Return whether the rows of all layers take less memory than their moments."""
    numbers = sum(math.prod(layer.shape[1:]) for layer in layers)
    return bool(len(layers[0]) < numbers and all(layer.ndim == 2 for layer in layers))


def _held(
    measure: Measure[Any], read: Reading, blocks: Iterator[list[_Rows]], reading: str
) -> LayerTable:
    """Compare layers whose rows are all held."""
    images = measure.name == "dft_cca"
    parts: list[dict[str, list[Any]]] = []
    for block in blocks:
        parts = parts or [{name: [] for name in side} for side in block]
        for whole, side in zip(parts, block, strict=True):
            for name, rows in side.items():
                whole[name].append(_read(rows, read, name, images=images))
    sides = [
        {name: _prepared(measure, _joined(rows), name) for name, rows in side.items()}
        for side in parts
    ]
    left, right = sides[0], sides[-1]
    n = next((x.n for x in (*left.values(), *right.values()) if x is not None), 0)
    found, cautions = list[Similarity](), dict[str, str | None]()
    for a, x in left.items():
        for b, y in right.items():
            if x is None or y is None:
                found.append(Similarity(measure.name, math.nan, n))
                continue
            found.append(measure.compare(x, y))
            cautions[f"{a!r} with {b!r}"] = measure.caution(found[-1], x, y)
    warn_once(cautions, stacklevel=4)
    matrix = np.array([r.similarity for r in found]).reshape(len(left), len(right))
    return LayerTable(matrix, tuple(left), tuple(right), n, measure.name, reading, found)


def _read(rows: Any, read: Reading, name: str, *, images: bool) -> Any:
    if rows.ndim == 2:
        return rows  # in the type they were saved in: their rounding is known by it
    tensor = as_tensor(rows, f"layer {name!r}", ndim=(3, 4), min_rows=1)
    return read(tensor, name, images=images)


def _joined(parts: list[Any]) -> Any:
    return torch.cat(parts) if isinstance(parts[0], Tensor) else np.concatenate(parts)


def _prepared(measure: Measure[Any], rows: Any, name: str) -> Any:
    """Prepare a layer; None of one that is constant over the data."""
    try:
        return measure.prepare(rows, f"layer {name!r}")
    except ConstantLayerError:
        return None
