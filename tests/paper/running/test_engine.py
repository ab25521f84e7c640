"""What real faults do to a sweep: by real processes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest
from notebook_files import texts, write
from typer.testing import CliRunner

from svcca_lib.__main__ import app
from svcca_lib.paper.running import notebooks, progress, table
from svcca_lib.paper.running.plan import Layout, Plan

pytestmark = pytest.mark.slow

CLI = [sys.executable, "-m", "svcca_lib"]
ENVIRONMENT = os.environ | {"NO_COLOR": "1"}
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
PATIENCE = 500  # seconds; a busy machine may take a minute to import torch

STAND_IN = """
import json, os, time
from pathlib import Path

allowed = Path(data).exists()
if not allowed:
    Path(out, "began").touch()
    if seed == 1:
        raise ValueError("seed 1 is wrong")
    if seed == 2:
        os._exit(9)
    if seed in (3, 4):
        time.sleep(600)
claim = {"id": "c", "kind": "ours", "figure": "Figure 1", "statement": "s", "measured": seed}
claim |= {"rule": {"low": 0, "high": None}, "holds": True}
ledger = {"chapter": "a", "profile": profile, "seed": seed, "data": "", "claims": [claim]}
ledger["omitted"] = []
Path(out, "claims.json").write_text(json.dumps(ledger))
print("whole")
"""


def wait(look):
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def command(*arguments, **options):
    """Start the command line in a group of processes of its own, as a terminal does."""
    process = subprocess.Popen(
        [*CLI, *map(str, arguments)],
        env=ENVIRONMENT,
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    )
    try:
        yield process
    finally:
        for child in psutil.Process(process.pid).children() if process.poll() is None else ():
            child.kill()
        process.kill()
        process.communicate()


def processes_in(folder):
    """Return the steps of a sweep whose processes live."""
    return [
        path
        for path in folder.rglob("*.pulse")
        if progress.state(path.with_suffix(".json")) == "running"
    ]


@posix
def test_faults_stop_no_other_job_and_resume_mends_them(tmp_path):
    """A job that fails, a kernel that dies, a notebook that hangs, a job that is killed."""
    notebook = write(tmp_path / "a.ipynb", STAND_IN)
    allow, out = tmp_path / "allow", tmp_path / "out of" / "the way"
    layout = Layout(out)
    given = ["--seed", "0-4", "--data", allow, "--out", out, "--timeout", "4", "--cores", "2"]
    with command("run", notebook, *given, "--json") as engine:
        plan = wait(lambda: (out / "sweep.json").is_file() and Plan.read(out))
        records = [layout.record(job.name) for job in plan.jobs]
        wait(lambda: (records[4].parent / "began").is_file())
        os.kill(progress.read(progress.pulse_path(records[4]))["pid"], signal.SIGKILL)
        output, _ = engine.communicate(timeout=PATIENCE)
    assert engine.returncode == 1, output
    states = [progress.state(record) for record in records]
    assert states == ["done", "failed", "failed", "failed", "stopped"], output
    said = [progress.read(progress.failed_path(record)) for record in records[1:4]]
    assert "seed 1 is wrong" in said[0]["error"]
    assert "ied" in said[1]["error"]  # "Kernel died"
    assert "timed out" in said[2]["error"]
    stopped = notebooks.unfinished(layout.notebook(plan.jobs[1].name))
    assert "seed 1 is wrong" in stopped.read_text()
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["state"] for line in lines[:-1]].count("failed") == 3
    assert lines[-1]["exit"] == 1
    assert not any(layout.notebook(job.name).exists() for job in plan.jobs[1:])

    allow.touch()
    first = records[0].read_text()
    with command("resume", out, "--cores", "2") as engine:
        output, _ = engine.communicate(timeout=PATIENCE)
    assert engine.returncode == 0, output
    assert records[0].read_text() == first, "what was finished was done again"
    for job in plan.jobs:
        assert "whole\n" in texts(layout.notebook(job.name))
    left = pd.read_csv(out / "table.csv")
    assert left["status"].tolist() == ["done"] * 5
    assert left["c"].tolist() == [0, 1, 2, 3, 4]


@posix
def test_an_engine_that_is_killed_takes_its_jobs_along_and_another_goes_on(tmp_path):
    notebook = write(tmp_path / "a.ipynb", STAND_IN)
    allow, out = tmp_path / "allow", tmp_path / "runs"
    layout = Layout(out)
    given = ["--seed", "3-4", "--data", allow, "--out", out, "--cores", "2"]
    with command("run", notebook, *given) as engine:
        wait(lambda: len(list(out.rglob("began"))) == 2)
        beside = CliRunner().invoke(app, ["resume", str(out)])
        assert beside.exit_code == 1
        assert "another run is under way" in beside.output
        engine.kill()
    wait(lambda: not processes_in(out))

    with command("resume", out, "--cores", "2") as engine:
        (path, *_) = wait(lambda: processes_in(out))
        wait(lambda: "cell" in (progress.read(path) or {}))
        os.killpg(engine.pid, signal.SIGINT)  # Ctrl-C
        output, _ = engine.communicate(timeout=PATIENCE)
    assert engine.returncode == 130, output
    assert not processes_in(out)
    assert not list(out.rglob("run.json"))
    assert [row.state for row in table.rows(Plan.read(out), layout)] != ["done"] * 2
