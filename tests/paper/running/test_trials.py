"""The tests on other machines, and the table of what they found there."""

import json
import os
import subprocess

import pytest

from svcca_lib.paper.chapter.drift import ELSEWHERE, on_other_machines
from svcca_lib.paper.running import machines, outcomes, trials
from svcca_lib.paper.running.machines import MACHINES
from svcca_lib.paper.running.outcomes import Outcome
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

JUNIT = """<testsuites><testsuite>
<testcase classname="book" name="01.ipynb::Cell 3"><failure message="#x1B[91mNotebook cell execution
failed#x1B[0m">#x1B[91mNotebook cell execution failed#x1B[0m
#x1B[94mCell 3: Cell execution caused an exception

Input:#x1B[0m
1 + 1

#x1B[94mTraceback:#x1B[0m
dict_keys
#x1B[91mValueError#x1B[0m: no</failure></testcase>
<testcase classname="tests.test_moments" name="test_sum"/>
<testcase classname="tests.test_moments" name="test_gpu"><skipped message="no GPU"/></testcase>
<testcase classname="tests.test_moments" name="test_set"><error message="no set-up"/></testcase>
</testsuite></testsuites>"""


def outcome(machine="haswell", part="oracles", failed=0, **others):
    counts = {"passed": 40, "failed": failed, "skipped": 1, "seconds": 75.0}
    return Outcome(machine, part, "1a2b", **counts | {"kernels": "Haswell, torch AVX2"} | others)


def test_junit_is_counted():
    counts = outcomes.tally(JUNIT)
    assert (counts["passed"], counts["failed"], counts["skipped"]) == (1, 2, 1)
    assert counts["failures"] == (
        "book::01.ipynb::Cell 3: Cell execution caused an exception: ValueError: no",
        "tests.test_moments::test_set: no set-up",
    )


def test_numbers_from_scratch_are_kept_for_the_ledger(tmp_path):
    junit = (
        '<testsuites><testsuite><testcase name="test[02-a]"><properties>'
        '<property name="02-a/x" value="0.25"/></properties></testcase></testsuite></testsuites>'
    )
    known = tmp_path / ELSEWHERE
    known.parent.mkdir()
    known.write_text('{"other": {"02-a/x": 0.5}}')
    plan = trials.Plan(tmp_path, tmp_path / "results", (), trials.PARTS, ("haswell", "sandybridge"))
    (tmp_path / "results" / "haswell").mkdir(parents=True)
    (tmp_path / "results" / "haswell" / "scratch.xml").write_text(junit)
    assert trials.keep(plan) == known
    assert json.loads(known.read_text()) == {"haswell": {"02-a/x": 0.25}, "other": {"02-a/x": 0.5}}
    assert on_other_machines(tmp_path) == {"02-a/x": [0.25, 0.5]}


def test_cell_whose_outputs_differ_says_the_first_differences():
    changed = JUNIT.replace("execution caused an exception", "outputs differ")
    told = outcomes.tally(changed)["failures"][0]
    assert told == "book::01.ipynb::Cell 3: Cell outputs differ: dict_keys: ValueError: no"


def test_table_of_planted_results():
    results = [
        outcome(),
        outcome(
            part="notebooks", failed=2, failures=("01::Cell 3: differs", "01::Cell 4: differs")
        ),
        outcome("oldest", kernels="Cooperlake"),
        "armv8 is not played: its CPU is aarch64, this one x86-64",
    ]
    assert outcomes.table(results, trials.PARTS).splitlines() == [
        "machine   computes with         notebooks            oracles",
        "haswell   Haswell, torch AVX2   40/2/1  1 min 15 s   40/0/1  1 min 15 s",
        "oldest    Cooperlake            -                    40/0/1  1 min 15 s",
        "",
        "armv8 is not played: its CPU is aarch64, this one x86-64",
        "",
        "haswell, notebooks: 01::Cell 3: differs",
        "haswell, notebooks: 01::Cell 4: differs",
    ]
    assert outcomes.failed(results)
    assert not outcomes.failed([results[0], results[3]])
    assert outcomes.failed(["error: haswell: oneDNN was told AVX2 and takes nothing"])


def test_plan_takes_names_with_commas():
    plan = trials.plan(ROOT, ROOT, "haswell, armv8", "haswell", "oracles,scratch")
    assert [m.name for m in plan.machines] == ["haswell", "armv8"]
    assert plan.parts_of(MACHINES["haswell"]) == ("oracles", "scratch")
    assert plan.parts_of(MACHINES["armv8"]) == ("oracles",)
    everything = trials.plan(ROOT, ROOT)
    assert {m.architecture for m in everything.machines} <= {"", machines.architecture()}
    with pytest.raises(ValueError, match="got abacus"):
        trials.plan(ROOT, ROOT, "abacus")
    with pytest.raises(ValueError, match="parts are notebooks"):
        trials.plan(ROOT, ROOT, parts="lint")


def test_three_different_machines_train_everything():
    assert len(set(trials.spread(3))) == 3
    assert set(trials.spread(3)) <= set(MACHINES)


def test_oracles_are_there():
    assert all(
        (ROOT / path).exists()
        for part in (trials.ORACLES, trials.SCRATCH)
        for path in trials.TESTS[part]
    )


def test_parts_are_run_once_for_each_state_of_the_code(tmp_path, monkeypatch):
    monkeypatch.setitem(trials.TESTS, trials.ORACLES, ("test_small.py",))
    monkeypatch.setattr(trials, "state", lambda root: state)
    (tmp_path / "test_small.py").write_text(
        "import os\n\n\ndef test_threads():\n    assert os.environ['OMP_NUM_THREADS'] == '4'\n\n\n"
        "def test_core():\n    assert 'OPENBLAS_CORETYPE' in os.environ, 'no core'\n"
    )
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    plan = trials.plan(tmp_path, tmp_path / "results", "native-4", parts="oracles")
    said, state = [], "1a2b"
    [first] = trials.run(plan, said.append)
    assert (first.passed, first.failed, first.skipped) == (1, 1, 0)
    assert "test_core: AssertionError: no core" in first.failures[0]
    assert first.kernels.endswith("4 threads")
    (tmp_path / "test_small.py").unlink()
    assert list(trials.run(plan, said.append)) == [first]
    assert "kept" in said[-1]
    state = "3c4d"
    [last] = trials.run(plan, said.append)
    assert last.startswith("error: native-4: pytest ended with status 4 in oracles, see ")


def test_state_tells_of_changes(tmp_path):
    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        subprocess.run(command, cwd=tmp_path, check=True)

    assert trials.state(tmp_path) != trials.state(tmp_path)
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "first")
    clean = trials.state(tmp_path)
    (tmp_path / "new.py").write_text("1")
    begun = trials.state(tmp_path)
    (tmp_path / "new.py").write_text("2")
    assert len({clean, begun, trials.state(tmp_path)}) == 3
    assert begun.startswith(clean)


def test_oldest_versions_are_those_of_the_project():
    oldest = dict(line.split("==") for line in trials.lowest((ROOT / "pyproject.toml").read_text()))
    assert {"numpy", "scipy", "torch", "torchvision", "matplotlib", "snakemake"} <= set(oldest)
    assert oldest["jupyter-book"] == "1.0.4"


def test_installed_versions_need_no_environment(tmp_path):
    assert os.access(trials.interpreter(MACHINES["native-1"], ROOT, tmp_path), os.X_OK)
    assert not list(tmp_path.iterdir())
