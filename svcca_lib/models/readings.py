"""How the output of a layer is read as rows: what is a datapoint, what a neuron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from svcca_lib.errors import one_of
from svcca_lib.fourier.convolutions import channels_as_neurons, positions_as_neurons
from svcca_lib.models.axes import Axes

Conv: TypeAlias = Literal["dft", "channels", "mean", "pixels", "positions"]
Tokens: TypeAlias = Literal["datapoints", "mean", "first", "last"]

_IN_WORDS = {
    "dft": "one CCA a frequency",
    "channels": "places as datapoints",
    "mean": "mean over space",
    "pixels": "every place of every channel a neuron",
    "positions": "every channel at four places around the centre a neuron",
    "datapoints": "tokens as datapoints",
    "mean of tokens": "mean over tokens",
    "first": "first token",
    "last": "last token",
}


@dataclass(frozen=True)
class Reading:
    """How convolutions and tokens are read, as in `svcca_lib.compare`."""

    conv: Conv = "dft"
    tokens: Tokens | None = None

    def __post_init__(self) -> None:
        one_of(self.conv, get_args(Conv), "conv")
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
            return self.of_tokens(output, name)
        if output.ndim == 4 and not images:  # (n, c, h, w)
            if self.conv == "mean":
                return output.mean((2, 3))
            if self.conv == "channels":
                rows: Tensor = channels_as_neurons(output)
                return rows
            if self.conv == "positions":
                neurons: Tensor = positions_as_neurons(output)
                return neurons
            return output.flatten(1)
        return output

    def arranged(self, output: Tensor, axes: Axes, real: Tensor | None, name: str) -> Tensor:
        """Turn what a layer gave into rows (n, p), or into images (n, c, h, w).

        Parameters
        ----------
        output : Tensor
        axes : Axes
            What its axes are.
        real : Tensor or None, shape (n, tokens), bool
            Which tokens are real.
        name : str
            The layer's, for errors.

        Raises
        ------
        ValueError
            If the axes are not known, a mask does not fit, or the layer cannot be read as asked.
        """
        if axes.kind == "unknown":
            axes.refuse(output, name)
        output = axes.arranged(output)
        if axes.kind == "tokens":
            return self.of_tokens(output, name, real)
        if axes.kind == "vectors":
            return output
        if output.ndim == 3:  # (n, c, length)
            return self._of_lengths(output, name, real)
        if real is not None and real.shape[1] in output.shape[2:]:
            raise ValueError(
                f"layer {name!r} gives {axes}, one axis of as many places as the batch has tokens, "
                f"{int((~real).sum())} of them padding, which would count as data; leave the layer "
                f"out, or mask=None to read all on purpose"
            )
        if output.ndim == 4:
            return output
        if self.conv in ("dft", "positions"):
            raise ValueError(
                f"layer {name!r} gives {axes.letters} = {tuple(output.shape)}, and "
                f"conv={self.conv!r} is of one or two dimensions of space; read it by "
                f"conv='mean', 'channels' or 'pixels'"
            )
        return output.flatten(2, -2)

    def of_tokens(self, output: Tensor, name: str, real: Tensor | None = None) -> Tensor:
        """Turn (n, tokens, d) into rows, of the real tokens alone if it is known which they are.

        Raises
        ------
        ValueError
            If it is not said how to read tokens, or the mask does not fit.
        """
        if self.tokens is None:
            raise ValueError(
                f"layer {name!r} gives (n, tokens, d) = {tuple(output.shape)}; say how to read "
                f"it: tokens='datapoints', 'mean', 'first' or 'last'"
            )
        if real is None:
            if self.tokens == "datapoints":
                return output.flatten(0, 1)
            if self.tokens == "mean":
                return _mean(output, None)
            return output[:, 0 if self.tokens == "first" else -1]
        real = _fitting(real, output, name)
        if self.tokens == "datapoints":
            return output[real]
        if self.tokens == "mean":
            return _mean(output, real)
        order = real.int() if self.tokens == "first" else real.int().cumsum(1)
        return output[torch.arange(len(output), device=output.device), order.argmax(1)]

    def _of_lengths(self, output: Tensor, name: str, real: Tensor | None) -> Tensor:
        """Turn (n, c, length) into images one high, or, with a mask, rows of the real places."""
        if real is None:
            return output[:, :, None]
        places = output.movedim(1, 2)
        real = _fitting(real, places, name)
        if self.conv == "mean":
            return _mean(places, real)
        if self.conv == "channels":
            return places[real]
        raise ValueError(
            f"layer {name!r} gives (n, c, length) = {tuple(output.shape)} of sequences that are "
            f"padded, which conv={self.conv!r} would take for data; read it by conv='mean' or "
            f"'channels', or mask=None"
        )

    def of(self, axes: Axes, *, masked: bool) -> str:
        """Say in words what is taken for what."""
        if axes.kind == "vectors":
            return f"{axes}: as it is"
        how = str(self.conv if axes.kind == "maps" else self.tokens)
        words = _IN_WORDS["mean of tokens" if axes.kind == "tokens" and how == "mean" else how]
        real = masked and (axes.kind == "tokens" or "l" in axes.letters)
        return f"{axes}: {words}{', real ones only' if real else ''}"

    def __str__(self) -> str:
        return f"conv={self.conv}" + (f", tokens={self.tokens}" if self.tokens else "")


def _fitting(real: Tensor, output: Tensor, name: str) -> Tensor:
    """Check a mask (n, tokens) against (n, tokens, d), and that each sequence has a token."""
    if real.shape != output.shape[:2]:
        raise ValueError(
            f"layer {name!r} has {output.shape[1]} tokens of {len(output)} datapoints, the mask of "
            f"the batch {real.shape[1]} of {len(real)}, {int((~real).sum())} of them padding; give "
            f"mask=function(batch) for these layers, or mask=None to read all tokens on purpose"
        )
    real = real.to(output.device)
    if not bool(real.any(1).all()):
        empty = int((~real.any(1)).nonzero()[0])
        raise ValueError(
            f"layer {name!r}: by the mask, datapoint {empty} of the batch has no real token; drop "
            f"such datapoints"
        )
    return real


def _mean(output: Tensor, real: Tensor | None) -> Tensor:
    """Mean over the real tokens, summed in float64; what is at the others does not matter."""
    if real is None:
        mean = output.mean(1, dtype=torch.float64)
    else:
        total = torch.where(real[..., None], output, 0).sum(1, dtype=torch.float64)
        mean = total / real.sum(1, keepdim=True)
    return mean.to(torch.promote_types(output.dtype, torch.float32))
