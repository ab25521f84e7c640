"""A sweep of real chapters on two cores, with faults put into it: `python workflow/faults.py`.

Trains and runs 24 jobs of two light chapters at the quick profile, and a 25th whose parameter is
wrong. Meanwhile it kills a training, a chapter and a kernel with ``kill -9``, stops another kernel
so that its notebook hangs, kills the engine, presses Ctrl-C, and fills the disk (as root; the
sweep then lies on a small file system of its own). After each fault the sweep is resumed. In the
end all 24 jobs have to be complete, none of the finished ones computed twice, and every notebook
that is there whole. Takes about ten minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from svcca_lib.paper.chapter.ledger import Ledger
from svcca_lib.paper.running import progress, table
from svcca_lib.paper.running.plan import Layout, Plan

ROOT = Path(__file__).parents[1]
CLI = [sys.executable, "-m", "svcca_lib"]
PATIENCE = 3600.0
LIMIT = 300.0  # seconds that a cell may take


class Trial:
    """One sweep, the faults it has seen, and what it must not lose."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = Layout(folder)
        self.finished: dict[str, str] = {}
        self.began = time.monotonic()

    def say(self, text: str) -> None:
        """Print what happens, and when."""
        seconds = time.monotonic() - self.began
        print(f"[{seconds:6.0f} s] {text}", flush=True)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the command line in a group of processes of its own, as a terminal does."""
        self.say("svcca_lib " + " ".join(arguments))
        return subprocess.Popen([*CLI, *arguments], start_new_session=True)

    def resume(self) -> subprocess.Popen[bytes]:
        """Go on with the sweep."""
        return self.start("resume", str(self.folder), "--cores", "2")

    def done(self) -> dict[str, str]:
        """Return the records of the finished jobs by their names."""
        rows = table.rows(Plan.read(self.folder), self.layout)
        names = [row.job.name for row in rows if row.state == "done"]
        return {name: self.layout.record(name).read_text() for name in names}

    def keep(self) -> None:
        """Check that nothing finished was lost or done again, and nothing half-written counts."""
        now = self.done()
        for name, record in self.finished.items():
            assert now.get(name) == record, f"{name} was finished, and is lost or was done again"
        for name in now:
            shown = Ledger.read(self.layout.notebook(name))
            assert shown == Ledger.read(self.layout.results(name)), name
        self.finished = now
        self.say(f"{len(now)} jobs are finished and whole")

    def running(self, pattern: str, ready: Callable[[dict], bool]) -> tuple[str, psutil.Process]:
        """Wait for a step under way; return its name and its process."""

        def look() -> tuple[str, psutil.Process] | None:
            for path in self.folder.glob(pattern):
                said = progress.read(path)
                if said and progress.state(path.with_suffix(".json")) == "running" and ready(said):
                    name = path.parent if path.name == "run.pulse" else path
                    return str(name.relative_to(self.folder)), psutil.Process(said["pid"])
            return None

        return wait(look)

    def chapter(self, avoid: set[str]) -> tuple[str, psutil.Process, psutil.Process]:
        """Wait for a chapter under way, not in `avoid`; return it, its process and its kernel."""
        while True:
            name, process = self.running("results/*/*/run.pulse", lambda at: at.get("cell", 0) > 1)
            kernels = process.children()
            if name not in avoid and kernels:
                avoid.add(name)
                return name, process, kernels[0]
            time.sleep(0.2)

    def alone(self) -> None:
        """Wait until no process of the sweep is left."""
        wait(lambda: not [p for p in self.folder.rglob("*.pulse") if self._lives(p)])

    def _lives(self, path: Path) -> bool:
        return progress.state(path.with_suffix(".json")) == "running"


def wait(look: Callable[[], object]):
    """Return what `look` finds, as soon as it finds something."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, "nothing happened for an hour"
        time.sleep(0.1)
    return found


def run(folder: Path, fill: Callable[[], Callable[[], None]] | None) -> None:
    """Try the faults one after another."""
    trial = Trial(folder)
    hit: set[str] = set()
    first = str(ROOT / "book" / "01-toy-regression.ipynb")
    wrong = trial.start("run", first, "-p", "keep=1.5", "--out", str(folder))
    assert wrong.wait() == 1
    trial.say("a job that fails: exit status 1, its notebook shows where")

    engine = trial.start(
        *("run", "--chapters", "01,09", "--seed", "0-5", "-p", "keep=0.98,0.99"),
        *("--out", str(folder), "--cores", "2", f"--timeout={LIMIT:g}"),
    )
    name, process = trial.running("trained/*.pulse", lambda at: at.get("step", 0) > 1)
    process.kill()
    trial.say(f"kill -9 of a training: {name}")
    name, _, kernel = trial.chapter(hit)
    kernel.suspend()
    trial.say(f"a notebook that hangs (its kernel stopped): {name}")
    name, process, _ = trial.chapter(hit)
    process.kill()
    trial.say(f"kill -9 of a chapter: {name}")
    name, _, kernel = trial.chapter(hit)
    kernel.kill()
    trial.say(f"a kernel that dies (kill -9): {name}")
    wait(lambda: len(trial.done()) >= 6)
    engine.kill()
    engine.wait()
    trial.say("kill -9 of the engine")
    trial.alone()
    trial.keep()

    engine = trial.resume()
    enough = len(trial.finished) + 4
    wait(lambda: len(trial.done()) >= enough)
    os.killpg(engine.pid, signal.SIGINT)
    trial.say(f"Ctrl-C: exit status {engine.wait()}")
    assert engine.returncode == 130
    trial.alone()
    trial.keep()

    if fill is not None:
        engine = trial.resume()
        enough = len(trial.finished) + 2
        wait(lambda: len(trial.done()) >= enough)
        empty = fill()
        trial.say(f"the disk is full: exit status {engine.wait()}")
        assert engine.returncode == 1
        empty()
        trial.keep()

    engine = trial.resume()
    assert engine.wait() == 1, "the job with the wrong parameter fails"
    trial.keep()
    rows = table.rows(Plan.read(folder), trial.layout)
    assert [r.state for r in rows].count("done") == 24
    (failed,) = (r for r in rows if r.state != "done")
    assert failed.state == "failed"
    assert "keep" in failed.record["error"]
    trial.say("complete: 24 jobs done, and the one with a wrong parameter failed")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="of the sweep; must not exist")
    folder = parser.parse_args().folder or Path(tempfile.mkdtemp(), "runs")
    folder.mkdir(parents=True)
    folder = folder.resolve()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300m", "svcca-faults", str(folder)]
    own_disk = os.name == "posix" and os.geteuid() == 0 and not subprocess.run(mount).returncode

    def fill() -> Callable[[], None]:
        ballast = folder / "ballast"
        with open(ballast, "wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0" * 2**16)
        return ballast.unlink

    run(folder, fill if own_disk else None)


if __name__ == "__main__":
    main()
