"""What torch was told elsewhere: modes of the caller that must not reach the arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

_KINDS = ("cpu", "cuda", "xpu", "mps")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Compute without the caller's autocast, default device and inference mode.

    Autocast would multiply float32 layers in 8 bits of precision; a default device takes what is
    made here away from the data; tensors of inference mode can be changed, or used with a gradient,
    only where that is still on. Whether gradients are recorded stays as it was.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())
        for kind in _KINDS:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield
