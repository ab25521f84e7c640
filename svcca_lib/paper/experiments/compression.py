r"""Networks whose top layers are read through few directions: what is lost, and how small they get.

The linear map :math:`W` above a layer sees only what it projects out of the layer's responses. With
the layer restricted to k directions, :math:`X \approx \bar X + (X - \bar X)\,D\,U` where D is
(p, k) and U is (k, p), :math:`W` becomes two maps, :math:`D^\top` and :math:`W U^\top`, with
k (p + q) weights in place of p q (`svcca_lib.compress`).

Which directions come first is the question. SVCCA orders them by how well they are found again in
a *reference*: the same layer of another network, or the logits of the same network. A reference has
only so many directions; the layer's others follow, by the variance they add.

References
----------
Raghu et al. 2017, Appendix Figure 5.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from svcca_lib import Subspace, compress
from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.experiments.crossings import holds_from
from svcca_lib.paper.experiments.inputs import images_of, split_at
from svcca_lib.paper.experiments.measurements import measured
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.evaluation import evaluate
from svcca_lib.paper.training.networks import Network
from svcca_lib.paper.training.trained import TrainedNetwork

By = Literal["correlation", "variance"]

BATCH = 500  # images that go through a network at a time
TOP = ("bn4", "fc2", "bn3", "fc1", "p2")  # in the order in which the paper compresses them

# (a) and (b) of Appendix Figure 5; and, to compare with, the SVD without any reference
VARIANTS = ("two networks", "logits", "variance alone")


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions of one layer, most important first, and the projection on the leading ones."""

    mean: Tensor  # (p,)
    down: Tensor  # (p, m); ``(x - mean) @ down`` are uncorrelated responses
    up: Tensor  # (m, p), what each of them adds to each neuron

    def leading(self, ratio: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, down and up of the first ``ratio * p`` directions, or of all if fewer.

        At least one direction is kept. ValueError if the ratio is not in (0, 1].
        """
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio must be in (0, 1]; got {ratio}")
        k = max(1, round(ratio * len(self.mean)))
        return self.mean, self.down[:, :k], self.up[:k]


def ordered(
    layer: Subspace, reference: Subspace | None = None, *, by: By = "correlation"
) -> Directions:
    r"""Order the directions of a layer by how well a reference on the same datapoints has them.

    First come those that layer (cut as SVCCA cuts it) and reference share, by their canonical
    correlation, as SVCCA does, or by the variance of the reference that each explains; then what is
    left of the layer by descending variance, ``layer.kept`` in all. Without a reference they are
    the layer's singular directions. ValueError if `by` is neither.

    Notes
    -----
    With orthonormal bases :math:`Q, R` of layer and reference, the canonical directions are the
    left singular vectors of :math:`Q^\top R`. Those of :math:`Q^\top R \,\mathrm{diag}(s)`, with s
    the reference's singular values, span the same subspace. Where many correlations are 1, as
    between the logits and a layer of which they are a linear map, rounding decides the first order,
    but not the second.

    The rest of the layer is :math:`X - \bar X \approx Q S V^\top` less its projection on the
    directions :math:`Q A` taken; its left singular vectors are those of :math:`(I - A A^\top) S`,
    so that p2 with its 4096 neurons costs no more than its decomposition.
    """
    if by not in ("correlation", "variance"):
        raise ValueError(f"by must be 'correlation' or 'variance'; got {by!r}")
    mean, basis, values, weights = (
        torch.as_tensor(part)
        for part in (layer.mean, layer.directions, layer.singular_values, layer.weights)
    )
    chosen = torch.eye(layer.kept, dtype=values.dtype)
    if reference is not None:
        shared = torch.as_tensor(layer.basis).T @ torch.as_tensor(reference.basis)
        if by == "variance":
            shared = shared * torch.as_tensor(reference.singular_values)
        first = torch.linalg.svd(shared, full_matrices=False)[0]  # (kept, m)
        rest = torch.diag(values) - first @ (first.T * values)
        others = torch.linalg.svd(rest)[0][:, : layer.kept - first.shape[1]]
        chosen = torch.cat([first, others], dim=1)
    return Directions(mean, weights @ chosen, (chosen.T * values) @ basis.T)


def head(network: Network, layer: str) -> nn.Sequential:
    """Return the network above a layer, to be fed with the layer's responses.

    The layer itself is there, under its name, as an identity: it can be compressed. ValueError if
    it is not a stage of the network.
    """
    _, above = split_at(network, layer)
    return nn.Sequential(OrderedDict([(layer, nn.Identity()), *above.named_children()])).eval()


def compressed(network: nn.Module, directions: Mapping[str, Directions], ratio: float) -> nn.Module:
    """Build the network that reads these layers through a share of their directions.

    It has fewer weights only where two maps are smaller than one, below `most_that_pays`.
    """
    return compress(network, {name: d.leading(ratio) for name, d in directions.items()})


def variants(
    own: Mapping[str, Tensor], other: Mapping[str, Tensor], keep: float = 0.99
) -> dict[str, dict[str, Directions]]:
    """Directions of the top layers by each way of ordering them: variant -> layer -> directions.

    From the responses of two networks to the same images, of the layers in `TOP` and the logits.
    Each layer is cut to `keep` of its variance; the logits are kept whole.
    """
    logits = Subspace.fit(own["logits"], keep=1.0)
    found: dict[str, dict[str, Directions]] = {variant: {} for variant in VARIANTS}
    for name in TOP:
        layer = Subspace.fit(own[name].flatten(1), keep=keep)
        twin = Subspace.fit(other[name].flatten(1), keep=keep)
        found["two networks"][name] = ordered(layer, twin)
        found["logits"][name] = ordered(layer, logits, by="variance")
        found["variance alone"][name] = ordered(layer)
    return found


def consecutive(
    network: Network,
    directions: Mapping[str, Directions],
    parts: Mapping[str, tuple[Mapping[str, Tensor], Tensor]],
    ratios: Sequence[float],
) -> dict[str, np.ndarray]:
    """Accuracy while more and more layers are compressed, to smaller and smaller size.

    Directions are of layers from the top downward: row i of a result, (layers, ratios), has the
    first i + 1 of them compressed. Each of the parts, such as "test", is responses of these layers
    and labels. Ratios are shares of a layer's neurons. Only what is above the lowest of them runs.
    """
    accuracy = {part: np.empty((len(directions), len(ratios))) for part in parts}
    names = list(directions)
    for i, lowest in enumerate(names):
        above = head(network, lowest)
        chosen = {name: directions[name] for name in names[: i + 1]}
        for j, ratio in enumerate(ratios):
            small = compressed(above, chosen, ratio)
            for part, (layers, labels) in parts.items():
                accuracy[part][i, j] = evaluate(small, layers[lowest], labels)
    return accuracy


def study(
    store: Store,
    run: TrainedNetwork,
    partner: TrainedNetwork,
    data: ImageData,
    ratios: Sequence[float],
    *,
    images: int = 10_000,
    keep: float = 0.99,
) -> dict[str, np.ndarray]:
    """Compress one network in every variant; measured once and kept in the store.

    `partner` is the other network of variant (a). On `images` training images, spread over the
    training set, directions are found and the training accuracy is measured. Returns
    ``"full/train"`` and ``"full/test"``, (), the accuracy of the network as it is, and
    ``"<variant>/train"`` and ``"<variant>/test"``, (layers, ratios), as `consecutive`.
    """

    def make() -> dict[str, np.ndarray]:
        layers = (*TOP, "logits")
        networks = [r.network() for r in (run, partner)]
        shown = {"train": images_of(data, images), "test": images_of(data, part="test")}
        train, other = (shown["train"].responses(n, layers, BATCH) for n in networks)
        test = shown["test"].responses(networks[0], layers, BATCH)
        parts = {"train": (train, shown["train"].labels), "test": (test, shown["test"].labels)}
        whole = head(networks[0], TOP[-1])
        found = {
            f"full/{part}": np.array(evaluate(whole, x[TOP[-1]], labels))
            for part, (x, labels) in parts.items()
        }
        for variant, directions in variants(train, other, keep).items():
            curves = consecutive(networks[0], directions, parts, ratios)
            found |= {f"{variant}/{part}": accuracy for part, accuracy in curves.items()}
        return found

    config = {"ratios": ratios, "images": images, "keep": keep}
    return measured(store, "compression", [run, partner], config, make, data=data)


def smallest_ratio(ratios: Sequence[float], accuracy: np.ndarray, least: float) -> float:
    """Smallest of ascending ratios from which on the accuracy is at least `least`.

    ValueError if not even the largest reaches it.
    """
    first = holds_from(np.asarray(accuracy) >= least)
    if first is None:
        raise ValueError(f"no ratio reaches an accuracy of {least:.3f}; got {accuracy}")
    return float(ratios[first])


def most_that_pays(neurons: int, outputs: int) -> int:
    """Return the most directions of a layer with which two maps hold fewer weights than one.

    From there on `svcca_lib.compress` stores their product, with the weights of the old matrix: k
    directions of p neurons read by q pay while k (p + q) < p q.

    Examples
    --------
    >>> most_that_pays(512, 256), 170 * (512 + 256) < 512 * 256 < 171 * (512 + 256)
    (170, True)
    """
    return (neurons * outputs - 1) // (neurons + outputs)


def weights(network: nn.Module) -> int:
    """Count the trained numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
