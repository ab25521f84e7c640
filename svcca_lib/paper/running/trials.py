"""The tests on other machines: pytest in a process of each machine's, and a table of the results.

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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

from svcca_lib.paper.chapter.provenance import duration
from svcca_lib.paper.running import machines
from svcca_lib.paper.running.machines import Machine
from svcca_lib.paper.store.files import write_json

NOTEBOOKS, ORACLES, SCRATCH = "notebooks", "oracles", "scratch"
PARTS = (NOTEBOOKS, ORACLES, SCRATCH)
# What compares measures with closed forms, textbooks, other libraries and each other.
TESTS = {
    NOTEBOOKS: ("--nbval", "book"),
    ORACLES: (
        *("tests/measures", "tests/fourier"),
        *("tests/models/test_projection.py", "tests/models/test_comparison.py"),
        *(f"tests/test_{name}.py" for name in ("moments", "subspace", "inference")),
        *(f"tests/paper/experiments/test_{name}.py" for name in ("theorems", "planted")),
    ),
    SCRATCH: ("tests/book/test_from_scratch.py",),
}
FOLDER = Path("build", "machines")
# Of pytest: all passed, some failed. Whatever else it ends with is no result.
ENDED = (0, 1)


@dataclass(frozen=True)
class Outcome:
    """How one part of the tests went on one machine.

    Attributes
    ----------
    machine, part : str
    state : str
        Of the code, see `state`.
    passed, failed, skipped : int
    seconds : float
    kernels : str
        What the tests computed with.
    failures : tuple of str
        Each test that failed, and how, in a line.
    """

    machine: str
    part: str
    state: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    kernels: str
    failures: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write it to a file, which is there only when it is whole."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Outcome | None:
        """Return what a file holds; None if there is none, or of another make."""
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            return cls(**said | {"failures": tuple(said["failures"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    @property
    def counts(self) -> str:
        """Passed, failed and skipped, and how long it took."""
        return f"{self.passed}/{self.failed}/{self.skipped}  {duration(self.seconds)}"


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Attributes
    ----------
    root : Path
        The repository.
    folder : Path
        Of the results.
    machines : tuple of Machine
    parts : tuple of str
        Of `PARTS`.
    scratch : tuple of str
        Names of the machines that train everything anew.
    """

    root: Path
    folder: Path
    machines: tuple[Machine, ...]
    parts: tuple[str, ...] = PARTS
    scratch: tuple[str, ...] = ()

    def parts_of(self, machine: Machine) -> tuple[str, ...]:
        """Return the parts that a machine runs."""
        return tuple(p for p in self.parts if p != SCRATCH or machine.name in self.scratch)


def plan(
    root: Path, folder: Path, only: str = "", scratch: str = "", parts: str = ",".join(PARTS)
) -> Plan:
    """Return what names with commas ask for; where they are empty, all machines, or `spread`.

    Raises
    ------
    ValueError
        If a name is unknown.
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
    played = [m.name for m in machines.MACHINES.values() if m.core and machines.runs_here(m)]
    played = played or [m.name for m in machines.MACHINES.values() if not m.versions]
    last = len(played) - 1
    places = {round(i * last / max(1, number - 1)) for i in range(number)}
    return tuple(played[place] for place in sorted(places))


def _say(text: str) -> None:
    print(text, flush=True)  # hours pass, and a file would show nothing of them


def run(plan: Plan, say: Callable[[str], None] = _say) -> Iterable[Outcome | str]:
    """Run what is missing; yield how each part went, or a sentence where a machine cannot be had.

    A sentence that tells of an error begins with ``error:``.
    """
    now = state(plan.root)
    for number, machine in enumerate(plan.machines, 1):
        title = f"[{number}/{len(plan.machines)}] {machine.name}"
        if reason := machines.hindrance(machine):
            yield f"{machine.name} is not played: {reason}"
            continue
        folder = plan.folder.absolute() / machine.name
        folder.mkdir(parents=True, exist_ok=True)
        kept = {part: Outcome.read(folder / f"{part}.json") for part in plan.parts_of(machine)}
        missing = [part for part, known in kept.items() if known is None or known.state != now]
        for part in kept:
            if part not in missing:
                say(f"{title} {part}: kept, {kept[part].counts}")
                yield kept[part]
        if not missing:
            continue
        try:
            python = interpreter(machine, plan.root, folder, say)
        except RuntimeError as error:
            yield f"error: {machine.name}: {error}"
            continue
        if wrong := machines.check(machine, python):
            yield f"error: {wrong}"
            continue
        for part in missing:
            yield _part(machine, part, python, plan.root, folder, now, f"{title} {part}", say)


def _part(
    machine: Machine,
    part: str,
    python: str,
    root: Path,
    folder: Path,
    now: str,
    title: str,
    say: Callable[[str], None],
) -> Outcome | str:
    junit, log, record = (folder / f"{part}.{suffix}" for suffix in ("xml", "log", "json"))
    for path in (junit, record):
        path.unlink(missing_ok=True)
    started = time.monotonic()
    status = _watched(command(machine, part, python, junit), machine, root, log, title)
    if status not in ENDED or not junit.is_file():
        return f"error: {machine.name}: pytest ended with status {status} in {part}, see {log}"
    counts = tally(junit.read_text(encoding="utf-8"))
    outcome = Outcome(
        *(machine.name, part, now),
        **counts,
        seconds=round(time.monotonic() - started, 1),
        kernels=str(machines.seen(machine, python)),
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


def tally(junit: str) -> dict:
    """Return what a junit file counts: passed, failed, skipped, and the failures."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    failures = []
    for case in ElementTree.fromstring(junit).iter("testcase"):
        wrong = [e for e in case if e.tag in ("failure", "error")]
        if wrong:
            name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
            failures.append(f"{name}: {_told(wrong[0])}")
        kind = "failed" if wrong else "passed" if case.find("skipped") is None else "skipped"
        counts[kind] += 1
    return counts | {"failures": tuple(failures)}


def measured(junit: str) -> dict[str, float]:
    """Return the claims' numbers that the from-scratch tests recorded, by ``CHAPTER/ID``."""
    found = ElementTree.fromstring(junit).iter("property")
    return {each.get("name", ""): float(each.get("value", "nan")) for each in found}


def keep(plan: Plan) -> Path:
    """Write what the from-scratch runs measured to where the ledger and the tests look for it.

    Machines that the plan does not train on keep what they had.

    Returns
    -------
    Path
        ``reference/machines.json``: machine -> claim -> number.
    """
    path = plan.root / "reference" / "machines.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for name in plan.scratch:
        junit = plan.folder / name / f"{SCRATCH}.xml"
        if junit.is_file() and (numbers := measured(junit.read_text(encoding="utf-8"))):
            kept[name] = numbers
    path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path


def _told(wrong: ElementTree.Element) -> str:
    """Return in a line what a test that failed says: its message, of a cell what went wrong."""
    message, text = wrong.get("message") or "", wrong.text or ""
    cell = "Notebook cell" in message
    coloured = text if cell or not message else message
    # A terminal's colours; XML has no escape character, and pytest writes it out.
    plain = re.sub(r"(?:\x1b|#x1B)\[[\d;]*m", "", coloured)
    lines = [line.strip() for line in plain.splitlines() if line.strip()] or ["no message"]
    if not cell or len(lines) < 3:
        return lines[0][:200]
    what = re.sub(r"^Cell \d+: ", "", lines[1])
    # An error is the last line of its traceback; the first of the differences are enough.
    found = lines[lines.index("Traceback:") + 1 :] if "Traceback:" in lines else lines[2:]
    told = found[:3] if "differ" in what else found[-1:]
    return ": ".join([what, *told])[:200]


def table(results: Sequence[Outcome | str], parts: Sequence[str] = PARTS) -> str:
    """Return results as a table, a machine a row, and below it all that failed.

    A cell has passed/failed/skipped and the time.
    """
    outcomes = [r for r in results if isinstance(r, Outcome)]
    found = {(o.machine, o.part): o for o in outcomes}
    kernels = {o.machine: o.kernels for o in outcomes}
    shown = [part for part in parts if any(o.part == part for o in outcomes)]
    rows = [["machine", "computes with", *shown]]
    for name in kernels:
        cells = (found.get((name, part)) for part in shown)
        rows.append([name, kernels[name], *(cell.counts if cell else "-" for cell in cells)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    if not outcomes:
        lines = []
    failures = [f"{o.machine}, {o.part}: {text}" for o in outcomes for text in o.failures]
    told = [result for result in results if isinstance(result, str)]
    return "\n".join(
        [*lines, *(["", *told] if told else []), *(["", *failures] if failures else [])]
    )


def failed(results: Iterable[Outcome | str]) -> bool:
    """Return whether a test failed, or a machine could not be had that should have been."""
    return any(r.startswith("error:") if isinstance(r, str) else r.failed > 0 for r in results)


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


def interpreter(
    machine: Machine, root: Path, folder: Path, say: Callable[[str], None] = _say
) -> str:
    """Return the Python that has a machine's versions, in an environment made if need be.

    Raises
    ------
    RuntimeError
        If the versions cannot be installed.
    """
    if not machine.versions:
        return sys.executable
    wanted = "\n".join(lowest((root / "pyproject.toml").read_text(encoding="utf-8")))
    python, made = folder / "venv" / "bin" / "python", folder / "constraints.txt"
    if made.is_file() and made.read_text(encoding="utf-8") == wanted and python.is_file():
        return str(python)
    say(f"{machine.name}: installing the oldest versions into {folder / 'venv'}")
    asked = folder / "asked.txt"
    asked.write_text(wanted, encoding="utf-8")
    install = [python, "-m", "pip", "install", "--quiet", "-c", asked, "-e", f"{root}[test]"]
    # The oldest Python, too: those after it have no wheels of the oldest NumPy.
    base = shutil.which("python3.11") or sys.executable
    for step in ([base, "-m", "venv", "--clear", folder / "venv"], install):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the oldest versions do not install. {done.stderr.strip()}")
    asked.replace(made)
    return str(python)


def lowest(pyproject: str) -> list[str]:
    """Return constraints that hold every dependency of the tests at the oldest it may have."""
    project = tomllib.loads(pyproject)["project"]
    optional = project["optional-dependencies"]
    asked = [*project["dependencies"], *(r for name in _EXTRAS for r in optional[name])]
    found = (re.fullmatch(r"([\w.-]+)>=([\w.]+)(,.*)?", r.replace(" ", "")) for r in asked)
    return sorted(f"{match[1]}=={match[2]}" for match in found if match)


_EXTRAS = ("data", "book", "pdf", "workflow", "test")


def _names(text: str, known: Mapping | Sequence, kind: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{kind} are {', '.join(known)}; got {', '.join(unknown)}")
    return names


def _watched(
    command: Sequence[str], machine: Machine, root: Path, log: Path, title: str, wait: float = 1.0
) -> int:
    """Run a command on a machine to its end, or to Ctrl-C; on a terminal, say how far it is."""
    shown = sys.stderr.isatty()
    started = time.monotonic()
    with log.open("wb") as said:
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
                    return process.wait(wait)
                except subprocess.TimeoutExpired:
                    if shown:
                        text = f"{title}: {_percent(log)}  {duration(time.monotonic() - started)}"
                        print(f"\r{text:<78}", end="", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            process.wait()  # the terminal has interrupted it, too
            raise
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
            if shown:
                print(f"\r{'':78}\r", end="", file=sys.stderr, flush=True)


def _percent(log: Path) -> str:
    """Return how much of its tests pytest says it has done."""
    found = re.findall(rb"\[ *(\d+)%\]", log.read_bytes())
    return f"{found[-1].decode()}%" if found else "begins"
