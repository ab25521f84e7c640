"""Networks where they are: on any device they are compared and trained as on the processor."""

import copy

import pytest
import torch
import torch.distributed as dist
from devices import DEVICES
from torch import nn
from trainings import CONVNET, CPU, bands, configured

from svcca_lib import Moments, capture, compare, svcca
from svcca_lib.paper.experiments.inputs import images_of
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.trained import train

# Of float32 responses, summed up in another order; TF32 is off unless a training asks for it.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(params=DEVICES, ids=str)
def device(request):
    return request.param


@pytest.fixture
def models():
    torch.manual_seed(0)
    return [
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 10)).eval()
        for _ in range(2)
    ]


@pytest.fixture
def images():
    return torch.randn(400, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_responses_are_recorded_as_on_the_processor(device, models, images):
    expected = capture(models[0], ["0", "3"], images)
    there = copy.deepcopy(models[0]).to(device)
    for given in (images, images.to(device)):
        found = capture(there, ["0", "3"], given)
        for name in expected:
            torch.testing.assert_close(found[name].cpu(), expected[name], **TOLERANCE)


@pytest.mark.parametrize("conv", ["dft", "mean"])
def test_models_are_compared_as_on_the_processor(device, models, images, conv):
    layers, how = ["0", "3"], {"conv": conv, "progress": False}
    expected = compare(*models, images, layers, **how)
    there = [copy.deepcopy(model).to(device) for model in models]
    for given in (images, images.to(device)):
        found = compare(*there, given, layers, **how)
        assert found.matrix == pytest.approx(expected.matrix, abs=1e-4)


def test_moments_of_one_process_are_added_up_over_the_group(device, tmp_path):
    x, y = torch.randn(2, 300, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{tmp_path}/s", rank=0, world_size=1)
    try:
        moments = Moments()
        moments.update(x.to(device), y.to(device))
        moments.all_reduce()
    finally:
        dist.destroy_process_group()
    assert svcca(moments).similarity == pytest.approx(svcca(x, y).similarity, abs=1e-10)


def test_a_training_ends_with_the_same_verdicts(device, tmp_path):
    """Not with the same numbers: rounding differs, and grows. It learns, and its layers agree."""
    data = bands()
    config = configured(CONVNET, data, translate=0, steps=60)
    here, there = (
        train(config, data, Store(tmp_path / str(i)), device=where, progress=False)
        for i, where in enumerate((CPU, device))
    )
    for run in (here, there):
        assert run.history["test_accuracy"][-1] > 0.9
        assert next(run.network().parameters()).device == CPU
    images = images_of(data)
    logits = [images.responses(run.network(), ["logits"])["logits"] for run in (here, there)]
    assert svcca(*logits).similarity > 0.9
