"""Where a step is, said in small files beside its record, on any machine.

A step is a training or a chapter. Its record ``X.json`` exists when it has finished; ``X.pulse``
says, renewed while the process lives, how far it is; ``X.failed`` why it stopped. Whoever shares
the file system can read them: no server, no port.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import psutil
from filelock import FileLock

from svcca_lib.files.paths import file_to_be
from svcca_lib.paper.store.files import write_json

logger = logging.getLogger(__name__)

State = Literal["waiting", "running", "done", "failed", "stopped"]
EVERY = 1.0  # seconds between two notes, and between two looks at them
STALE = 60.0  # a pulse of another machine that is older has stopped
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def pulse_path(record: Path) -> Path:
    """Return where a step says how far it is."""
    return record.with_suffix(".pulse")


def failed_path(record: Path) -> Path:
    """Return where a step says why it stopped."""
    return record.with_suffix(".failed")


@contextmanager
def regularly(act: Callable[[], None]) -> Iterator[None]:
    """Do something every second, in a thread of its own, for as long as this is entered."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(EVERY):
            act()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _pulse(record: Path, parent: int | None, where: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Write where this process is, every second, for as long as it lives.

    With a `parent`, the process that started this one, it ends when that one has ended, as nobody
    would take what it makes. (That may have ended already: a start takes seconds.)
    """
    if parent is not None:  # Ctrl-C is for the engine, which hands it on once
        with suppress(OSError):
            os.setpgrp()
    path = pulse_path(record)
    about = {"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()}

    def beat() -> None:
        if parent is not None and os.getppid() != parent:
            logger.error("the process that started this one has ended: this one ends too")
            os.kill(os.getpid(), signal.SIGTERM)
        with suppress(OSError):  # a full disk stops nobody from computing
            write_json(path, about | where())

    beat()
    try:
        with regularly(beat):
            yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def recorded(
    record: Path | None, parent: int | None = None, **about: Any
) -> Iterator[Callable[..., None]]:
    """Give a step its pulse, and leave a record of it when it has finished, or why it has not.

    Two processes never do one step at once: the second waits for the first. What is yielded says
    where the step is: ``note(cell=..., cells=...)``, or ``step``, ``steps`` and ``seconds``. A step
    that nobody follows has no record. Into a record goes `about`, beside ``seconds``,
    ``cpu_seconds`` and ``memory_mb``, the last two of this process and those it started.
    """
    if record is None:
        yield lambda **at: None
        return
    file_to_be(record)
    record.parent.mkdir(parents=True, exist_ok=True)
    failed, at = failed_path(record), dict[str, Any]()

    def note(**now: Any) -> None:
        nonlocal at
        at = now

    with FileLock(record.with_suffix(".lock")), _pulse(record, parent, lambda: at):
        failed.unlink(missing_ok=True)
        started = time.perf_counter()
        try:
            yield note
        except Exception as error:
            text = _COLOUR.sub("", str(error)) or type(error).__name__
            with suppress(OSError):
                write_json(failed, {**about, "error": text, **_cost(started), **at})
            raise
        write_json(record, about | _cost(started))


def _cost(started: float) -> dict[str, float]:
    """Return seconds since `started`, CPU seconds and MB of this process and its children."""
    times = os.times()
    cost = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": times.user + times.system + times.children_user + times.children_system,
    }
    with suppress(ImportError):  # Windows has none
        import resource

        children = _mb(resource.getrusage(resource.RUSAGE_CHILDREN))
        cost["memory_mb"] = round(max(_own_peak(), children))
    return cost


def _own_peak() -> float:
    """Return the peak memory of this process in MB.

    On Linux `getrusage` counts that of the process which started this one as well: it is handed
    over when the program is replaced.
    """
    import resource

    with suppress(OSError, IndexError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 2**10
    return _mb(resource.getrusage(resource.RUSAGE_SELF))


def _mb(usage: Any) -> float:
    return float(usage.ru_maxrss) / (2**20 if sys.platform == "darwin" else 2**10)


def read(path: Path) -> dict[str, Any] | None:
    """Return what a file of a step says; None where there is none, or it is being replaced."""
    with suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    return None


def said(record: Path, state: State) -> dict[str, Any]:
    """Return what a step in this state left: its record, or why it failed; else nothing."""
    paths = {"done": record, "failed": failed_path(record)}
    return (read(paths[state]) if state in paths else None) or {}


def state(record: Path) -> State:
    """Return how a step stands, from its files alone."""
    pulse = read(pulse_path(record))
    if pulse is not None and _alive(pulse, pulse_path(record)):
        return "running"
    if failed_path(record).is_file():
        return "failed"
    if record.is_file():
        return "done"
    return "stopped" if pulse is not None else "waiting"


def _alive(pulse: dict[str, Any], path: Path) -> bool:
    if pulse["host"] != socket.gethostname():
        with suppress(OSError):
            return time.time() - path.stat().st_mtime < STALE
        return False
    return bool(psutil.pid_exists(pulse["pid"]))
