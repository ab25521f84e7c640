"""Two networks compared over several real processes, as torchrun starts them."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from svcca_lib import NetworkMoments
from svcca_lib.paper.running import distributed

ARGUMENTS = ["compare", "convnet+0@0.05", "convnet+0", "--images", "600", "--batch-size", "100"]
LAYERS = ["--layers", "c1,p1,c5,fc1,logits"]


def start(processes, *arguments):
    command = [sys.executable, "-m", "svcca_lib"]
    if processes > 1:
        torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, "-m", *torchrun, *command[1:]]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_give_what_one_gives(tmp_path):
    conv = "dft"
    alone = distributed.compare(
        "convnet+0@0.05", "convnet+0", layers=LAYERS[1], conv=conv, images=600, batch_size=100
    )
    out = ["--out", str(tmp_path / "table.csv")]
    printed = start(2, *ARGUMENTS, *LAYERS, "--conv", conv, *out)
    assert printed.count("svcca, n = ") == 1  # one process speaks for both
    together = pd.read_csv(tmp_path / "table.csv", index_col="layer")
    assert list(together.index) == list(alone.layers_a)
    assert np.abs(together.to_numpy() - alone.matrix).max() < 1e-9
    # and it is no table of ones or zeros that would agree by itself
    assert np.ptp(alone.matrix) > 0.1


def test_networks_and_inputs_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "def model():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh())\n"
        "images = torch.randn(300, 4, generator=torch.Generator().manual_seed(1))\n"
        "number = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    table = distributed.compare("mine:model", "mine:model", inputs="mine:images", measure="cca")
    assert table.n == 300
    assert table.matrix.diagonal() == pytest.approx([1, 1])
    with pytest.raises(ValueError, match=r"mine:number must be a torch\.nn\.Module; got int"):
        distributed.compare("mine:number", "mine:model")
    with pytest.raises(ValueError, match="there is no mine:other"):
        distributed.compare("mine:other", "mine:model")
    with pytest.raises(ValueError, match=r"expected TRAINING\+SEED"):
        distributed.compare("convnet", "mine:model")


def test_every_process_needs_a_batch():
    batches = torch.ones(25, 2).split(10)
    assert [batch.tolist() for batch in distributed.share(batches, 2, 3)] == [[[1.0, 1.0]] * 5]
    with pytest.raises(ValueError, match="fewer than 4"):
        list(distributed.share(batches, 3, 4))


def test_all_reduce_needs_a_process_group():
    with pytest.raises(RuntimeError, match="init_process_group first"):
        NetworkMoments().all_reduce()


def test_all_reduce_of_nothing_is_refused(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/s", rank=0, world_size=1
    )
    try:
        with pytest.raises(ValueError, match="at least one batch"):
            NetworkMoments().all_reduce()
        rng = np.random.default_rng(0)
        m, same = NetworkMoments(), NetworkMoments()
        batch = {"a": rng.normal(size=(50, 4)) + 1e3}, {"b": rng.normal(size=(50, 3))}
        m.update(*batch)
        same.update(*batch)
        m.all_reduce()
        assert np.array_equal(m.table("cca").matrix, same.table("cca").matrix)
    finally:
        torch.distributed.destroy_process_group()


def test_no_environment_of_torchrun_is_needed():
    assert "WORLD_SIZE" not in os.environ
    with distributed.group() as (rank, world, _):
        assert (rank, world) == (0, 1)
