"""Commands of sweeps: run, resume, list, status, clean, collect."""

from __future__ import annotations

import json
import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from svcca_lib.paper.cli import options
from svcca_lib.paper.cli.options import FAILED, WRONG_USE, Cores, Data, On, Root, Timeout, reported
from svcca_lib.paper.store.paths import REPOSITORY

if TYPE_CHECKING:
    from svcca_lib.paper.running.engine import Settings
    from svcca_lib.paper.running.grid import Grid
    from svcca_lib.paper.running.plan import Layout, Plan
    from svcca_lib.paper.running.table import Row

commands = typer.Typer()

Folder = Annotated[Path, typer.Argument(help="The folder of a sweep.")]
Threads = Annotated[
    int | None, typer.Option(help="Threads of each job; else shared out evenly.", min=1)
]
Retries = Annotated[int, typer.Option(help="How often a job that fails is tried again.", min=0)]
SHOWN = 200  # jobs that a dry run lists one by one
Part = StrEnum("Part", ["unfinished", "failed", "everything"])  # what `clean` removes of a sweep
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, for machines.")]


@commands.command(
    epilog="""Examples, each on one line:

    python -m svcca_lib run book/04-dynamics.ipynb --seed 0-4

    python -m svcca_lib run book/05-freeze-training.ipynb --profile cifar10 --seed 0-9
    -p width=64,128 --out runs/

    python -m svcca_lib run --chapters all --seed 0-2 --on slurm --json > events.jsonl
    """
)
def run(
    notebooks: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Chapters, such as book/04-dynamics.ipynb.", autocompletion=options.chapters
        ),
    ] = None,
    chapters: Annotated[
        str, typer.Option(help="all, or names or numbers with commas: 04,05-freeze-training.")
    ] = "",
    profile: Annotated[
        str | None,
        typer.Option(help="Scales, with commas; else quick.", autocompletion=options.profiles),
    ] = None,
    seed: Annotated[str | None, typer.Option(help="Seeds: 0-9, or 0,3,7; else 0.")] = None,
    data: Data = "",
    parameter: Annotated[
        list[str] | None, typer.Option("-p", help="name=value,value,...; repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder of the sweep.")] = Path("runs"),
    timeout: Timeout = None,
    cores: Cores = None,
    threads: Threads = None,
    on: On = "",
    retries: Retries = 0,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only list the jobs.")] = False,
    as_json: AsJson = False,
    root: Root = REPOSITORY,
) -> None:
    """Run chapters over a grid of parameters: every combination is one job.

    Executed notebooks, results and one table (table.csv, table.json) go to the folder given by
    --out. Given a folder that holds a sweep, the jobs are added to it. Networks that several jobs
    need are trained once. Values are separated by commas, whole numbers may be given as a range;
    a value that holds a comma, or begins with a quote, goes in quotes. Of many jobs --dry-run
    states the number, the first and the last.
    """
    from svcca_lib.files.paths import folder_to_be
    from svcca_lib.paper.running.engine import Settings
    from svcca_lib.paper.running.grid import Grid, named
    from svcca_lib.paper.running.notebooks import assigned
    from svcca_lib.paper.running.plan import Layout, Plan

    with reported(WRONG_USE):
        given = {"profile": profile, "seed": seed, "data": repr(data) if data else None}
        values = {name: [text] for name, text in given.items() if text is not None}
        for name, text in map(assigned, parameter or ()):
            values.setdefault(name, []).append(text)
        grid = Grid.of(root, named(root, notebooks or [], chapters), values, timeout)
        folder_to_be(out)
        if dry and grid.size > SHOWN and not as_json:
            _outline(grid)
            return
        plan = grid.plan()
        if Layout(out).plan.is_file():
            plan = Plan.read(out).joined(plan)
    if dry:
        _list(plan, Layout(out), as_json)
        return
    with reported(FAILED):
        plan.write(out)
    _go(root, out, Settings(cores, threads, on, retries), as_json)


@commands.command()
def resume(
    folder: Folder = Path("runs"),
    cores: Cores = None,
    threads: Threads = None,
    on: On = "",
    retries: Retries = 0,
    as_json: AsJson = False,
    root: Root = REPOSITORY,
) -> None:
    """Run what of a sweep is missing, failed, or has other code or parameters than it had.

    What is finished stays; a training that was interrupted goes on where it was.
    """
    from svcca_lib.paper.running.engine import Settings

    _go(root, folder, Settings(cores, threads, on, retries), as_json)


@commands.command("list")
def list_(
    folder: Folder = Path("runs"),
    store: Annotated[bool, typer.Option("--store", help="The store's artefacts instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the jobs of a sweep, or the trained networks and measurements of the store."""
    from svcca_lib.paper.running.plan import Layout, Plan
    from svcca_lib.paper.store.store import Store

    if store:
        entries = Store().entries()
        if as_json:
            found = [
                {"kind": e.kind, "name": e.name, "bytes": e.size, "finished": e.finished}
                for e in entries
            ]
            print(json.dumps(found, indent=2))
            return
        for e in entries:
            print(f"{e.kind + '/' + e.name:64}{_size(e.size):>10}{'' if e.finished else '  begun'}")
        print(f"{len(entries)} in {Store().root}, {_size(sum(e.size for e in entries))}")
        return
    with reported(FAILED):
        plan = Plan.read(folder)
    _list(plan, Layout(folder), as_json)


@commands.command()
def status(folder: Folder = Path("runs"), as_json: AsJson = False) -> None:
    """Say how a sweep stands, what runs now, and how large it and the store are."""
    from svcca_lib.paper.running import display, progress, table
    from svcca_lib.paper.running.plan import Layout, Plan
    from svcca_lib.paper.store.store import Store

    with reported(FAILED):
        plan, layout = Plan.read(folder), Layout(folder)
    jobs = table.rows(plan, layout)
    trainings = {name: progress.state(layout.trained(name)) for name in plan.trainings}
    sizes = {
        "sweep": _bytes(folder),
        "store": sum(entry.size for entry in Store().entries()),
        "free": shutil.disk_usage(folder).free,
    }
    if as_json:
        said = {"jobs": {r.job.name: r.state for r in jobs}, "trainings": trainings, "bytes": sizes}
        print(json.dumps(said, indent=2))
    else:
        watch = display.Watch(plan, layout, display.Lines(sys.stdout))
        for line in watch.lines():
            print(line)
        print(f"trainings: {table.counts(trainings.values())}")
        print(f"jobs: {table.counts(r.state for r in jobs)}")
        print(", ".join(f"{name} {_size(size)}" for name, size in sizes.items()))
    if any(r.state != "done" for r in jobs):
        sys.exit(FAILED)


@commands.command()
def clean(
    folder: Folder = Path("runs"),
    what: Annotated[Part, typer.Option(help="Which jobs of the sweep.")] = Part.unfinished,
    store: Annotated[
        bool, typer.Option("--store", help="The store instead: what was begun, or everything.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it, and not only say so.")] = False,
) -> None:
    """Remove what a sweep or the store need no longer hold; without --yes only say what that is.

    Jobs that failed stay in the plan of the sweep, so `resume` runs them again.
    """
    from svcca_lib.paper.running.plan import Layout, Plan, removable, remove
    from svcca_lib.paper.store.store import Store

    with reported(FAILED):
        layout = Layout(folder)
        if store:
            entries = [e for e in Store().entries() if what == Part.everything or not e.finished]
            sizes = {str(e.path): e.size for e in entries}
        else:
            paths = removable(Plan.read(folder), layout, what.value)
            sizes = {str(path): _bytes(path) for path in paths}
        for path, size in sizes.items():
            print(f"{_size(size):>10}  {path}")
        print(f"{_size(sum(sizes.values()))} in all{'' if yes else ': give --yes to remove it'}")
        if yes and store:
            Store().remove(*entries)
        elif yes:
            remove(layout, paths)


@commands.command()
def collect(
    folder: Folder = Path("runs"),
    level: Annotated[float, typer.Option(help="Coverage of the intervals.")] = 0.95,
    as_json: AsJson = False,
) -> None:
    """Gather a sweep over its seeds: ledgers with spreads, figures with means and intervals.

    For each chapter and set of other parameters, into the sweep's folder collected/; its page
    index.html shows everything.
    """
    from svcca_lib.paper.running import collect, table
    from svcca_lib.paper.running.plan import Layout

    with reported(FAILED):
        groups = collect.collect(folder, level)
    if as_json:
        print(json.dumps([group.to_dict() for group in groups], indent=2))
        return
    for group in groups:
        print(f"{group.name}: {len(group.seeds)} seeds, {group.ledger.score}")
    print(f"jobs: {table.counts(state for group in groups for state in group.states)}")
    print(Layout(folder).page.resolve().as_uri())


def _go(root: Path, folder: Path, settings: Settings, as_json: bool) -> NoReturn:
    from svcca_lib.paper.running import display, engine, table
    from svcca_lib.paper.running.plan import Layout, Plan

    listener = display.Json(sys.stdout) if as_json else display.Lines(sys.stderr)
    with reported(FAILED):
        status = engine.run_sweep(root.resolve(), folder, listener, settings)
        plan, layout = Plan.read(folder), Layout(folder)
        rows = table.rows(plan, layout)
        table.write(rows, layout)
    if as_json:
        states = {row.job.name: row.state for row in rows}
        print(json.dumps({"exit": status, "table": str(layout.table_json), "jobs": states}))
    else:
        print(f"\n{table.summary(plan, layout)}\n\nThe table: {layout.table}")
        if status:
            print(f"Go on with: python -m svcca_lib resume {folder}")
    sys.exit(status)


def _list(plan: Plan, layout: Layout, as_json: bool) -> None:
    from svcca_lib.paper.running import table

    rows = table.rows(plan, layout)
    if as_json:
        print(json.dumps(table.flat(rows), indent=2))
        return
    for row in rows:
        print(_line(row, layout))
    print(table.counts(row.state for row in rows))


def _outline(grid: Grid, few: int = 3) -> None:
    """Say what the jobs are of a sweep that has too many to be listed."""
    for place in (*range(few), *range(grid.size - few, grid.size)):
        if place == grid.size - few:
            print("...")
        print(grid.job(place).name)
    print(f"{grid.size:,} jobs; the first {few} and the last {few}")


def _line(row: Row, layout: Layout) -> str:
    from svcca_lib.paper.chapter.provenance import duration

    took = duration(row.record["seconds"]) if "seconds" in row.record else ""
    claims = f"{row.holding} of {len(row.claims)} claims" if row.claims else ""
    size = _size(_bytes(layout.results(row.job.name)) + _bytes(layout.notebook(row.job.name)))
    return f"{row.job.name:48}{row.state:>9}{took:>12}{claims:>16}{size:>10}  {row.error}".rstrip()


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.lstat().st_size for file in files if file.is_file())


def _size(size: float) -> str:
    power = 0
    while size >= 1000 and power < 4:
        size, power = size / 1000, power + 1
    return f"{size:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
