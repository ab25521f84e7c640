"""How the output of a layer is read as rows: what is a datapoint, what a neuron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

from svcca_lib.errors import one_of
from svcca_lib.fourier.convolutions import channels_as_neurons

Conv: TypeAlias = Literal["dft", "channels", "mean", "pixels"]
Tokens: TypeAlias = Literal["datapoints", "mean", "first", "last"]


@dataclass(frozen=True)
class Reading:
    """How convolutions and tokens are read, as in `svcca_lib.compare`."""

    conv: Conv = "dft"
    tokens: Tokens | None = None

    def __post_init__(self) -> None:
        one_of(self.conv, ("dft", "channels", "mean", "pixels"), "conv")
        if self.tokens is not None:
            one_of(self.tokens, ("datapoints", "mean", "first", "last"), "tokens")

    def __call__(self, output: Tensor, name: str, *, images: bool) -> Tensor:
        """Turn a layer's output into rows (n, p); with `images` leave convolutions to the DFT.

        Raises
        ------
        ValueError
            If the layer has tokens and it is not said how to read them.
        """
        if output.ndim == 3:  # (n, tokens, d)
            return self._of_tokens(output, name)
        if output.ndim == 4 and not images:  # (n, c, h, w)
            if self.conv == "mean":
                return output.mean((2, 3))
            if self.conv == "channels":
                rows: Tensor = channels_as_neurons(output)
                return rows
            return output.flatten(1)
        return output

    def _of_tokens(self, output: Tensor, name: str) -> Tensor:
        match self.tokens:
            case "datapoints":
                return output.flatten(0, 1)
            case "mean":
                return output.mean(1)
            case "first":
                return output[:, 0]
            case "last":
                return output[:, -1]
        raise ValueError(
            f"layer {name!r} gives (n, tokens, d) = {tuple(output.shape)}; say how to read "
            f"it: tokens='datapoints', 'mean', 'first' or 'last'"
        )

    def __str__(self) -> str:
        return f"conv={self.conv}" + (f", tokens={self.tokens}" if self.tokens else "")
