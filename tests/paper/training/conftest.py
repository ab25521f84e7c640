"""Small data that networks of every kind learn from, and a store for them."""

import pytest
import torch

from svcca_lib.paper.data.sources import load
from svcca_lib.paper.data.text import TextData
from svcca_lib.paper.data.toy import toy as targets
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training import tasks


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def toy():
    return targets(256)


@pytest.fixture(scope="module")
def text():
    """A text of 3,000 tokens in which each token but the first of ten follows from the last."""
    tokens = torch.arange(3000) % 10
    return TextData("count", "count", tokens[:2500], tokens[2500:], tuple("0123456789"), "c")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def float32(monkeypatch):
    monkeypatch.setattr(tasks, "computes_in_bfloat16", lambda device: False)
