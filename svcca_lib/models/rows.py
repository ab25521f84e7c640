"""Outputs of layers become rows of neurons, or images for the DFT, in float64 on one device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from svcca_lib.fourier.moments import FourierMoments
from svcca_lib.inputs import as_tensor
from svcca_lib.measures.measure import Measure
from svcca_lib.measures.registry import measure_named
from svcca_lib.models.readings import Reading
from svcca_lib.moments import Moments
from svcca_lib.pair_moments import Batch, PairMoments

# With conv="dft" a measure becomes the one that sees the same directions at each frequency.
_IN_FOURIER: dict[str, dict[str, float]] = {
    "svcca": {"keep": 0.99},
    "cca": {"keep": 1.0},
    "dft_cca": {},
}


class Reader:
    """Reads outputs as rows; the first batch decides whether there are images for the DFT.

    Attributes
    ----------
    reading : Reading
    kind : type
        `Moments` or `FourierMoments`.
    device : torch.device or None
        Where rows are compared: that of the first output, as two models may be on two.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.kind: type[PairMoments] = Moments
        self.device: torch.device | None = None

    def meet(self, *sides: Mapping[str, Any]) -> None:
        """Look at the outputs of the first batch."""
        images = any(x.ndim == 4 for side in sides for x in side.values())
        self.kind = FourierMoments if self.reading.conv == "dft" and images else Moments

    def __call__(self, output: Any, name: str) -> Tensor:
        """Rows (n, p), or images (n, c, h, w), of a layer's output.

        Raises
        ------
        TypeError, ValueError
            If it cannot be read as asked, or is not finite.
        """
        tensor = as_tensor(output, f"layer {name!r}", ndim=(2, 3, 4), min_rows=1).detach()
        self.device = self.device or tensor.device
        return self.reading(tensor.to(self.device), name, images=self.kind is FourierMoments)

    def batch(self, rows: Tensor, name: str, rounding: float) -> Batch:
        """Centre rows, and transform images; `rounding` is that of the output they were."""
        return replace(self.kind.batch(rows, name), rounding=rounding)

    def same_rows(self, rows: Sequence[tuple[str, int]]) -> None:
        """Raise unless all layers, given by name, have the same number of rows.

        Raises
        ------
        ValueError
            If they have not.
        """
        name, n = rows[0]
        for other, m in rows:
            if m != n:
                raise ValueError(
                    f"layers {name!r} and {other!r} give {n} and {m} datapoints in one batch with "
                    f"conv={self.reading.conv!r}, tokens={self.reading.tokens!r}; choose a reading "
                    f"that gives one row an image, or layers of one size"
                )

    def measure(self, measure: str, options: Mapping[str, Any]) -> Measure[Any]:
        """Return the measure that compares layers read in this way.

        Raises
        ------
        TypeError, ValueError
            If there is none of that name, or with such options, for this reading.
        """
        if self.kind is FourierMoments:
            if measure not in _IN_FOURIER:
                raise ValueError(
                    f"conv='dft' works with svcca, cca and dft_cca; for {measure} read the "
                    f"convolutions by conv='mean', 'channels' or 'pixels'"
                )
            return measure_named("dft_cca", {**_IN_FOURIER[measure], **options})
        if measure == "dft_cca":
            raise ValueError("dft_cca needs layers (n, c, h, w) and conv='dft'; use cca or svcca")
        return measure_named(measure, options)


def narrow(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Rows in the type that the layer gave, where that loses nothing."""
    small = rows.to(dtype)
    return small if torch.equal(small.to(rows.dtype), rows) else rows
