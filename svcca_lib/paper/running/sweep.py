"""A sweep: chapters times parameters, expanded into jobs and kept as one plan on disk.

The plan is data, and all that the workflow needs: ``sweep.json`` in the folder of the sweep. The
book itself is a plan as well, of one job for each chapter, so one graph serves both.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import json
import math
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from svcca_lib.paper import profiles
from svcca_lib.paper.chapter.ledger import LEDGER
from svcca_lib.paper.publishing import site
from svcca_lib.paper.running import notebooks, progress

PLAN = "sweep.json"
GATHERING = LEDGER  # gathers what the others measured: `collect` does that for a sweep
_RANGE = re.compile(r"(-?\d+)-(-?\d+)")
_UNSAFE = re.compile(r"[^A-Za-z0-9.+_-]+")


@dataclass(frozen=True)
class Training:
    """One training that jobs need.

    Attributes
    ----------
    profile, name, seed, data, width
        As of `chapter.train`.
    """

    profile: str
    name: str
    seed: int
    data: str = ""
    width: int = 0

    @property
    def id(self) -> str:
        """A name that is no other training's, and a plain file name."""
        parts = [self.profile, self.name, str(self.seed)]
        if self.width:
            parts.append(f"w{self.width}")
        if self.data:
            parts.append(_digest(self.data))
        return "-".join(parts)

    @property
    def arguments(self) -> list[str]:
        """The training as ``python -m svcca_lib train`` takes it."""
        given = [self.name, f"--seed={self.seed}", f"--profile={self.profile}"]
        return [*given, f"--data={self.data}", f"--width={self.width}"]


@dataclass(frozen=True)
class Job:
    """One chapter with one set of parameters.

    Attributes
    ----------
    name : str
        Where its results lie in the folder of the sweep; it follows from the parameters alone.
    notebook : str
        The chapter; a path within the repository, or absolute.
    parameters : dict
        Profile, seed, and what differs from the chapter's defaults.
    """

    name: str
    notebook: str
    parameters: Mapping[str, Any]

    @property
    def chapter(self) -> str:
        """The chapter's name."""
        return Path(self.notebook).stem

    @property
    def trainings(self) -> tuple[Training, ...]:
        """Trainings that have to be there before the chapter runs."""
        if self.chapter not in profiles.CHAPTERS:
            return ()
        given = self.parameters
        scale = profiles.profile(given["profile"])
        found = []
        for name, offset in scale.trainings(self.chapter):
            data = "" if name == "toy" else given.get("data", "")
            width = given.get("width", 0) if name.startswith(("convnet", "resnet")) else 0
            found.append(Training(scale.name, name, given["seed"] + offset, data, width))
        return tuple(found)

    @property
    def arguments(self) -> list[str]:
        """The parameters as ``python -m svcca_lib execute`` takes them."""
        return [text for pair in self.parameters.items() for text in ("-p", "{}={}".format(*pair))]


@dataclass(frozen=True)
class Layout:
    """Where a plan's files lie: the book's below ``build/PROFILE``, a sweep's in its own folder."""

    folder: Path
    notebooks: str = "notebooks"

    def notebook(self, job: str) -> Path:
        """Return where a job's executed notebook goes."""
        return self.folder / self.notebooks / f"{job}.ipynb"

    def results(self, job: str) -> Path:
        """Return the folder of a job's figures, data and claims."""
        return self.folder / "results" / job

    def record(self, job: str) -> Path:
        """Return the record of a job: there when the job is done."""
        return self.results(job) / "run.json"

    def trained(self, training: str) -> Path:
        """Return the record of a training."""
        return self.folder / "trained" / f"{training}.json"

    def log(self, record: Path) -> Path:
        """Return the log of the step that leaves this record."""
        within = record.relative_to(self.folder)
        step = Path(*within.parts[1:-1]) if record.name == "run.json" else within.with_suffix("")
        return self.folder / "logs" / step.with_name(f"{step.name}.log")


def book(root: Path, profile: str, data: str = "", seed: int = 0) -> Plan:
    """Return the plan of the book: every chapter once."""
    given = {"profile": profile, "seed": seed} | ({"data": data} if data else {})
    names = site.chapters(root)
    return Plan(tuple(Job(name, f"book/{name}.ipynb", given) for name in names))


@dataclass(frozen=True)
class Plan:
    """The jobs of a sweep.

    Attributes
    ----------
    jobs : tuple of Job
    timeout : float or None
        Seconds that one cell of a chapter may take.
    """

    jobs: tuple[Job, ...]
    timeout: float | None = None

    @property
    def trainings(self) -> dict[str, Training]:
        """Every training that a job needs, once, by its id."""
        return {t.id: t for job in self.jobs for t in job.trainings}

    def joined(self, other: Plan) -> Plan:
        """Return the jobs of both, those that are in both once, with the other's timeout."""
        jobs = {job.name: job for job in (*self.jobs, *other.jobs)}
        return Plan(tuple(jobs[name] for name in sorted(jobs)), other.timeout)

    def write(self, folder: Path) -> None:
        """Write the plan into the folder of the sweep."""
        progress.write_json(folder / PLAN, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """Read the plan of a sweep.

        Raises
        ------
        ValueError
            If the folder holds none.
        """
        try:
            values = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ValueError(
                f"{folder} is not the folder of a sweep: it holds no {PLAN}; start one with "
                "`python -m svcca_lib run ... --out FOLDER`"
            ) from None
        return cls(tuple(Job(**job) for job in values["jobs"]), values["timeout"])


def grid(
    root: Path,
    chosen: Iterable[Path],
    values: Mapping[str, Sequence[str]],
    timeout: float | None = None,
) -> Plan:
    """Expand parameters into one job for each combination and chapter.

    Parameters
    ----------
    root : Path
        The repository; a notebook within it is named by its path from there.
    chosen : iterable of Path
    values : mapping of str to sequence of str
        Texts such as ``{"seed": ["0-9"], "keep": ["0.9,0.99"]}``; see `expand`.
    timeout : float, optional
        Of the `Plan`.

    Raises
    ------
    ValueError, TypeError
        For parameters and values that a chapter does not take, naming those it does.
    """
    jobs = {}
    for notebook in chosen:
        known = notebooks.parameters(notebook)
        try:
            if "out" in values:
                raise ValueError("out is set by the sweep: its folder is given as --out FOLDER")
            choices = {name: expand(known, name, texts) for name, texts in values.items()}
            for combination in itertools.product(*choices.values()):
                job = _job(root, notebook, known, dict(zip(choices, combination, strict=True)))
                jobs[job.name] = job
        except (ValueError, TypeError) as error:
            raise type(error)(f"{notebook.stem}: {error}") from None
    plan = Plan(tuple(jobs[name] for name in sorted(jobs)), timeout)
    for training in plan.trainings.values():
        _possible(training)
    return plan


def expand(known: Mapping[str, Any], name: str, texts: Iterable[str]) -> list[Any]:
    """Return the values of one parameter, typed as its default.

    Commas separate values, except within brackets and quotes; for whole numbers ``0-9`` is a range,
    both ends included.

    Examples
    --------
    >>> expand({"seed": 0}, "seed", ["0-2,7"]), expand({"keep": 0.9}, "keep", ["0.5", "1"])
    ([0, 1, 2, 7], [0.5, 1.0])
    >>> expand({"sizes": (1,)}, "sizes", ["(1, 2),(3,)"]), expand({"a": ""}, "a", ["'x,y',z"])
    ([(1, 2), (3,)], ['x,y', 'z'])
    """
    found = []
    for part in (part for text in texts for part in _split(text)):
        if isinstance(known.get(name), int) and (ends := _RANGE.fullmatch(part)):
            low, high = map(int, ends.groups())
            if high < low:
                raise ValueError(f"a range runs upward; got {name}={part}")
            found += range(low, high + 1)
            continue
        if isinstance(known.get(name), str) and part[:1] in ("'", '"'):
            part = ast.literal_eval(part)
        value = notebooks.parse(known, [f"{name}={part}"])[name]
        found.append(float(value) if isinstance(known[name], float) else value)
    return list(dict.fromkeys(found))


def _split(text: str) -> list[str]:
    """Split at the commas outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and not depth:
            parts.append("")
            continue
        parts[-1] += character
    return [part.strip() for part in parts]


def _job(root: Path, notebook: Path, known: Mapping[str, Any], given: Mapping[str, Any]) -> Job:
    profiles.profile(given.get("profile", known.get("profile", "quick")))
    kept = {name: known[name] for name in ("profile", "seed") if name in known}
    changed = {name: value for name, value in given.items() if value != known[name]}
    parameters = kept | dict(sorted(changed.items()))
    if isinstance(parameters.get("seed"), int) and parameters["seed"] < 0:
        raise ValueError(f"seed must be at least 0; got {parameters['seed']}")
    if "data" in parameters:
        parameters["data"] = notebooks.anchored(parameters["data"])
    path = notebook.resolve()
    within = path.is_relative_to(root.resolve())
    source = path.relative_to(root.resolve()).as_posix() if within else str(path)
    return Job(f"{path.stem}/{point(parameters)}", source, parameters)


def point(parameters: Mapping[str, Any]) -> str:
    """Name a set of parameters: readable, and a file name that no shell has to quote."""
    short = {name: str(value) for name, value in parameters.items()}
    if "data" in short:
        short["data"] = short["data"].partition(":")[0] + ":"
    texts = [text if name == "profile" else f"{name}-{text}" for name, text in short.items()]
    point = "_".join(texts) or "defaults"
    if _UNSAFE.search(point) or len(point) > 100 or any(map(_ambiguous, parameters.values())):
        point = f"{_UNSAFE.sub('-', point)[:80].strip('-')}_{_digest(repr(parameters))}"
    return point


def _ambiguous(value: Any) -> bool:
    return isinstance(value, str) and "_" in value


def _possible(training: Training) -> None:
    """Find out now whether a profile can widen its networks so, and not in an hour."""
    if training.width:
        profiles.profile(training.profile).widths(training.width)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


@dataclass(frozen=True)
class Row:
    """How one job stands: a row of the sweep's table.

    Attributes
    ----------
    job : Job
    state : str
        "waiting", "running", "done", "failed", or "stopped" for one that was killed.
    record : dict
        What it left when it finished: seconds, CPU seconds, memory; or why it failed.
    claims : list of dict
        Of its ledger.
    """

    job: Job
    state: progress.State
    record: Mapping[str, Any]
    claims: tuple[Mapping[str, Any], ...]

    @property
    def holding(self) -> int:
        """Claims that hold."""
        return sum(claim["holds"] for claim in self.claims)


def row(layout: Layout, job: Job) -> Row:
    """Return how a job stands, from its files."""
    record = layout.record(job.name)
    state = progress.state(record)
    if state == "done" and not layout.notebook(job.name).is_file():
        state = "stopped"
    if state == "waiting" and notebooks.unfinished(layout.notebook(job.name)).is_file():
        state = "stopped"
    paths = {"done": record, "failed": progress.failed_path(record)}
    ledger = progress.read(layout.results(job.name) / "claims.json") if state == "done" else None
    said = progress.read(paths[state]) if state in paths else None
    return Row(job, state, said or {}, tuple((ledger or {}).get("claims", ())))


def table(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the table of a sweep: parameters, status, times, claims; one flat row for each job."""
    rows = list(rows)
    names = dict.fromkeys(name for r in rows for name in r.job.parameters)
    claims = dict.fromkeys(claim["id"] for r in rows for claim in r.claims)
    flat = []
    for r in rows:
        measured = {claim["id"]: claim["measured"] for claim in r.claims}
        flat.append(
            {"chapter": r.job.chapter}
            | {name: r.job.parameters.get(name) for name in names}
            | {
                "status": r.state,
                "seconds": _rounded(r.record.get("seconds")),
                "cpu_seconds": _rounded(r.record.get("cpu_seconds")),
                "memory_mb": r.record.get("memory_mb"),
                "claims_hold": r.holding if r.claims else None,
                "claims": len(r.claims) or None,
                "error": first_line(r.record.get("error", "")),
            }
            | {claim: measured.get(claim) for claim in claims}
        )
    return flat


def write_table(folder: Path, rows: Sequence[Row]) -> None:
    """Write ``table.csv`` and ``table.json``, the latter with every claim in full."""
    import pandas as pd

    full = [
        {
            "job": r.job.name,
            "chapter": r.job.chapter,
            "parameters": dict(r.job.parameters),
            "status": r.state,
            **r.record,
            "claims": r.claims,
        }
        for r in rows
    ]
    progress.write_json(folder / "table.json", full)
    partial = folder / "table.csv.partial"
    pd.DataFrame(table(rows)).to_csv(partial, index=False)
    partial.replace(folder / "table.csv")


def removable(plan: Plan, layout: Layout, what: str) -> list[Path]:
    """Return what of a sweep can go.

    Parameters
    ----------
    plan : Plan
    layout : Layout
    what : {"unfinished", "failed", "everything"}
        Notebooks that did not get to their end, and files of processes that were killed; also
        results and logs of the jobs that failed; or all that the sweep made.
    """
    folder = layout.folder
    if what == "everything":
        made = ("notebooks", "results", "trained", "logs", "collected", ".snakemake", PLAN)
        found = [folder / name for name in (*made, "table.csv", "table.json")]
    else:
        found = [*(folder / "notebooks").glob("*/unfinished"), *folder.rglob("*.partial")]
        records = [layout.record(job.name) for job in plan.jobs]
        records += [layout.trained(name) for name in plan.trainings]
        for record in records:
            state = progress.state(record)
            if state == "stopped":
                found.append(progress.pulse_path(record))
            if state in ("stopped", "failed") and what == "failed":
                job = record.name == "run.json"
                found.append(record.parent if job else progress.failed_path(record))
                found.append(layout.log(record))
    return [path for path in dict.fromkeys(found) if path.exists()]


def remove(folder: Path, paths: Iterable[Path]) -> None:
    """Remove what a sweep holds.

    Raises
    ------
    RuntimeError
        If the sweep is under way.
    """
    try:
        with FileLock(folder / ".lock", timeout=0):
            for path in paths:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
    except Timeout:
        raise RuntimeError(f"a run is under way in {folder}; wait for it, or stop it") from None


def first_line(error: str) -> str:
    """Return what an error says, in one line: the last that is not empty."""
    return next((line.strip() for line in reversed(error.splitlines()) if line.strip()), "")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None or math.isnan(seconds) else round(seconds, 2)
