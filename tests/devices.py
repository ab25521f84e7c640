"""Devices that a test is run on: this processor always, a GPU where there is one."""

import pytest
import torch

NEEDS_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine"),
]
DEVICES = [torch.device("cpu"), pytest.param(torch.device("cuda"), marks=NEEDS_GPU)]


def needs_gpu(test):
    """Mark a test that runs on a GPU alone."""
    for mark in NEEDS_GPU:
        test = mark(test)
    return test
