"""Small trainings, and how one is stopped half-way: for all tests that train."""

import contextlib

import pytest
import torch

from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.training import loop
from svcca_lib.paper.training.config import FreezeSchedule, TrainConfig
from svcca_lib.paper.training.networks import NetworkConfig

CPU = torch.device("cpu")
CONVNET = NetworkConfig("convnet", (1, 8, 8), 10, width=8, fc=(16, 8))
RESNET = NetworkConfig("resnet", (1, 8, 8), 10, width=4, depth=1)
TOY = NetworkConfig("toy", (1,), 4, width=12, depth=3)


def configured(network, data, **changes):
    """Configure a short training of a network on data."""
    settings = {"steps": 40, "batch_size": 32, "lr": 0.05, "evaluations": 4, "seed": 3}
    return TrainConfig(network, data.fingerprint, **(settings | changes))


def equal(a, b):
    """Say whether two networks' tensors are the same bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def bands():
    """Make 200 images that a network can tell apart; the same in every process."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 4
    noise = torch.randint(0, 60, (200, 1, 8, 8), generator=generator)
    pixels = (noise + 60 * labels[:, None, None, None]).to(torch.uint8)
    return ImageData(
        name="bands",
        label="bands",
        train_images=pixels[:160],
        train_labels=labels[:160],
        test_images=pixels[160:],
        test_labels=labels[160:],
        classes=("a", "b", "c", "d"),
        mean=torch.tensor([0.45]),
        std=torch.tensor([0.3]),
        fingerprint="bands",
    )


def bands_config():
    """Configure a training on `bands` that is frozen on its way."""
    return configured(
        NetworkConfig("convnet", (1, 8, 8), 4, width=8, fc=(16, 8)),
        bands(),
        steps=60,
        weight_decay=1e-3,
        translate=1,
        checkpoints=(0.0, 0.1, 0.5, 1.0),
        evaluations=6,
        freeze=FreezeSchedule(("c1", "c2", "c3"), 0.1, 0.6),
    )


@contextlib.contextmanager
def interrupted(at):
    """Stop a training in this process in the middle of step `at`, as Ctrl-C would."""
    rate = loop.learning_rate

    def stop(configuration, step):
        if step == at:
            raise KeyboardInterrupt
        return rate(configuration, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "learning_rate", stop)
        with pytest.raises(KeyboardInterrupt):
            yield
