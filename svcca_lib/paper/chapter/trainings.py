"""A network that a profile names: its recipe bound to data and a seed, loaded or trained now.

Chapters, the workflow and comparisons over several processes all come by their networks so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from svcca_lib.paper.data.sources import Data
    from svcca_lib.paper.profiles import Training
    from svcca_lib.paper.store.store import Store
    from svcca_lib.paper.training.journal import Report
    from svcca_lib.paper.training.trained import TrainedNetwork


def train(
    training: Training,
    data: Data | None = None,
    *,
    store: Store | None = None,
    progress: bool | None = None,
    report: Report | None = None,
) -> TrainedNetwork:
    """Return a trained network, from the store (`default_store`) or trained now.

    `data` is what it learns from, where that is loaded already. A `progress` bar is shown on stderr
    where that is a terminal; `report` is that of `trained.train`.
    """
    from svcca_lib.paper.training import trained

    data = training.load() if data is None else data
    store = store or default_store()
    return trained.train(training.config(data), data, store, progress=progress, report=report)


def default_store() -> Store:
    """Return the default store; where ``$SVCCA_TRAIN`` is "never", one that trains nothing."""
    from svcca_lib.paper.store.store import Artefact, Store

    class LoadingOnly(Store):
        def fetch(self, kind: str, config: Any, make: Any, **rest: Any) -> Artefact:
            def refuse(workspace: Path) -> NoReturn:
                raise LookupError(
                    f"the network {rest.get('name', '')!r} is not in {self.reference or self.root} "
                    "in the form that the present code would train, and SVCCA_TRAIN=never forbids "
                    "to train it: run `make reference`"
                )

            return super().fetch(kind, config, refuse if kind == "network" else make, **rest)

    return LoadingOnly() if os.environ.get("SVCCA_TRAIN") == "never" else Store()
