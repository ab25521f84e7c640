"""What a run of the book took in energy, greenhouse gases and money: an estimate, and its ground.

Recorded are the seconds of each training and each chapter, and the threads; assumed is all the
rest. The way is that of Green Algorithms (Lannelongue, Grealey and Inouye 2021): time, times the
power of the cores, times what the building adds, times the carbon of a kilowatt-hour.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from svcca_lib.paper.chapter.gathered import Book
from svcca_lib.paper.chapter.tables import Table

# Round numbers of ours, of the size that such machines and grids have; a reader who knows better
# ones multiplies.
WATTS = 12.0  # of a core at full load, with its share of the memory
OVERHEAD = 1.6  # of the building: cooling, power supplies
GRAMS = 450.0  # of CO2 equivalent a kilowatt-hour, about the world's mean
DOLLARS = 0.05  # a core-hour, about what is asked for one by the hour
_GPU = re.compile(r"NVIDIA|Tesla|GeForce|Quadro|Radeon|Instinct|\bGPU\b")


@dataclass(frozen=True)
class Footprint:
    """What some core-hours took, by the assumptions above."""

    core_hours: float

    @property
    def kilowatt_hours(self) -> float:
        """Energy at the meter of the building."""
        return self.core_hours * WATTS * OVERHEAD / 1000

    @property
    def grams(self) -> float:
        """Greenhouse gases, in grams of CO2."""
        return self.kilowatt_hours * GRAMS

    @property
    def dollars(self) -> float:
        """What the core-hours cost where they are rented."""
        return self.core_hours * DOLLARS


def trainings(book: Book) -> Footprint:
    """Return what the networks took, each once, with as many threads as any chapter had.

    The threads of a training are not recorded. Those on a GPU are left out, see `left_out`.
    """
    making = [ledger.provenance for ledger in book.chapters.values()]
    threads = max(made.environment["threads"] for made in making)
    seconds = sum(n.seconds for n in book.networks() if not _GPU.search(n.device))
    return Footprint(seconds * threads / 3600)


def chapters(book: Book) -> Footprint:
    """Return what the chapters took; one that trained networks itself counts them here, too."""
    making = [ledger.provenance for ledger in book.chapters.values()]
    seconds = (
        made.seconds * made.environment["threads"]
        for made in making
        if not _GPU.search(made.environment["device"])
    )
    return Footprint(sum(seconds) / 3600)


def left_out(book: Book) -> list[str]:
    """Return the devices whose power is not among the assumptions: GPUs."""
    making = [ledger.provenance for ledger in book.chapters.values()]
    devices = [n.device for n in book.networks()] + [m.environment["device"] for m in making]
    return sorted({device for device in devices if _GPU.search(device)})


def footprint(book: Book) -> Table:
    """Return a row for the trainings, the chapters and both, each an upper estimate."""
    parts = {"Trainings": trainings(book), "Chapters": chapters(book)}
    both = Footprint(sum(part.core_hours for part in parts.values()))
    unknown = left_out(book)
    title = "Both" + (f", without {', '.join(unknown)}" if unknown else "")
    return Table(
        ("Part", "Core-hours", "Energy, kWh", "CO2 equivalent, kg", "Cost, US dollars"),
        tuple(
            (
                name,
                f"{part.core_hours:.2g}",
                f"{part.kilowatt_hours:.2g}",
                f"{part.grams / 1000:.2g}",
                f"{part.dollars:.2g}",
            )
            for name, part in (parts | {title: both}).items()
        ),
        kind="scores",
    )


def assumptions() -> str:
    """Say what the estimate assumes."""
    return (
        f"Assumed: {WATTS:g} W a core, {OVERHEAD:g} times that at the meter of the building, "
        f"{GRAMS:g} g of CO2 equivalent a kilowatt-hour, {DOLLARS:g} US dollars a core-hour"
    )
