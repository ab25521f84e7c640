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
    """Directions of one layer, most important first, and the projection on the leading ones.

    Attributes
    ----------
    mean : Tensor, shape (p,)
    down : Tensor, shape (p, m)
        ``(x - mean) @ down`` are uncorrelated responses.
    up : Tensor, shape (m, p)
        What each of them adds to each neuron.
    """

    mean: Tensor
    down: Tensor
    up: Tensor

    def leading(self, ratio: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return the projection on the first ``ratio * p`` directions, or on all if fewer.

        Parameters
        ----------
        ratio : float
            Of the number of neurons, in (0, 1]; at least one direction is kept.

        Returns
        -------
        mean, down, up
            As `svcca_lib.compress` takes them.
        """
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio must be in (0, 1]; got {ratio}")
        k = max(1, round(ratio * len(self.mean)))
        return self.mean, self.down[:, :k], self.up[:k]


def ordered(
    layer: Subspace, reference: Subspace | None = None, *, by: By = "correlation"
) -> Directions:
    r"""Order the directions of a layer by how well a reference has them.

    Parameters
    ----------
    layer : Subspace
        Cut to the directions that matter, as SVCCA cuts it.
    reference : Subspace, optional
        Of the same datapoints. Without one the directions are the layer's singular directions.
    by : {"correlation", "variance"}
        Order the directions that layer and reference share by their canonical correlation, as
        SVCCA does, or by the variance of the reference that each explains.

    Returns
    -------
    Directions
        As many as ``layer.kept``: first those shared with the reference, then what is left of the
        layer by descending variance.

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

    The layer itself is there, under its name, as an identity: it can be compressed.

    Raises
    ------
    ValueError
        If the layer is not a stage of the network.
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
    """Directions of the top layers by each way of ordering them.

    Parameters
    ----------
    own, other : mapping of str to Tensor
        Responses of two networks to the same images: of the layers in `TOP` and the logits.
    keep : float
        Share of the variance of each layer that SVCCA keeps. The logits are kept whole.

    Returns
    -------
    dict of str to dict of str to Directions
        Each of `VARIANTS` -> layer -> directions.
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

    Parameters
    ----------
    network : Network
    directions : mapping of str to Directions
        Of layers from the top downward: row i has the first i + 1 of them compressed.
    parts : mapping of str to (responses, labels)
        Such as "train" and "test": responses of (at least) all these layers, and the labels.
    ratios : sequence of float
        Shares of a layer's neurons that are kept as directions, the same for all layers.

    Returns
    -------
    dict of str to array, shape (layers, ratios)
        For each part.

    Notes
    -----
    Only the network above the lowest compressed layer is run.
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

    Parameters
    ----------
    store : Store
    run, partner : TrainedNetwork
        The network that is compressed, and the other one of variant (a).
    data : ImageData
    ratios : sequence of float
        Ascending.
    images : int
        Training images, spread over the training set, on which directions are found and the
        training accuracy is measured.
    keep : float
        As `variants`.

    Returns
    -------
    dict of str to array
        ``"full/train"`` and ``"full/test"``, shape (): accuracy of the network as it is. And
        ``"<variant>/train"``, ``"<variant>/test"``, shape (layers, ratios), as `consecutive`.
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
    """Smallest ratio from which on the accuracy is at least `least`.

    Parameters
    ----------
    ratios : sequence of float
        Ascending.
    accuracy : array, shape (ratios,)
    least : float

    Raises
    ------
    ValueError
        If not even the largest ratio reaches it.
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
