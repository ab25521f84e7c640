"""Other machines, played on this one: NumPy, SciPy and torch with the kernels they take there.

The libraries choose their kernels when they are imported, by the CPU they find and by the
environment. So a process with the right environment computes with the instructions and threads,
and hence with the rounding, of another machine. What it cannot play is a CPU that has more than
this one, or other libraries; the versions are another matter, see `OLDEST`.

``python -m svcca_lib.paper.running.machines`` says what it computes with, as JSON.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from svcca_lib.paper.store.paths import REPOSITORY

X86, ARM = "x86-64", "aarch64"
OLDEST = "oldest"  # of the versions that pyproject.toml allows
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# All that decides what the libraries compute with; nothing of it is left to whoever starts us.
VARIABLES = (
    *THREADS,
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "MKL_DYNAMIC",
    "NPY_DISABLE_CPU_FEATURES",
    "OMP_WAIT_POLICY",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_THREAD_TIMEOUT",
)
# NumPy's names of instruction sets, up to 2.3 and from 2.4 on; it passes over those it lacks.
_AVX512 = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V4"
_AVX2 = f"AVX2 FMA3 X86_V3 {_AVX512}"
# As the kernel calls them, in /proc/cpuinfo.
_SKYLAKE = ("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl")


@dataclass(frozen=True)
class Machine:
    """A machine to play.

    Attributes
    ----------
    name : str
    environment : mapping of str to str
        What a process finds, of `VARIABLES`; those not in it are unset.
    threads : int
    architecture : str
        Of its CPU, `X86` or `ARM`; empty for that of the present one.
    needs : tuple of str
        What its kernels ask of the CPU, as /proc/cpuinfo calls it.
    versions : str
        `OLDEST`, or empty for those that are installed.
    """

    name: str
    environment: Mapping[str, str]
    threads: int
    architecture: str = ""
    needs: tuple[str, ...] = ()
    versions: str = ""

    @property
    def core(self) -> str:
        """The core that OpenBLAS is told to take, in small letters; empty for the CPU's own."""
        return self.environment.get("OPENBLAS_CORETYPE", "").lower()


def _machine(
    name: str,
    threads: int,
    architecture: str = "",
    needs: Sequence[str] = (),
    versions: str = "",
    **environment: str,
) -> Machine:
    numbers = dict.fromkeys(THREADS, str(threads))
    # Otherwise MKL, and torch after it, takes no more threads than there are cores.
    numbers["MKL_DYNAMIC"] = "FALSE"
    # Threads that wait for work must not spin. With more of them than free cores they keep those
    # that have some from it, and the oracles take eight times as long.
    waiting = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_THREAD_TIMEOUT": "4"}
    values = MappingProxyType(numbers | waiting | environment)
    return Machine(name, values, threads, architecture, tuple(needs), versions)


_TABLE = (
    *(_machine(f"native-{threads}", threads) for threads in (1, 2, 4)),
    _machine(
        *("zen-avx2", 2, X86, ("avx2", "fma")),
        OPENBLAS_CORETYPE="Zen",
        ATEN_CPU_CAPABILITY="avx2",
        ONEDNN_MAX_CPU_ISA="AVX2",
        NPY_DISABLE_CPU_FEATURES=_AVX512,
    ),
    _machine(
        *("haswell", 1, X86, ("avx2", "fma")),
        OPENBLAS_CORETYPE="Haswell",
        ATEN_CPU_CAPABILITY="avx2",
        ONEDNN_MAX_CPU_ISA="AVX2",
        MKL_CBWR="AVX2",
        NPY_DISABLE_CPU_FEATURES=_AVX512,
    ),
    _machine(
        *("haswell-default", 2, X86, ("avx2", "fma")),
        OPENBLAS_CORETYPE="Haswell",
        ATEN_CPU_CAPABILITY="default",
        ONEDNN_MAX_CPU_ISA="SSE41",
        MKL_CBWR="COMPATIBLE",
        NPY_DISABLE_CPU_FEATURES=_AVX2,
    ),
    _machine(
        *("skylake-avx512", 4, X86, _SKYLAKE),
        OPENBLAS_CORETYPE="SkylakeX",
        ATEN_CPU_CAPABILITY="avx512",
        ONEDNN_MAX_CPU_ISA="AVX512_CORE",
    ),
    _machine(
        *("sandybridge", 2, X86, ("avx",)),
        OPENBLAS_CORETYPE="Sandybridge",
        ATEN_CPU_CAPABILITY="default",
        ONEDNN_MAX_CPU_ISA="AVX",
        MKL_CBWR="AVX",
        NPY_DISABLE_CPU_FEATURES=_AVX2,
    ),
    _machine(
        *("nehalem", 4, X86, ("sse4_2",)),
        OPENBLAS_CORETYPE="Nehalem",
        ATEN_CPU_CAPABILITY="default",
        ONEDNN_MAX_CPU_ISA="SSE41",
        MKL_CBWR="SSE4_2",
        NPY_DISABLE_CPU_FEATURES=_AVX2,
    ),
    _machine(
        *("prescott-default", 1, X86, ("pni",)),
        OPENBLAS_CORETYPE="Prescott",
        ATEN_CPU_CAPABILITY="default",
        ONEDNN_MAX_CPU_ISA="SSE41",
        MKL_CBWR="COMPATIBLE",
        NPY_DISABLE_CPU_FEATURES=_AVX2,
    ),
    _machine(
        *("neoverse-v1", 2, ARM, ("sve", "bf16", "i8mm")),
        OPENBLAS_CORETYPE="NEOVERSEV1",
    ),
    _machine(
        *("neoverse-n1", 2, ARM, ("asimd", "asimddp")),
        OPENBLAS_CORETYPE="NEOVERSEN1",
        ATEN_CPU_CAPABILITY="default",
    ),
    _machine(
        *("thunderx2", 4, ARM, ("asimd", "atomics")),
        OPENBLAS_CORETYPE="THUNDERX2T99",
        ATEN_CPU_CAPABILITY="default",
    ),
    _machine(
        *("cortex-a57", 2, ARM, ("asimd",)),
        OPENBLAS_CORETYPE="CORTEXA57",
        ATEN_CPU_CAPABILITY="default",
    ),
    _machine(
        *("armv8", 1, ARM, ("asimd",)),
        OPENBLAS_CORETYPE="ARMV8",
        ATEN_CPU_CAPABILITY="default",
    ),
    _machine(OLDEST, 2, versions=OLDEST),
)
MACHINES = {machine.name: machine for machine in _TABLE}

# What OpenBLAS calls cores whose kernels the wheels of NumPy and SciPy share with another one.
_ALIASES = {"zen": {"zen", "haswell"}, "prescott": {"prescott", "katmai"}}
_ONEDNN = {
    "SSE41": "Intel SSE4.1",
    "AVX": "Intel AVX",
    "AVX2": "Intel AVX2",
    "AVX512_CORE": "Intel AVX-512 with AVX512BW, AVX512VL, and AVX512DQ extensions",
}
# From the least to the most that a core can do.
_CORES = {
    **{"prescott": 0, "katmai": 0, "nehalem": 1, "sandybridge": 2, "haswell": 3, "zen": 3},
    **{"skylakex": 4, "cooperlake": 5, "sapphirerapids": 6},
    **{"armv8": 0, "cortexa57": 1, "thunderx2t99": 2, "neoversen1": 3, "neoversen2": 4},
    **{"neoversev1": 5},
}
_CAPABILITIES = {"DEFAULT": 0, "AVX2": 1, "AVX512": 2, "SVE256": 2}


@dataclass(frozen=True)
class Kernels:
    """What a process computes with.

    Attributes
    ----------
    numpy, scipy : str
        The core whose kernels their OpenBLAS takes; empty where they have another BLAS.
    torch : str
        The instructions of torch's own kernels.
    simd : tuple of str
        Of the instruction sets that NumPy's functions choose from, those in use.
    threads : int
        Of torch.
    blas_threads : int
        Of NumPy's OpenBLAS; 0 where it has another BLAS.
    onednn, mkl : str
        The instructions of oneDNN, and the branch of MKL; they say it in a new process only.
    """

    numpy: str
    scipy: str
    torch: str
    simd: tuple[str, ...]
    threads: int
    blas_threads: int
    onednn: str = ""
    mkl: str = ""

    def __str__(self) -> str:
        blas = dict.fromkeys(name for name in (self.numpy, self.scipy) if name)
        parts = ["/".join(blas) or "no OpenBLAS", f"torch {self.torch}"]
        if self.onednn:
            parts.append(f"oneDNN {self.onednn.partition(' with ')[0].removeprefix('Intel ')}")
        if self.mkl == "COMPATIBLE":
            parts.append("MKL compatible")
        return ", ".join([*parts, f"{self.threads} thread{'s' * (self.threads > 1)}"])


def architecture() -> str:
    """Return the architecture of this CPU, as `Machine` calls it."""
    name = platform.machine().lower()
    return {"x86_64": X86, "amd64": X86, "arm64": ARM}.get(name, name)


def runs_here(machine: Machine) -> bool:
    """Return whether this CPU can play a machine."""
    return not hindrance(machine)


def hindrance(machine: Machine) -> str:
    """Return why this CPU cannot play a machine; empty if it can."""
    if not machine.architecture:
        return ""
    here = architecture()
    if machine.architecture != here:
        return f"its CPU is {machine.architecture}, this one {here}"
    flags = _flags()
    if not flags:
        return f"what this CPU can do is not told on {platform.system()}"
    missing = [flag for flag in machine.needs if flag not in flags]
    return f"this CPU lacks {', '.join(missing)}" if missing else ""


def present() -> Kernels:
    """Return what this process computes with."""
    import numpy as np
    import scipy.linalg  # noqa: F401 (its OpenBLAS is loaded with it)
    import threadpoolctl
    import torch

    blas = [i for i in threadpoolctl.threadpool_info() if i["internal_api"] == "openblas"]
    ours, theirs = _of(blas, "numpy"), _of(blas, "scipy")
    umath = np._core._multiarray_umath  # np.show_runtime reads it there, too
    return Kernels(
        numpy=ours.get("architecture", ""),
        scipy=theirs.get("architecture", ""),
        # Up to torch 2.6 the default has a name of its own on x86-64.
        torch=torch.backends.cpu.get_cpu_capability().replace("NO AVX", "DEFAULT"),
        simd=tuple(name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]),
        threads=torch.get_num_threads(),
        blas_threads=ours.get("num_threads", 0),
    )


def environment(machine: Machine) -> dict[str, str]:
    """Return this process's environment as a process on a machine would have it."""
    return _kept() | dict(machine.environment)


def seen(machine: Machine, python: str = sys.executable) -> Kernels:
    """Return what a process computes with that is started on a machine.

    Raises
    ------
    RuntimeError
        If it ends with an error, as where the CPU lacks an instruction.
    """
    return _seen(python, tuple(sorted(machine.environment.items())))


@cache
def _seen(python: str, variables: tuple[tuple[str, str], ...]) -> Kernels:
    values = _kept() | dict(variables) | {"ONEDNN_VERBOSE": "1", "MKL_VERBOSE": "1"}
    command = [python, "-m", "svcca_lib.paper.running.machines"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=values, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        raise RuntimeError(f"{python} ended with status {done.returncode}. {last}".strip())
    return kernels_of(done.stdout)


def kernels_of(text: str) -> Kernels:
    """Return the kernels that a process printed as JSON, among what oneDNN and MKL say."""
    said = json.loads(next(line for line in text.splitlines() if line.startswith("{")))
    onednn = re.search(r"^(?:one)?dnnl?_verbose.*,info,cpu,isa:(.*)$", text, re.MULTILINE)
    mkl = re.search(r"^MKL_VERBOSE .* CNR:(\S+)", text, re.MULTILINE)
    return Kernels(
        **said
        | {
            "simd": tuple(said["simd"]),
            "onednn": onednn[1].strip() if onednn else "",
            "mkl": mkl[1] if mkl else "",
        }
    )


def check(machine: Machine, python: str = sys.executable) -> str:
    """Return what a process started on a machine computes with that it should not.

    A library passes over a name that it does not know, without an error: only what it then
    computes with tells. Empty if all is as it should be.
    """
    try:
        kernels = seen(machine, python)
    except RuntimeError as error:
        return f"{machine.name}: {error}"
    wrong = deviations(machine, kernels, os.cpu_count() or 1)
    return f"{machine.name}: {'; '.join(wrong)}" if wrong else ""


def deviations(machine: Machine, kernels: Kernels, cores: int) -> list[str]:
    """Return in which ways kernels are not those of a machine, on a CPU of so many cores."""
    asked, wrong = machine.environment, []
    for library, core in (("NumPy", kernels.numpy), ("SciPy", kernels.scipy)):
        if machine.core and core.lower() not in _ALIASES.get(machine.core, {machine.core}):
            named = asked["OPENBLAS_CORETYPE"]
            wrong.append(f"OpenBLAS of {library} was told {named} and takes {core or 'nothing'}")
    capability = asked.get("ATEN_CPU_CAPABILITY", kernels.torch)
    if kernels.torch.lower() != capability.lower():
        wrong.append(f"torch was told {capability} and takes {kernels.torch}")
    isa = asked.get("ONEDNN_MAX_CPU_ISA")
    if isa and kernels.onednn != _ONEDNN.get(isa):
        wrong.append(f"oneDNN was told {isa} and takes {kernels.onednn or 'nothing'}")
    # MKL knows its other branches on CPUs of Intel only, and chooses by itself elsewhere.
    if asked.get("MKL_CBWR") == "COMPATIBLE" and kernels.mkl not in ("", "COMPATIBLE"):
        wrong.append(f"MKL was told COMPATIBLE and takes {kernels.mkl}")
    disabled = asked.get("NPY_DISABLE_CPU_FEATURES", "").split()
    if kept := [name for name in kernels.simd if name in disabled]:
        wrong.append(f"NumPy was told to do without {', '.join(kept)} and does not")
    if kernels.threads != machine.threads:
        wrong.append(f"torch was told {machine.threads} threads and takes {kernels.threads}")
    # OpenBLAS takes no more threads than there are cores.
    if kernels.blas_threads not in (0, min(machine.threads, cores)):
        wrong.append(
            f"OpenBLAS was told {machine.threads} threads and takes {kernels.blas_threads}"
        )
    return wrong


def foreign() -> Machine:
    """Return the machine that this CPU can play and that is farthest from the present one."""
    now = present()
    playable = [m for m in MACHINES.values() if not m.versions and runs_here(m)]
    return max(playable, key=lambda machine: distance(machine, now))


def distance(machine: Machine, kernels: Kernels) -> float:
    """Return how far a machine is from what a process computes with.

    Counted are the generations between the cores of OpenBLAS and those between torch's
    instructions; other threads alone are less than either.
    """
    total = 0.5 * (machine.threads != kernels.threads)
    if machine.core:
        # A core this table lacks is newer than it.
        total += abs(_CORES[machine.core] - _CORES.get(kernels.numpy.lower(), len(_CORES)))
    if capability := machine.environment.get("ATEN_CPU_CAPABILITY"):
        total += abs(_CAPABILITIES[capability.upper()] - _CAPABILITIES.get(kernels.torch, 2))
    return total


def _kept() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in VARIABLES}


@cache
def _flags() -> frozenset[str]:
    """Return what this CPU can do, in the words of Linux; nothing on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def _of(blas: Sequence[Mapping], package: str) -> Mapping:
    """Return what is known of the OpenBLAS of a package: its wheel's, or the one all share."""
    for info in blas:
        if any(part.split(".")[0] == package for part in Path(info["filepath"]).parts):
            return info
    return blas[0] if blas else {}


def _say() -> None:
    """Print what this process computes with; oneDNN and MKL, asked to, add what they take."""
    import torch

    # Large enough for torch to leave it to oneDNN.
    images, filters = torch.ones(2, 16, 16, 16), torch.ones(8, 16, 3, 3)
    torch.nn.functional.conv2d(images, filters)
    torch.ones(64, 64) @ torch.ones(64, 64)
    print(json.dumps(asdict(present())), flush=True)


if __name__ == "__main__":
    _say()
