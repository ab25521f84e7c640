r"""Class by class: how much of one logit each layer holds, the measure of the paper's Figure 6.

A class logit is one number an image, a map of one pixel. In DFT-CCA such a map has the frequency
zero alone, and there a convolutional layer has one number a channel, its spatial mean. So the
similarity of a layer and a logit is the multiple correlation of the logit with the spatial means of
the layer: a lower bound of what the whole layer holds.

References
----------
Raghu et al. 2017, section 4.3, Figure 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional

from svcca_lib import FourierSubspace, dft_cca
from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.experiments.inputs import images_of
from svcca_lib.paper.experiments.measurements import measured
from svcca_lib.paper.experiments.ranks import rank_correlation
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.trained import TrainedNetwork

HEAD = ("logits", "out")  # hold every logit as it is

# Two pairs of classes that look alike and one that looks like none of them, chosen beforehand.
# Digits: 3 and 8 share their right half, 4 and 9 differ by whether the loop is closed; 0 is a ring.
DIGITS = ("3", "8", "4", "9", "0")
CIFAR10 = ("cat", "dog", "automobile", "truck", "ship")


@dataclass(frozen=True)
class Sensitivity:
    """DFT-CCA between layers and single class logits."""

    layers: tuple[str, ...]  # from the input upward, below the logits
    classes: tuple[str, ...]
    similarity: np.ndarray  # (layers, classes)
    chance: np.ndarray  # (layers,), what a logit independent of the layer would give
    n: int  # images


def five_classes(data: ImageData, given: str = "") -> tuple[str, ...]:
    """Return two pairs of similar classes and one apart: as given, separated by commas, or chosen.

    ValueError if there are not five, they are no classes of the data, or none are chosen for it.
    """
    chosen = [five for five in (DIGITS, CIFAR10) if set(five) <= set(data.classes)]
    five = tuple(name.strip() for name in given.split(",")) if given else (*chosen, ())[0]
    if len(set(five)) != 5:
        raise ValueError(
            f"expected five classes of {data.label}, two pairs and one apart, separated by commas; "
            f"got {given!r}"
        )
    _positions(five, data.classes)
    return five


def logit_similarity(
    means: dict[str, Tensor], logits: Tensor, keep: float
) -> dict[str, np.ndarray]:
    """Compare every layer, (n, c) as of `Images.spatial_means`, with every logit, (n, classes).

    Each layer is decomposed once, and cut to `keep` of its variance. Returns "similarity",
    (layers, classes), and "chance", (layers,).
    """
    columns = [FourierSubspace.fit(logit[:, None]) for logit in logits.T]
    values, chance = [], []
    for layer in means.values():
        row = FourierSubspace.fit(layer, keep)
        found = [dft_cca(row, column) for column in columns]
        values.append([result.similarity for result in found])
        chance.append(found[0].chance)
    return {"similarity": np.array(values), "chance": np.array(chance)}


def class_sensitivity(
    run: TrainedNetwork,
    data: ImageData,
    store: Store,
    classes: Sequence[str],
    *,
    images: int,
    fraction: float = 1.0,
    keep: float = 0.99,
) -> Sensitivity:
    """Compare the layers of a network, at a fraction of training, with the logits it ends with.

    At most `images` training images, evenly spaced and not translated, are shown. ValueError if the
    data have no such class.
    """
    at = _positions(classes, data.classes)
    network, final = run.network(fraction), run.network()
    layers = tuple(name for name in network.layers if name not in HEAD)
    shown = images_of(data, images)

    def make() -> dict[str, np.ndarray]:
        logits = shown.spatial_means(final, ("logits",))["logits"]
        return logit_similarity(shown.spatial_means(network, layers), logits, keep)

    config = {"images": images, "fraction": fraction, "keep": keep}
    found = measured(store, "class-sensitivity", [run], config, make, data=data)
    return Sensitivity(
        layers, tuple(classes), found["similarity"][:, at], found["chance"], len(shown)
    )


def confusability(run: TrainedNetwork, data: ImageData) -> np.ndarray:
    """How readily a trained network takes one class for another, symmetric (classes, classes).

    The mean probability that it gives to one class on test images of the other, both ways. A mean
    of probabilities and not a count of errors: of these a good network makes too few to rank pairs.
    """
    shown, network = images_of(data, part="test"), run.network()
    logits = shown.responses(network, ["logits"])["logits"].double()
    of_class = functional.one_hot(shown.labels, len(data.classes)).double()
    means = (of_class.T @ logits.softmax(1)) / of_class.sum(0)[:, None]
    return ((means + means.T) / 2).numpy()


def _positions(wanted: Sequence[str], known: Sequence[str]) -> list[int]:
    missing = [name for name in wanted if name not in known]
    if missing:
        shown = ", ".join(known[:10]) + (" ..." if len(known) > 10 else "")
        raise ValueError(f"classes must be among {shown}; got {', '.join(missing)}")
    return [known.index(name) for name in wanted]


# ------------------------------------------------------------------------- what the curves show


@dataclass(frozen=True)
class Pairs:
    """All pairs of classes: how far apart their curves are, how readily they are confused."""

    distance: np.ndarray  # (pairs,), mean absolute distance of the two curves over layers
    confusability: np.ndarray  # (pairs,)

    @property
    def agreement(self) -> float:
        """Rank correlation: positive where classes that are confused have close curves."""
        return rank_correlation(-self.distance, self.confusability)


def pairs(curves: np.ndarray, confused: np.ndarray) -> Pairs:
    """Take the curves of classes, (layers, classes), in pairs, with what `confusability` says."""
    one, other = np.triu_indices(curves.shape[1], k=1)
    distance = np.abs(curves[:, one] - curves[:, other]).mean(0)
    return Pairs(distance, confused[one, other])


@dataclass(frozen=True)
class Distances:
    """How far the curves of five classes are from each other, averaged over layers."""

    within: float  # mean absolute distance of the two curves of a pair
    between: float  # the same of two curves of different pairs
    apart: float  # the same of the class apart and each of the others
    lead: float  # how far the class apart is above the mean of the others: signed

    @property
    def closeness(self) -> float:
        """Distance within pairs over that of curves that are no pair."""
        return self.within / ((self.between + self.apart) / 2)

    @property
    def distinctness(self) -> float:
        """Distance of the class apart from the others over that within pairs."""
        return self.apart / self.within


def distances(curves: np.ndarray) -> Distances:
    """Measure the five curves of Figure 6, (layers, 5): two pairs of classes, and the one apart.

    ValueError if there are not five.
    """
    if curves.ndim != 2 or curves.shape[1] != 5:
        raise ValueError(f"curves must be (layers, 5): two pairs and one; got {curves.shape}")
    gap = np.abs(curves[:, :, None] - curves[:, None]).mean(0)  # (5, 5)
    return Distances(
        within=float((gap[0, 1] + gap[2, 3]) / 2),
        between=float(gap[:2, 2:4].mean()),
        apart=float(gap[4, :4].mean()),
        lead=float((curves[:, 4] - curves[:, :4].mean(1)).mean()),
    )
