r"""Accuracy of a trained network, one of whose layers is restricted to a few directions or neurons.

The layers are captured once; a restricted layer is fed to the rest of the network, which is not
retrained. All restrictions are projections in data space, as the paper's section 2.1 has it: each
neuron, a vector of responses over the training images, is replaced by its nearest vector in the
span of the chosen directions or neurons, and the linear map that does so is applied to the test
images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from svcca_lib import projection_matrix
from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.experiments.crossings import enough
from svcca_lib.paper.experiments.inputs import images_of, split_at
from svcca_lib.paper.training.evaluation import evaluate
from svcca_lib.paper.training.networks import Network

Others = Literal["predicted", "mean"]

DIRECTIONS = "SVCCA directions", "principal components", "random directions"  # what is kept

BATCH = 500  # images that go through a network at a time

# Of the largest variance, added to every neuron's own: it leaves predictions as they are and gives
# neurons that are dead or depend on others the smallest coefficients.
RIDGE = 1e-10


@dataclass(frozen=True, eq=False)
class CutNetwork:
    """A trained network cut above one layer."""

    name: str  # the layer
    train: Tensor  # (n, p), its responses, a convolution flattened to p = c * h * w neurons
    test: Tensor  # (n_test, p)
    shape: tuple[int, ...]  # of one response as the network has it, (p,) or (c, h, w)
    labels: Tensor  # (n_test,)
    above: nn.Module  # the rest of the network, from the responses to the logits

    @property
    def width(self) -> int:
        """Number of neurons."""
        return self.train.shape[1]

    def accuracy(self, responses: Tensor) -> float:
        """Test accuracy with these responses, float32 (n_test, p), in place of the layer's own."""
        return evaluate(self.above, responses.reshape(-1, *self.shape), self.labels)

    @cached_property
    def mean(self) -> Tensor:
        """Mean training response of each neuron, float64 (p,)."""
        return self.train.double().mean(dim=0)

    @cached_property
    def scatter(self) -> Tensor:
        """Scatter matrix of the training responses, float64 (p, p)."""
        centred = self.train.double() - self.mean
        return centred.T @ centred

    @cached_property
    def centred_test(self) -> Tensor:
        """Test responses less that mean, float32 (n_test, p)."""
        return (self.test.double() - self.mean).float()


def cut(
    network: Network, layers: Sequence[str], data: ImageData, *, images: int | None = None
) -> dict[str, CutNetwork]:
    """Run a network in evaluation mode over the data once and cut it above each of some stages.

    Restrictions are fitted on at most `images` training images, all by default. ValueError if a
    layer is not a stage: only there is the rest of the network a chain.
    """
    above = {layer: split_at(network, layer)[1] for layer in layers}
    shown = images_of(data, images), images_of(data, part="test")
    train, test = (part.responses(network, layers, BATCH) for part in shown)
    return {
        layer: CutNetwork(
            name=layer,
            train=train[layer].flatten(1),  # (n, c, h, w) -> (n, c * h * w)
            test=test[layer].flatten(1),
            shape=tuple(test[layer].shape[1:]),
            labels=shown[1].labels,
            above=above[layer],
        )
        for layer in layers
    }


def on_directions(layer: CutNetwork, weights: Tensor, counts: Sequence[int]) -> np.ndarray:
    """Accuracy with the layer projected onto its leading k directions, for each k, ascending.

    Weights are (p, m), one direction a column, most important first. Their variates over
    ``layer.train`` must be uncorrelated, as SVCCA's are.
    """
    mean, down, up = projection_matrix(layer.train, weights, max(counts))
    variates, up = layer.centred_test @ down.float(), up.float()
    restricted = mean.float().expand_as(layer.test).clone()
    accuracies, done = [], 0
    for k in counts:
        # Uncorrelated variates: what k directions explain is the sum of what each explains, so that
        # one fit serves all k.
        restricted += variates[:, done:k] @ up[done:k]
        accuracies.append(layer.accuracy(restricted))
        done = k
    return np.array(accuracies)


def on_neurons(
    layer: CutNetwork, order: Tensor, counts: Sequence[int], *, others: Others = "predicted"
) -> np.ndarray:
    """Accuracy with the layer reduced to its leading k neurons in some order, for each ascending k.

    The others respond as is best "predicted" linearly from those that are kept, which is the
    projection onto the subspace these span, or their "mean" over the images.
    """
    return np.array([layer.accuracy(kept) for kept in from_neurons(layer, order, counts, others)])


def from_neurons(
    layer: CutNetwork, order: Tensor, counts: Sequence[int], others: Others
) -> Iterator[Tensor]:
    """Yield the test responses of a layer of which only k neurons are left, for each k.

    In one tensor, which the next one changes; the arguments are those of `on_neurons`.
    """
    mean = layer.mean.float()
    restricted = mean.repeat(len(layer.test), 1)
    if others == "predicted":
        for prediction in _predictions(layer, order, counts):
            yield torch.add(prediction, mean, out=restricted)
    else:
        done = 0
        for k in counts:
            restricted[:, order[done:k]] = layer.test[:, order[done:k]]
            yield restricted
            done = k


def on_directions_of_neurons(
    layer: CutNetwork,
    weights: Tensor,
    counts: Sequence[int],
    neurons: int,
    *,
    others: Others = "predicted",
) -> np.ndarray:
    """Accuracy with the leading k directions restricted to a few neurons, for each k.

    The layer is projected onto k directions and then onto those of its neurons that are most
    important to these k (`importance`): onto the subspace that these neurons span ("predicted"), so
    that the k directions are read from them, as well as is linearly possible, or onto their axes
    ("mean"), so that all other neurons stay at their mean.
    """
    mean, down, up = projection_matrix(layer.train, weights, max(counts))
    variates = layer.centred_test @ down.float()
    accuracies = []
    for k in counts:
        chosen = importance(up[:k]).argsort(descending=True, stable=True)[:neurons]
        if others == "mean":
            restricted = mean.float().expand_as(layer.test).clone()
            restricted[:, chosen] += variates[:, :k] @ up[:k, chosen].float()
        else:
            (read,) = _predictions(layer, chosen, [len(chosen)], down[:, :k])
            restricted = mean.float() + read @ up[:k].float()
        accuracies.append(layer.accuracy(restricted))
    return np.array(accuracies)


def against_neurons(
    layer: CutNetwork,
    weights: Tensor,
    principal: Tensor,
    directions: Sequence[int],
    neurons: Sequence[int],
    *,
    draws: int,
    seed: int,
    silent: bool = True,
) -> dict[str, np.ndarray]:
    """Accuracy on leading directions beside that on others, and on neurons (Figure 2a).

    `principal` are the layer's principal components, (p, m), by descending variance, at least as
    many as the largest of `directions`. Returns "SVCCA directions" and "principal components", (1,
    directions), and "random directions", (draws, directions), which the paper's figure does not
    have; "random neurons", (draws, neurons), and "most active neurons", (1, neurons), the others
    predicted from them; and, if `silent`, "random, others silent", (draws, neurons).
    """
    orders = list(random_orders(layer.width, draws, seed))
    drawn = random_directions(layer, max(directions), draws, seed)
    measured = {
        name: np.array([on_directions(layer, w, directions) for w in each])
        for name, each in zip(DIRECTIONS, ([weights], [principal], drawn), strict=True)
    }
    measured |= {
        "random neurons": np.array([on_neurons(layer, order, neurons) for order in orders]),
        "most active neurons": on_neurons(layer, loudest(layer.train), neurons)[None],
    }
    if silent:
        measured["random, others silent"] = np.array(
            [on_neurons(layer, order, neurons, others="mean") for order in orders]
        )
    return measured


def neurons_for(
    layer: CutNetwork,
    weights: Tensor,
    directions: int,
    share: float,
    *,
    others: Others = "predicted",
) -> float:
    """How many neurons keep a share of the accuracy of the leading directions (Figure 2b).

    The share is of the accuracy that `directions` directions have with all neurons.
    """
    wanted = share * on_directions(layer, weights, [directions])[0]
    counts = steps(layer.width, 40)
    accuracies = [
        on_directions_of_neurons(layer, weights, [directions], m, others=others)[0] for m in counts
    ]
    return enough(counts, np.array(accuracies), wanted).count  # all neurons are enough


def importance(up: Tensor) -> Tensor:
    """How much of each neuron's variance some directions explain, (p,), up to a common factor.

    From what each adds to each neuron, (k, p), as `svcca_lib.projection_matrix` gives it: the
    squared length of a neuron after the projection is that times the variates', which is one for
    all of SVCCA's.
    """
    return (up**2).sum(dim=0)


def best_neuron(layer: CutNetwork, weights: Tensor) -> np.ndarray:
    """How much of each direction its most similar neuron explains: squared correlation, (m,).

    1 for a direction that is a neuron, small for one that is spread over many.
    """
    covariance = layer.scatter @ weights.double()  # (p, m)
    variances = (weights.double() * covariance).sum(dim=0) * layer.scatter.diagonal()[:, None]
    # A neuron that never varies correlates with nothing.
    return torch.where(variances > 0, covariance**2 / variances, 0.0).amax(dim=0).numpy()


def steps(most: int, points: int = 16) -> np.ndarray:
    """Return about so many whole numbers from 1 to `most`, equally spaced on a logarithmic axis."""
    return np.unique(np.geomspace(1, most, points).round().astype(int))


def reproduced(original: Tensor, restricted: Tensor) -> float:
    """Share of the variance of outputs, shape (n, d), that is left after a restriction (R squared).

    1 where they are the same; at most 0 where the mean output would have been as good.
    """
    original, restricted = original.double(), restricted.double()
    lost = ((original - restricted) ** 2).sum()
    return 1 - float(lost / ((original - original.mean(dim=0)) ** 2).sum())


def loudest(responses: Tensor) -> Tensor:
    """Neurons in descending order of their mean absolute response, of shape (n, p)."""
    return responses.double().abs().mean(dim=0).argsort(descending=True, stable=True)


def random_orders(width: int, draws: int, seed: int) -> Iterator[Tensor]:
    """Yield random orders of so many neurons, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        yield torch.randperm(width, generator=generator)


def random_directions(layer: CutNetwork, most: int, draws: int, seed: int) -> Iterator[Tensor]:
    """Yield so many random directions of a layer, (p, most), the same for the same seed.

    Each is a sum of all neurons with standard normal weights, less what those before it have of it:
    by Gram-Schmidt over the training images, so that variates are uncorrelated, as `on_directions`
    wants them, and the first k span what the first k draws span.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        mixed = torch.randn(layer.width, most, generator=generator, dtype=torch.float64)
        lower = torch.linalg.cholesky(mixed.T @ layer.scatter @ mixed)
        yield torch.linalg.solve_triangular(lower, mixed.T, upper=False).T


def _predictions(
    layer: CutNetwork, order: Tensor, counts: Sequence[int], down: Tensor | None = None
) -> Iterator[Tensor]:
    """Yield the least-squares prediction from the first k neurons of `order`, for ascending k.

    Of all neurons, (n_test, p), or of the directions `down`, (p, m) -> (n_test, m); float32,
    centred. By Gram-Schmidt in that order, the Cholesky factor of the neurons' scatter: each neuron
    adds what it has beyond those before it, so that one factorisation serves all k.
    """
    order = order[: max(counts)]
    scatter = layer.scatter[order]
    gram = scatter[:, order]
    gram.diagonal().add_(RIDGE * layer.scatter.diagonal().max())
    lower = torch.linalg.cholesky(gram)
    test = layer.centred_test[:, order].double()
    scores = torch.linalg.solve_triangular(lower, test.T, upper=False).T
    loadings = torch.linalg.solve_triangular(
        lower, scatter if down is None else scatter @ down, upper=False
    )
    scores, loadings = scores.float(), loadings.float()
    prediction = scores.new_zeros(len(test), loadings.shape[1])
    done = 0
    for k in counts:
        prediction.addmm_(scores[:, done:k], loadings[done:k])
        yield prediction
        done = k
