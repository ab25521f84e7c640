"""A network that a profile names: its recipe bound to data and a seed, loaded or trained now.

Chapters, the workflow and comparisons over several processes all come by their networks so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from svcca_lib.paper.data.sources import Data
    from svcca_lib.paper.store.store import Store
    from svcca_lib.paper.training.journal import Report
    from svcca_lib.paper.training.trained import TrainedNetwork


def train(
    profile: str,
    training: str,
    seed: int,
    data: str | Data = "",
    *,
    width: int = 0,
    store: Store | None = None,
    progress: bool | None = None,
    report: Report | None = None,
) -> TrainedNetwork:
    """Return one training of a profile, from the store or trained now.

    Parameters
    ----------
    profile, training : str
        Such as ``"quick"`` and ``"convnet"``.
    seed : int
        The seed of the weights and of the order of the data.
    data : str or Data
        A data set, or its specification in the words of `sources.load`; empty for the profile's
        own.
    width : int
        Channels of the ConvNet in place of the profile's, the ResNet in proportion; 0 for its own.
    store : Store, optional
        `default_store` if not given.
    progress : bool, optional
        A bar on stderr; by default where that is a terminal.
    report : callable, optional
        As of `trained.train`.
    """
    from svcca_lib.paper import profiles
    from svcca_lib.paper.training import trained

    scale = profiles.profile(profile)
    if isinstance(data, str):
        data = scale.dataset(training, data)
    config = scale.training(training, seed, data, width)
    store = store or default_store()
    return trained.train(config, data, store, progress=progress, report=report)


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
