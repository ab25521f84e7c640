r"""All pairs of many convolutional layers at once: the `dft_cca` of two whole networks.

`dft_cca` compares two layers. For the L x M layers of two networks it would multiply the same
spectra over and over, at full width. Here each layer is first reduced to its orthonormal bases, one
a frequency and only as wide as the cut leaves it; layers of one size then lie side by side, so that
a frequency costs one matrix product and one batch of small decompositions for all pairs.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from svcca_lib._linalg import one_thread_each, singular_values
from svcca_lib.chance import chance_correlation
from svcca_lib.fourier.grid import Size, grid_of, multiplicities_of, shared_frequencies
from svcca_lib.fourier.subspace import FourierSubspace


@dataclass(frozen=True, eq=False)
class FourierLayers:
    """The layers of one network, reduced to the bases that comparisons need.

    Made by `FourierLayers.gather`.

    Attributes
    ----------
    n : int
        Datapoints.
    names : tuple of str
    sizes : tuple of (int, int)
        Height and width of each layer.
    counts : tuple of array of int, shape (F,)
        Directions that each layer keeps at each frequency of its grid.
    bases : dict of (int, int) to list of Tensor
        For each size, one (n, sum of the counts of its layers) a frequency.
    """

    n: int
    names: tuple[str, ...]
    sizes: tuple[Size, ...]
    counts: tuple[np.ndarray, ...]
    bases: dict[Size, list[Tensor]]

    @classmethod
    def gather(cls, layers: Iterable[tuple[str, FourierSubspace]]) -> FourierLayers:
        """Reduce layers one by one; the spectra of each are let go before the next is asked for.

        Parameters
        ----------
        layers : iterable of (str, FourierSubspace)
            Seen on the same datapoints.

        Raises
        ------
        ValueError
            If there is no layer, or two differ in their number of datapoints.
        """
        names: list[str] = []
        sizes: list[Size] = []
        counts: list[np.ndarray] = []
        apart: dict[Size, list[list[Tensor]]] = {}
        rows: set[int] = set()
        for name, layer in layers:
            kept = np.asarray(layer.counts)
            names.append(name)
            sizes.append(layer.size)
            counts.append(kept)
            rows.add(layer.n)
            bases = [layer.tensors.basis(f, int(k)) for f, k in enumerate(kept)]  # (n, k) each
            apart.setdefault(layer.size, []).append(bases)
            del layer
        if len(rows) != 1:
            raise ValueError(
                f"layers must be responses to the same datapoints; got {sorted(rows) or 'none'}"
            )
        together: dict[Size, list[Tensor]] = {}
        for size, members in apart.items():
            # Frequency by frequency, so that only one of them is held twice.
            together[size] = [
                torch.cat([bases.pop(0) for bases in members], dim=1) for _ in grid_of(size).keys
            ]
        return cls(rows.pop(), tuple(names), tuple(sizes), tuple(counts), together)

    def only(self, name: str) -> FourierLayers:
        """Return one of the layers alone."""
        at = self.names.index(name)
        size, kept = self.sizes[at], self.counts[at]
        before = [self.counts[i] for i in range(at) if self.sizes[i] == size]
        starts = np.sum(before, axis=0, dtype=int) if before else np.zeros_like(kept)
        bases = [
            basis[:, start : start + count]
            for basis, start, count in zip(self.bases[size], starts, kept, strict=True)
        ]
        return FourierLayers(self.n, (name,), (size,), (kept,), {size: bases})


def pairwise_dft_cca(rows: FourierLayers, columns: FourierLayers) -> tuple[np.ndarray, np.ndarray]:
    """Compare every layer of one network with every layer of another.

    Parameters
    ----------
    rows, columns : FourierLayers
        Seen on the same datapoints.

    Returns
    -------
    similarity, chance : array, shape (len(rows.names), len(columns.names))
        Cell by cell what ``dft_cca(row, column)`` gives (``mean_over="kept"``), and what
        independent layers of these sizes would.

    Raises
    ------
    ValueError
        If the two were seen on different numbers of datapoints.
    """
    if rows.n != columns.n:
        raise ValueError(
            f"layers must be responses to the same datapoints; got {rows.n} and {columns.n}"
        )
    similarity = np.empty((len(rows.names), len(columns.names)))
    chance = np.empty_like(similarity)
    for size, left in rows.bases.items():
        at_rows = [i for i, s in enumerate(rows.sizes) if s == size]
        for other, right in columns.bases.items():
            at_columns = [j for j, s in enumerate(columns.sizes) if s == other]
            at_a, at_b, real = shared_frequencies(size, other)
            twice = np.array(multiplicities_of(len(at_a), real))
            kept_a = np.stack([rows.counts[i][at_a] for i in at_rows])
            kept_b = np.stack([columns.counts[j][at_b] for j in at_columns])
            bases = [(left[f], right[g]) for f, g in zip(at_a, at_b, strict=True)]
            total = np.tensordot(twice, _correlations(bases, kept_a, kept_b, real), axes=1)
            cells = np.ix_(at_rows, at_columns)
            divisor = np.minimum.outer(kept_a @ twice, kept_b @ twice).clip(min=1)
            similarity[cells] = np.minimum(1.0, total / divisor)
            chance[cells] = _chance(kept_a, kept_b, twice, rows.n) / divisor
    return similarity, chance


def _correlations(
    bases: list[tuple[Tensor, Tensor]], kept_a: np.ndarray, kept_b: np.ndarray, real: int
) -> np.ndarray:
    """Sums of the canonical correlations, (frequencies, members, members)."""

    def at(f: int) -> np.ndarray:
        return _sums(*bases[f], kept_a[:, f], kept_b[:, f], is_real=f < real)

    return np.stack(one_thread_each(at, range(len(bases))))


def _sums(
    left: Tensor, right: Tensor, of_left: np.ndarray, of_right: np.ndarray, *, is_real: bool
) -> np.ndarray:
    """Sum of the correlations of each pair at one frequency, (members, members).

    `left` and `right` hold the bases of all members side by side, of these numbers of columns.
    """
    if is_real:
        left, right = left.real, right.real
    shape = len(of_left), int(of_left.max()), len(of_right), int(of_right.max())
    if 0 in shape:
        return np.zeros((shape[0], shape[2]))
    # Padded with zeros to one size, which adds correlations of zero.
    padded = left.new_zeros(shape[0] * shape[1], shape[2] * shape[3])
    padded[_places(of_left)[:, None], _places(of_right)] = left.mH @ right
    matrices = padded.reshape(shape).permute(0, 2, 1, 3)  # (members, members, p, q)
    return singular_values(matrices).clamp(max=1.0).sum(-1).cpu().numpy()


def _places(counts: np.ndarray) -> Tensor:
    """Where columns stand once every member has as many as the widest."""
    widest = int(counts.max())
    return torch.cat([member * widest + torch.arange(int(k)) for member, k in enumerate(counts)])


def _chance(left: np.ndarray, right: np.ndarray, twice: np.ndarray, n: int) -> np.ndarray:
    """Expected sums of correlations for independent layers, (members, members)."""
    expected = np.zeros((len(left), len(right)))
    for (i, j), _ in np.ndenumerate(expected):
        alike = Counter(zip(left[i].tolist(), right[j].tolist(), twice.tolist(), strict=True))
        expected[i, j] = sum(
            often * m * expected_sum(p, q, n, m == 2)
            for (p, q, m), often in alike.items()
            if min(p, q)
        )
    return expected


@functools.lru_cache(maxsize=2**14)
def expected_sum(p: int, q: int, n: int, complex_valued: bool, squared: bool = False) -> float:
    """Sum of the correlations of independent layers at one frequency."""
    of_each = chance_correlation(p, q, n, complex_valued=complex_valued, squared=squared)
    return min(p, q) * of_each
