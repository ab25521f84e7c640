"""What names a data set in the configuration of whatever was computed from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from torch import Tensor


def fingerprint(tensors: Iterable[Tensor], names: Iterable[str]) -> str:
    """Hash tensors and names to 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.contiguous().numpy().data)
    digest.update("\0".join(names).encode())
    return digest.hexdigest()
