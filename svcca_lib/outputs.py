"""Results on the way out of the library: in the library that the data came in."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def like_input(value: Tensor, *, numpy: bool) -> Any:
    """Give a tensor back in the library the user's data came in."""
    return value.detach().cpu().numpy() if numpy else value
