import json
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

from svcca_lib.paper.running import notebooks

PARAMETERS = """
profile = "quick"  # quick, cifar10 or paper
seed = 0
data = ""
out = ""
keep = 0.99
deep = False
widths = (
    1,
    2,
)
"""


def write(path, *cells, tag="parameters"):
    """Write a stand-in chapter: a parameters cell and the given code cells."""
    code = [nbformat.v4.new_code_cell(textwrap.dedent(cell).strip()) for cell in cells]
    first = nbformat.v4.new_code_cell(PARAMETERS.strip(), metadata={"tags": [tag]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(
        nbformat.v4.new_notebook(cells=[first, *code], metadata={"kernelspec": kernel}), path
    )
    return path


def texts(path):
    """Return the printed text of each code cell of an executed notebook."""
    cells = nbformat.read(path, as_version=4).cells
    return ["".join(o.get("text", "") for o in c.outputs) for c in cells if c.cell_type == "code"]


@pytest.fixture(scope="module")
def known():
    return {
        "profile": "quick",
        "seed": 0,
        "data": "",
        "out": "",
        "keep": 0.99,
        "deep": False,
        "widths": (1, 2),
    }


def test_parameters_are_read_with_their_defaults(tmp_path, known):
    assert notebooks.parameters(write(tmp_path / "a.ipynb")) == known


def test_notebook_without_a_parameters_cell_is_refused(tmp_path):
    with pytest.raises(ValueError, match="tagged 'parameters'"):
        notebooks.parameters(write(tmp_path / "a.ipynb", tag="setup"))


def test_unknown_parameter_fails_at_once_and_names_the_known(tmp_path):
    notebook = write(tmp_path / "a.ipynb", "raise SystemExit('it ran')")
    with pytest.raises(ValueError, match=r"'sed'.*profile, seed, data, out, keep, deep, widths"):
        notebooks.run(notebook, tmp_path / "b.ipynb", {"sed": 1})
    assert not (tmp_path / "b.ipynb").exists()


@pytest.mark.parametrize(
    "wrong", [{"seed": "1"}, {"seed": 1.5}, {"seed": True}, {"deep": 1}, {"profile": 3}]
)
def test_mistyped_parameter_fails_and_names_the_type(known, wrong):
    with pytest.raises(TypeError, match=r"needs (int|bool|str) like its default"):
        notebooks.check(known, wrong)


def test_integer_is_taken_for_a_float(known):
    assert notebooks.check(known, {"keep": 1}) == {"keep": 1}


def test_texts_become_the_types_of_the_defaults(known):
    given = ["seed=3", "keep=0.5", "deep=True", "widths=(4, 8)", "data=cifar10:a=b", "profile=2"]
    assert notebooks.parse(known, given) == {
        "seed": 3,
        "keep": 0.5,
        "deep": True,
        "widths": (4, 8),
        "data": "cifar10:a=b",
        "profile": "2",
    }


def test_text_that_is_no_value_of_the_type_fails(known):
    with pytest.raises(TypeError, match="seed needs int"):
        notebooks.parse(known, ["seed=one"])
    with pytest.raises(ValueError, match="name=value"):
        notebooks.parse(known, ["seed"])


def test_data_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert notebooks.anchored("digits") == "digits"
    assert notebooks.anchored("cifar10:a,b") == f"cifar10:{tmp_path}/a,b"
    assert notebooks.anchored("words:a,b") == f"words:{tmp_path}/a,{tmp_path}/b"


def test_executed_notebook_has_the_parameters_and_nothing_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = write(tmp_path / "a.ipynb", "print(seed, data, out)")
    given = {"seed": 7, "data": "cifar10:images", "out": "results", "keep": 0.99}
    notebooks.run(notebook, tmp_path / "deep" / "b.ipynb", given)
    assert f"7 cifar10:{tmp_path}/images {tmp_path}/results\n" in texts(tmp_path / "deep/b.ipynb")
    executed = nbformat.read(tmp_path / "deep" / "b.ipynb", as_version=4)
    assert executed.cells[1].source == "# Parameters\nseed = 7\ndata = 'cifar10'"
    assert [cell.execution_count for cell in executed.cells] == [1, 2, 3]
    executed.cells[2].outputs.clear()
    left = json.dumps(executed)
    assert str(tmp_path) not in left
    assert "papermill" not in left
    assert "iopub" not in left
    assert not notebooks.unfinished(tmp_path / "deep" / "b.ipynb").exists()


def test_default_run_leaves_the_code_as_it_was(tmp_path):
    notebook = write(tmp_path / "a.ipynb", "print(profile)")
    before = [cell.source for cell in nbformat.read(notebook, as_version=4).cells]
    notebooks.run(notebook, notebook, {"profile": "quick", "out": str(tmp_path / "results")})
    assert [cell.source for cell in nbformat.read(notebook, as_version=4).cells] == before
    assert texts(notebook) == ["", "quick\n"]


def test_failing_cell_leaves_a_notebook_that_shows_where(tmp_path):
    notebook = write(tmp_path / "a.ipynb", "print('fine')", "1 / 0", "print('never')")
    with pytest.raises(notebooks.ChapterError, match=r"a stopped, see .*unfinished"):
        notebooks.run(notebook, tmp_path / "b.ipynb")
    assert not (tmp_path / "b.ipynb").exists()
    stopped = nbformat.read(notebooks.unfinished(tmp_path / "b.ipynb"), as_version=4)
    assert any(
        output.get("ename") == "ZeroDivisionError"
        for cell in stopped.cells
        for output in cell.get("outputs", ())
    )


def test_failing_run_keeps_the_notebook_of_the_run_before(tmp_path):
    notebook = write(tmp_path / "a.ipynb", "print('first')")
    notebooks.run(notebook, tmp_path / "b.ipynb")
    write(notebook, "1 / 0")
    with pytest.raises(notebooks.ChapterError):
        notebooks.run(notebook, tmp_path / "b.ipynb")
    assert "first\n" in texts(tmp_path / "b.ipynb")


def test_hanging_cell_ends_with_its_timeout(tmp_path):
    notebook = write(tmp_path / "a.ipynb", "import time; time.sleep(60)")
    with pytest.raises(notebooks.ChapterError, match=r"timed out.* after 1 seconds"):
        notebooks.run(notebook, tmp_path / "b.ipynb", timeout=1)


def test_dying_kernel_ends_the_run(tmp_path):
    notebook = write(tmp_path / "a.ipynb", "import os; os._exit(9)")
    with pytest.raises(notebooks.ChapterError, match="a stopped"):
        notebooks.run(notebook, tmp_path / "b.ipynb")


def test_kernel_is_this_interpreter_whatever_is_installed_or_active(tmp_path, monkeypatch):
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    other = {"argv": ["/bin/false"], "display_name": "other", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(other))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin")
    notebook = write(tmp_path / "a.ipynb", "import sys; print(sys.executable)")
    notebooks.run(notebook, tmp_path / "b.ipynb")
    assert f"{sys.executable}\n" in texts(tmp_path / "b.ipynb")


def test_progress_names_chapter_and_cell(tmp_path, caplog):
    caplog.set_level(logging.INFO, "svcca_lib.paper.running.notebooks")
    noted = []
    notebooks.run(
        write(tmp_path / "a.ipynb", "1", "2"),
        tmp_path / "b.ipynb",
        note=lambda **at: noted.append(at),
    )
    assert "a: cell 1 of 3" in caplog.messages
    assert noted == [{"cell": n, "cells": 3} for n in (1, 2, 3)]


def test_sources_follow_imports_at_the_top_and_in_functions(tmp_path):
    notebook = write(
        tmp_path / "a.ipynb",
        """
        %matplotlib inline
        import numpy as np
        from svcca_lib.paper.chapter.claims import at_least
        """,
    )
    names = {path.name for path in notebooks.sources(notebook)}
    assert {"claims.py", "__init__.py"} <= names
    assert {"chapter.py", "profiles.py", "figures.py"}.isdisjoint(names)
    write(notebook, "def f():\n    from svcca_lib.paper.chapter import chapter")
    names = {path.name for path in notebooks.sources(notebook)}
    assert {"chapter.py", "claims.py", "training.py", "store.py", "networks.py"} <= names
    assert "engine.py" not in names


def test_sources_of_a_module_hold_every_module_it_loads():
    """What Python imports, the syntax tree must have shown."""
    code = (
        "import sys, svcca_lib.paper.training.training\n"
        "files = [m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'svcca_lib']\n"
        "print('\\n'.join(files))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {Path(line) for line in done.stdout.splitlines()}
    assert loaded <= set(notebooks.module_files(["svcca_lib.paper.training.training"]))


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
