r"""Layers during training against layers at its end: the matrices of the paper's Figure 4.

One measure serves every pair of layers: SVCCA with the convolutional layers taken apart by the DFT,
cut where all their frequencies together hold 99 % of the variance (`svcca_lib.dft_cca` with
``keep=0.99``). Two layers of one spatial size meet at all frequencies, two of different sizes at
those that both have, a convolutional layer and a vector at the frequency zero; and for two vectors
it is plain SVCCA. The paper does not say how its convolutional layers entered; this is our choice.

References
----------
Raghu et al. 2017, section 4.1, Figure 4, Appendix Figures 3 and 4.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from svcca_lib import (
    FourierSubspace,
    capture,
    channels_as_neurons,
    dft_cca,
    pixels_as_neurons,
    svcca,
)
from svcca_lib._linalg import one_thread_each
from svcca_lib.fourier_pairs import FourierLayers, pairwise_dft_cca
from svcca_lib.paper.data.images import ImageData, spread
from svcca_lib.paper.experiments.measurements import measured
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.networks import Network
from svcca_lib.paper.training.trained import TrainedNetwork

logger = logging.getLogger(__name__)

PUBLISHED = Path(__file__).with_name("figure4")
CAPTURED_AT_ONCE = 2**28  # float32 numbers: 1 GiB of activations


@dataclass(frozen=True)
class Matrices:
    """Similarity of the layers of one network, at several times, to those of a finished one.

    Attributes
    ----------
    fractions : tuple of float
        Fractions of training, ascending.
    layers, labels : tuple of str
        Names of the layers from the input upward, and what the paper calls them.
    similarity : array, shape (t, layers, layers)
        Row: a layer at that time; column: a layer of the finished network.
    chance : array, shape (t, layers, layers)
        What independent layers of these sizes would give.
    n : int
        Images.
    """

    fractions: tuple[float, ...]
    layers: tuple[str, ...]
    labels: tuple[str, ...]
    similarity: np.ndarray
    chance: np.ndarray
    n: int

    def at(self, fraction: float) -> np.ndarray:
        """Return the matrix at one of `fractions`, shape (layers, layers)."""
        return self.similarity[self.fractions.index(fraction)]

    @property
    def own(self) -> np.ndarray:
        """Similarity of each layer to its own final state, shape (t, layers)."""
        return self.similarity.diagonal(axis1=1, axis2=2)

    def followed(self) -> Followed:
        """Return what `follow` measures of the same network."""
        return Followed(
            self.fractions, self.labels, self.own, self.similarity[-1], self.chance[-1], self.n
        )


@dataclass(frozen=True)
class Followed:
    """The layers of one network on their way, each against its own end, and all pairs at the end.

    Attributes
    ----------
    fractions : tuple of float
        Fractions of training, ascending, the last being 1.
    labels : tuple of str
        What the paper calls the layers, from the input upward.
    own : array, shape (t, layers)
        Similarity of each layer to its own final state.
    end, chance : array, shape (layers, layers)
        Similarity of all pairs of layers of the finished network, and that of independent layers.
    n : int
        Images.
    """

    fractions: tuple[float, ...]
    labels: tuple[str, ...]
    own: np.ndarray
    end: np.ndarray
    chance: np.ndarray
    n: int


def layer_matrices(
    run: TrainedNetwork,
    data: ImageData,
    store: Store,
    *,
    images: int,
    fractions: Sequence[float] | None = None,
    final: TrainedNetwork | None = None,
    keep: float = 0.99,
) -> Matrices:
    """Compare every layer of a network on its way with every layer of a finished network.

    Parameters
    ----------
    run : TrainedNetwork
        The network on its way.
    data : ImageData
        The first `images` training images are shown to both, not translated.
    store : Store
        Where the matrices are kept: they are computed once for given weights.
    images : int
        Datapoints of the CCA.
    fractions : sequence of float, optional
        Times to look at; all that the run has kept by default.
    final : TrainedNetwork, optional
        The finished network; by default `run` itself.
    keep : float
        Of the variance of each layer.

    Returns
    -------
    Matrices

    Notes
    -----
    Each layer is decomposed once for each time. The bases of two networks are in memory: at most
    8 n h w c bytes a convolutional layer of c channels, less by what the cut leaves out.
    """
    final = final or run
    times = tuple(run.fractions if fractions is None else fractions)
    network = run.network(times[-1])
    inputs = data.normalised(data.train_images[spread(len(data.train_images), images)])

    def make() -> tuple[dict[str, Tensor], dict[str, int]]:
        columns = FourierLayers.gather(prepared(final.network(), inputs, keep))
        found = []
        for fraction in times:
            logger.info("layers of %s at %g of training", run.config.network.arch, fraction)
            if final is run and fraction == 1.0:
                found.append(pairwise_dft_cca(columns, columns))
            else:  # without a name: gone before those of the next time come
                rows = prepared(run.network(fraction), inputs, keep)
                found.append(pairwise_dft_cca(FourierLayers.gather(rows), columns))
        similarity, chance = (torch.from_numpy(np.stack(part)) for part in zip(*found, strict=True))
        return {"similarity": similarity, "chance": chance}, {"n": len(inputs)}

    artefact = measured(
        store,
        "layer-similarity",
        [run] if final is run else [run, final],
        {
            "data": data.fingerprint,
            "images": len(inputs),
            "fractions": times,
            "keep": keep,
        },
        make,
        name=f"{run.config.network.arch}-{data.name}-s{run.config.seed}",
    )
    return Matrices(
        times,
        network.layers,
        network.labels,
        artefact.tensors["similarity"].numpy(),
        artefact.tensors["chance"].numpy(),
        artefact.meta["n"],
    )


def follow(
    run: TrainedNetwork,
    data: ImageData,
    store: Store,
    *,
    images: int,
    fractions: Sequence[float],
    keep: float = 0.99,
) -> Followed:
    """Compare every layer with its own end, and all layers with each other only at the end.

    The cells are those of `layer_matrices`, without the many that say nothing of when a layer has
    come to its final state.

    Parameters
    ----------
    run, data, store, images, keep
        As of `layer_matrices`.
    fractions : sequence of float
        Times to look at; the last must be 1.

    Raises
    ------
    ValueError
        If the times do not go to the end.
    """
    times = tuple(fractions)
    if times[-1] != 1:
        raise ValueError(f"layers are followed to the end of training, 1; got {times[-1]:g}")
    inputs = data.normalised(data.train_images[spread(len(data.train_images), images)])

    def make() -> tuple[dict[str, Tensor], dict[str, int]]:
        final = FourierLayers.gather(prepared(run.network(), inputs, keep))
        end, chance = pairwise_dft_cca(final, final)
        own = []
        for fraction in times[:-1]:
            logger.info("layers of %s at %g of training", run.config.network.arch, fraction)
            layers = prepared(run.network(fraction), inputs, keep)
            own.append([_same_layer(FourierLayers.gather([layer]), final) for layer in layers])
        found = {"own": np.array([*own, end.diagonal()]), "end": end, "chance": chance}
        return {name: torch.from_numpy(part) for name, part in found.items()}, {"n": len(inputs)}

    artefact = measured(
        store,
        "layers-followed",
        [run],
        {"data": data.fingerprint, "images": len(inputs), "fractions": times, "keep": keep},
        make,
        name=f"{run.config.network.arch}-{data.name}-s{run.config.seed}",
    )
    own, end, chance = (artefact.tensors[name].numpy() for name in ("own", "end", "chance"))
    return Followed(times, run.network().labels, own, end, chance, artefact.meta["n"])


def _same_layer(layer: FourierLayers, final: FourierLayers) -> float:
    """Compare one layer with that of the same name among those of a finished network."""
    (name,) = layer.names
    at = final.names.index(name)
    size = final.sizes[at]
    before = [final.counts[i] for i in range(at) if final.sizes[i] == size]
    starts = np.sum(before, axis=0, dtype=int) if before else np.zeros_like(final.counts[at])
    bases = [
        basis[:, start : start + count]
        for basis, start, count in zip(final._bases[size], starts, final.counts[at], strict=True)
    ]
    alone = FourierLayers(final.n, (name,), (size,), (final.counts[at],), {size: bases})
    return float(pairwise_dft_cca(layer, alone)[0][0, 0])


def prepared(
    network: Network, inputs: Tensor, keep: float
) -> Iterator[tuple[str, FourierSubspace]]:
    """Decompose the layers of a network one after another, a few captured at a time.

    Parameters
    ----------
    network : Network
    inputs : Tensor, shape (n, c, h, w)
    keep : float

    Yields
    ------
    name, layer : str, FourierSubspace
        From the input upward.
    """
    sizes = {k: v[0].numel() for k, v in capture(network, network.layers, inputs[:1]).items()}
    groups: list[list[str]] = [[]]
    for name in network.layers:
        held = sum(sizes[other] for other in groups[-1])
        if groups[-1] and len(inputs) * (held + sizes[name]) > CAPTURED_AT_ONCE:
            groups.append([])
        groups[-1].append(name)
    for group in groups:
        outputs = capture(network, group, inputs)

        def fit(name: str, outputs: dict[str, Tensor] = outputs) -> FourierSubspace:
            return FourierSubspace.fit(outputs.pop(name), keep)

        yield from zip(group, one_thread_each(fit, group), strict=True)


# ------------------------------------------------------------------------- what the matrices show


def settling_times(
    fractions: Sequence[float], own: np.ndarray, threshold: float = 0.8
) -> np.ndarray:
    """Fraction of training at which each layer has come, for good, close to its final state.

    Parameters
    ----------
    fractions : sequence of float, length t
        Ascending, the last being the end.
    own : array, shape (t, layers)
        Similarity of each layer to its own final state.
    threshold : float
        What counts as close.

    Returns
    -------
    array, shape (layers,)
        The last crossing of the threshold from below, between two times by straight line; 0 for a
        layer that is never below it.

    Raises
    ------
    ValueError
        If a layer ends below the threshold.
    """
    own = np.asarray(own)
    if (own[-1] < threshold).any():
        raise ValueError(
            f"expected layers that end at {threshold} or above; got {own[-1].min():.3f} at the end"
        )
    times = np.zeros(own.shape[1])
    for layer, curve in enumerate(own.T):
        below = np.flatnonzero(curve < threshold)
        if len(below):
            a = below[-1]
            step = (threshold - curve[a]) / (curve[a + 1] - curve[a])
            times[layer] = fractions[a] + step * (fractions[a + 1] - fractions[a])
    return times


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation and how often relabelled layers reach it.

    Attributes
    ----------
    rho : float
    chance : float
        95 % of random relabellings stay below this.
    p : float
        Share of relabellings, this one counted, that reach `rho`.
    """

    rho: float
    chance: float
    p: float


def depth_correlation(times: np.ndarray, draws: int = 10_000, seed: int = 0) -> RankCorrelation:
    """Correlate the depth of layers with their settling times: 1 for strictly bottom-up.

    Parameters
    ----------
    times : array, shape (layers,)
        From the input upward.
    draws, seed : int
        Random orders of the layers that chance is taken from.
    """
    rng = np.random.default_rng(seed)
    ranks = stats.rankdata(times)
    shuffled = rng.permuted(np.tile(ranks, (draws, 1)), axis=1)
    depth = np.arange(len(times), dtype=np.float64)
    return _ranked(_pearson(depth, ranks[None])[0], _pearson(depth, shuffled))


def matrix_correlation(
    ours: np.ndarray, theirs: np.ndarray, draws: int = 1_000, seed: int = 0
) -> RankCorrelation:
    """Rank correlation of two matrices of layers, off the diagonal.

    Chance relabels the layers of one of them, rows and columns alike (Mantel's test): cells of a
    matrix are not independent of one another, layers are the units.

    Parameters
    ----------
    ours, theirs : array, shape (layers, layers)
    draws, seed : int
    """
    rng = np.random.default_rng(seed)
    off = ~np.eye(len(ours), dtype=bool)
    ranks, others = stats.rankdata(ours[off]), np.zeros_like(theirs)
    others[off] = stats.rankdata(theirs[off])

    def relabelled(order: np.ndarray) -> np.ndarray:
        return others[np.ix_(order, order)][off]

    shuffled = np.stack([relabelled(rng.permutation(len(ours))) for _ in range(draws)])
    return _ranked(_pearson(ranks, others[off][None])[0], _pearson(ranks, shuffled))


def _pearson(x: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Correlate x, (n,), with each row of ys, (m, n); 0 where a row is constant."""
    a, b = x - x.mean(), ys - ys.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(a) * np.linalg.norm(b, axis=1)
    return np.divide(b @ a, norms, out=np.zeros(len(ys)), where=norms > 0)


def _ranked(rho: float, shuffled: np.ndarray) -> RankCorrelation:
    reached = int((shuffled >= rho - 1e-12).sum())
    return RankCorrelation(
        float(rho), float(np.quantile(shuffled, 0.95)), (1 + reached) / (1 + len(shuffled))
    )


def nearness(layers: int) -> np.ndarray:
    """Return the matrix that knows nothing but that near layers are alike: ``-abs(i - j)``."""
    depth = np.arange(layers)
    return -np.abs(depth[:, None] - depth).astype(np.float64)


def _is_repeat(label: str) -> bool:
    """Whether a layer is a batch norm of the layer below it and nothing more."""
    # "err" is the ResNet's first batch norm; "bn_cv" has a ReLU and a convolution behind its own.
    return label == "err" or (label.startswith("bn") and "_" not in label)


def blocks(labels: Sequence[str]) -> list[tuple[int, ...]]:
    """Group the positions of layers so that each layer counts once.

    A batch norm scales and shifts every channel of the layer below, which no CCA sees: uncut, the
    two are one layer, and at a cut nearly so. Where layers are the units of a rank correlation, the
    two are one unit.

    Examples
    --------
    >>> blocks(["in", "c1", "c2", "bn1", "p1"])
    [(0,), (1,), (2, 3), (4,)]
    """
    found: list[tuple[int, ...]] = []
    for i, label in enumerate(labels):
        if found and _is_repeat(label):
            found[-1] += (i,)
        else:
            found.append((i,))
    return found


def collapse(
    matrix: np.ndarray, rows: Sequence[Sequence[int]], columns: Sequence[Sequence[int]]
) -> np.ndarray:
    """Average the cells of each block of rows and columns.

    Parameters
    ----------
    matrix : array, shape (layers, other layers)
    rows, columns : sequence of positions
        As `blocks` gives them.

    Returns
    -------
    array, shape (len(rows), len(columns))
    """
    return np.array([[matrix[np.ix_(a, b)].mean() for b in columns] for a in rows])


def off_diagonal(matrix: np.ndarray) -> np.ndarray:
    """Return the cells of a square matrix off its diagonal, row after row."""
    return matrix[~np.eye(len(matrix), dtype=bool)]


def by_distance(matrix: np.ndarray) -> np.ndarray:
    """Replace each cell by the mean of all cells equally far from the diagonal.

    What is left is what the matrix says of depth alone: a partial correlation that this reaches as
    well owes nothing to single layers.
    """
    distance = -nearness(len(matrix))
    averaged = np.empty_like(matrix, dtype=np.float64)
    for d in range(len(matrix)):
        averaged[distance == d] = matrix[distance == d].mean()
    return averaged


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two lists of numbers; 0 where one of them is constant."""
    return float(_pearson(_ranks(a), _ranks(b)[None])[0])


def partial_rank_correlation(a: np.ndarray, b: np.ndarray, given: np.ndarray) -> float:
    """Rank correlation of two lists of numbers, less what a third explains of both.

    Pearson's correlation of what is left of the ranks of `a` and of `b` after a straight line in
    those of `given`; 0 where nothing is left of one of them.

    Parameters
    ----------
    a, b, given : array, shape (n,)
        Numbers that agree to 1e-6 are tied: the order of rounding errors is none.
    """
    ranks = [_ranks(values) for values in (a, b, given)]
    x, y, z = (rank - rank.mean() for rank in ranks)
    if z.any():
        x, y = (part - (part @ z) / (z @ z) * z for part in (x, y))
    # of ranks, which are halves of whole numbers, nothing smaller than rounding can be left
    x, y = (part * (np.linalg.norm(part) > 1e-9 * len(part) ** 1.5) for part in (x, y))
    return float(_pearson(x, y[None])[0])


def _ranks(values: np.ndarray) -> np.ndarray:
    ranks: np.ndarray = stats.rankdata(np.round(values, 6))
    return ranks


def batch_norm_pairs(labels: Sequence[str]) -> list[tuple[int, int]]:
    """Positions of each batch norm and of the layer below it."""
    return [(i, i - 1) for i, label in enumerate(labels) if _is_repeat(label)]


def named_layers(labels: Sequence[str]) -> dict[int, str]:
    """Choose the layers to name beside a matrix, by position: all, or those where a ResNet changes.

    The residual units are counted: "unit 6" is its sum.
    """
    sums = [i for i, label in enumerate(labels) if label == "res"]
    if not sums:
        return dict(enumerate(labels))
    per_stage = len(sums) // 3
    chosen = [sums[0], *(sums[k * per_stage - 1] for k in (1, 2, 3))]
    units = {i: f"unit {sums.index(i) + 1}" for i in chosen}
    return {0: labels[0], **units, len(labels) - 1: labels[-1]}


def stripe_contrast(labels: Sequence[str], matrix: np.ndarray) -> float:
    """How much closer residual sums are to each other than to the branch between them.

    For consecutive sums of a ResNet: similarity of the upper to the lower one, less its similarity
    to the first convolution of the branch, which is nearer to it; averaged. The skip connection
    shows as a stripe where this is positive.
    """
    sums = [i for i, label in enumerate(labels) if label == "res"]
    return float(np.mean([matrix[b, a] - matrix[b, a + 1] for a, b in pairwise(sums)]))


# ------------------------------------------------------------------------ the paper's own Figure 4


def published(name: str, percent: int) -> tuple[tuple[str, ...], np.ndarray]:
    """Read one panel of the paper's Figure 4, as recovered from the published image.

    Parameters
    ----------
    name : str
        "conv" or "res".
    percent : int
        0, 35, 75 or 100.

    Returns
    -------
    labels : tuple of str
    matrix : array, shape (layers, layers)
        Row: layer during training; column: layer at the end.
    """
    path = PUBLISHED / f"fig4_{name}_{percent:03d}.csv"
    labels = tuple(path.read_text(encoding="utf-8").splitlines()[0].split(","))
    return labels, np.loadtxt(path, delimiter=",", skiprows=1)


# ------------------------------------------------------------------- other readings of convolutions


READINGS: Mapping[str, str] = MappingProxyType(
    {
        "dft": "DFT, 99 % of the layer (this chapter)",
        "dft-uncut": "DFT, nothing cut",
        "pixels-as-datapoints": "channels are neurons, pixels datapoints",
        "mean-pooled": "spatial means",
        "flattened": "every pixel a neuron",
    }
)


@dataclass(frozen=True)
class Reading:
    """What one reading of two layers gives, and what independent layers would; None: impossible."""

    similarity: float | None
    chance: float | None

    @property
    def possible(self) -> bool:
        """Whether the two layers can be read so."""
        return self.similarity is not None


def readings(x: Tensor, y: Tensor, keep: float = 0.99, seed: int = 0) -> dict[str, Reading]:
    """Compare two layers under each reading of a convolution in `READINGS`.

    Parameters
    ----------
    x, y : Tensor, shape (n, c, h, w) or (n, c)
    keep : float
    seed : int
        Of the shuffled images from which chance is taken where pixels are datapoints: pixels of one
        image are not independent, and a closed form would be far too low.

    Returns
    -------
    dict of str to Reading
        Pixels can be datapoints only if both layers have the same height and width, and neurons
        only if there are more images than neurons.
    """
    found: dict[str, Reading] = {}
    for name, kept in (("dft", keep), ("dft-uncut", 1.0)):
        result = dft_cca(x, y, keep=kept)
        found[name] = Reading(result.similarity, result.chance)
    found["pixels-as-datapoints"] = found["flattened"] = Reading(None, None)
    if x.ndim == y.ndim == 4 and x.shape[2:] == y.shape[2:]:
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
        value, floor = (
            svcca(channels_as_neurons(x), channels_as_neurons(other), keep=keep).similarity
            for other in (y, y[order])
        )
        found["pixels-as-datapoints"] = Reading(value, floor)
    pooled = [layer.double().mean((2, 3)) if layer.ndim == 4 else layer for layer in (x, y)]
    result = svcca(*pooled, keep=keep)
    found["mean-pooled"] = Reading(result.similarity, result.chance)
    flat = [pixels_as_neurons(layer) if layer.ndim == 4 else layer for layer in (x, y)]
    if max(layer.shape[1] for layer in flat) + 1 < len(x):
        result = svcca(*flat, keep=keep)
        found["flattened"] = Reading(result.similarity, result.chance)
    return {name: found[name] for name in READINGS}
