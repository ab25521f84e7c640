"""Two small networks that differ in their seed, and what they are shown."""

import pytest

from svcca_lib.paper.data.sources import load
from svcca_lib.paper.experiments.inputs import images_of
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.config import TrainConfig
from svcca_lib.paper.training.networks import NetworkConfig
from svcca_lib.paper.training.trained import train


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def runs(digits, store):
    network = NetworkConfig("convnet", (1, 8, 8), 10, width=4, fc=(9, 7))
    configs = [
        TrainConfig(
            network,
            digits.fingerprint,
            seed=seed,
            steps=12,
            batch_size=32,
            evaluations=1,
            checkpoints=(0.0, 0.5, 1.0),
        )
        for seed in (0, 1)
    ]
    return [train(config, digits, store) for config in configs]


@pytest.fixture(scope="module")
def outputs(digits):
    """Record one layer of a network on some images."""

    def outputs(run, layer, images, fraction=1.0):
        return images_of(digits, images).responses(run.network(fraction), [layer])[layer]

    return outputs
