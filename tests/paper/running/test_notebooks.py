import json
import logging
import os
import sys
import tempfile

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from notebook_files import texts, write

from svcca_lib.paper.running import notebooks
from svcca_lib.paper.running.sockets import own_sockets


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
        notebooks.execute(notebook, tmp_path / "b.ipynb", {"sed": 1})
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
    notebooks.execute(notebook, tmp_path / "deep" / "b.ipynb", given)
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
    notebooks.execute(notebook, notebook, {"profile": "quick", "out": str(tmp_path / "results")})
    assert [cell.source for cell in nbformat.read(notebook, as_version=4).cells] == before
    assert texts(notebook) == ["", "quick\n"]


def test_failing_cell_leaves_a_notebook_that_shows_where(tmp_path):
    notebook = write(tmp_path / "a.ipynb", "print('fine')", "1 / 0", "print('never')")
    with pytest.raises(notebooks.ChapterError, match=r"a stopped, see .*unfinished"):
        notebooks.execute(notebook, tmp_path / "b.ipynb")
    assert not (tmp_path / "b.ipynb").exists()
    stopped = nbformat.read(notebooks.unfinished(tmp_path / "b.ipynb"), as_version=4)
    assert any(
        output.get("ename") == "ZeroDivisionError"
        for cell in stopped.cells
        for output in cell.get("outputs", ())
    )


def test_failing_run_keeps_the_notebook_of_the_run_before(tmp_path):
    notebook = write(tmp_path / "a.ipynb", "print('first')")
    notebooks.execute(notebook, tmp_path / "b.ipynb")
    write(notebook, "1 / 0")
    with pytest.raises(notebooks.ChapterError):
        notebooks.execute(notebook, tmp_path / "b.ipynb")
    assert "first\n" in texts(tmp_path / "b.ipynb")


def test_hanging_cell_ends_with_its_timeout(tmp_path):
    notebook = write(tmp_path / "a.ipynb", "import time; time.sleep(60)")
    with pytest.raises(notebooks.ChapterError, match=r"timed out.* after 1 seconds"):
        notebooks.execute(notebook, tmp_path / "b.ipynb", timeout=1)


def test_dying_kernel_ends_the_run(tmp_path):
    notebook = write(tmp_path / "a.ipynb", "import os; os._exit(9)")
    with pytest.raises(notebooks.ChapterError, match="a stopped"):
        notebooks.execute(notebook, tmp_path / "b.ipynb")


def test_kernel_that_does_not_start_ends_the_run(tmp_path, monkeypatch):
    broken = KernelSpec(argv=[sys.executable, "-c", "raise SystemExit(1)"], language="python")
    monkeypatch.setattr(notebooks._ThisInterpreter, "kernel_spec", broken)
    notebook = write(tmp_path / "a.ipynb", "1")
    with pytest.raises(notebooks.ChapterError, match=r"a stopped.*[Kk]ernel died"):
        notebooks.execute(notebook, tmp_path / "b.ipynb")
    assert not (tmp_path / "b.ipynb").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs sockets that are files")
def test_kernels_share_no_ports_with_other_processes(tmp_path, monkeypatch):
    """Their sockets are files of their own, gone when the run is over."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "print(get_ipython().kernel.parent.transport, get_ipython().kernel.parent.ip)"
    notebooks.execute(write(tmp_path / "a.ipynb", code), tmp_path / "b.ipynb")
    [said] = [text for text in texts(tmp_path / "b.ipynb") if text.startswith("ipc")]
    assert said.split()[1].startswith(str(tmp_path))
    assert not list(tmp_path.glob("svcca-*"))
    assert own_sockets()["ip"] != own_sockets()["ip"]


def test_where_a_socket_file_would_have_too_long_a_path_there_are_ports(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/" + 100 * "a")
    assert own_sockets() == {}


def test_kernel_is_this_interpreter_whatever_is_installed_or_active(tmp_path, monkeypatch):
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    other = {"argv": ["/bin/false"], "display_name": "other", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(other))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin")
    notebook = write(tmp_path / "a.ipynb", "import sys; print(sys.executable)")
    notebooks.execute(notebook, tmp_path / "b.ipynb")
    assert f"{sys.executable}\n" in texts(tmp_path / "b.ipynb")


def test_progress_names_chapter_and_cell(tmp_path, caplog):
    caplog.set_level(logging.INFO, "svcca_lib.paper.running.notebooks")
    noted = []
    notebooks.execute(
        write(tmp_path / "a.ipynb", "1", "2"),
        tmp_path / "b.ipynb",
        note=lambda **at: noted.append(at),
    )
    assert "a: cell 1 of 3" in caplog.messages
    assert noted == [{"cell": n, "cells": 3} for n in (1, 2, 3)]
