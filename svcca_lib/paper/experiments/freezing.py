"""Freeze Training: what it costs in accuracy, in matched pairs of runs.

A base run and a freeze run of one seed start from the same weights and see the same batches, so
their difference is that of the freezing alone, and the pairs (not the runs) are the sample.

References
----------
Raghu et al. 2017, section 4.2 and Figure 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.experiments.crossings import holds_from
from svcca_lib.paper.experiments.inputs import images_of
from svcca_lib.paper.experiments.measurements import measured
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.evaluation import evaluate
from svcca_lib.paper.training.tasks import translation_windows
from svcca_lib.paper.training.trained import TrainedNetwork


@dataclass(frozen=True)
class Matched:
    """Runs without and with freezing, seed by seed.

    ``base[i]`` and ``freeze[i]`` differ in the freezing alone; ValueError if a pair differs in
    more, or in less.
    """

    base: tuple[TrainedNetwork, ...]
    freeze: tuple[TrainedNetwork, ...]

    def __post_init__(self) -> None:
        if len(self.base) != len(self.freeze) or not self.base:
            raise ValueError(
                f"expected as many base as freeze runs, at least one; got {len(self.base)} and "
                f"{len(self.freeze)}"
            )
        for base, freeze in zip(self.base, self.freeze, strict=True):
            if base.config.freeze is not None or freeze.config.freeze is None:
                raise ValueError("expected a freeze schedule in the freeze runs and in no base run")
            # Which networks are kept on the way does not touch the training.
            alike = replace(freeze.config, freeze=None, checkpoints=base.config.checkpoints)
            if alike != base.config:
                raise ValueError(
                    f"a pair may differ in its freeze schedule only; got {base.config} and "
                    f"{freeze.config}"
                )

    @property
    def steps(self) -> np.ndarray:
        """Steps at which the runs were evaluated, shape (t,)."""
        return np.array(self.base[0].history["step"])

    @property
    def freezes(self) -> np.ndarray:
        """Steps at which a group of layers was frozen."""
        return np.array([step for step, _ in self.freeze[0].freezes])

    def curves(self, column: str = "test_accuracy") -> tuple[np.ndarray, np.ndarray]:
        """Return a column of the histories of base and freeze, each of shape (seeds, t)."""
        return tuple(  # type: ignore[return-value]
            np.array([run.history[column] for run in runs]) for runs in (self.base, self.freeze)
        )


def below_since(steps: Sequence[int] | np.ndarray, difference: np.ndarray) -> int | None:
    """Return the first of ascending steps from which on a difference stays below 0, or None.

    Examples
    --------
    >>> below_since([0, 10, 20, 30], np.array([-1.0, 0.5, -0.1, -2.0]))
    20
    """
    first = holds_from(np.asarray(difference) < 0)
    return None if first is None else int(steps[first])


def final_accuracy(
    runs: Sequence[TrainedNetwork], data: ImageData, store: Store, limit: int
) -> np.ndarray:
    """Measure the finished networks in float32, on images as they are (not translated).

    On all test images and at most `limit` training images: accuracies (runs, 2).
    """
    parts = images_of(data, part="test"), images_of(data, limit)

    def measure(run: TrainedNetwork) -> np.ndarray:
        def make() -> dict[str, np.ndarray]:
            network = run.network()
            found = [evaluate(network, part.inputs, part.labels) for part in parts]
            return {"accuracy": np.array(found)}

        config = {"limit": limit}
        return measured(store, "accuracy", [run], config, make, data=data)["accuracy"]

    return np.stack([measure(run) for run in runs])


def loudest_responses(
    runs: Sequence[TrainedNetwork], data: ImageData, store: Store, limit: int
) -> list[dict[str, float]]:
    """Find the largest response of each batch norm of each run, in its running standard deviations.

    A batch norm in training brings a neuron that fires for one image of b to no more than
    ``sqrt(b - 1)``. One that is frozen divides by the deviation it remembers, which for a neuron
    that hardly ever fires is close to 0, so that the rare image comes out without bound. At most
    `limit` training images are shown, each at the nine extreme translations.
    """
    images = images_of(data, limit).inputs

    def measure(run: TrainedNetwork) -> dict[str, float]:
        network = run.network()
        norms = {
            name: module
            for name, module in network.named_modules()
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        }
        largest = dict.fromkeys(norms, 0.0)

        def watch(name: str, mean: Tensor, deviation: Tensor) -> None:
            def before(norm: nn.Module, inputs: tuple[Tensor]) -> None:
                z = (inputs[0].movedim(1, -1) - mean) / deviation  # channels last
                largest[name] = max(largest[name], float(z.abs().max()))

            norms[name].register_forward_pre_hook(before)

        for name, norm in norms.items():
            state = norm.state_dict()
            watch(name, state["running_mean"], (state["running_var"] + norm.eps).sqrt())

        def make() -> dict[str, np.ndarray]:
            windows = translation_windows(images, run.config.translate)
            extremes = sorted({0, run.config.translate, 2 * run.config.translate})
            with torch.no_grad():
                for down, right in product(extremes, extremes):
                    for part in torch.split(windows[:, down, right], 500):
                        network(part.permute(0, 3, 1, 2))
            return {name: np.array(value) for name, value in largest.items()}

        found = measured(store, "loudest", [run], {"limit": limit}, make, data=data)
        return {name: float(found[name]) for name in norms}

    return [measure(run) for run in runs]
