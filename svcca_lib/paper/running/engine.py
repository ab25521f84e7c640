"""Snakemake, started with what this project always wants, and a report of what it did.

The graph itself is in ``workflow/Snakefile``; this is the front that ``make`` and the command line
call. It is one process with Snakemake, so that whatever ends the one ends the other.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil
from filelock import FileLock, Timeout

from svcca_lib.paper.chapter.provenance import duration
from svcca_lib.paper.publishing import site
from svcca_lib.paper.running import devices, display, notebooks, progress, sweep

PROFILES = Path("workflow", "profiles")
ON_A_CLUSTER = 4  # threads of a job, where nothing else is said
INTERRUPTED = 130  # what a shell reports of a command that Ctrl-C ended


@dataclass(frozen=True)
class Settings:
    """How much of what a run may use.

    Attributes
    ----------
    cores : int or None
        Of this machine; all if None. On a cluster, how many jobs are submitted at once.
    threads : int or None
        Of each training and chapter; the cores shared out evenly if None.
    on : str
        A cluster, by the name of a folder of ``workflow/profiles`` or the path of a Snakemake
        profile; this machine if empty.
    retries : int
        How often a job that failed is tried again.
    """

    cores: int | None = None
    threads: int | None = None
    on: str = ""
    retries: int = 0


def run_book(
    root: Path, targets: Sequence[str], config: Mapping[str, str], settings: Settings | None = None
) -> int:
    """Bring targets of the book up to date in the working folder; return the exit status.

    Parameters
    ----------
    root : Path
        The repository.
    targets : sequence of str
        Rules or files of the workflow.
    config : mapping of str to str
        Values for the workflow, such as its profile; empty ones are left to its defaults.
    settings : Settings, optional

    Raises
    ------
    RuntimeError
        If another run is under way in the working folder, or the workflow cannot be started.
    """
    config = {key: value for key, value in config.items() if value}
    plan = sweep.book(root, config["profile"], config.get("data", ""))
    layout = sweep.Layout(Path("build", config["profile"]).absolute(), "book")
    watch = display.Watch(plan, layout, display.for_stream(sys.stderr))
    return _run(root, Path.cwd(), Path("build/.lock"), targets, config, settings, watch)


def run_sweep(
    root: Path, folder: Path, listener: display.Listener, settings: Settings | None = None
) -> int:
    """Run whatever is missing of a sweep, has failed or is out of date; return the exit status.

    Parameters
    ----------
    root : Path
        The repository.
    folder : Path
        Of the sweep.
    listener : display.Listener
        Is told how it goes.
    settings : Settings, optional

    Raises
    ------
    RuntimeError
        If another run is under way in the folder, or the workflow cannot be started.
    """
    settings = settings or Settings()
    folder = folder.resolve()
    plan, layout = sweep.Plan.read(folder), sweep.Layout(folder)
    config = {"plan": "."}
    threads = settings.threads or ON_A_CLUSTER
    if not settings.on and not settings.threads:
        cores = settings.cores or os.cpu_count() or 1
        threads = cores // max(1, min(cores, len(plan.jobs)))
    config["threads"] = str(threads)
    watch = display.Watch(plan, layout, listener, table=True)
    return _run(root, folder, folder / ".lock", ["chapters"], config, settings, watch)


def _run(
    root: Path,
    folder: Path,
    lock: Path,
    targets: Sequence[str],
    config: Mapping[str, str],
    settings: Settings | None,
    watch: display.Watch,
) -> int:
    """Run Snakemake in this process, with its working folder in `folder`."""
    settings = settings or Settings()
    config, where = dict(config), _where(root, settings)
    if not settings.on and (gpus := devices.count()):
        config["gpus"] = str(gpus)
        where += ["--resources", f"mem_mb={_memory()}", f"gpu={gpus}"]
        if gpus > 1:
            os.environ.setdefault(devices.VISIBLE, ",".join(map(str, range(gpus))))
    elif not settings.on:
        where += ["--resources", f"mem_mb={_memory()}"]
    command = [
        *("--snakefile", str(root / "workflow" / "Snakefile"), "--directory", str(folder)),
        *("--keep-going", "--scheduler", "greedy"),
        # Outputs appear in one rename, the record last: one that is there is whole, even if the
        # engine was killed before it could note so.
        "--ignore-incomplete",
        *("--retries", str(settings.retries)),
        *("--quiet", "all"),  # `watch` speaks
        "--nolock",  # Snakemake's own lock outlives a kill; the one below does not
        *where,
        *("--config", *(f"{key}={value}" for key, value in config.items())),
        *("--", *targets),
    ]
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            with watch, _errors(folder) as errors, _interruptible() as interrupted:
                status = _snakemake(command)
            if interrupted:
                return INTERRUPTED
            if status and not watch.stopped and errors:
                raise RuntimeError("\n".join(errors))
            return status
    except Timeout:
        raise RuntimeError(f"another run is under way in {folder}; wait for it") from None


def _snakemake(command: Sequence[str]) -> int:
    from snakemake.cli import main

    where = Path.cwd()
    try:
        main(list(command))
    except SystemExit as end:
        return int(end.code or 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        os.chdir(where)
    return 0


def _where(root: Path, settings: Settings) -> list[str]:
    """Return Snakemake's arguments for this machine or a cluster.

    Raises
    ------
    ValueError
        If there is no such profile.
    """
    if not settings.on:
        return ["--cores", str(settings.cores or "all")]
    ready = root / PROFILES
    for path in (ready / settings.on, Path(settings.on)):
        if (path / "config.yaml").is_file():
            jobs = ["--jobs", str(settings.cores)] if settings.cores else []
            # Commands of the profile lie beside it.
            os.environ["PATH"] = f"{path.resolve()}{os.pathsep}{os.environ.get('PATH', '')}"
            return ["--workflow-profile", str(path.resolve()), *jobs]
    names = ", ".join(sorted(path.parent.name for path in ready.glob("*/config.yaml")))
    raise ValueError(
        f"on must be one of {names}, or a folder with a config.yaml; got {settings.on}"
    )


def _memory() -> int:
    """Return the memory of this machine in MB."""
    return psutil.virtual_memory().total // 10**6


@contextmanager
def _errors(folder: Path) -> Iterator[list[str]]:
    """Gather what Snakemake says of errors, which it is too quiet to say itself."""
    found: list[str] = []

    class Gather(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if (text := record.getMessage().strip()) not in found:
                found.append(text)

    handler = Gather(logging.ERROR)
    log = logging.getLogger("snakemake")
    log.addHandler(handler)
    log.propagate = False
    try:
        yield found
    finally:
        log.removeHandler(handler)
        if found:
            path = folder / "logs" / "engine.log"
            with suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("\n\n".join(found) + "\n", encoding="utf-8")


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Hand an interrupt on to the jobs, once: they have left the terminal's group of processes.

    A termination is Snakemake's: it starts no more jobs, and waits for those under way.
    """
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for child in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):
                child.send_signal(signal.SIGINT)
        if len(received) == 1:
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, interrupt)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, previous)


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
    site.write_results(site.stored(root), root)


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


def summary(plan: sweep.Plan, layout: sweep.Layout, most: int = 45) -> str:
    """Return how the steps of a plan stand: times, claims, and where to look at what failed.

    Parameters
    ----------
    plan : Plan
    layout : Layout
    most : int
        Steps that are listed one by one; of more than that, those that failed or were stopped.
    """
    lines = []
    for name in plan.trainings:
        record = layout.trained(name)
        lines.append((f"training {name}", progress.state(record), progress.read(record), record))
    for job in plan.jobs:
        row = sweep.row(layout, job)
        said = dict(row.record) | {"claims": row}
        lines.append((job.name, row.state, said, layout.record(job.name)))
    texts = []
    for name, state, said, record in lines:
        if state in ("done", "waiting") and len(lines) > most:
            continue
        row = (said or {}).get("claims")
        time = duration(said["seconds"]) if state == "done" and said else state
        more = f"   {row.holding} of {len(row.claims)} claims hold" if row and row.claims else ""
        if state in ("failed", "stopped"):
            shown = notebooks.unfinished(layout.notebook(name))
            more = f"   see {shown if shown.is_file() else layout.log(record)}"
        texts.append(f"  {name:48}{time:>12}{more}")
    return "\n".join([*texts, f"  {display.counts([state for _, state, *_ in lines])}"])
