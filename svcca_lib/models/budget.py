"""What a comparison may take of the memory, and what it will take: said before it starts.

Everything that is held is counted here: moments of layers, their bases, products of pairs, the
outputs of a batch. What is left to chance (the allocator, the libraries' own buffers) has a share
of its own, `MARGIN`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

Memory: TypeAlias = str | int | float | None

DEFAULT = 4 * 10**9  # or half of what is free, where that is less
MARGIN = 0.1  # of the budget: what no formula knows
SPEED = 2e10  # multiplications and additions a second, where nothing was measured yet

_UNITS = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


def parsed(memory: Memory, device: torch.device | None = None) -> int:
    """Bytes that a comparison may hold.

    Parameters
    ----------
    memory : str, number of bytes, or None
        Such as ``"4GB"`` or ``"512 MiB"``; None for 4 GB, or half of what is free on the device
        where that is less.

    Raises
    ------
    TypeError, ValueError
        If it is not an amount of memory.
    """
    if memory is None:
        return min(DEFAULT, available(device) // 2)
    if isinstance(memory, bool) or not isinstance(memory, (str, int, float, np.number)):
        raise TypeError(
            f"memory must be an amount such as '4GB', or a number of bytes; got "
            f"{type(memory).__name__}"
        )
    number, unit = memory, ""
    if isinstance(memory, str):
        found = re.fullmatch(r"\s*([\d.]+(?:e\d+)?)\s*([a-z]*)\s*", memory, re.IGNORECASE)
        number, unit = found.groups() if found else ("nan", "")
    try:
        amount = float(number) * _UNITS[unit.lower()]
    except (KeyError, ValueError):
        amount = math.nan
    if not 1 <= amount < math.inf:
        raise ValueError(f"memory must be an amount such as '4GB' or '512MiB'; got {memory!r}")
    return int(amount)


def available(device: torch.device | None = None) -> int:
    """Bytes that are free: on a GPU there, else of this machine, or of its container."""
    if device is not None and device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = [_meminfo(), _container()]
    known = [amount for amount in free if amount is not None]
    if known:
        return min(known)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # Windows
        return 2 * DEFAULT


def _meminfo() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"MemAvailable:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else None


def _container() -> int | None:
    """What control groups (version 2) leave; None without a limit."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = (group / "memory.current").read_text(encoding="ascii").strip()
        return None if limit == "max" else max(0, int(limit) - int(used))
    except (OSError, ValueError):
        return None


def in_words(amount: float) -> str:
    """Bytes as GB or MB."""
    return f"{amount / 1e9:.3g} GB" if amount >= 1e8 else f"{amount / 1e6:.3g} MB"


@dataclass(frozen=True)
class Shape:
    """A layer, as far as memory and time go.

    Attributes
    ----------
    width : int
        Neurons, or channels.
    entries : int
        Frequencies; 1 of a layer that is read as it is.
    itemsize : int
        Bytes of a number: 8, or 16 of complex ones.
    output, rows : int
        Bytes and rows that a batch gives.
    """

    width: int
    entries: int
    itemsize: int
    output: int
    rows: int

    @property
    def own(self) -> int:
        """Bytes of its moments."""
        return self.entries * self.width * (self.width + 1) * self.itemsize

    @property
    def prepared(self) -> int:
        """Most bytes of its basis: directions and weights, or weights at every frequency."""
        return self.entries * self.width**2 * self.itemsize * (2 if self.entries == 1 else 1)

    @property
    def decomposing(self) -> int:
        """Bytes of an eigendecomposition: the matrix, its vectors, and LAPACK's workspace.

        Of many small ones the vectors are held in two shapes before they are cut.
        """
        return (3 if self.entries == 1 else 4) * self.own

    @property
    def batch(self) -> int:
        """Bytes of one batch of it while it is read: in float64, centred, transformed."""
        return 4 * self.rows * self.entries * self.width * self.itemsize


def own_moments(shapes: Sequence[Shape], outputs: int) -> int:
    """Bytes of the first pass over these layers, with all outputs of a batch held.

    Every layer is decomposed as soon as the last batch is in, and its moments let go.
    """
    gathering = sum(s.own for s in shapes) + outputs + max(s.batch for s in shapes)
    left, done, highest = sum(s.own for s in shapes), 0, 0
    for s in shapes:
        highest = max(highest, left + done + s.decomposing)
        left, done = left - s.own, done + s.prepared
    return max(gathering, highest, done)


def most_products(sides: Sequence[Collection[Shape]]) -> int:
    """Bytes of the products of all pairs of layers at full width."""
    return sum(
        a.width * b.width * min(a.entries, b.entries) * a.itemsize
        for a in sides[0]
        for b in sides[-1]
    )


def in_one_reading(sides: Sequence[Collection[Shape]]) -> int:
    """Bytes of moments and products of all pairs gathered together, a batch of all included."""
    every = [shape for side in sides for shape in side]
    return most_products(sides) + sum(s.own + s.batch + s.output for s in every)


def duration(seconds: float) -> str:
    """A time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
