import pytest
import torch

from svcca_lib.paper.experiments.convolution_readings import readings


def test_readings_are_given_where_they_are_possible():
    x, y = torch.randn(60, 3, 4, 4), torch.randn(60, 5, 2, 2)
    found = readings(x, y)
    assert found["channels"].similarity is None  # different sizes
    assert found["pixels"].similarity is not None  # 48 and 20 neurons, 60 images
    assert readings(x[:40], y[:40])["pixels"].similarity is None
    assert not readings(x[:40], y[:40])["pixels"].possible


def test_every_reading_knows_a_layer_again_after_its_channels_are_mixed():
    x = torch.randn(200, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    mixed = torch.einsum("nchw,dc->ndhw", x, torch.tensor([[1.0, 1, 0], [0, 1, 0], [1, 0, 2]]))
    for name, reading in readings(x, mixed, keep=1.0).items():
        assert reading.similarity == pytest.approx(1, abs=1e-6), name
        assert reading.chance < 0.9, name
