r"""Stitching: one network up to a layer, an affine map, and the rest of another network.

If the upper part of a network works as well on the layer of another one, the layer holds what the
upper part needs, in a form that a linear map can turn into its own. Bansal et al. train the map on
the task; here it is fitted by least squares to the layer that it replaces, which cannot learn the
task by itself and is solved in closed form (direct matching, Csiszárik et al.). Of a convolution
the map is one of its channels, the same at all pixels.

References
----------
Bansal, Nakkiran, Barak 2021. Csiszárik, Kőrösi-Szabó, Matszangosz, Papp, Varga 2021.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from svcca_lib import Moments, channels_as_neurons
from svcca_lib.paper.experiments.inputs import Images, split_at
from svcca_lib.paper.experiments.measures import similarity
from svcca_lib.paper.experiments.ranks import rank_correlation
from svcca_lib.paper.training.evaluation import evaluate
from svcca_lib.paper.training.networks import Network
from svcca_lib.paper.training.trained import TrainedNetwork

MEASURES = ("SVCCA", "CKA")


class Affine(nn.Module):
    """An affine map of neurons, or of channels at every pixel: (n, p) or (n, p, h, w)."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)  # (p, q)
        self.bias = nn.Parameter(bias, requires_grad=False)  # (q,)

    def forward(self, x: Tensor) -> Tensor:
        """Map the second dimension of `x`."""
        mapped: Tensor = x.movedim(1, -1) @ self.weight + self.bias
        return mapped.movedim(-1, 1)


def rows(x: Tensor) -> Tensor:
    """Return responses, (n, p) or (n, c, h, w), as rows: of a convolution each pixel is one."""
    return x if x.ndim == 2 else channels_as_neurons(x)


def fitted(x: Tensor, y: Tensor) -> Affine:
    """Fit the affine map of least squares from one layer to another, float32.

    Both (n, p) and (n, q), or (n, p, h, w) and (n, q, h, w). Of maps that fit equally well, as
    where neurons are dead, the smallest.
    """
    moments = Moments()
    moments.update(rows(x), rows(y))
    weight = torch.linalg.pinv(moments.xx, hermitian=True) @ moments.xy
    return Affine(weight.float(), (moments.mean_y - moments.mean_x @ weight).float())


def stitched(sender: Network, receiver: Network, layer: str, between: Affine) -> nn.Sequential:
    """Return the sender up to a stage, the map, and what the receiver has above that stage."""
    below, above = split_at(sender, layer)[0], split_at(receiver, layer)[1]
    return nn.Sequential(below, between, above)


def learn(joined: nn.Sequential, images: Images, steps: int, seed: int) -> None:
    """Train the map of a stitched network on labels, from where it is; nothing else changes.

    Adam with a rate of 0.01, on batches of 128 in evaluation mode: batch statistics stay.
    """
    below, between, above = joined.eval()
    between.requires_grad_()
    adam = torch.optim.Adam(between.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        some = torch.randint(len(images), (128,), generator=generator)
        with torch.no_grad():
            lower = below(images.prepare(images.pixels[some]))
        loss = functional.cross_entropy(above(between(lower)), images.labels[some])
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    between.requires_grad_(False)


@dataclass(frozen=True, eq=False)
class Stitching:
    """Layers of one network, at times of its training, in place of another network's own."""

    own: float  # test accuracy of the receiver as it is
    accuracy: np.ndarray  # (times, layers), of the stitched networks
    similarity: dict[str, np.ndarray]  # measure of `MEASURES` -> (times, layers)

    @property
    def kept(self) -> np.ndarray:
        """Accuracy as a share of the receiver's own, (times, layers)."""
        share: np.ndarray = self.accuracy / self.own
        return share

    def agreement(self, measure: str) -> float:
        """Rank correlation of a measure with the stitched accuracy, over layers and times."""
        return rank_correlation(self.similarity[measure].ravel(), self.accuracy.ravel())

    @property
    def without_looking(self) -> float:
        """The larger rank correlation of the accuracy with the time alone, and with depth alone."""
        times, layers = np.indices(self.accuracy.shape)
        accuracy = self.accuracy.ravel()
        return max(rank_correlation(known.ravel(), accuracy) for known in (times, -layers))


def stitch(
    sender: TrainedNetwork,
    receiver: TrainedNetwork,
    shown: Mapping[str, Images],
    times: Sequence[float],
    test: Images,
) -> Stitching:
    """Stitch layers of a network, at fractions of its training, into another, finished one.

    `shown` has the images on which the map of each layer is fitted, and on which the layers are
    compared: rows are images, of convolutions the pixels of all images. Accuracies are on `test`.
    """
    whole = receiver.network()
    accuracy = np.empty((len(times), len(shown)))
    found = {measure: np.empty_like(accuracy) for measure in MEASURES}
    for at, x, y, joined in _all_stitched(sender, whole, shown, times):
        accuracy[at] = evaluate(joined, test.inputs, test.labels)
        for measure in MEASURES:
            found[measure][at] = similarity(measure, rows(x), rows(y))
    return Stitching(evaluate(whole, test.inputs, test.labels), accuracy, found)


def stitch_on_task(
    sender: TrainedNetwork,
    receiver: TrainedNetwork,
    shown: Mapping[str, Images],
    times: Sequence[float],
    train: Images,
    test: Images,
    *,
    steps: int = 50,
    seed: int = 0,
) -> np.ndarray:
    """Share of its accuracy that a network keeps, (times, layers), by maps that learn the task.

    As `stitch`, but each map goes on from least squares by some `steps` of `learn`.
    """
    whole = receiver.network()
    accuracy = np.empty((len(times), len(shown)))
    for at, _, _, joined in _all_stitched(sender, whole, shown, times):
        learn(joined, train, steps, seed)
        accuracy[at] = evaluate(joined, test.inputs, test.labels)
    share: np.ndarray = accuracy / evaluate(whole, test.inputs, test.labels)
    return share


def _all_stitched(
    sender: TrainedNetwork,
    whole: Network,
    shown: Mapping[str, Images],
    times: Sequence[float],
) -> Iterator[tuple[tuple[int, int], Tensor, Tensor, nn.Sequential]]:
    """Yield for each time and layer its place, both networks' responses, and the two stitched."""
    targets = _responses(whole, shown)
    for t, time in enumerate(times):
        network = sender.network(time)
        responses = _responses(network, shown)
        for k, layer in enumerate(shown):
            x, y = responses[layer], targets[layer]
            yield (t, k), x, y, stitched(network, whole, layer, fitted(x, y))


def _responses(network: Network, shown: Mapping[str, Images]) -> dict[str, Tensor]:
    """Record each layer on its images; layers that share images in one run."""
    found: dict[str, Tensor] = {}
    for images in {id(images): images for images in shown.values()}.values():
        found |= images.responses(network, [name for name in shown if shown[name] is images])
    return found
