"""What goes wrong around a computation, tried with real processes, limits and file systems."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch
from trainings import bands, bands_config, interrupted

from svcca_lib.paper.store.bundle import DamagedError, read_bundle, write_bundle
from svcca_lib.paper.store.files import write_json, write_whole
from svcca_lib.paper.store.store import Store, StoreWarning
from svcca_lib.paper.training.trained import train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="POSIX signals and limits"),
]


TESTS = str(Path(__file__).parents[2])
PATIENCE = 500  # seconds; a busy machine may take a minute to import torch
CHILD = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
sys.path.insert(0, sys.argv[1])
from trainings import bands, bands_config
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training.trained import train
train(bands_config(), bands(), Store(sys.argv[2]), checkpoint_seconds=float(sys.argv[3]))
"""


def start(root, seconds=0.0):
    """Train in a process of its own; by default it saves after every step."""
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, TESTS, str(root), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def saved_step(root):
    return max(
        (int(folder.name.split("-")[1]) for folder in root.glob(".work/*/*/resume-*")), default=-1
    )


def assert_same_run(a, b):
    assert a.tensors.keys() == b.tensors.keys()
    for name, tensor in a.tensors.items():
        assert torch.equal(tensor, b.tensors[name]), name
    assert a.freezes == b.freezes
    for key in a.history.keys() - {"seconds", "examples_per_second"}:
        assert a.history[key] == b.history[key], key


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return train(bands_config(), bands(), Store(tmp_path_factory.mktemp("uninterrupted")))


def test_a_killed_run_goes_on_in_another_process_and_ends_bit_identical(tmp_path, uninterrupted):
    child = start(tmp_path)
    try:
        deadline = time.monotonic() + PATIENCE
        while saved_step(tmp_path) < 20 and child.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == -signal.SIGKILL, "it had finished before the kill"
    store = Store(tmp_path)
    assert [entry.finished for entry in store.entries()] == [False]
    # stopped once more, here and by Ctrl-C, at a step that only a resumed run gets to
    assert 20 <= saved_step(tmp_path) < 59
    with interrupted(at=59):
        train(bands_config(), bands(), store, checkpoint_seconds=0)
    assert saved_step(tmp_path) == 59

    assert_same_run(train(bands_config(), bands(), store), uninterrupted)
    assert [entry.finished for entry in store.entries()] == [True]


def test_two_processes_that_want_one_network_train_it_once(tmp_path, uninterrupted):
    children = [start(tmp_path, seconds=1000) for _ in range(2)]
    lines = []
    for child in children:
        output, errors = child.communicate(timeout=PATIENCE)
        assert child.returncode == 0, errors
        lines += output.splitlines()
    assert sum(line.startswith("making network/") for line in lines) == 1
    assert len(Store(tmp_path).entries()) == 1
    assert_same_run(train(bands_config(), bands(), Store(tmp_path)), uninterrupted)


def test_who_waits_for_another_process_says_so_and_gets_its_result(tmp_path):
    script = """
import logging, sys, time
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
from svcca_lib.paper.store.store import Store
def make(workspace):
    print("inside", flush=True)
    time.sleep(float(sys.argv[2]))
    return {}, {"by": sys.argv[3]}
print(Store(sys.argv[1]).fetch("thing", {}, make, version="1").meta["by"], flush=True)
"""

    def run(seconds, name):
        return subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), str(seconds), name],
            stdout=subprocess.PIPE,
            text=True,
        )

    first = run(600, "first")
    assert first.stdout.readline().startswith("making thing/")
    assert first.stdout.readline() == "inside\n"
    second = run(0, "second")
    assert second.stdout.readline().startswith("waiting for another process that is making thing/")
    # killed while it holds the lock: the one that waits takes over
    first.kill()
    first.communicate()
    output, _ = second.communicate(timeout=PATIENCE)
    assert output.splitlines()[-2:] == ["inside", "second"]


# ------------------------------------------------------------------- disks that do not take it all


@contextlib.contextmanager
def largest_file(size):
    """Let writes fail beyond `size` bytes of a file, by the kernel's own limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores SIGXFSZ
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 96 KiB; `small_disk(False)` makes it read-only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "svcca-test", str(disk)]
    try:
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("mounting a file system needs root")
    except FileNotFoundError:
        pytest.skip("there is no mount command")

    def remount_read_only():
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    try:
        yield disk, remount_read_only
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def big(workspace):
    return {"x": torch.ones(40_000)}, {"accuracy": 0.5}


def test_a_result_that_cannot_be_written_whole_is_returned_and_not_kept(tmp_path):
    store = Store(tmp_path)
    with largest_file(50_000), pytest.warns(StoreWarning, match="could not be saved") as caught:
        artefact = store.fetch("thing", {}, big, version="1")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert artefact.path is None
    assert artefact.meta == {"accuracy": 0.5}
    assert torch.equal(artefact.tensors["x"], torch.ones(40_000))
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.suffix != ".lock"]
    assert not any(entry.finished for entry in store.entries())
    assert store.fetch("thing", {}, big, version="1").path is not None


def test_a_full_disk_costs_a_warning_and_not_the_result(small_disk):
    disk, _ = small_disk
    with pytest.warns(StoreWarning, match="No space left on device") as caught:
        artefact = Store(disk).fetch("thing", {}, big, version="1")
    assert len(caught) == 1
    assert torch.equal(artefact.tensors["x"], torch.ones(40_000))
    assert not any(entry.finished for entry in Store(disk).entries())

    def little(workspace):
        return {"x": torch.ones(40)}, {}

    assert Store(disk).fetch("thing", {"small": True}, little, version="1").path is not None


def test_training_on_a_full_disk_gives_the_same_network(tmp_path, uninterrupted):
    """The kernel refuses every file of weights; each sort of file is warned of once."""
    store = Store(tmp_path)
    with largest_file(1000), pytest.warns(StoreWarning) as caught:
        run = train(bands_config(), bands(), store, checkpoint_seconds=0)
    assert len(caught) == 2
    assert "goes on, but could not write" in str(caught[0].message)
    assert "could not be saved" in str(caught[1].message)
    assert_same_run(run, uninterrupted)
    assert not any(entry.finished for entry in store.entries())


def test_a_failed_write_leaves_what_was_there(tmp_path):
    folder = tmp_path / "bundle"
    write_bundle(folder, {"x": torch.zeros(10)}, {"n": 1}, scratch=tmp_path)
    with largest_file(2000), pytest.raises(OSError, match="too large"):
        write_bundle(folder, {"x": torch.ones(10_000)}, {"n": 2}, scratch=tmp_path)
    tensors, record = read_bundle(folder)
    assert record == {"n": 1}
    assert torch.equal(tensors["x"], torch.zeros(10))
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_failed_write_of_a_file_leaves_what_was_there(tmp_path):
    file = tmp_path / "folder" / "file.json"
    write_json(file, {"n": 1})
    with largest_file(2000), pytest.raises(OSError, match="too large"):
        write_whole(file, "x" * 10_000)
    assert json.loads(file.read_text()) == {"n": 1}
    assert [path.name for path in file.parent.iterdir()] == ["file.json"]


# ------------------------------------------------------------------------------- read-only caches


def test_a_root_that_cannot_be_made_computes_and_warns_once(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    workspaces = []

    def make(workspace):
        (workspace / "checkpoint").write_text("a maker can always work")
        workspaces.append(workspace)
        return {"x": torch.ones(2)}, {}

    with pytest.warns(StoreWarning, match="could not be saved") as caught:
        artefact = Store(tmp_path / "file" / "store").fetch("thing", {}, make, version="1")
    assert len(caught) == 1
    assert artefact.path is None
    assert torch.equal(artefact.tensors["x"], torch.ones(2))
    assert not workspaces[0].exists()


def test_a_read_only_cache_is_read_and_a_miss_is_computed(small_disk):
    disk, make_read_only = small_disk
    calls = []

    def make(workspace):
        calls.append(workspace)
        return {"x": torch.ones(2)}, {}

    store = Store(disk)
    path = store.fetch("thing", {"n": 1}, make, version="1").path
    make_read_only()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hit = store.fetch("thing", {"n": 1}, make, version="1")
    assert hit.path == path
    assert len(calls) == 1
    with pytest.warns(StoreWarning, match="Read-only file system") as caught:
        miss = store.fetch("thing", {"n": 2}, make, version="1")
    assert len(caught) == 1
    assert miss.path is None
    assert torch.equal(miss.tensors["x"], torch.ones(2))


# ------------------------------------------------------------------------- damaged resume points


@pytest.mark.parametrize("what", ["resume-*", "kept-0.1"])
def test_a_damaged_resume_point_is_named_and_not_used(tmp_path, uninterrupted, what):
    store = Store(tmp_path)
    with interrupted(at=20):
        train(bands_config(), bands(), store, checkpoint_seconds=0)
    (folder,) = tmp_path.glob(f".work/*/*/{what}")
    weights = folder / "tensors.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(DamagedError):
        read_bundle(folder)
    with pytest.warns(StoreWarning, match="cannot go on from"):
        run = train(bands_config(), bands(), store)
    assert_same_run(run, uninterrupted)
