"""What a similarity is worth beside those of shuffled inputs, of one cell among many."""

from __future__ import annotations

import numpy as np

EQUAL = 1e-9  # where n <= p every order gives 1, up to rounding: equal is what they are


def p_values(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """P-value of each cell, with the family-wise error of all cells under control.

    Similarities of layers of other widths have other null distributions: each cell is measured in
    standard deviations from the mean of its own, and held against the largest of all cells in each
    permutation.

    Parameters
    ----------
    observed : ndarray, shape (rows, columns)
    null : ndarray, shape (permutations, rows, columns)

    Returns
    -------
    ndarray, shape (rows, columns)
        ``(1 + #{max null >= observed}) / (1 + permutations)``; NaN where `observed` is.

    References
    ----------
    Westfall and Young, "Resampling-based multiple testing", Wiley (1993), the single-step maxT
    procedure. Phipson and Smyth 2010: p-values are never zero.
    """
    known = ~np.isnan(observed)
    # The observed similarities are one permutation more: standardised with the others, the cells
    # are exchangeable, and the test is exact.
    values = np.concatenate([observed[None], null])[:, known]
    centred = values - values.mean(0)
    spread = centred.std(0)
    scores = np.where(spread > EQUAL, centred / np.where(spread > EQUAL, spread, 1.0), 0.0)
    reached = (scores[1:].max(1, initial=-np.inf)[:, None] >= scores[0] - EQUAL).sum(0)
    found = np.full(observed.shape, np.nan)
    found[known] = (1 + reached) / (1 + len(null))
    return found


def calibrated(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Similarities from 0, the mean of the null distribution, to 1.

    NaN where shuffled inputs score 1 as well: nothing can be told there.
    """
    level = null.mean(0)
    room = np.where(1 - level > EQUAL, 1 - level, np.nan)
    score: np.ndarray = (observed - level) / room
    return score
