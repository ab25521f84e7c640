"""Loss and accuracy of a network as it is, whatever mode it is in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional


def evaluate(network: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = 500) -> float:
    """Return the accuracy of a classifier in float32 and evaluation mode; its own mode stays.

    `images` are (n, c, h, w), normalised, with labels (n,); or tokens (n, time) with labels
    (n, time). `batch_size` bounds the memory, not the result.
    """
    return measure(network, images, labels, classification, nullcontext, batch_size)[1]


def classification(output: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and accuracy of a batch of logits."""
    output = output.float().flatten(0, -2)  # (n, classes), or (n, time, vocabulary)
    loss = functional.cross_entropy(output, y.flatten())
    return loss, (output.argmax(-1) == y.flatten()).double().mean()


@torch.no_grad()
def measure(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    score: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    autocast: Callable[[], AbstractContextManager[object]],
    batch_size: int = 500,
) -> tuple[float, float]:
    """Mean loss and accuracy in evaluation mode, as `score` gives them for a batch."""
    device = next(network.parameters()).device
    total = torch.zeros(2, dtype=torch.float64, device=device)
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        for start in range(0, len(x), batch_size):
            xs, ys = x[start : start + batch_size], y[start : start + batch_size]
            with autocast():
                output = network(xs.to(device))
            total += torch.stack(score(output, ys.to(device))) * len(xs)
    finally:  # each module's own mode: frozen ones stay as they are
        for module, mode in modes.items():
            module.training = mode
    loss, accuracy = (total / len(x)).tolist()
    return loss, accuracy
