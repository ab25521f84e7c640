"""Compare two models layer by layer in one pass over the data.

`compare` is the one line; `gather` and `NetworkMoments.table` are its two halves, for those who
want several measures from one pass. Activations are never held: every batch is turned into second
moments, of each layer and of each pair of layers, and let go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from svcca_lib.models.batches import Feed, iterate
from svcca_lib.models.capture import recording
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


def _passed(moments: NetworkMoments) -> None:
    """Nothing left to check."""
