"""The distinct spatial frequencies of real images, and those that two image sizes share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

Size: TypeAlias = tuple[int, int]  # (h, w)


@dataclass(frozen=True)
class Grid:
    """The distinct frequencies of h x w real images: one of each conjugate pair."""

    keys: tuple[Size, ...]  # (vertical, horizontal) cycles per image, horizontal >= 0
    places: tuple[int, ...]  # where rfft2 puts them, in its flattened (h, w // 2 + 1) layout
    real: int  # the first `real` of them are their own conjugates: DC and the Nyquist corners

    @property
    def multiplicities(self) -> list[int]:
        """How many frequencies of the full DFT each one stands for."""
        return multiplicities_of(len(self.keys), self.real)


def multiplicities_of(frequencies: int, real: int) -> list[int]:
    """Return 1 for the leading real frequencies and 2, for a conjugate pair, for the others."""
    return [1] * real + [2] * (frequencies - real)


@lru_cache(maxsize=64)
def grid_of(size: Size) -> Grid:
    """Return the frequencies of images of a size."""
    height, width = size
    single: list[tuple[Size, int]] = []
    paired: list[tuple[Size, int]] = []
    for column in range(width // 2 + 1):
        # In these columns rfft2 holds both members of a conjugate pair, in rows r and h - r.
        own_conjugate = column in (0, width - column)
        for row in range(height // 2 + 1 if own_conjugate else height):
            key = (row if 2 * row <= height else row - height, column)
            alone = own_conjugate and row in (0, height - row)
            (single if alone else paired).append((key, row * (width // 2 + 1) + column))
    keys, places = zip(*single, *paired, strict=True)
    return Grid(keys, places, len(single))


@lru_cache(maxsize=64)
def runs_of(size: Size) -> tuple[tuple[slice, slice], ...]:
    """Return where frequencies lie in rfft2's flattened layout, as (frequencies, places).

    Few slices, for these are copied without a list of places: each is of places at one distance.
    """
    places = grid_of(size).places
    runs: list[tuple[slice, slice]] = []
    start = 0
    while start < len(places):
        step = max(1, places[start + 1] - places[start]) if start + 1 < len(places) else 1
        stop = start + 1
        while stop < len(places) and places[stop] - places[stop - 1] == step:
            stop += 1
        runs.append((slice(start, stop), slice(places[start], places[stop - 1] + 1, step)))
        start = stop
    return tuple(runs)


@lru_cache(maxsize=256)
def shared_frequencies(a: Size, b: Size) -> tuple[list[int], list[int], int]:
    """Return the positions of the frequencies that two grids share, and the number of real ones."""

    def in_both(key: Size) -> bool:
        # Along an axis of different lengths the smaller grid's Nyquist frequency is left out:
        # there the two waves +k and -k look alike, in the larger grid they do not.
        return all(m == n or 2 * abs(k) < min(m, n) for k, m, n in zip(key, a, b, strict=True))

    at = {key: i for i, key in enumerate(grid_of(b).keys)}
    pairs = [(i, at[key]) for i, key in enumerate(grid_of(a).keys) if in_both(key)]
    real = sum(i < grid_of(a).real for i, _ in pairs)
    return [i for i, _ in pairs], [j for _, j in pairs], real
