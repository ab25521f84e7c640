"""The machines that the tests play, and the table of what they found there."""

import dataclasses
import json
import os

import pytest
import yaml

from conftest import ROOT
from svcca_lib.paper.chapter import ledger
from svcca_lib.paper.running import machines, trials
from svcca_lib.paper.running.machines import MACHINES, X86, Kernels
from svcca_lib.paper.running.trials import Outcome

HASWELL = Kernels(
    *("Haswell", "Haswell", "AVX2", ("X86_V3",), 1, 1), onednn="Intel AVX2", mkl="AUTO"
)
SIMULATED = [machine for machine in MACHINES.values() if machine.core]
WORKFLOW = ROOT / ".github" / "workflows" / "machines.yml"
SAID = """MKL_VERBOSE oneMKL 2024.0 Update 2 Product build 20240605 for Intel(R) 64 architecture
onednn_verbose,v1,info,cpu,runtime:OpenMP,nthr:1
onednn_verbose,v1,info,cpu,isa:Intel AVX2
MKL_VERBOSE SGEMM(N,N,64,64,64,0x7f,0x56,64,0x56,64,0x7f,0x56,64) 27.70ms CNR:AUTO Dyn:1 NThr:1
{"numpy": "Haswell", "scipy": "Haswell", "torch": "AVX2", "simd": ["X86_V3"], "threads": 1,
"blas_threads": 1, "onednn": "", "mkl": ""}""".replace("1,\n", "1, ")
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


@pytest.fixture(scope="module")
def foreign():
    return machines.foreign()


def outcome(machine="haswell", part="oracles", failed=0, **others):
    counts = {"passed": 40, "failed": failed, "skipped": 1, "seconds": 75.0}
    return Outcome(machine, part, "1a2b", **counts | {"kernels": "Haswell, torch AVX2"} | others)


def test_table_is_sane():
    assert all(machine.name == name for name, machine in MACHINES.items())
    for architecture in (machines.X86, machines.ARM):
        assert sum(m.architecture in ("", architecture) for m in MACHINES.values()) >= 9
    for machine in MACHINES.values():
        assert set(machine.environment) <= set(machines.VARIABLES)
        assert {machine.environment[name] for name in machines.THREADS} == {str(machine.threads)}
        assert machine.threads in (1, 2, 4)
    for machine in SIMULATED:
        assert machine.needs
        assert machine.architecture
        assert machines.distance(machine, HASWELL) >= 0  # every core and capability has a place
    kernels = [(tuple(m.environment.items()), m.versions) for m in MACHINES.values()]
    assert len(set(kernels)) == len(kernels)


def test_machine_and_its_kernels_are_printed_and_read_back():
    assert machines.kernels_of(SAID) == HASWELL
    assert str(HASWELL) == "Haswell, torch AVX2, oneDNN AVX2, 1 thread"


def test_right_kernels_deviate_in_nothing():
    assert not machines.deviations(MACHINES["haswell"], HASWELL, 2)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"numpy": "SkylakeX"}, "OpenBLAS of NumPy was told Haswell and takes SkylakeX"),
        ({"scipy": ""}, "OpenBLAS of SciPy was told Haswell and takes nothing"),
        ({"torch": "AVX512"}, "torch was told avx2 and takes AVX512"),
        ({"onednn": ""}, "oneDNN was told AVX2 and takes nothing"),
        ({"simd": ("X86_V3", "X86_V4")}, "NumPy was told to do without X86_V4 and does not"),
        ({"threads": 2}, "torch was told 1 threads and takes 2"),
        ({"blas_threads": 2}, "OpenBLAS was told 1 threads and takes 2"),
    ],
)
def test_what_a_library_passed_over_is_told(change, told):
    kernels = dataclasses.replace(HASWELL, **change)
    assert machines.deviations(MACHINES["haswell"], kernels, 2) == [told]


def test_mkl_that_does_not_turn_compatible_is_told():
    wrong = machines.deviations(MACHINES["haswell-default"], HASWELL, 2)
    assert "MKL was told COMPATIBLE and takes AUTO" in wrong


def test_unknown_core_is_caught():
    if not machines.present().numpy:
        pytest.skip("NumPy has another BLAS than OpenBLAS here")
    values = MACHINES["native-1"].environment | {"OPENBLAS_CORETYPE": "Abacus"}
    unknown = dataclasses.replace(MACHINES["native-1"], name="abacus", environment=values)
    assert "abacus: OpenBLAS of NumPy was told Abacus and takes" in machines.check(unknown)


def test_process_that_ends_at_once_is_caught(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho Illegal instruction >&2; exit 132\n")
    python.chmod(0o755)
    told = machines.check(MACHINES["native-1"], str(python))
    assert told == f"native-1: {python} ended with status 132. Illegal instruction"


def test_foreign_is_always_the_same_and_far_away(foreign):
    assert foreign == machines.foreign()
    assert machines.runs_here(foreign)
    assert machines.distance(foreign, machines.present()) > 0


def test_processes_on_the_foreign_machine_have_its_kernels(foreign):
    if not foreign.core:
        pytest.skip("this CPU can play no machine with other kernels")
    assert not machines.check(foreign)
    theirs, ours = machines.seen(foreign), machines.present()
    assert (theirs.numpy, theirs.torch) != (ours.numpy, ours.torch)


def test_nothing_of_the_present_environment_is_left(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    monkeypatch.setenv("SVCCA_NOTE", "kept")
    found = machines.environment(MACHINES["native-4"])
    assert "OPENBLAS_CORETYPE" not in found
    assert (found["SVCCA_NOTE"], found["OMP_NUM_THREADS"]) == ("kept", "4")


def test_cpu_that_lacks_an_instruction_is_told(monkeypatch):
    monkeypatch.setattr(machines, "architecture", lambda: X86)
    monkeypatch.setattr(machines, "_flags", lambda: frozenset({"pni", "avx", "avx2", "fma"}))
    assert machines.runs_here(MACHINES["haswell"])
    assert "lacks avx512f" in machines.hindrance(MACHINES["skylake-avx512"])
    assert machines.hindrance(MACHINES["armv8"]) == "its CPU is aarch64, this one x86-64"
    assert machines.runs_here(MACHINES["oldest"])
    monkeypatch.setattr(machines, "_flags", frozenset)
    assert "is not told on" in machines.hindrance(MACHINES["haswell"])


# -------------------------------------------------------------------------------- their results


def test_junit_is_counted():
    counts = trials.tally(JUNIT)
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
    (tmp_path / "reference").mkdir()
    known = tmp_path / "reference" / "machines.json"
    known.write_text('{"other": {"02-a/x": 0.5}}')
    plan = trials.Plan(tmp_path, tmp_path / "results", (), trials.PARTS, ("haswell", "sandybridge"))
    (tmp_path / "results" / "haswell").mkdir(parents=True)
    (tmp_path / "results" / "haswell" / "scratch.xml").write_text(junit)
    assert trials.keep(plan) == known
    assert json.loads(known.read_text()) == {"haswell": {"02-a/x": 0.25}, "other": {"02-a/x": 0.5}}
    assert ledger.elsewhere(tmp_path) == {"02-a/x": [0.25, 0.5]}


def test_cell_whose_outputs_differ_says_the_first_differences():
    changed = JUNIT.replace("execution caused an exception", "outputs differ")
    told = trials.tally(changed)["failures"][0]
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
    assert trials.table(results).splitlines() == [
        "machine   computes with         notebooks            oracles",
        "haswell   Haswell, torch AVX2   40/2/1  1 min 15 s   40/0/1  1 min 15 s",
        "oldest    Cooperlake            -                    40/0/1  1 min 15 s",
        "",
        "armv8 is not played: its CPU is aarch64, this one x86-64",
        "",
        "haswell, notebooks: 01::Cell 3: differs",
        "haswell, notebooks: 01::Cell 4: differs",
    ]
    assert trials.failed(results)
    assert not trials.failed([results[0], results[3]])
    assert trials.failed(["error: haswell: oneDNN was told AVX2 and takes nothing"])


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
        return trials._git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *arguments)

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


def test_workflow_has_every_machine():
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    rows = jobs["test"]["strategy"]["matrix"]["include"]
    for cpu in (machines.X86, machines.ARM):
        named = [name for row in rows if row["cpu"] == cpu for name in row["names"].split(",")]
        expected = [name for name, m in MACHINES.items() if m.architecture in ("", cpu)]
        assert sorted(named) == sorted(expected)
