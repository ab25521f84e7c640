"""What a process computes with, and whether that is what a machine would.

``python -m svcca_lib.paper.running.kernels`` says it of a new process, as JSON.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from svcca_lib.paper.running.machines import MACHINES, Machine, environment, hindrance
from svcca_lib.paper.store.paths import REPOSITORY

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
    """What a process computes with."""

    numpy: str  # the core whose kernels its OpenBLAS takes; empty where it has another BLAS
    scipy: str  # the same of SciPy's
    torch: str  # the instructions of torch's own kernels
    # of the instruction sets that NumPy's functions choose from, those in use
    simd: tuple[str, ...]
    threads: int  # of torch
    blas_threads: int  # of NumPy's OpenBLAS; 0 where it has another BLAS
    onednn: str = ""  # its instructions; it says them in a new process only
    mkl: str = ""  # its branch; the same

    def __str__(self) -> str:
        blas = dict.fromkeys(name for name in (self.numpy, self.scipy) if name)
        parts = ["/".join(blas) or "no OpenBLAS", f"torch {self.torch}"]
        if self.onednn:
            parts.append(f"oneDNN {self.onednn.partition(' with ')[0].removeprefix('Intel ')}")
        if self.mkl == "COMPATIBLE":
            parts.append("MKL compatible")
        return ", ".join([*parts, f"{self.threads} thread{'s' * (self.threads > 1)}"])


def present() -> Kernels:
    """Return what this process computes with."""
    import scipy.linalg  # noqa: F401 (its OpenBLAS is loaded with it)
    import threadpoolctl
    import torch

    blas = [i for i in threadpoolctl.threadpool_info() if i["internal_api"] == "openblas"]
    ours, theirs = _of(blas, "numpy"), _of(blas, "scipy")
    umath: Any = import_module("numpy._core._multiarray_umath")  # as np.show_runtime does
    return Kernels(
        numpy=ours.get("architecture", ""),
        scipy=theirs.get("architecture", ""),
        # Up to torch 2.6 the default has a name of its own on x86-64.
        torch=torch.backends.cpu.get_cpu_capability().replace("NO AVX", "DEFAULT"),
        simd=tuple(name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]),
        threads=torch.get_num_threads(),
        blas_threads=ours.get("num_threads", 0),
    )


def seen(machine: Machine, python: str = sys.executable) -> Kernels:
    """Return what a process computes with that is started on a machine.

    RuntimeError if it ends with an error, as where the CPU lacks an instruction.
    """
    return _seen(python, tuple(sorted(environment(machine).items())))


@cache
def _seen(python: str, variables: tuple[tuple[str, str], ...]) -> Kernels:
    values = dict(variables) | {"ONEDNN_VERBOSE": "1", "MKL_VERBOSE": "1"}
    command = [python, "-m", __spec__.name]
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
    isa, branch = onednn[1].strip() if onednn else "", mkl[1] if mkl else ""
    return Kernels(**said | {"simd": tuple(said["simd"]), "onednn": isa, "mkl": branch})


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
    asked, wrong = machine.environment, list[str]()

    def expect(right: bool, library: str, told: object, taken: object) -> None:
        if not right:
            wrong.append(f"{library} was told {told} and takes {taken or 'nothing'}")

    for library, core in (("NumPy", kernels.numpy), ("SciPy", kernels.scipy)):
        right = not machine.core or core.lower() in _ALIASES.get(machine.core, {machine.core})
        expect(right, f"OpenBLAS of {library}", asked.get("OPENBLAS_CORETYPE"), core)
    capability = asked.get("ATEN_CPU_CAPABILITY", kernels.torch)
    expect(kernels.torch.lower() == capability.lower(), "torch", capability, kernels.torch)
    isa = asked.get("ONEDNN_MAX_CPU_ISA")
    expect(not isa or kernels.onednn == _ONEDNN.get(isa), "oneDNN", isa, kernels.onednn)
    # MKL knows its other branches on CPUs of Intel only, and chooses by itself elsewhere.
    free = asked.get("MKL_CBWR") != "COMPATIBLE"
    expect(free or kernels.mkl in ("", "COMPATIBLE"), "MKL", "COMPATIBLE", kernels.mkl)
    disabled = asked.get("NPY_DISABLE_CPU_FEATURES", "").split()
    if kept := [name for name in kernels.simd if name in disabled]:
        wrong.append(f"NumPy was told to do without {', '.join(kept)} and does not")
    threads = f"{machine.threads} threads"
    expect(kernels.threads == machine.threads, "torch", threads, kernels.threads)
    # OpenBLAS takes no more threads than there are cores.
    right = kernels.blas_threads in (0, min(machine.threads, cores))
    expect(right, "OpenBLAS", threads, kernels.blas_threads)
    return wrong


def foreign() -> Machine:
    """Return the machine that this CPU can play and that is farthest from the present one."""
    now = present()
    playable = [m for m in MACHINES.values() if not m.versions and not hindrance(m)]
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


def _of(blas: Sequence[Mapping[str, Any]], package: str) -> Mapping[str, Any]:
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
