r"""Does a measure notice what changes the function, and only that? Ding's tests in small.

*Sensitivity*: principal components of a layer are deleted, the least first. At some point a linear
probe loses accuracy; a good measure sees the layer change by then. What counts as seeing is set by
the distance that another seed makes: a change below it drowns among seeds. *Grounding*: over all
seeds and deletions together, dissimilarity to a reference should rank as the difference in probe
accuracy does. (*Specificity*, the reverse, is `svcca_lib.paper.matching.Matching.specificity`.)

References
----------
Ding, Denain, Steinhardt 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy import stats

from svcca_lib import Similarity, cca, cka, procrustes, pwcca, svcca

INDICES: Mapping[str, Callable[[np.ndarray, np.ndarray], Similarity]] = MappingProxyType(
    {
        # Equation (1) divides by the neurons; this book's default divides by the directions kept.
        "CCA, over neurons": lambda x, y: svcca(x, y, keep=1.0, mean_over="smaller_layer"),
        "CCA": cca,
        "SVCCA": svcca,
        "PWCCA": pwcca,
        "CKA": cka,
        "Procrustes": procrustes,
    }
)


def truncated(layer: np.ndarray, components: int) -> np.ndarray:
    """Return the layer with its leading principal components alone, shape (n, p)."""
    mean = layer.mean(axis=0)
    _, _, vt = np.linalg.svd(layer - mean, full_matrices=False)
    return (layer - mean) @ vt[:components].T @ vt[:components] + mean


def probe(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> float:
    """Accuracy of a linear probe: least squares on one column a class, the largest one wins.

    Parameters
    ----------
    train, test : array, shape (n, p) and (m, p)
    labels, test_labels : array of int, shape (n,) and (m,)
    """
    targets = np.eye(labels.max() + 1)[labels]
    with_bias = [np.hstack([x, np.ones((len(x), 1))]) for x in (train, test)]
    weights = np.linalg.lstsq(with_bias[0], targets, rcond=None)[0]
    return float(((with_bias[1] @ weights).argmax(axis=1) == test_labels).mean())


@dataclass(frozen=True, eq=False)
class Deletion:
    """A layer of several networks while principal components are deleted.

    Attributes
    ----------
    kept : array, shape (m,)
        Components kept, descending.
    width : int
        Components of the whole layer: its rank.
    accuracy : array, shape (networks, m)
        Of the probe.
    distance : dict of str to array, shape (networks, m)
        Index -> 1 less the similarity to the first network's whole layer.
    """

    kept: np.ndarray
    width: int
    accuracy: np.ndarray
    distance: dict[str, np.ndarray]

    def seeds(self, index: str) -> float:
        """Mean distance that another seed makes, nothing deleted."""
        return float(self.distance[index][1:, 0].mean())

    def noticed(self, index: str) -> float:
        """Share of the first network's components deleted when it is further away than a seed.

        1 if it never is.
        """
        beyond = np.flatnonzero(self.distance[index][0] > self.seeds(index))
        return 1 - self.kept[beyond[0]] / self.width if len(beyond) else 1.0

    def lost(self, index: str) -> float:
        """Probe accuracy gone by then: of the first network, whole, less at that point."""
        beyond = np.flatnonzero(self.distance[index][0] > self.seeds(index))
        at = beyond[0] if len(beyond) else -1
        return float(self.accuracy[0, 0] - self.accuracy[0, at])

    def grounding(self, index: str) -> float:
        """Spearman's correlation of distance with the difference in probe accuracy; 0 if constant.

        Over all networks and deletions but the reference itself.
        """
        difference = np.abs(self.accuracy - self.accuracy[0, 0]).ravel()[1:]
        distance = self.distance[index].ravel()[1:].round(9)
        if np.ptp(distance) == 0 or np.ptp(difference) == 0:
            return 0.0
        return float(stats.spearmanr(distance, difference).statistic)


def delete_components(
    train: Sequence[np.ndarray],
    test: Sequence[np.ndarray],
    labels: tuple[np.ndarray, np.ndarray],
    steps: int = 12,
) -> Deletion:
    """Delete principal components of a layer of several networks, the least first.

    Parameters
    ----------
    train, test : sequence of array, shape (n, p) and (m, p)
        The layer's responses, one entry a network; the first network is the reference.
    labels : (array, array)
        Of the training and of the test images, for the probe.
    steps : int
        How many times components are deleted, in equal factors.

    Returns
    -------
    Deletion
    """
    width = min(int(np.linalg.matrix_rank(x - x.mean(axis=0))) for x in train)
    kept = np.unique(np.geomspace(1, width, steps).round().astype(int))[::-1]
    accuracy = np.empty((len(train), len(kept)))
    distance = {name: np.empty(accuracy.shape) for name in INDICES}
    for i, (x, unseen) in enumerate(zip(train, test, strict=True)):
        mean = x.mean(axis=0)
        _, _, vt = np.linalg.svd(x - mean, full_matrices=False)
        for j, k in enumerate(kept):
            left, right = ((z - mean) @ vt[:k].T for z in (x, unseen))  # (n, k), (m, k)
            accuracy[i, j] = probe(left, labels[0], right, labels[1])
            cut = x if k == width and i == 0 else left @ vt[:k]
            for name, measure in INDICES.items():
                distance[name][i, j] = 1 - measure(train[0], cut).similarity
    return Deletion(kept, width, accuracy, distance)
