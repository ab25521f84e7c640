"""How a step stands, from its files."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from svcca_lib.paper.running import progress
from svcca_lib.paper.store.files import write_json

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
PATIENCE = 500  # seconds; a busy machine may take a minute to import torch


def test_step_says_how_it_stands_from_begin_to_end(tmp_path):
    record = tmp_path / "x" / "run.json"
    assert progress.state(record) == "waiting"
    with progress.recorded(record, chapter="a") as note:
        assert progress.state(record) == "running"
        note(cell=3, cells=9)
        assert progress.state(record) == "running"
    assert progress.state(record) == "done"
    left = json.loads(record.read_text())
    assert left["chapter"] == "a"
    assert left["seconds"] >= 0
    record.unlink()
    with pytest.raises(ZeroDivisionError, match="of nothing"), progress.recorded(record):
        raise ZeroDivisionError("of nothing")
    assert progress.state(record) == "failed"
    assert progress.read(progress.failed_path(record))["error"] == "of nothing"
    assert not record.exists()


@posix
def test_step_of_a_dead_process_has_stopped(tmp_path):
    record = tmp_path / "run.json"
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    pulse = {"host": socket.gethostname(), "pid": child.pid, "started": 0}
    write_json(progress.pulse_path(record), pulse)
    assert progress.state(record) == "stopped"
    elsewhere = pulse | {"host": "another", "pid": os.getpid()}
    write_json(progress.pulse_path(record), elsewhere)
    assert progress.state(record) == "running"
    long_ago = time.time() - 2 * progress.STALE
    os.utime(progress.pulse_path(record), (long_ago, long_ago))
    assert progress.state(record) == "stopped"


def test_only_one_process_does_a_step(tmp_path):
    record = tmp_path / "run.json"
    with progress.recorded(record):
        code = (
            "import sys; from pathlib import Path; from svcca_lib.paper.running import progress\n"
            "print('ready', flush=True)\n"
            "with progress.recorded(Path(sys.argv[1]), by='the second'): pass\n"
        )
        second = subprocess.Popen(
            [sys.executable, "-c", code, str(record)], stdout=subprocess.PIPE, text=True
        )
        assert second.stdout.readline() == "ready\n"
        time.sleep(0.5)
        assert second.poll() is None
        assert progress.read(progress.pulse_path(record))["pid"] == os.getpid()
    second.communicate(timeout=PATIENCE)
    left = json.loads(record.read_text())
    assert left["by"] == "the second"
    assert left["seconds"] < 0.5  # waiting is not counted


@posix
def test_step_ends_with_its_engine_even_if_that_ended_before_it_began(tmp_path):
    record = tmp_path / "run.json"
    code = (
        "import sys, time; from pathlib import Path; from svcca_lib.paper.running import progress\n"
        "with progress.recorded(Path(sys.argv[1]), parent=int(sys.argv[2])): time.sleep(600)\n"
    )
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    child = subprocess.Popen([sys.executable, "-c", code, str(record), str(gone.pid)])
    assert child.wait(timeout=PATIENCE) == -signal.SIGTERM
    assert progress.state(record) == "waiting"


def test_a_full_disk_leaves_no_step_that_seems_done(tmp_path, monkeypatch):
    record = tmp_path / "run.json"

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), progress.recorded(record):
        pass
    assert progress.state(record) == "waiting"
    assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]
