"""Compare two models layer by layer in one pass over the data.

`compare` is the one line; `gather` and `NetworkMoments.table` are its two halves, for those who
want several measures from one pass. Activations are never held: every batch is turned into second
moments, of each layer and of each pair of layers, and let go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from svcca_lib.errors import short_of_memory
from svcca_lib.models.axes import Asked, Channels
from svcca_lib.models.batches import ID_KEYS, Feed, Ids, for_two
from svcca_lib.models.capture import View, recording
from svcca_lib.models.masks import Mask
from svcca_lib.models.moments import NetworkMoments
from svcca_lib.models.readings import Conv, Tokens
from svcca_lib.models.selection import LayerSpec
from svcca_lib.models.table import LayerTable


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
    progress: bool = True,
    **options: Any,
) -> LayerTable:
    """Compare every layer of one model with every layer of another, in one pass over the data.

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
    conv : {"dft", "channels", "mean", "pixels"}
        How layers with channels over space are read: (n, c, h, w), also with the channels last,
        (n, c, length) of one-dimensional convolutions, and, but for ``"dft"``, (n, c, z, h, w).
        ``"dft"``: one CCA a frequency, between layers of any
        size, a vector meeting the frequency zero (`dft_cca`; for svcca and cca).
        ``"channels"``: pixels as datapoints, for layers of one size. ``"mean"``: the mean over
        space. ``"pixels"``: every pixel of every channel a neuron.
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
        As `capture` and the measure; also if layers give different numbers of datapoints, a layer
        cannot be read as asked or nothing tells what its axes are, or tokens are padded and the
        mask does not fit a layer's; or if two loaders do not give the same datapoints: other
        numbers of rows, other ids, an order that each of them draws anew.
    MemoryError
        If memory does not do; see the notes.

    Notes
    -----
    *Memory* does not grow with the data. It holds the moments of each layer and of all pairs: with
    P and Q neurons in all the layers of the two models, about ``8 * P * Q`` bytes, and the squares
    of the single layers. With ``"dft"`` P and Q count channels, and the product is counted once a
    pixel of the smaller layer: 16 layers of 64 channels, half of them at 32 x 32, take about 3 GB;
    choose fewer layers, or ``"mean"``, where that is too much.

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

    Two models that take different inputs, of the same datapoints:

    >>> x = torch.randn(200, 4)
    >>> wide = nn.Sequential(nn.Linear(8, 6), nn.Tanh())
    >>> table = compare(model, wide, x, loader_b=torch.cat([x, x], 1), progress=False)
    >>> table.n
    200
    """
    moments = gather(
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
        _check=lambda m: m.measure(measure, options),
    )
    return moments.tabulate(measure, options, stacklevel=3)


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
    _check: Callable[[NetworkMoments], Any] = lambda m: None,
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
    same = model_a is model_b and layers_b is None and loader_b is None
    models = [(model_a, layers_a)]
    if not same:
        models.append((model_b, layers_a if layers_b is None else layers_b))
    view = View(moments.reading, mask, Asked(channels, axes))
    batches = for_two(loader, loader_b, batch_size, ids=ids, feed=feed, progress=progress)
    keys = ID_KEYS if ids == "auto" else (ids,)

    def advice() -> str:
        return (
            f"the moments of all layers and pairs of layers hold {moments.nbytes / 1e9:.3g} GB so "
            f"far; choose fewer layers, conv='mean' for convolutions, or a smaller batch_size"
        )

    with recording(*models, feed=feed, view=view, ids=keys) as run, short_of_memory(advice):
        for batch in batches:
            outputs = run(*batch)
            for given in (loader, loader_b):
                run.check(given, batch_size)
            with torch.inference_mode(False):  # moments outlive it
                moments.update(outputs[0], None if same else outputs[1])
            _check(moments)  # a wrong combination is known after the first batch
            _check = _passed
        moments.readings = run.readings()
    return moments


def _passed(moments: NetworkMoments) -> None:
    """Nothing left to check."""
