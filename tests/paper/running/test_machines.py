"""The machines that the tests play."""

import dataclasses

import pytest
import yaml

from svcca_lib.paper.running import kernels, machines
from svcca_lib.paper.running.kernels import Kernels
from svcca_lib.paper.running.machines import MACHINES, X86
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

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


@pytest.fixture(scope="module")
def foreign():
    return kernels.foreign()


def test_table_is_sane():
    assert all(machine.name == name for name, machine in MACHINES.items())
    for architecture in (machines.X86, machines.ARM):
        assert sum(m.architecture in ("", architecture) for m in MACHINES.values()) >= 9
    for machine in MACHINES.values():
        assert {machine.environment[name] for name in machines.THREADS} == {str(machine.threads)}
        assert machine.threads in (1, 2, 4)
    for machine in SIMULATED:
        assert machine.needs
        assert machine.architecture
        assert kernels.distance(machine, HASWELL) >= 0  # every core and capability has a place
    played = [(tuple(m.environment.items()), m.versions) for m in MACHINES.values()]
    assert len(set(played)) == len(played)


def test_machine_and_its_kernels_are_printed_and_read_back():
    assert kernels.kernels_of(SAID) == HASWELL
    assert str(HASWELL) == "Haswell, torch AVX2, oneDNN AVX2, 1 thread"


def test_right_kernels_deviate_in_nothing():
    assert not kernels.deviations(MACHINES["haswell"], HASWELL, 2)


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
    changed = dataclasses.replace(HASWELL, **change)
    assert kernels.deviations(MACHINES["haswell"], changed, 2) == [told]


def test_mkl_that_does_not_turn_compatible_is_told():
    wrong = kernels.deviations(MACHINES["haswell-default"], HASWELL, 2)
    assert "MKL was told COMPATIBLE and takes AUTO" in wrong


def test_unknown_core_is_caught():
    if not kernels.present().numpy:
        pytest.skip("NumPy has another BLAS than OpenBLAS here")
    values = MACHINES["native-1"].environment | {"OPENBLAS_CORETYPE": "Abacus"}
    unknown = dataclasses.replace(MACHINES["native-1"], name="abacus", environment=values)
    assert "abacus: OpenBLAS of NumPy was told Abacus and takes" in kernels.check(unknown)


def test_process_that_ends_at_once_is_caught(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho Illegal instruction >&2; exit 132\n")
    python.chmod(0o755)
    told = kernels.check(MACHINES["native-1"], str(python))
    assert told == f"native-1: {python} ended with status 132. Illegal instruction"


def test_foreign_is_always_the_same_and_far_away(foreign):
    assert foreign == kernels.foreign()
    assert not machines.hindrance(foreign)
    assert kernels.distance(foreign, kernels.present()) > 0


def test_processes_on_the_foreign_machine_have_its_kernels(foreign):
    if not foreign.core:
        pytest.skip("this CPU can play no machine with other kernels")
    assert not kernels.check(foreign)
    theirs, ours = kernels.seen(foreign), kernels.present()
    assert (theirs.numpy, theirs.torch) != (ours.numpy, ours.torch)


def test_nothing_of_the_present_environment_is_left(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    monkeypatch.setenv("SVCCA_NOTE", "kept")
    found = machines.environment(MACHINES["native-4"])
    assert "OPENBLAS_CORETYPE" not in found
    assert (found["SVCCA_NOTE"], found["OMP_NUM_THREADS"]) == ("kept", "4")


def test_cpu_that_lacks_an_instruction_is_told(monkeypatch):
    monkeypatch.setattr(machines, "architecture", lambda: X86)
    monkeypatch.setattr(machines, "cpu_flags", lambda: frozenset({"pni", "avx", "avx2", "fma"}))
    assert not machines.hindrance(MACHINES["haswell"])
    assert "lacks avx512f" in machines.hindrance(MACHINES["skylake-avx512"])
    assert machines.hindrance(MACHINES["armv8"]) == "its CPU is aarch64, this one x86-64"
    assert not machines.hindrance(MACHINES["oldest"])
    monkeypatch.setattr(machines, "cpu_flags", frozenset)
    assert "is not told on" in machines.hindrance(MACHINES["haswell"])


def test_workflow_has_every_machine():
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    rows = jobs["test"]["strategy"]["matrix"]["include"]
    for cpu in (machines.X86, machines.ARM):
        named = [name for row in rows if row["cpu"] == cpu for name in row["names"].split(",")]
        expected = [name for name, m in MACHINES.items() if m.architecture in ("", cpu)]
        assert sorted(named) == sorted(expected)
