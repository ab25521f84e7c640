"""One GPU for each job, where a machine has several and no scheduler shares them out."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextmanager
def claimed(folder: Path | None = None, every: float = 0.5) -> Iterator[str | None]:
    """Let this process, and what it starts, see one GPU that no other claims meanwhile.

    Only where ``CUDA_VISIBLE_DEVICES`` names several, as `engine` sees to on a machine with
    several, and else None: a cluster's scheduler names one itself. To be entered before torch looks
    for GPUs. The claims lie in `folder`, by default the machine's temporary one; where all GPUs are
    taken, it looks again `every` so many seconds.
    """
    named = os.environ.get(VISIBLE, "")
    devices = [device for device in named.split(",") if device]
    if len(devices) < 2:
        yield None
        return
    folder = folder or Path(tempfile.gettempdir())
    while True:
        for device in devices:
            lock = FileLock(folder / f"svcca-gpu-{device}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            os.environ[VISIBLE] = device
            try:
                yield device
            finally:
                os.environ[VISIBLE] = named
                lock.release()
            return
        time.sleep(every)
