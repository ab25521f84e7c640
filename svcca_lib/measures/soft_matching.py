"""Soft matching: which neuron of the one layer is which of the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy  # its parts are loaded when used: the import stays fast
from torch import Tensor

from svcca_lib.errors import some_variance
from svcca_lib.inputs import Precision, rows_of
from svcca_lib.layer import centre
from svcca_lib.measures.measure import CentredRows, Measure, function
from svcca_lib.measures.similarity import Similarity


@dataclass(frozen=True, kw_only=True)
class SoftMatching(Measure[Similarity]):
    r"""Mean correlation of the neurons of two layers, matched as well as can be.

    :math:`\max_P \sum_{ij} P_{ij}\, \mathrm{corr}(x_i, y_j)` over all plans that share the
    neurons out evenly: rows of :math:`P` sum to :math:`1 / p`, columns to :math:`1 / q`. For layers
    of one width that is the best one-to-one matching.

    Parameters
    ----------
    precision : {"float64", "float32"}

    Notes
    -----
    Sees single neurons: a rotation of a layer changes the number, a permutation, and another unit
    and mean of each neuron, does not. Signed: a neuron and its negative correlate by -1, so that
    the number can fall below 0. Neurons that are constant over the data take no part.

    Grows with width where nothing is shared, as more neurons can be chosen from; no closed form is
    known (use `permutation_test`). Layers of one width take about a second at 2,000 neurons; of
    unequal width a linear program, two or three seconds at 256 by 128.

    References
    ----------
    Khosla, Williams, "Soft matching distance: a metric on neural representations that captures
    single-neuron tuning", UniReps 2023 (PMLR 243, 2024). Li et al., "Convergent learning", ICLR
    2016.

    Examples
    --------
    >>> import numpy as np
    >>> from svcca_lib import soft_matching
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 6))
    >>> round(soft_matching(x, 3 * x[:, ::-1] + 1).similarity, 6)
    1.0
    >>> rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    >>> soft_matching(x, x @ rotation).similarity < 0.9
    True
    """

    precision: Precision = "float64"

    name: ClassVar[str] = "soft_matching"
    symmetric: ClassVar[bool] = True
    invariant_to: ClassVar[frozenset[str]] = frozenset({"permutation", "isotropic", "translation"})
    lowest: ClassVar[float] = -1.0
    layers: ClassVar[str] = """\
x, y : array_like, shape (n, p) and (n, q)
    Two layers on the same datapoints, or a `Reservoir` of both as the only argument."""

    @property
    def of_rows(self) -> bool:
        return True

    def prepare(self, x: Any, name: str) -> CentredRows:
        if isinstance(x, CentredRows):
            return x
        self.needs_rows(x, name)
        rows, _ = centre(rows_of(x, name, self.precision).values.detach())
        some_variance((rows**2).sum(), name, tuple(rows.shape))
        largest = rows.abs().amax(0)
        rows = rows[:, largest > 0] / largest[largest > 0]
        return CentredRows(rows / rows.norm(dim=0))

    def compare(self, a: CentredRows, b: CentredRows, cross: Tensor | None = None) -> Similarity:
        found = (a.rows.T @ b.rows).cpu().double().numpy().clip(-1.0, 1.0)
        value = _matched(found) if found.shape[0] == found.shape[1] else _transported(found)
        return Similarity(self.name, max(-1.0, min(1.0, value)), a.n)


def _matched(gain: np.ndarray) -> float:
    rows, columns = scipy.optimize.linear_sum_assignment(gain, maximize=True)
    return float(gain[rows, columns].mean())


def _transported(gain: np.ndarray) -> float:
    """Return what the best plan of transport gains, by a linear program."""
    p, q = gain.shape
    ones = scipy.sparse.csr_array(np.ones((1, q)))
    rows = scipy.sparse.kron(scipy.sparse.eye_array(p), ones)
    columns = scipy.sparse.kron(scipy.sparse.csr_array(np.ones((1, p))), scipy.sparse.eye_array(q))
    done = scipy.optimize.linprog(
        -gain.ravel(),
        A_eq=scipy.sparse.vstack([rows, columns]),
        b_eq=np.concatenate([np.full(p, 1 / p), np.full(q, 1 / q)]),
        method="highs",
    )
    return float(-done.fun)


soft_matching = function(SoftMatching)
