"""Compare two models layer by layer.

`compare` is the one line. It reads the data twice: first each layer becomes its moments and these
the directions that a measure keeps, then only the products of kept directions are summed up, for
as many pairs of layers at a time as the memory holds. `gather` and `NetworkMoments.table` are for
those who want several measures from one reading, with all products at full width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from torch import nn

from svcca_lib.errors import is_whole, short_of_memory
from svcca_lib.models.axes import Channels
from svcca_lib.models.batches import Feed, Ids
from svcca_lib.models.budget import MARGIN, Memory, in_one_reading, parsed
from svcca_lib.models.cells import ADVICE
from svcca_lib.models.layers import shapes_of
from svcca_lib.models.masks import Mask
from svcca_lib.models.moments import NetworkMoments
from svcca_lib.models.readings import Conv, Tokens
from svcca_lib.models.rows import Reader
from svcca_lib.models.selection import LayerSpec
from svcca_lib.models.source import Opened, Source
from svcca_lib.models.stream import Outputs, Stream
from svcca_lib.models.table import LayerTable
from svcca_lib.models.tabulate import Comparison


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
    mask: Mask = "auto",
    channels: Channels = "auto",
    axes: Mapping[str, str] | None = None,
    loader_b: Any = None,
    ids: Ids = "auto",
    batch_size: int = 256,
    feed: Feed | None = None,
    memory: Memory = None,
    null: int = 0,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> LayerTable:
    """Compare every layer of one model with every layer of another, without holding their outputs.

    Parameters
    ----------
    model_a, model_b : torch.nn.Module
        Any two models; one model twice compares it with itself.
    loader : iterable, Tensor or array
        A DataLoader, or whatever `capture` takes. Any order will do: each batch goes through both.
    layers_a, layers_b : str, torch.nn.Module, type, or a sequence of them
        As in `capture`, which lists the forms. `layers_b` is by default as `layers_a`.
    measure : str
        "svcca", "cca", "pwcca", "linear_regression", "cka" (linear), "procrustes" or "dft_cca".
    conv : {"dft", "channels", "mean", "pixels", "positions"}
        How layers with channels over space are read: (n, c, h, w), also with the channels last,
        (n, c, length) of one-dimensional convolutions, and, but for ``"dft"`` and
        ``"positions"``, (n, c, z, h, w).
        ``"dft"``: one CCA a frequency, between layers of any
        size, a vector meeting the frequency zero (`dft_cca`; for svcca and cca).
        ``"channels"``: pixels as datapoints, for layers of one size. ``"mean"``: the mean over
        space. ``"pixels"``: every pixel of every channel a neuron. ``"positions"``: the channels
        at four places around the centre, the same in all layers (`positions_as_neurons`).
    tokens : {"datapoints", "mean", "first", "last"}, optional
        How layers (n, tokens, d), or (tokens, n, d) with ``batch_first=False``, are read. It must
        be said where there are any. ``"first"`` and ``"last"`` are a sequence's first and last real
        token, whichever side is padded.
    mask : "auto", str, callable or None, default "auto"
        Which tokens are real; the others are left out. ``"auto"`` takes the `attention_mask` of
        batches that are mappings, or torch's `src_key_padding_mask`, if there is one, and for the
        decoder of a translator `decoder_attention_mask`; a name is that of another key; a function
        gives it for a batch, shape (n, tokens). True or 1 is a real token: where it is padding,
        ``mask=lambda batch: ~batch["padding"]`` (of keys that end in ``key_padding_mask``, as
        torch's do, that is known). None reads all tokens on purpose. Batches may be of different
        lengths.
    channels : {"auto", "first", "last"}
        Where layers of four and five axes have their channels. ``"auto"`` finds out from the types
        of the modules that run (see Notes).
    axes : dict of str to str, optional
        What the axes of single layers are, by name or pattern, where no module tells: a letter
        each, n for datapoints, t and d for tokens and neurons, c for channels, and l, h, w, z for
        space, such as ``{"blocks.*.attn": "tnd", "stem": "nhwc"}``.
    loader_b : iterable, Tensor or array, optional
        Batches for the second model, where the two take different ones (their own preprocessing,
        their own tokens): the same datapoints in the same order, in batches of one size; a tensor
        is cut as the other's batches come. Without it a batch that holds two inputs is an error.
    ids : "auto", key, callable or None
        Where two loaders' batches say which datapoints they hold. ``"auto"``: by the first key that
        dicts of both have of "id", "ids", "index", "indices", "idx", "sample_id", "sample_ids",
        "example_id" and "uid"; else ``batch[key]``, or what the callable gives of a batch. Ids that
        differ are an error. They are not given to a model, unless its forward pass takes them.
    batch_size, feed
        As in `capture`.
    memory : str or number of bytes, optional
        What the comparison may hold beside the models and the data, such as ``"4GB"``; by default 4
        GB, or half of what is free where that is less.
    null : int, default 0
        Permutations of whole inputs, the same for all pairs of layers, from which the table takes
        `p_values` and a `calibrated` score. Inputs trade places with those of as many rows.
    seed : int, default 0
        Of the permutations.
    progress : bool, default True
        Show progress bars.
    **options
        Of the measure, such as ``keep=0.99``.

    Returns
    -------
    LayerTable

    Raises
    ------
    TypeError, ValueError
        As `capture` and the measure; also if layers give different numbers of datapoints, a layer
        cannot be read as asked or nothing tells what its axes are, or tokens are padded and the
        mask does not fit a layer's; or if two loaders do not give the same datapoints: other
        numbers of rows, other ids, an order that each of them draws anew.
    ValueError
        If the loader can be read only once, or `memory` does not do, as the notes say.
    MemoryError
        If the machine has less memory than that.

    Notes
    -----
    *Memory* does not grow with the data. The data are read twice: first for the moments of each
    layer, 8 bytes for the square of its neurons (with ``"dft"``, for the square of its channels
    at each pixel); then for the products of the directions that the measure keeps, 8 bytes for
    each pair of them. Where `memory` does not hold all pairs at a time the data are read more
    often; what it will take is logged (level INFO) before each begins. The rows of all layers are
    kept for the second time where a quarter of `memory` holds them, and the models run once.
    Results then have no canonical weights where these do not fit as well.

    *Reading twice* asks for the same data each time, in any order: no random augmentation (a layer
    whose variance differs is an error). A generator is read once, at full width, where that fits,
    or else its batches are held in a quarter of `memory`.

    *Calibration* holds the coordinates of all rows in the directions kept, in as many parts as
    `memory` asks for, and multiplies them once a permutation.

    *Axes.* Convolutions, poolings and batch norms have the channels second; linear layers,
    embeddings and layer norms have the neurons last; recurrent layers, attention and transformers
    say `batch_first`. A layer of another type is as these when one passes its output on, or else
    what is common to those of its size, the nearest first; in a model without tokens maps
    (n, a, a, b) with nothing to go by have their channels at b. Where more than one answer is left
    there is an error, or, of ``"all"`` and patterns, the layer is left out with a warning in the
    log. ``table.readings`` says of each layer what was taken.

    *It misleads* where the reading does: see `channels_as_neurons`, `pixels_as_neurons` and
    `dft_cca`. ``"mean"`` throws away where things are; two layers can agree in it and in nothing
    else.

    References
    ----------
    Raghu et al. 2017, Figures 4 and 7. Westfall and Young, "Resampling-based multiple testing",
    Wiley (1993). Gröger, Wen, Brbić 2026, arXiv 2602.14486.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from svcca_lib import compare
    >>> model = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
    >>> table = compare(model, model, torch.randn(200, 4), measure="cca", progress=False)
    >>> table.layers_a, table.matrix.diagonal().round(6).tolist()
    (('0', '1'), [1.0, 1.0])

    Two models that take different inputs, of the same datapoints:

    >>> x = torch.randn(200, 4)
    >>> wide = nn.Sequential(nn.Linear(8, 6), nn.Tanh())
    >>> table = compare(model, wide, x, loader_b=torch.cat([x, x], 1), progress=False)
    >>> table.n
    200
    """
    source = Source.of_two(
        model_a,
        model_b,
        loader,
        layers_a,
        layers_b,
        conv=conv,
        tokens=tokens,
        mask=mask,
        channels=channels,
        axes=axes,
        loader_b=loader_b,
        ids=ids,
        batch_size=batch_size,
        feed=feed,
        progress=progress,
    )
    if not is_whole(null) or null < 0:
        raise ValueError(f"null must be a whole number of permutations, 0 for none; got {null!r}")
    budget, once = parsed(memory, source.device), source.read_once
    source = source.held(budget // 4)
    reader = Reader(source.reading)
    with source.opened() as outputs, short_of_memory(lambda: ADVICE):
        if once and not null:
            whole = _in_one_reading(source, outputs, reader, budget, measure, options)
            if whole is not None:
                return whole.tabulate(measure, options, stacklevel=3)
        comparison = Comparison(
            Stream(outputs, budget // 4),
            reader,
            measure,
            options,
            budget - int(MARGIN * budget),
            null,
            seed,
            source.inputs,
            progress,
        )
        sides = comparison.layers()
        cells, shuffled = comparison.cells(sides)
        readings = outputs.run.readings()
    cells.warn(stacklevel=2)
    n = next(layer.n for side in sides for layer in side.values())
    return cells.table(measure, n, str(source.reading), readings, shuffled)


def _in_one_reading(
    source: Source,
    outputs: Opened,
    reader: Reader,
    budget: int,
    measure: str,
    options: Mapping[str, Any],
) -> NetworkMoments | None:
    """Gather the products of all pairs at full width from a loader that can be read only once.

    None where the budget does not hold them.
    """
    batches = outputs("moments of layers and pairs")
    first = next(batches)
    reader.meet(*first)
    chosen = reader.measure(measure, options)  # a wrong one is known after the first batch
    shapes = [shapes_of(side, reader).values() for side in first]
    if chosen.lifted or in_one_reading(shapes) > budget:
        return None
    source.let_go()
    return _summed(source, outputs, chain([first], batches))


def _summed(source: Source, outputs: Opened, batches: Iterable[Outputs]) -> NetworkMoments:
    moments = NetworkMoments(conv=source.conv, tokens=source.tokens)
    for batch in batches:
        moments.update(batch[0], None if len(source.models) == 1 else batch[1])
    moments.readings = outputs.run.readings()
    return moments


def gather(
    model_a: nn.Module,
    model_b: nn.Module,
    loader: Any,
    layers_a: LayerSpec = "all",
    layers_b: LayerSpec | None = None,
    *,
    conv: Conv = "dft",
    tokens: Tokens | None = None,
    mask: Mask = "auto",
    channels: Channels = "auto",
    axes: Mapping[str, str] | None = None,
    loader_b: Any = None,
    ids: Ids = "auto",
    batch_size: int = 256,
    feed: Feed | None = None,
    progress: bool = True,
) -> NetworkMoments:
    """Gather the moments of all layers and pairs of layers of two models, for `table` to compare.

    Parameters
    ----------
    model_a, model_b, loader, layers_a, layers_b, conv, tokens, mask, channels, axes, loader_b, ids
        As in `compare`.
    batch_size, feed, progress
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
    The products of all pairs are held at full width: with P and Q neurons in all the layers of the
    two models ``8 * P * Q`` bytes. For one measure `compare` needs less.

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
    source = Source.of_two(
        model_a,
        model_b,
        loader,
        layers_a,
        layers_b,
        conv=conv,
        tokens=tokens,
        mask=mask,
        channels=channels,
        axes=axes,
        loader_b=loader_b,
        ids=ids,
        batch_size=batch_size,
        feed=feed,
        progress=progress,
    )
    with source.opened() as outputs, short_of_memory(lambda: ADVICE):
        return _summed(source, outputs, outputs("moments of layers and pairs"))
