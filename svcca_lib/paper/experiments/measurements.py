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

from torch import Tensor

from svcca_lib.paper.store import identity
from svcca_lib.paper.store.store import Artefact, Store
from svcca_lib.paper.training.training import Run


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
    runs: Sequence[Run],
    config: Mapping[str, Any],
    make: Callable[[], tuple[dict[str, Tensor], dict[str, Any]]],
    *,
    name: str = "",
) -> Artefact:
    """Load what was measured on these networks, or measure and keep it.

    Parameters
    ----------
    store : Store
    kind : str
        What is measured; a folder of the store.
    runs : sequence of Run
        The trained networks, in the order in which `make` takes them.
    config : mapping
        Everything else that decides the result, as JSON values.
    make : callable
        ``make()`` returns ``(tensors, meta)``. The file that defines it is part of what
        identifies the result, see `identity.of_measurement`.
    name : str
        Begins the folder's name.
    """
    of = [fingerprint(run.tensors) for run in runs]

    def measure(workspace: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return make()

    version = identity.of_measurement(make)
    return store.fetch(kind, {**config, "networks": of}, measure, version=version, name=name)
