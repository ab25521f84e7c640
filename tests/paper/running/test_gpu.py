"""workflow/gpu.sh, as far as a processor can show: its parts, in small, and that it goes on."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from svcca_lib.paper.store.paths import REPOSITORY as ROOT

SCRIPT = ROOT / "workflow" / "gpu.sh"
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def run(out, *args, **environment):
    for name in ("SVCCA_TRAIN", "SVCCA_REFERENCE"):
        environment.setdefault(name, "")
    return subprocess.run(
        [SCRIPT, out, *args],
        env=os.environ | {"PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_its_parts_run_and_are_not_made_again(tmp_path):
    out = tmp_path / "of a gpu"
    small = {"DEVICE": "cpu", "PROFILE": "quick", "NETWORKS": "resnet"}
    done = run(out, **small)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in (out / "tests.txt").read_text()
    rows = json.loads((out / "gpu.json").read_text())["rows"]
    assert len(rows) == 5
    assert all(row["difference"] == 0 for row in rows), "both sides are this processor"
    assert "| times as fast |" in (out / "gpu.md").read_text()
    trained = (out / "trained.txt").read_text().split()
    kinds = [name.partition("-digits")[0] for name in trained]
    assert kinds == ["resnet", "resnet-freeze"], (out / "train-resnet.txt").read_text()
    for name in ("tests.txt", "gpu.json"):
        os.utime(out / name, (0, 0))
    again = run(out, **small)
    assert again.returncode == 0
    assert all((out / name).stat().st_mtime == 0 for name in ("tests.txt", "gpu.json"))
    assert (out / "trained.txt").read_text().split() == trained


def test_trainings_that_have_no_time_left_are_for_another_call(tmp_path):
    for name in ("tests.txt", "gpu.txt"):
        (tmp_path / name).touch()
    done = run(tmp_path, DEVICE="cpu", PROFILE="quick", SECONDS_IN_ALL="0")
    assert done.returncode == 0
    assert "no time left for convnet: call this again" in done.stderr
    assert not (tmp_path / "store" / "network").exists()


def test_a_part_that_fails_is_said_and_tried_again(tmp_path):
    (tmp_path / "gpu.txt").touch()
    broken = tmp_path / "python"
    broken.write_text('#!/bin/sh\n[ "$1" = -m ] && echo broken && exit 1\ncat >/dev/null\n')
    broken.chmod(0o755)
    done = run(tmp_path, DEVICE="cpu", SECONDS_IN_ALL="0", PYTHON=str(broken))
    assert done.returncode == 1
    assert "tests.txt failed" in done.stderr
    assert (tmp_path / "tests.txt.part").read_text() == "broken\n"
    assert not (tmp_path / "tests.txt").exists()


def test_a_training_that_fails_is_said(tmp_path):
    for name in ("tests.txt", "gpu.txt"):
        (tmp_path / name).touch()
    done = run(tmp_path, DEVICE="cpu", PROFILE="quick", NETWORKS="vgg")
    assert done.returncode == 1
    assert f"vgg-freeze failed, see {tmp_path}/train-vgg-freeze.txt" in done.stderr
    assert "must be one of toy, convnet" in (tmp_path / "train-vgg.txt").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_one_sentence(tmp_path):
    done = run(tmp_path / "out")
    assert done.returncode == 2
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith("workflow/gpu.sh: torch finds no GPU here")
