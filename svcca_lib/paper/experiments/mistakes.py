r"""Common mistakes in comparing layers, each made on purpose beside the way that works.

Every function returns a `Mistake`: what was asked, the number that the mistake gives, and the
number of the remedy, on the same responses. The wrong ways are written out here, in the few lines
in which they occur in practice; the library does none of them. Layers x and y are (n, p) and (n, q)
on the same images, and `seed` is that of a shuffling.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from svcca_lib import (
    Moments,
    SampleSizeWarning,
    capture,
    cca,
    channels_as_neurons,
    cka,
    compare,
    held_out_cca,
    image_of_row,
    permutation_test,
    svcca,
)
from svcca_lib.paper.experiments.inputs import shuffled
from svcca_lib.paper.training.trained import TrainedNetwork


@dataclass(frozen=True)
class Mistake:
    """One mistake beside its remedy."""

    name: str  # what was done
    remedy: str  # what to do instead
    wrong: float  # what the mistake gives
    right: float  # what the remedy gives
    truth: float | None = None  # what the answer has to be, where that is known

    @property
    def error(self) -> float:
        """How far the wrong number is from the right one."""
        return abs(self.wrong - self.right)


@contextmanager
def _without_a_warning() -> Iterator[None]:
    """The library would say that there are too few images: that is part of the mistake."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SampleSizeWarning)
        yield


@contextmanager
def _hooked(
    model: nn.Module, layer: str, keep: Callable[[Tensor], Tensor]
) -> Iterator[list[Tensor]]:
    """Collect what `keep` makes of each output of a layer, as a hand-written hook does."""
    kept: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda module, args, output: kept.append(keep(output))
    )
    yield kept
    handle.remove()


def shuffled_twice(model: nn.Module, layer: str, inputs: Tensor, seed: int = 0) -> Mistake:
    """Record a model twice with a loader that shuffles, and compare it with itself by CKA."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        loader: Any = DataLoader(inputs, batch_size=100, shuffle=True)  # type: ignore[arg-type]
        x, y = (capture(model, layer, loader)[layer] for _ in range(2))
        right = compare(model, model, loader, layer, measure="cka", conv="mean", progress=False)
    return Mistake(
        "two passes of a loader that shuffles",
        "one pass for both models",
        cka(x, y).similarity,
        float(right.matrix[0, 0]),
        truth=1.0,
    )


def not_centred(x: Tensor, y: Tensor, seed: int = 0) -> Mistake:
    """Compute CKA without centring, of a layer with one that was shown other images.

    Few responses are negative, as behind a ReLU.
    """
    other = shuffled(y, seed)
    norms = torch.linalg.norm(x.T @ x) * torch.linalg.norm(other.T @ other)
    wrong = torch.linalg.norm(x.T @ other) ** 2 / norms
    return Mistake(
        "CKA of responses that are not centred",
        "centre each neuron (cka does)",
        float(wrong),
        cka(x, other, debiased=True).similarity,
        truth=0.0,
    )


def too_few_images(x: Tensor, y: Tensor, seed: int = 0) -> Mistake:
    """Compute CCA with as many images as neurons, of layers that were shown other images.

    There are several times as many: n is several times p.
    """
    other, few = shuffled(y, seed), x.shape[1]
    with _without_a_warning():
        wrong = cca(x[:few], other[:few]).similarity
    return Mistake(
        "as many images as neurons",
        "more images, held out",
        wrong,
        held_out_cca(x, other).similarity,
        truth=0.0,
    )


def averaged_over_batches(x: Tensor, y: Tensor, batch: int) -> Mistake:
    """Average CCA over batches, of more rows than neurons, in place of one CCA of all images."""
    with _without_a_warning():
        pairs = zip(torch.split(x, batch), torch.split(y, batch), strict=True)
        wrong = np.mean([cca(a, b).similarity for a, b in pairs if len(a) == batch])
    moments = Moments()
    for a, b in zip(torch.split(x, batch), torch.split(y, batch), strict=True):
        moments.update(a, b)
    return Mistake(
        "CCA averaged over minibatches",
        "accumulate Moments, then one CCA",
        float(wrong),
        cca(moments).similarity,
        truth=cca(x, y).similarity,
    )


def no_rank_cut(x: Tensor, y: Tensor) -> Mistake:
    """Invert float32 covariances of layers with dependent neurons; the largest "correlation".

    Half as many neurons are added here that are sums of the others: nothing new, for a CCA.
    """
    generator = torch.Generator().manual_seed(0)

    def redundant(z: Tensor) -> Tensor:
        sums = torch.randn(z.shape[1], z.shape[1] // 2, generator=generator, dtype=z.dtype)
        return torch.cat([z, z @ sums], dim=1)

    a, b = redundant(x), redundant(y)

    def covariance(u: Tensor, v: Tensor) -> Tensor:
        # As sums over batches are often turned into covariances
        u, v = u.float(), v.float()
        return u.T @ v / len(u) - torch.outer(u.mean(0), v.mean(0))

    def inverse_root(z: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(covariance(z, z))
        root: Tensor = vectors / values.abs().clamp(min=1e-12).sqrt() @ vectors.T
        return root

    wrong = torch.linalg.svdvals(inverse_root(a) @ covariance(a, b) @ inverse_root(b))[0]
    return Mistake(
        "covariances inverted in float32, no rank cut",
        "a relative rank cut in float64 (cca does)",
        float(wrong),
        float(cca(a, b).correlations[0]),
        truth=float(cca(x, y).correlations[0]),
    )


def overwritten(model: nn.Sequential, layer: str, inputs: Tensor) -> Mistake:
    """Keep a hook's output without a copy, of a layer that an in-place ReLU follows."""
    with torch.no_grad(), _hooked(model, layer, Tensor.detach) as kept:
        model.eval()(inputs)
    copied = capture(model, layer, inputs)[layer]
    return Mistake(
        "a hook without a copy, below an in-place ReLU",
        "copy in the hook (capture does)",
        float((kept[0] < 0).double().mean()),
        float((copied < 0).double().mean()),
    )


def training_mode(model: nn.Module, layer: str, inputs: Tensor, batch: int = 32) -> Mistake:
    """Record a model with batch norm in training mode, and compare it with itself in evaluation.

    The layer is above a batch norm, batches are in the order of the data; the model is left as it
    was.
    """
    state = {name: value.clone() for name, value in model.state_dict().items()}
    proper = capture(model, layer, inputs)[layer]
    with torch.no_grad(), _hooked(model, layer, Tensor.clone) as outputs:
        model.train()
        for part in torch.split(inputs, batch):
            model(part)
    model.load_state_dict(state)
    model.eval()
    return Mistake(
        "batch norm left in training mode",
        "model.eval() (capture does)",
        svcca(proper, torch.cat(outputs)).similarity,
        svcca(proper, capture(model, layer, inputs)[layer]).similarity,
        truth=1.0,
    )


def without_chance(pairs: Sequence[tuple[Tensor, Tensor]], images: Sequence[int]) -> Mistake:
    """Rank two pairs of layers that were measured on different numbers of images, many and few.

    The first pair is the more similar one. The numbers say how far it is ahead: with each pair on
    its own number of images, and with both on many.
    """
    many = images[0]
    with _without_a_warning():
        unequal = [svcca(x[:n], y[:n]).similarity for (x, y), n in zip(pairs, images, strict=True)]
    equal = [svcca(x[:many], y[:many]).similarity for x, y in pairs]
    return Mistake(
        "similarities on different numbers of images",
        "equal images, and chance beside each",
        unequal[0] - unequal[1],
        equal[0] - equal[1],
    )


def pixels_shuffled(x: Tensor, y: Tensor) -> Mistake:
    """Find the floor of a convolution read by pixels by shuffling pixels, not whole images.

    Layers are (n, c, h, w).
    """
    rows = [channels_as_neurons(z) for z in (x, y)]
    by_pixels, by_images = (
        permutation_test(*rows, n_permutations=9, groups=groups).chance
        for groups in (None, image_of_row(x))
    )
    return Mistake(
        "the floor of pixels found by shuffling pixels",
        "shuffle whole images (groups=)",
        by_pixels,
        by_images,
    )


def eight(
    first: TrainedNetwork,
    second: TrainedNetwork,
    inputs: Tensor,
    *,
    early: float = 0.1,
    seed: int = 0,
) -> list[Mistake]:
    """Make each mistake whose number is determined on two ConvNets that differ in their seed.

    The images are several times as many as fc1 has neurons. `first` is looked at early in training
    as well; `seed` is also that of a small network with an in-place ReLU.
    """
    few = inputs[:500]
    x, y, earlier = (
        capture(run.network(fraction), "fc1", inputs)["fc1"].double()
        for run, fraction in ((first, 1.0), (second, 1.0), (first, early))
    )
    c4 = [capture(run.network(), "c4", inputs[:300])["c4"] for run in (first, second)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        in_place = nn.Sequential(
            nn.Flatten(),
            nn.Linear(inputs[0].numel(), 32),
            nn.ReLU(inplace=True),
            nn.Linear(32, 10),
        )
    return [
        shuffled_twice(first.network(), "fc1", few, seed),
        not_centred(x, y, seed),
        too_few_images(x, y, seed),
        averaged_over_batches(x, y, 2 * x.shape[1]),
        overwritten(in_place, "1", few),
        training_mode(first.network(), "bn4", few, 16),
        without_chance([(x, earlier), (x, y)], (len(x), 3 * x.shape[1] // 2)),
        pixels_shuffled(*c4),
    ]
