r"""The same function, another CKA: some images' responses moved where the readout does not look.

Davari et al. (2023) translate the responses to a subset of the data. Whatever direction is
orthogonal to all rows of the readout, the logits do not change. Linear CKA weighs directions by
their variance squared, so that a long enough translation is all it sees: with
:math:`a = 1_S - |S| / n` and the centred Gram matrix K of the layer as it was,

.. math:: \mathrm{CKA} \to \frac{a^\top K a}{\lVert K \rVert_F \, a^\top a}.

References
----------
Davari, Horoi, Natik, Lajoie, Wolf, Belilovsky 2023, Theorem 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from svcca_lib.paper.experiments.measures import similarity

MEASURES = ("mean CCA", "PWCCA", "SVCCA", "Procrustes", "CKA")


def unseen(readout: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """Find the direction that a readout does not see and in which the layer, (n, p), varies least.

    Of unit length, (p,), orthogonal to every row of the readout, (classes, p). ValueError if the
    readout sees every direction.
    """
    _, s, vt = np.linalg.svd(readout)
    rank = int((s > max(readout.shape) * np.finfo(float).eps * s[0]).sum())
    null = vt[rank:]  # (p - rank, p)
    if not len(null):
        raise ValueError(
            f"expected a readout with fewer outputs than neurons; got shape {readout.shape} of "
            f"rank {rank}"
        )
    projected = (layer - layer.mean(axis=0)) @ null.T
    _, _, directions = np.linalg.svd(projected, full_matrices=False)
    least: np.ndarray = directions[-1] @ null
    return least


def translated(
    layer: np.ndarray, subset: np.ndarray, direction: np.ndarray, length: float
) -> np.ndarray:
    """Move the rows of a subset, a mask (n,), along a direction (p,).

    The length is in root mean square norms of the centred rows.
    """
    scale = np.sqrt(((layer - layer.mean(axis=0)) ** 2).sum(axis=1).mean())
    moved: np.ndarray = layer + length * scale * subset[:, None] * direction
    return moved


@dataclass(frozen=True, eq=False)
class Attack:
    """A layer against itself, a subset of whose rows is moved ever further."""

    similarity: dict[str, np.ndarray]  # measure of `MEASURES` -> (lengths,)
    limit: float  # of linear CKA, after an endless translation
    seen: float  # largest change of an output, as a share of the largest output


def attack(
    layer: np.ndarray, subset: np.ndarray, readout: np.ndarray, lengths: Sequence[float]
) -> Attack:
    """Move a subset, (n,), of the rows of a layer where a readout, (classes, p), does not look.

    By ascending lengths, as of `translated`.
    """
    direction = unseen(readout, layer)
    moved = [translated(layer, subset, direction, length) for length in lengths]
    before, after = layer @ readout.T, moved[-1] @ readout.T
    return Attack(
        {name: np.array([similarity(name, layer, z) for z in moved]) for name in MEASURES},
        limit(layer, subset),
        float(np.abs(after - before).max() / np.abs(before).max()),
    )


def limit(layer: np.ndarray, subset: np.ndarray) -> float:
    """Linear CKA of a layer with itself after an endless translation of a subset of its rows."""
    centred = layer - layer.mean(axis=0)
    a = subset - subset.mean()
    # a^T K a = |X^T a|^2, and |K|_F = |X^T X|_F
    return float(((centred.T @ a) ** 2).sum() / (np.linalg.norm(centred.T @ centred) * (a @ a)))
