"""Where and with what this process computes: for the provenance of results."""

from __future__ import annotations

import functools
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import torch


@functools.cache
def environment() -> dict[str, Any]:
    """Say where this process runs: versions, device, threads, and the commit of this code."""
    versions = {}
    for package in ("svcca-lib", "torch", "numpy", "scipy", "safetensors"):
        with suppress(PackageNotFoundError):
            versions[package] = package_version(package)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": versions,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        "threads": torch.get_num_threads(),
        "commit": _commit(),
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Return the commit this file is of, with ``-dirty`` if edited since; None outside git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None
