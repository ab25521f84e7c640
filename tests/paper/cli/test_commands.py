"""What commands take, say and leave; sweeps themselves are in `test_engine`."""

import json
import os
import subprocess
import sys

import pytest
from notebook_files import make_sweep, texts, write
from typer.testing import CliRunner

from svcca_lib.__main__ import app
from svcca_lib.paper.running import progress
from svcca_lib.paper.store.files import write_json


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_list_status_and_clean_tell_and_free_space(tmp_path, monkeypatch):
    layout, plan = make_sweep(tmp_path, [1.0, 2.0])
    done = invoke("list", tmp_path)
    assert done.exit_code == 0
    assert "stand-in/quick_seed-0" in done.output
    assert "2 of 2 done" in done.output
    assert invoke("status", tmp_path).exit_code == 0
    said = json.loads(invoke("status", tmp_path, "--json").output)
    assert set(said["jobs"].values()) == {"done"}
    assert said["bytes"]["sweep"] > 0

    record = layout.record(plan.jobs[0].name)
    record.unlink()
    write_json(progress.failed_path(record), {"error": "ValueError: it broke\n"})
    assert "ValueError: it broke" in invoke("list", tmp_path).output
    assert invoke("status", tmp_path).exit_code == 1
    invoke("clean", tmp_path, "--what", "failed")
    assert record.parent.exists()  # it only said what it would do
    invoke("clean", tmp_path, "--what", "failed", "--yes")
    assert not record.parent.exists()
    assert layout.record(plan.jobs[1].name).exists()
    invoke("clean", tmp_path, "--what", "everything", "--yes")
    assert not (tmp_path / "sweep.json").exists()


def test_help_has_examples():
    assert "--seed 0-4" in invoke("run", "--help").output
    assert "torchrun" in invoke("compare", "--help").output


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("svcca ", "resume"),
        ("svcca run --on ", "slurm"),
        ("svcca run book/0", "book/03-fourier.ipynb"),
    ],
)
def test_shell_completes_verbs_clusters_and_chapters(line, expected):
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = CliRunner().invoke(
        app, prog_name="svcca", env={"_SVCCA_COMPLETE": "complete_bash", **words}
    )
    assert expected in done.output.splitlines()


def test_command_line_runs_a_chapter_and_reports_a_wrong_parameter(tmp_path):
    notebook = write(tmp_path / "a.ipynb", "print(seed)")
    command = [sys.executable, "-m", "svcca_lib", "execute", notebook, tmp_path / "b.ipynb"]
    environment = os.environ | {"NO_COLOR": "1"}
    record = ["--record", tmp_path / "run.json"]
    subprocess.run([*command, "-p", "seed=4", *record], check=True, env=environment)
    assert "4\n" in texts(tmp_path / "b.ipynb")
    left = json.loads((tmp_path / "run.json").read_text())
    assert left["chapter"] == "a"
    assert left["seconds"] > 0
    assert left["cpu_seconds"] > 0
    wrong = subprocess.run(
        [*command, "-p", "sed=4"], capture_output=True, text=True, env=environment, check=False
    )
    assert wrong.returncode == 1
    assert "unknown parameter 'sed'" in wrong.stderr
    assert "Traceback" not in wrong.stderr
