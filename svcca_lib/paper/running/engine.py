"""Snakemake, started with what this project always wants.

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

from svcca_lib.paper.chapter.gathered import Book
from svcca_lib.paper.publishing import results, site
from svcca_lib.paper.running import devices, display, plan
from svcca_lib.paper.running.brought import brought
from svcca_lib.paper.running.plan import Layout, Plan
from svcca_lib.paper.store.files import write_whole

PROFILES = Path("workflow", "profiles")
ON_A_CLUSTER = 4  # threads of a job, where nothing else is said
INTERRUPTED = 130  # what a shell reports of a command that Ctrl-C ended


@dataclass(frozen=True)
class Settings:
    """How much of what a run may use."""

    # of this machine, by default all; on a cluster, jobs submitted at once
    cores: int | None = None
    # of each training and chapter; by default the cores shared out evenly
    threads: int | None = None
    on: str = ""  # a cluster: a folder of workflow/profiles, or the path of a Snakemake profile
    retries: int = 0  # how often a job that failed is tried again


def run_book(
    root: Path, targets: Sequence[str], config: Mapping[str, str], settings: Settings
) -> int:
    """Bring targets of the book up to date in the working folder; return the exit status.

    Empty values of `config` are left to the defaults of the workflow. RuntimeError if another run
    is under way in the working folder, or the workflow cannot be started.
    """
    config = {key: value for key, value in config.items() if value}
    here, profile = Path.cwd(), config["profile"]
    layout, lock = Layout.of_book(profile, here), here / "build" / ".lock"
    book = plan.book(root, profile, config.get("data", ""), brought=brought(config))
    watch = display.Watch(book, layout, display.Lines(sys.stderr))
    return _run(root, here, lock, targets, config, settings, watch)


def run_sweep(root: Path, folder: Path, listener: display.Lines, settings: Settings) -> int:
    """Run whatever is missing of a sweep, has failed or is out of date; return the exit status.

    RuntimeError if another run is under way in the folder, or the workflow cannot be started.
    """
    folder = folder.resolve()
    sweep, layout = Plan.read(folder), Layout(folder)
    threads = settings.threads or ON_A_CLUSTER
    if not settings.on and not settings.threads:
        cores = settings.cores or os.cpu_count() or 1
        threads = cores // max(1, min(cores, len(sweep.jobs)))
    config = {"plan": ".", "threads": str(threads)}
    watch = display.Watch(sweep, layout, listener, keep_table=True)
    return _run(root, folder, layout.lock, ["chapters"], config, settings, watch)


def _run(
    root: Path,
    folder: Path,
    lock: Path,
    targets: Sequence[str],
    config: Mapping[str, str],
    settings: Settings,
    watch: display.Watch,
) -> int:
    """Run Snakemake in this process, with its working folder in `folder`."""
    config, where = dict(config), _where(root, settings)
    if not settings.on:
        from torch.cuda import device_count

        where += ["--resources", f"mem_mb={psutil.virtual_memory().total // 10**6}"]
        if gpus := device_count():
            config["gpus"] = str(gpus)
            where.append(f"gpu={gpus}")
        if gpus > 1:
            os.environ.setdefault(devices.VISIBLE, ",".join(map(str, range(gpus))))
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
    with plan.alone(lock):
        with watch.looking(), _errors(folder) as errors, _interruptible() as interrupted:
            status = _snakemake(command)
        if interrupted:
            return INTERRUPTED
        if status and not watch.stopped and errors:
            raise RuntimeError("\n".join(errors))
        return status


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
    """Return Snakemake's arguments for this machine or a cluster; ValueError if there is none."""
    if not settings.on:
        return ["--cores", str(settings.cores or "all")]
    ready = root / PROFILES
    for path in (ready / settings.on, Path(settings.on)):
        if (path / "config.yaml").is_file():
            jobs = ["--jobs", str(settings.cores)] if settings.cores else []
            return ["--workflow-profile", str(path.resolve()), *jobs]
    names = ", ".join(sorted(path.parent.name for path in ready.glob("*/config.yaml")))
    raise ValueError(
        f"on must be one of {names}, or a folder with a config.yaml; got {settings.on}"
    )


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
            with suppress(OSError):
                write_whole(folder / "logs" / "engine.log", "\n\n".join(found) + "\n")


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
    command = [sys.executable, "-m", "svcca_lib", "workflow", "chapters", "--root", str(root)]
    stores = {"SVCCA_STORE": str(folder / "store"), "SVCCA_REFERENCE": "", "SVCCA_TRAIN": ""}
    process = subprocess.Popen(command, cwd=folder, env=os.environ | stores)
    # The terminal interrupts the whole group of processes; the command finds it by itself.
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)
    terminated = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, interrupted)
        signal.signal(signal.SIGTERM, terminated)


def remake_reference(root: Path) -> None:
    """Replace ``reference/`` and the stored outputs of the chapters by those of a new run.

    Only networks are kept for reference: what is measured on them is what the tests compare. If a
    chapter fails, RuntimeError is raised and nothing replaced.
    """
    folder = root / "build" / "reference"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if from_scratch(root, folder):
        raise RuntimeError("a chapter failed: reference/ and the stored outputs are as they were")
    # What was measured on other machines, machines.json beside them, stays.
    shutil.rmtree(root / "reference" / "network", ignore_errors=True)
    shutil.copytree(folder / "store" / "network", root / "reference" / "network")
    executed = Layout.of_book("quick", folder)
    for name in site.chapters(root):
        shutil.copyfile(executed.notebook(name), root / "book" / f"{name}.ipynb")
    results.write_results(Book.gather("quick", root=root), root)
