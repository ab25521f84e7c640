"""What is to be made, and where it lies: a plan of jobs, and the layout of their files.

A plan is data, and all that the workflow needs: ``sweep.json`` in the folder of a sweep. The book
itself is a plan as well, of one job for each chapter, so one graph serves both.
"""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from filelock import FileLock, Timeout

from svcca_lib.paper import profiles
from svcca_lib.paper.chapter.gathered import LEDGER
from svcca_lib.paper.chapter.ledger import CLAIMS
from svcca_lib.paper.profiles import Training
from svcca_lib.paper.publishing import site
from svcca_lib.paper.running import notebooks, progress
from svcca_lib.paper.store.files import write_json

_LITERAL = "python"  # in a plan, marks a value that is written as code
GATHERING = LEDGER  # gathers what the others measured: `collect` does that for a sweep


@dataclass(frozen=True)
class Job:
    """One chapter with one set of parameters."""

    name: str  # its folder in that of the sweep; it follows from the parameters alone
    notebook: str  # a path within the repository, or absolute
    parameters: Mapping[str, Any]  # profile, seed, and what differs from the chapter's defaults

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
        data, width = given.get("data", ""), given.get("width", 0)
        return tuple(
            scale.bind(name, given["seed"] + offset, data, width)
            for name, offset in scale.trainings(self.chapter)
        )

    @property
    def arguments(self) -> list[str]:
        """The parameters as ``python -m svcca_lib execute`` takes them, to the very value."""
        given = self.parameters.items()
        return [text for name, value in given for text in ("-p", f"{name}={value!r}")]

    def to_dict(self) -> dict[str, Any]:
        """Return the job as JSON-ready values."""
        return asdict(self) | {"parameters": kept(self.parameters)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Job:
        """Return the job that `to_dict` wrote."""
        given = {
            name: ast.literal_eval(value[_LITERAL]) if isinstance(value, dict) else value
            for name, value in values["parameters"].items()
        }
        return cls(values["name"], values["notebook"], given)


def kept(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as JSON keeps them: what it has no word for, such as a tuple, as code."""
    exact = (bool, int, float, str, type(None))
    return {
        name: value if isinstance(value, exact) else {_LITERAL: repr(value)}
        for name, value in parameters.items()
    }


def arguments(training: Training) -> list[str]:
    """Return a training as ``python -m svcca_lib train`` takes it."""
    given = [training.name, f"--seed={training.seed}", f"--profile={training.profile}"]
    return [*given, f"--data={training.data}", f"--width={training.width}"]


class Layout:
    """Where a plan's files lie: the book's below ``build/PROFILE``, a sweep's in its own folder."""

    def __init__(self, folder: Path, notebooks: str = "notebooks") -> None:
        self.folder, self.notebooks = folder, notebooks
        self.plan = folder / "sweep.json"
        self.table = folder / "table.csv"
        self.table_json = folder / "table.json"  # the same with every claim in full
        self.collected = folder / "collected"  # what `collect` gathers over the seeds
        self.page = self.collected / "index.html"  # with every ledger and figure
        self.lock = folder / ".lock"  # of a sweep that is under way

    @classmethod
    def of_book(cls, profile: str, below: Path = Path()) -> Layout:
        """Return where the book's files lie, below a folder or the working one."""
        return cls(below / "build" / profile, "book")

    def notebook(self, job: str) -> Path:
        """Return where a job's executed notebook goes."""
        return self.folder / self.notebooks / f"{job}.ipynb"

    def results(self, job: str) -> Path:
        """Return the folder of a job's figures, data and claims."""
        return self.folder / "results" / job

    def claims(self, job: str) -> Path:
        """Return the ledger that a job's chapter writes."""
        return self.results(job) / CLAIMS

    def record(self, job: str) -> Path:
        """Return the record of a job: there when the job is done."""
        return self.results(job) / "run.json"

    def trained(self, training: str) -> Path:
        """Return the record of a training."""
        return self.folder / "trained" / f"{training}.json"

    def log(self, record: Path) -> Path:
        """Return the log of the step that leaves this record."""
        within = record.relative_to(self.folder)
        job = within.parts[0] == "results"
        step = Path(*within.parts[1:-1]) if job else within.with_suffix("")
        return self.folder / "logs" / step.with_name(f"{step.name}.log")


@dataclass(frozen=True)
class Plan:
    """The jobs of a sweep."""

    jobs: tuple[Job, ...]
    timeout: float | None = None  # seconds that one cell of a chapter may take

    @property
    def trainings(self) -> dict[str, Training]:
        """Every training that a job needs, once, by its id."""
        return {t.id: t for job in self.jobs for t in job.trainings}

    def joined(self, other: Plan) -> Plan:
        """Return the jobs of both, those that are in both once, with the other's timeout.

        ValueError if two notebooks have one name.
        """
        return Plan(sorted_once((*self.jobs, *other.jobs)), other.timeout)

    def write(self, folder: Path) -> None:
        """Write the plan into the folder of the sweep."""
        jobs = [job.to_dict() for job in self.jobs]
        write_json(Layout(folder).plan, {"jobs": jobs, "timeout": self.timeout})

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """Read the plan of a sweep; ValueError if the folder holds none, or a damaged one."""
        path = Layout(folder).plan
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(tuple(map(Job.from_dict, values["jobs"])), values["timeout"])
        except (FileNotFoundError, NotADirectoryError):
            raise ValueError(
                f"{folder} is not the folder of a sweep: it holds no {path.name}; start one with "
                "`python -m svcca_lib run ... --out FOLDER`"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError, SyntaxError):
            raise ValueError(
                f"{path} is damaged: remove it, and give the command that started the sweep again; "
                "what is finished stays"
            ) from None


def sorted_once(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """Return jobs by their names, each once; ValueError if two notebooks go by one name."""
    found: dict[str, Job] = {}
    for job in jobs:
        other = found.setdefault(job.name, job)
        if other.notebook != job.notebook:
            raise ValueError(
                f"two notebooks go by the name {job.chapter}: {other.notebook} and {job.notebook}; "
                "rename one, or give them folders of their own by --out"
            )
    return tuple(found[name] for name in sorted(found))


def book(
    root: Path,
    profile: str,
    data: str = "",
    seed: int = 0,
    brought: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """Return the plan of the book: every chapter once.

    `brought` is what single chapters take, by their parameters, such as a folder of photographs.
    """
    given = {"profile": profile, "seed": seed} | ({"data": data} if data else {})
    jobs = []
    for name in site.chapters(root):
        known = notebooks.parameters(root / "book" / f"{name}.ipynb") if brought else {}
        more = {parameter: value for parameter, value in brought.items() if parameter in known}
        jobs.append(Job(name, f"book/{name}.ipynb", given | more))
    return Plan(tuple(jobs))


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the lock of a folder, so that nothing else works there; RuntimeError if another does."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(lock).acquire(timeout=0)
    except Timeout:
        folder = lock.absolute().parent
        raise RuntimeError(f"another run is under way in {folder}; wait for it") from None
    with held:
        yield


def removable(plan: Plan, layout: Layout, what: str) -> list[Path]:
    """Return what of a sweep can go: "unfinished", "failed" or "everything".

    That is notebooks that did not get to their end, and files of processes that were killed; also
    results and logs of the jobs that failed; or all that the sweep made.
    """
    if what == "everything":
        folders = (layout.notebooks, "results", "trained", "logs", ".snakemake")
        made = (layout.collected, layout.plan, layout.table, layout.table_json)
        everything = (*(layout.folder / name for name in folders), *made)
        return [path for path in everything if path.exists()]
    found = [notebooks.unfinished(layout.notebook(job.name)).parent for job in plan.jobs]
    found += layout.folder.rglob("*.partial")
    jobs = [layout.record(job.name) for job in plan.jobs]
    for record in (*jobs, *map(layout.trained, plan.trainings)):
        state = progress.state(record)
        if state == "stopped":
            found.append(progress.pulse_path(record))
        if state in ("stopped", "failed") and what == "failed":
            found.append(record.parent if record in jobs else progress.failed_path(record))
            found.append(layout.log(record))
    return [path for path in dict.fromkeys(found) if path.exists()]


def remove(layout: Layout, paths: Iterable[Path]) -> None:
    """Remove what a sweep holds; RuntimeError if it is under way."""
    with alone(layout.lock):
        for path in paths:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
