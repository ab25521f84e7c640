"""Snakemake, started with what this project always wants, and a report of what it did.

The graph itself is in ``workflow/Snakefile``; this is the front that ``make`` calls.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from svcca_lib.paper import runs, site
from svcca_lib.paper.claims import Ledger
from svcca_lib.paper.store import Store

EVERY = 10.0  # seconds between two lines about the trainings under way


def run(
    root: Path, targets: Sequence[str], config: Mapping[str, str], cores: int | None = None
) -> int:
    """Bring `targets` up to date in the working folder and return Snakemake's exit status.

    Parameters
    ----------
    root : Path
        The repository.
    targets : sequence of str
        Rules or files of the workflow.
    config : mapping of str to str
        Values for the workflow, such as its profile; empty ones are left to its defaults.
    cores : int, optional
        All that the machine has if not given.

    Raises
    ------
    RuntimeError
        If another run is under way in the working folder.
    """
    values = [f"{key}={value}" for key, value in config.items() if value]
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", root / "workflow" / "Snakefile"),
        *("--cores", str(cores) if cores else "all"),
        *("--keep-going", "--rerun-incomplete", "--scheduler", "greedy"),
        *("--quiet", "all"),  # the jobs speak for themselves
        "--nolock",  # Snakemake's own lock outlives a kill; the one below does not
        *(("--config", *values) if values else ()),
        *("--", *targets),
    ]
    Path("build").mkdir(exist_ok=True)
    try:
        with FileLock("build/.lock", timeout=0), _progress():
            return _patiently(command)
    except Timeout:
        raise RuntimeError(f"another run is under way in {Path.cwd()}; wait for it") from None


def from_scratch(root: Path, folder: Path) -> int:
    """Run every chapter at the quick profile in an empty folder, with an empty store.

    Executed chapters are then in ``build/quick/book`` of that folder, trained networks in
    ``store``. Returns the exit status.
    """
    command = [sys.executable, "-m", "svcca_lib", "workflow", "chapters", "--root", root]
    stores = {"SVCCA_STORE": str(folder / "store"), "SVCCA_REFERENCE": "", "SVCCA_TRAIN": ""}
    return _patiently(command, cwd=folder, env=os.environ | stores)


def remake_reference(root: Path) -> None:
    """Replace ``reference/`` and the stored outputs of the chapters by those of a new run.

    Only networks are kept for reference: what is measured on them is what the tests compare.

    Raises
    ------
    RuntimeError
        If a chapter fails; nothing is replaced then.
    """
    folder = root / "build" / "reference"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if from_scratch(root, folder):
        raise RuntimeError("a chapter failed: reference/ and the stored outputs are as they were")
    shutil.rmtree(root / "reference", ignore_errors=True)
    shutil.copytree(folder / "store" / "network", root / "reference" / "network")
    for name in site.chapters(root):
        executed = folder / "build" / "quick" / "book" / f"{name}.ipynb"
        shutil.copyfile(executed, root / "book" / f"{name}.ipynb")


def _patiently(
    command: Sequence[str | Path], cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> int:
    """Run a command to its end, which on Ctrl-C or a termination it finds by itself."""
    process = subprocess.Popen(command, cwd=cwd, env=env)
    handlers = {
        signal.SIGINT: signal.SIG_IGN,  # the terminal interrupts the whole group of processes
        signal.SIGTERM: lambda *_: process.terminate(),
    }
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        return process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _progress() -> Iterator[None]:
    """Say now and then, on stderr, how far each training under way has come."""
    workspaces = Store().root / ".work"
    finished = threading.Event()

    def watch() -> None:
        told: dict[Path, float] = {}
        started = time.time()
        while not finished.wait(EVERY):
            for path in workspaces.rglob("progress.json"):
                # It may be replaced or removed while it is read.
                with suppress(OSError, ValueError):
                    written = path.stat().st_mtime
                    if written <= told.get(path, started):
                        continue  # it waits, or an interrupted run left it
                    told[path] = written
                    at = json.loads(path.read_text(encoding="utf-8"))
                    print(f"{at['name']}: {_remaining(at)}", file=sys.stderr, flush=True)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def _remaining(at: Mapping[str, Any]) -> str:
    """Return a training's step and the time it has left, judged by the time it has taken."""
    left = at["seconds"] / max(at["step"], 1) * (at["steps"] - at["step"])
    return f"step {at['step']:,} of {at['steps']:,}, {duration(left)} left"


def duration(seconds: float) -> str:
    """Return a time as a person says it.

    Examples
    --------
    >>> duration(7.31), duration(75), duration(7500)
    ('7.3 s', '1 min 15 s', '2 h 05 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def summary(root: Path, build: Path) -> str:
    """Return what the folder of one profile holds: each step's time, claims and failures."""
    lines = []
    for path in sorted((build / "trained").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        name = f"training {record['training']}, seed {record['seed']}"
        lines.append(f"  {name:42}{duration(record['seconds']):>12}")
    for name in site.chapters(root):
        notebook = build / "book" / f"{name}.ipynb"
        results = build / "results" / name
        if (stopped := runs.unfinished(notebook)).is_file():
            lines.append(f"  {name:42}{'stopped':>12}   see {stopped}")
        elif notebook.is_file():
            record = json.loads((results / "run.json").read_text(encoding="utf-8"))
            claims = results / "claims.json"
            holding = (
                f"   {Ledger.read(claims).title.partition(' (')[0]}" if claims.exists() else ""
            )
            lines.append(f"  {name:42}{duration(record['seconds']):>12}{holding}")
        else:
            lines.append(f"  {name:42}{'not run':>12}")
    return "\n".join(lines)
