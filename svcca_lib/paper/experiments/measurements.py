"""Arrays measured on trained networks, kept in the store under the very weights they belong to.

A network in the store is named by how it was trained. Trained again elsewhere it differs in the
last bits, and what was measured on the one is not the measurement of the other: so measurements
are named by a hash of the weights themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.store import identity
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.trained import TrainedNetwork


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Hash names, dtypes, shapes and values of tensors on the CPU; their order does not matter."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def measured(
    store: Store,
    kind: str,
    networks: Sequence[TrainedNetwork | Mapping[str, Tensor]],
    config: Mapping[str, Any],
    make: Callable[[], Mapping[str, np.ndarray]],
    *,
    data: ImageData | None = None,
    name: str = "",
) -> dict[str, np.ndarray]:
    """Load what was measured on these networks, or measure and keep it.

    Parameters
    ----------
    kind : str
        What is measured; a folder of the store.
    networks : sequence of TrainedNetwork, or of mappings of str to Tensor
        Trained networks, or the weights of others, in the order in which `make` takes them.
    config : mapping
        Everything else that decides the result, as JSON values.
    make : callable
        ``make()`` returns the arrays. The file that defines it is part of what identifies the
        result, see `identity.of_measurement`.
    data : ImageData, optional
        What the networks are shown.
    name : str
        Begins the folder's name; by default the first network's, where there are data.
    """
    tensors = [n if isinstance(n, Mapping) else n.tensors for n in networks]
    config = {**config, "networks": [fingerprint(weights) for weights in tensors]}
    if data is not None:
        config["data"] = data.fingerprint
        first = networks[0]
        if not name and not isinstance(first, Mapping):
            name = f"{first.config.network.arch}-{data.name}-s{first.config.seed}"

    def measure(workspace: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {name: torch.tensor(array) for name, array in make().items()}, {}

    version = identity.of_measurement(make)
    artefact = store.fetch(kind, config, measure, version=version, name=name)
    return {name: tensor.numpy() for name, tensor in artefact.tensors.items()}
