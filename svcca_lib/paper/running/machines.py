"""Other machines, played on this one: NumPy, SciPy and torch with the kernels they take there.

The libraries choose their kernels when they are imported, by the CPU they find and by the
environment. So a process with the right environment computes with the instructions and threads,
and hence with the rounding, of another machine (`kernels` says whether it does). What it cannot
play is a CPU that has more than this one, or other libraries; the versions are another matter, see
`OLDEST`.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

X86, ARM = "x86-64", "aarch64"
OLDEST = "oldest"  # of the versions that pyproject.toml allows
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# NumPy's names of instruction sets, up to 2.3 and from 2.4 on; it passes over those it lacks.
_AVX512 = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V4"
_AVX2 = f"AVX2 FMA3 X86_V3 {_AVX512}"
# As the kernel calls them, in /proc/cpuinfo.
_SKYLAKE = "avx512f avx512cd avx512bw avx512dq avx512vl"


@dataclass(frozen=True)
class Machine:
    """A machine to play."""

    name: str
    # what a process finds; of `VARIABLES` no other is set
    environment: Mapping[str, str]
    threads: int
    architecture: str = ""  # of its CPU, `X86` or `ARM`; empty for that of the present one
    needs: tuple[str, ...] = ()  # what its kernels ask of the CPU, as /proc/cpuinfo calls it
    versions: str = ""  # `OLDEST`, or empty for those that are installed

    @property
    def core(self) -> str:
        """The core that OpenBLAS is told to take, in small letters; empty for the CPU's own."""
        return self.environment.get("OPENBLAS_CORETYPE", "").lower()


def _machine(
    name: str,
    threads: int,
    architecture: str = "",
    needs: str = "",
    core: str = "",
    torch: str = "",
    onednn: str = "",
    mkl: str = "",
    without: str = "",
    versions: str = "",
) -> Machine:
    """Return a machine from what OpenBLAS, torch, oneDNN and MKL take and NumPy does without."""
    told = {
        "OPENBLAS_CORETYPE": core,
        "ATEN_CPU_CAPABILITY": torch,
        "ONEDNN_MAX_CPU_ISA": onednn,
        "MKL_CBWR": mkl,
        "NPY_DISABLE_CPU_FEATURES": without,
        # Otherwise MKL, and torch after it, takes no more threads than there are cores.
        "MKL_DYNAMIC": "FALSE",
        # Threads that wait for work must not spin. With more of them than free cores they keep
        # those that have some from it, and the oracles take eight times as long.
        **{"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_THREAD_TIMEOUT": "4"},
        **dict.fromkeys(THREADS, str(threads)),
    }
    values = MappingProxyType({variable: value for variable, value in told.items() if value})
    return Machine(name, values, threads, architecture, tuple(needs.split()), versions)


_TABLE = (
    *(_machine(f"native-{threads}", threads) for threads in (1, 2, 4)),
    _machine("zen-avx2", 2, X86, "avx2 fma", "Zen", "avx2", "AVX2", "", _AVX512),
    _machine("haswell", 1, X86, "avx2 fma", "Haswell", "avx2", "AVX2", "AVX2", _AVX512),
    _machine(
        *("haswell-default", 2, X86, "avx2 fma", "Haswell"),
        *("default", "SSE41", "COMPATIBLE", _AVX2),
    ),
    _machine("skylake-avx512", 4, X86, _SKYLAKE, "SkylakeX", "avx512", "AVX512_CORE"),
    _machine("sandybridge", 2, X86, "avx", "Sandybridge", "default", "AVX", "AVX", _AVX2),
    _machine("nehalem", 4, X86, "sse4_2", "Nehalem", "default", "SSE41", "SSE4_2", _AVX2),
    _machine(
        *("prescott-default", 1, X86, "pni", "Prescott"),
        *("default", "SSE41", "COMPATIBLE", _AVX2),
    ),
    _machine("neoverse-v1", 2, ARM, "sve bf16 i8mm", "NEOVERSEV1"),
    _machine("neoverse-n1", 2, ARM, "asimd asimddp", "NEOVERSEN1", "default"),
    _machine("thunderx2", 4, ARM, "asimd atomics", "THUNDERX2T99", "default"),
    _machine("cortex-a57", 2, ARM, "asimd", "CORTEXA57", "default"),
    _machine("armv8", 1, ARM, "asimd", "ARMV8", "default"),
    _machine(OLDEST, 2, versions=OLDEST),
)
MACHINES = {machine.name: machine for machine in _TABLE}
# All that decides what the libraries compute with; nothing of it is left to whoever starts us.
VARIABLES = {variable for machine in _TABLE for variable in machine.environment}


def architecture() -> str:
    """Return the architecture of this CPU, as `Machine` calls it."""
    name = platform.machine().lower()
    return {"x86_64": X86, "amd64": X86, "arm64": ARM}.get(name, name)


def hindrance(machine: Machine) -> str:
    """Return why this CPU cannot play a machine; empty if it can."""
    if not machine.architecture:
        return ""
    here = architecture()
    if machine.architecture != here:
        return f"its CPU is {machine.architecture}, this one {here}"
    flags = cpu_flags()
    if not flags:
        return f"what this CPU can do is not told on {platform.system()}"
    missing = [flag for flag in machine.needs if flag not in flags]
    return f"this CPU lacks {', '.join(missing)}" if missing else ""


def environment(machine: Machine) -> dict[str, str]:
    """Return this process's environment as a process on a machine would have it."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return kept | dict(machine.environment)


@cache
def cpu_flags() -> frozenset[str]:
    """Return what this CPU can do, in the words of Linux; nothing on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()
