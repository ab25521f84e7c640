"""The tests on other machines: pytest in a process of each machine's.

Below the folder of the results each machine has its own: of each part of the tests a junit file,
what pytest said, and a record with the state of the code that was tested. A part whose record is of
the present state is not run again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from svcca_lib.paper.chapter.drift import ELSEWHERE
from svcca_lib.paper.chapter.provenance import duration
from svcca_lib.paper.running import kernels, machines, outcomes
from svcca_lib.paper.running.machines import Machine
from svcca_lib.paper.running.outcomes import Outcome

NOTEBOOKS, ORACLES, SCRATCH = "notebooks", "oracles", "scratch"
PARTS = (NOTEBOOKS, ORACLES, SCRATCH)
EXTRAS = ("files", "data", "book", "pdf", "workflow")  # what the tests need of pyproject.toml
# What compares measures with closed forms, textbooks, other libraries and each other.
TESTS = {
    NOTEBOOKS: ("--nbval", "book"),
    ORACLES: (
        *("tests/measures", "tests/fourier", "tests/inference"),
        *("tests/models/test_projection.py", "tests/models/test_comparison.py"),
        *(f"tests/test_{name}.py" for name in ("moments", "layer", "subspace", "rounding")),
        *(f"tests/paper/experiments/test_{name}.py" for name in ("theorems", "planted")),
    ),
    SCRATCH: ("tests/book/test_from_scratch.py",),
}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is to be run."""

    root: Path  # the repository
    folder: Path  # of the results
    machines: tuple[Machine, ...]
    parts: tuple[str, ...] = PARTS  # of `PARTS`
    scratch: tuple[str, ...] = ()  # names of the machines that train everything anew

    def folder_of(self, machine: Machine) -> Path:
        """Return where the results of a machine lie."""
        return self.folder.absolute() / machine.name

    def parts_of(self, machine: Machine) -> tuple[str, ...]:
        """Return the parts that a machine runs."""
        return tuple(p for p in self.parts if p != SCRATCH or machine.name in self.scratch)


def plan(
    root: Path, folder: Path, only: str = "", scratch: str = "", parts: str = ",".join(PARTS)
) -> Plan:
    """Return what names with commas ask for; where they are empty, all machines, or `spread`.

    An unknown name raises ValueError.
    """
    names = _names(only, machines.MACHINES, "machines") or tuple(machines.MACHINES)
    chosen = [machines.MACHINES[name] for name in names]
    if not only:  # those with a CPU of another kind are no part of the table
        chosen = [m for m in chosen if m.architecture in ("", machines.architecture())]
    trained = _names(scratch, machines.MACHINES, "machines") or spread()
    wanted = _names(parts, PARTS, "parts")
    if not wanted:
        raise ValueError(f"name a part: {', '.join(PARTS)}")
    return Plan(root, folder, tuple(chosen), wanted, trained)


def spread(number: int = 3) -> tuple[str, ...]:
    """Return the names of a few machines that this CPU can play, as different as there are."""
    played = [m.name for m in machines.MACHINES.values() if m.core and not machines.hindrance(m)]
    played = played or [m.name for m in machines.MACHINES.values() if not m.versions]
    last = len(played) - 1
    places = {round(i * last / max(1, number - 1)) for i in range(number)}
    return tuple(played[place] for place in sorted(places))


def _say(text: str) -> None:
    print(text, flush=True)  # hours pass, and a file would show nothing of them


def run(plan: Plan, say: Say = _say) -> Iterator[Outcome | str]:
    """Run what is missing; yield how each part went, or a sentence where a machine cannot be had.

    A sentence that tells of an error begins with ``error:``.
    """
    now = state(plan.root)
    for number, machine in enumerate(plan.machines, 1):
        title = f"[{number}/{len(plan.machines)}] {machine.name}"
        if reason := machines.hindrance(machine):
            yield f"{machine.name} is not played: {reason}"
            continue
        folder = plan.folder_of(machine)
        folder.mkdir(parents=True, exist_ok=True)
        missing = []
        for part in plan.parts_of(machine):
            known = Outcome.read(folder / f"{part}.json")
            if known is None or known.state != now:
                missing.append(part)
            else:
                say(f"{title} {part}: kept, {known.counts}")
                yield known
        if not missing:
            continue
        try:
            python = interpreter(machine, plan.root, folder, say)
        except RuntimeError as error:
            yield f"error: {machine.name}: {error}"
            continue
        if wrong := kernels.check(machine, python):
            yield f"error: {wrong}"
            continue
        for part in missing:
            yield _part(plan, machine, part, python, now, f"{title} {part}", say)


def _part(
    plan: Plan, machine: Machine, part: str, python: str, now: str, title: str, say: Say
) -> Outcome | str:
    files = (plan.folder_of(machine) / f"{part}.{suffix}" for suffix in ("xml", "log", "json"))
    junit, log, record = files
    for path in (junit, record):
        path.unlink(missing_ok=True)
    started = time.monotonic()
    status = _watched(command(machine, part, python, junit), machine, plan.root, log, title)
    # All passed, or some failed: whatever else pytest ends with is no result.
    if status not in (0, 1) or not junit.is_file():
        return f"error: {machine.name}: pytest ended with status {status} in {part}, see {log}"
    counts = outcomes.tally(junit.read_text(encoding="utf-8"))
    outcome = Outcome(
        *(machine.name, part, now),
        **counts,
        seconds=round(time.monotonic() - started, 1),
        kernels=str(kernels.seen(machine, python)),
    )
    outcome.write(record)
    say(f"{title}: {outcome.counts}")
    return outcome


def command(machine: Machine, part: str, python: str, junit: Path) -> list[str]:
    """Return the command that runs a part of the tests on a machine.

    As many processes as its threads leave cores for; trainings share out the cores themselves.
    """
    workers = 1 if part == SCRATCH else max(1, (os.cpu_count() or 1) // machine.threads)
    shared = ["-n", str(workers), "--dist", "loadfile"] if workers > 1 else []
    options = ["-p", "no:cacheprovider", "--color=no", f"--junitxml={junit}"]
    return [python, "-m", "pytest", *TESTS[part], *shared, *options]


def keep(plan: Plan) -> Path:
    """Write what the from-scratch runs measured to where the ledger and the tests look for it.

    That is `drift.ELSEWHERE`: machine -> claim -> number. Machines that the plan does not train on
    keep what they had.
    """
    path = plan.root / ELSEWHERE
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for name in plan.scratch:
        junit = plan.folder / name / f"{SCRATCH}.xml"
        if junit.is_file() and (numbers := outcomes.measured(junit.read_text(encoding="utf-8"))):
            kept[name] = numbers
    path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path


def state(root: Path) -> str:
    """Return the commit of the code, and a hash of what is changed in it; empty outside git."""
    try:
        commit = _git(root, "rev-parse", "HEAD").decode().strip()
        changes = _git(root, "diff", "HEAD")
        for name in sorted(_git(root, "ls-files", "-zo", "--exclude-standard").split(b"\0")):
            path = root / os.fsdecode(name)
            changes += path.read_bytes() if name and path.is_file() else b""
    except (OSError, subprocess.CalledProcessError):
        return f"unknown at {time.time_ns()}"
    return f"{commit}+{hashlib.sha256(changes).hexdigest()[:12]}" if changes else commit


def _git(root: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True).stdout


def interpreter(machine: Machine, root: Path, folder: Path, say: Say = _say) -> str:
    """Return the Python that has a machine's versions, in an environment made if need be.

    Raises RuntimeError if the versions cannot be installed.
    """
    if not machine.versions:
        return sys.executable
    pyproject = (root / "pyproject.toml").read_text(encoding="utf-8")
    wanted = "\n".join(lowest(pyproject))
    venv, made = folder / "venv", folder / "constraints.txt"
    python = str(venv / "bin" / "python")
    if made.is_file() and made.read_text(encoding="utf-8") == wanted and Path(python).is_file():
        return python
    say(f"{machine.name}: installing the oldest versions into {venv}")
    asked = folder / "asked.txt"
    asked.write_text(wanted, encoding="utf-8")
    install = [python, "-m", "pip", "install", "--quiet", "-c", str(asked)]
    install += ["-e", f"{root}[{','.join(EXTRAS)}]", *_tools(pyproject)]
    # The oldest Python, too: those after it have no wheels of the oldest NumPy.
    base = shutil.which("python3.11") or sys.executable
    for step in ([base, "-m", "venv", "--clear", str(venv)], install):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the oldest versions do not install. {done.stderr.strip()}")
    asked.replace(made)
    return python


def lowest(pyproject: str) -> list[str]:
    """Return constraints that hold every dependency of the tests at the oldest it may have."""
    project = tomllib.loads(pyproject)["project"]
    optional = project["optional-dependencies"]
    of_extras = (needed for name in EXTRAS for needed in optional[name])
    asked = [*project["dependencies"], *of_extras, *_tools(pyproject)]
    found = (re.fullmatch(r"([\w.-]+)>=([\w.]+)(,.*)?", r.replace(" ", "")) for r in asked)
    return sorted(f"{match[1]}=={match[2]}" for match in found if match)


def _tools(pyproject: str) -> list[str]:
    """Return what the group `test` of pyproject.toml asks for."""
    return list(tomllib.loads(pyproject)["dependency-groups"]["test"])


def _names(text: str, known: Collection[str], kind: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{kind} are {', '.join(known)}; got {', '.join(unknown)}")
    return names


def _watched(command: Sequence[str], machine: Machine, root: Path, log: Path, title: str) -> int:
    """Run a command on a machine to its end, or to Ctrl-C; on a terminal, say how far it is."""
    started = time.monotonic()
    # Where there is no terminal the status shows nothing.
    with log.open("wb") as said, Console(stderr=True).status(Text(title)) as shown:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=machines.environment(machine),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            while True:
                try:
                    return process.wait(1.0)
                except subprocess.TimeoutExpired:
                    took = duration(time.monotonic() - started)
                    shown.update(Text(f"{title}: {_percent(log)}  {took}"))
        except KeyboardInterrupt:
            process.wait()  # the terminal has interrupted it, too
            raise
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def _percent(log: Path) -> str:
    """Return how much of its tests pytest says it has done."""
    found = re.findall(rb"\[ *(\d+)%\]", log.read_bytes())
    return f"{found[-1].decode()}%" if found else "begins"
