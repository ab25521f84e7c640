r"""Does a measure notice what changes the function, and only that? Ding's tests in small.

*Sensitivity*: principal components of a layer are deleted, the least first. At some point a linear
probe loses accuracy; a good measure sees the layer change by then. What counts as seeing is set by
the distance that another seed makes: a change below it drowns among seeds. *Correlation with the
probe*: over all seeds and deletions together, dissimilarity to a reference should rank as the
difference in probe accuracy does. (*Specificity*, the reverse, is `matching.Matching.specificity`.)

References
----------
Ding, Denain, Steinhardt 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from svcca_lib import pairwise
from svcca_lib.paper.experiments.linear_probe import probe
from svcca_lib.paper.experiments.measures import NAMED, OVER_NEURONS

MEASURES = (OVER_NEURONS, "CCA", "SVCCA", "PWCCA", "CKA", "Procrustes")


@dataclass(frozen=True, eq=False)
class Deletion:
    """A layer of several networks while principal components are deleted.

    Each network is the reference once: the scores have one value a reference. A distance is 1 less
    the similarity to the reference's whole layer.
    """

    kept: np.ndarray  # (m,), components kept, descending
    width: int  # components of the whole layer: the smallest rank
    accuracy: np.ndarray  # (networks, m), of the probe
    distance: dict[str, np.ndarray]  # of each measure, (references, networks, m)

    def only(self, networks: Sequence[int]) -> Deletion:
        """Return the same of some of the networks, by their positions."""
        at = np.ix_(networks, networks)
        distance = {name: values[at] for name, values in self.distance.items()}
        return replace(self, accuracy=self.accuracy[list(networks)], distance=distance)

    @property
    def deleted(self) -> np.ndarray:
        """Share of the components deleted, shape (m,)."""
        return 1 - self.kept / self.width

    def seeds(self, measure: str) -> np.ndarray:
        """Mean distance that another seed makes, nothing deleted; shape (references,)."""
        whole = self.distance[measure][:, :, 0]
        mean: np.ndarray = (whole.sum(axis=1) - whole.diagonal()) / (len(whole) - 1)
        return mean

    def noticed(self, measure: str) -> np.ndarray:
        """Share of components deleted when the layer is as far away as another seed, (references,).

        Of the reference's own layer, between two deletions by straight line; 1 if it never is.
        """
        return np.array([self._when(measure, i, self.deleted, 1.0) for i in self._references])

    def lost(self, measure: str) -> np.ndarray:
        """Probe accuracy gone when the layer is as far away as another seed, (references,)."""
        return np.array(
            [a[0] - self._when(measure, i, a, a[-1]) for i, a in enumerate(self.accuracy)]
        )

    def probe_correlation(self, measure: str) -> np.ndarray:
        """Spearman's correlation of distance with the difference in probe accuracy; 0 if constant.

        Over all networks and deletions but the reference itself; shape (references,).
        """
        found = np.zeros(len(self.accuracy))
        for i in self._references:
            others = np.ones(self.accuracy.shape, dtype=bool)
            others[i, 0] = False
            difference = np.abs(self.accuracy - self.accuracy[i, 0])[others]
            distance = self.distance[measure][i][others].round(9)
            if np.ptp(distance) > 0 and np.ptp(difference) > 0:
                found[i] = stats.spearmanr(distance, difference).statistic
        return found

    def scores(self, specificity: Mapping[str, float]) -> dict[str, np.ndarray]:
        """Ding's three tests of each measure, in the order of `MEASURES`; more is better.

        Deletions do not show the third, specificity: it is given.
        """
        return {
            "sensitivity": np.array([-self.noticed(name).mean() for name in MEASURES]),
            "probe": np.array([self.probe_correlation(name).mean() for name in MEASURES]),
            "specificity": np.array([specificity[name] for name in MEASURES]),
        }

    @property
    def _references(self) -> range:
        return range(len(self.accuracy))

    def _when(self, measure: str, i: int, values: np.ndarray, never: float) -> float:
        """Read `values` (m,) where deletions take reference i as far away as another seed."""
        away, seed = self.distance[measure][i, i], self.seeds(measure)[i]
        beyond = np.flatnonzero(away > seed)
        if not len(beyond):
            return float(never)
        b = beyond[0]  # never the whole layer, which is no distance away
        step = (seed - away[b - 1]) / (away[b] - away[b - 1])
        return float(values[b - 1] + step * (values[b] - values[b - 1]))


def delete_components(
    train: Sequence[np.ndarray],
    test: Sequence[np.ndarray],
    labels: tuple[np.ndarray, np.ndarray],
    steps: int = 12,
) -> Deletion:
    """Delete principal components of a layer of several networks, the least first.

    The layer is (n, p) on training and (m, p) on test images, one entry a network; the probe needs
    the labels of both. Components are deleted `steps` times, in equal factors.
    """
    width = min(int(np.linalg.matrix_rank(x - x.mean(axis=0))) for x in train)
    kept = np.unique(np.geomspace(1, width, steps).round().astype(int))[::-1]
    accuracy = np.empty((len(train), len(kept)))
    cuts = []
    for i, (x, unseen) in enumerate(zip(train, test, strict=True)):
        mean = x.mean(axis=0)
        _, _, vt = np.linalg.svd(x - mean, full_matrices=False)
        for j, k in enumerate(kept):
            left, right = ((z - mean) @ vt[:k].T for z in (x, unseen))  # (n, k), (m, k)
            accuracy[i, j] = probe(left, labels[0], right, labels[1])
            cuts.append(left @ vt[:k])
    shape = (len(train), len(train), len(kept))
    distance = {
        name: 1 - pairwise(train, cuts, measure, **options).reshape(shape)
        for name, (measure, options) in ((name, NAMED[name]) for name in MEASURES)
    }
    return Deletion(kept, width, accuracy, distance)


def shortfall(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """How far each measure falls short of the best one, in the test where it does most.

    From test -> scores, (measures,), of which more is better; 0 for a measure best in every test.

    Examples
    --------
    >>> import numpy as np
    >>> shortfall({"a": np.array([0.9, 0.5]), "b": np.array([0.2, 0.3])}).round(3).tolist()
    [0.1, 0.4]
    """
    most: np.ndarray = np.max([values.max() - values for values in scores.values()], axis=0)
    return most


def mean_ranks(scores: Mapping[str, np.ndarray], tie: float) -> np.ndarray:
    """Mean rank of each measure in the tests, 1 for the best; scores are as of `shortfall`.

    Scores that differ by less than `tie` share a place, by as much as they are near.

    Examples
    --------
    >>> import numpy as np
    >>> mean_ranks({"a": np.array([0.9, 0.5, 0.5])}, tie=0.01).tolist()
    [1.0, 2.5, 2.5]
    """
    places = []
    for values in scores.values():
        ahead = (0.5 + (values[None, :] - values[:, None]) / (2 * tie)).clip(0, 1)
        places.append(0.5 + ahead.sum(axis=1))  # half of it is the measure itself
    means: np.ndarray = np.mean(places, axis=0)
    return means
