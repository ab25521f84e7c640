"""The command line: ``python -m svcca_lib --help``, or ``svcca --help`` where it is installed."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from svcca_lib.paper.store.paths import REPOSITORY

if TYPE_CHECKING:
    from svcca_lib.paper.running.display import Listener
    from svcca_lib.paper.running.engine import Settings
    from svcca_lib.paper.running.sweep import Layout, Plan, Row

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="Exit status: 0 all is done; 1 something failed or is missing; 2 wrong use; 130 Ctrl-C.",
)

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130

# Snakemake makes no file anew that only lies between; so the chapters are asked for as well.
TARGETS = ["chapters", "site"]
SITE = Path("_build", "html")
logger = logging.getLogger(__name__)


class Part(StrEnum):
    """What `clean` removes of a sweep."""

    unfinished = "unfinished"
    failed = "failed"
    everything = "everything"


def _chapters(incomplete: str) -> list[str]:
    from svcca_lib.paper.publishing import site

    return [f"book/{name}.ipynb" for name in site.chapters(REPOSITORY)]


def _profiles() -> list[str]:
    from svcca_lib.paper import profiles

    return list(profiles.PROFILES)


def _clusters() -> list[str]:
    from svcca_lib.paper.running import engine

    return sorted(p.parent.name for p in (REPOSITORY / engine.PROFILES).glob("*/config.yaml"))


Profile = Annotated[
    str, typer.Option(help="The scale: quick, cifar10 or paper.", autocompletion=_profiles)
]
Data = Annotated[str, typer.Option(help="A data set, such as cifar10:PATH; else the profile's.")]
Root = Annotated[Path, typer.Option(help="The repository; the one of this package if not given.")]
Executed = Annotated[Path, typer.Argument(help="A folder of executed chapters.")]
Staging = Annotated[Path, typer.Option(help="A folder for the copy that is built.")]
Parameter = Annotated[
    list[str] | None, typer.Option("-p", help="A parameter as name=value; repeatable.")
]
Timeout = Annotated[float | None, typer.Option(help="Seconds that one cell may take.")]
Record = Annotated[Path | None, typer.Option(help="Say progress, seconds and failure beside it.")]
Parent = Annotated[
    int | None, typer.Option(help="End with this process, which must have started this one.")
]
Folder = Annotated[Path, typer.Argument(help="The folder of a sweep.")]
Cores = Annotated[
    int | None, typer.Option(help="Cores of this machine to use; on a cluster, jobs at once.")
]
Threads = Annotated[int | None, typer.Option(help="Threads of each job; else shared out evenly.")]
On = Annotated[
    str,
    typer.Option(
        help="slurm, kubernetes or a Snakemake profile's folder; else this machine.",
        autocompletion=_clusters,
    ),
]
Retries = Annotated[int, typer.Option(help="How often a job that fails is tried again.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, for machines.")]


@app.callback()
def main() -> None:
    """Run the chapters of the SVCCA book and the trainings they share."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # One line for each evaluation of each training is for those who ask for it.
    logging.getLogger("svcca_lib.paper.training").setLevel(logging.WARNING)


# ------------------------------------------------------------------------------------- sweeps


@app.command(
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
        typer.Argument(help="Chapters, such as book/04-dynamics.ipynb.", autocompletion=_chapters),
    ] = None,
    chapters: Annotated[
        str, typer.Option(help="all, or names or numbers with commas: 04,05-freeze-training.")
    ] = "",
    profile: Annotated[
        str, typer.Option(help="Scales, with commas.", autocompletion=_profiles)
    ] = "quick",
    seed: Annotated[str, typer.Option(help="Seeds: 0-9, or 0,3,7.")] = "0",
    data: Data = "",
    parameter: Annotated[
        list[str] | None, typer.Option("-p", help="name=value,value,...; repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder of the sweep.")] = Path("runs"),
    timeout: Annotated[float | None, typer.Option(help="Seconds that one cell may take.")] = None,
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
    a value that holds a comma goes in quotes.
    """
    from svcca_lib.paper.running import sweep

    with _reported(WRONG_USE):
        values = {"profile": [profile], "seed": [seed]} | ({"data": [repr(data)]} if data else {})
        for assignment in parameter or ():
            name, sign, text = assignment.partition("=")
            if not sign:
                raise ValueError(f"a parameter is given as name=value, got {assignment!r}")
            values.setdefault(name, []).append(text)
        plan = sweep.grid(root, _chosen(root, notebooks or [], chapters), values, timeout)
        if (out / sweep.PLAN).is_file():
            plan = sweep.Plan.read(out).joined(plan)
    if dry:
        _list(plan, sweep.Layout(out), as_json)
        return
    with _reported(FAILED):
        plan.write(out)
    _go(root, out, _settings(cores, threads, on, retries), as_json)


@app.command()
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
    _go(root, folder, _settings(cores, threads, on, retries), as_json)


@app.command("list")
def list_(
    folder: Folder = Path("runs"),
    store: Annotated[bool, typer.Option("--store", help="The store's artefacts instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the jobs of a sweep, or the trained networks and measurements of the store."""
    from svcca_lib.paper.running import sweep
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
    with _reported(FAILED):
        plan = sweep.Plan.read(folder)
    _list(plan, sweep.Layout(folder), as_json)


@app.command()
def status(folder: Folder = Path("runs"), as_json: AsJson = False) -> None:
    """Say how a sweep stands, what runs now, and how large it and the store are."""
    from svcca_lib.paper.running import display, progress, sweep
    from svcca_lib.paper.store.store import Store

    with _reported(FAILED):
        plan = sweep.Plan.read(folder)
    layout = sweep.Layout(folder)
    jobs = [sweep.row(layout, job) for job in plan.jobs]
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
        print(f"trainings: {display.counts(trainings.values())}")
        print(f"jobs: {display.counts(r.state for r in jobs)}")
        print(", ".join(f"{name} {_size(size)}" for name, size in sizes.items()))
    if any(r.state != "done" for r in jobs):
        sys.exit(FAILED)


@app.command()
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
    from svcca_lib.paper.running import sweep
    from svcca_lib.paper.store.store import Store

    with _reported(FAILED):
        if store:
            entries = [e for e in Store().entries() if what == Part.everything or not e.finished]
            sizes = {str(e.path): e.size for e in entries}
        else:
            plan, layout = sweep.Plan.read(folder), sweep.Layout(folder)
            paths = sweep.removable(plan, layout, what.value)
            sizes = {str(path): _bytes(path) for path in paths}
        for path, size in sizes.items():
            print(f"{_size(size):>10}  {path}")
        print(f"{_size(sum(sizes.values()))} in all{'' if yes else ': give --yes to remove it'}")
        if yes and store:
            Store().remove(*entries)
        elif yes:
            sweep.remove(folder, paths)


@app.command()
def collect(
    folder: Folder = Path("runs"),
    level: Annotated[float, typer.Option(help="Coverage of the intervals.")] = 0.95,
    as_json: AsJson = False,
) -> None:
    """Gather a sweep over its seeds: ledgers with spreads, figures with means and intervals.

    For each chapter and set of other parameters, into the sweep's folder collected/; its page
    index.html shows everything.
    """
    from svcca_lib.paper.running import collect

    with _reported(FAILED):
        groups = collect.collect(folder, level)
    if as_json:
        print(json.dumps([group.to_dict() for group in groups], indent=2))
        return
    for group in groups:
        print(f"{group.name}: {len(group.seeds)} seeds, {group.ledger.score}")
    print((folder / collect.FOLDER / "index.html").resolve().as_uri())


@app.command(
    epilog="""Examples:

    python -m svcca_lib compare convnet+0 convnet+1 --out table.csv

    torchrun --nproc-per-node 2 -m svcca_lib compare convnet+0@0.05 convnet+0 --measure cka

    torchrun --nproc-per-node 8 -m svcca_lib compare mine:model mine:other --inputs mine:images
    """
)
def compare(
    first: Annotated[str, typer.Argument(help="A network: TRAINING+SEED[@FRACTION], MODULE:NAME.")],
    second: Annotated[str, typer.Argument(help="Another one, or the same.")],
    layers: Annotated[str, typer.Option(help="Names or patterns with commas.")] = "",
    measure: Annotated[str, typer.Option(help="svcca, cca, pwcca, cka, ...")] = "svcca",
    conv: Annotated[str, typer.Option(help="dft, channels, mean or pixels.")] = "mean",
    images: Annotated[int, typer.Option(help="Training images, at most.")] = 10_000,
    batch_size: Annotated[int, typer.Option(help="Of the forward passes.")] = 250,
    inputs: Annotated[str, typer.Option(help="MODULE:NAME of batches of your own.")] = "",
    profile: Profile = "quick",
    data: Data = "",
    out: Annotated[Path | None, typer.Option(help="Write the matrix to this CSV.")] = None,
) -> None:
    """Compare all layers of two networks, in one process or, under torchrun, in several.

    Each process takes its share of the batches; their moments are joined, so the result is that of
    one process. A network of your own is a module, or a function that returns one, in a module that
    Python finds.
    """
    from svcca_lib.paper.running import distributed

    with _reported(FAILED):
        request = distributed.Request(
            first, second, layers, measure, conv, images, batch_size, inputs, profile, data
        )
        table = distributed.compare(request)
        if table is None:  # another process says it
            return
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            table.to_csv(out)
        print(table)


# ----------------------------------------------------------------------------- other machines


@app.command(
    epilog="""Examples:

    python -m svcca_lib machines --only haswell-default,oldest --parts oracles

    python -m svcca_lib machines --only zen-avx2 --from-scratch zen-avx2 --parts scratch
    """
)
def machines(
    only: Annotated[str, typer.Option(help="Names with commas; else all.")] = "",
    from_scratch: Annotated[
        str, typer.Option(help="Those that train everything anew, too; else three of them.")
    ] = "",
    parts: Annotated[
        str, typer.Option(help="Of the tests: notebooks, oracles, scratch.")
    ] = "notebooks,oracles,scratch",
    out: Annotated[Path, typer.Option(help="The folder of the results.")] = Path("build/machines"),
    keep: Annotated[
        bool, typer.Option(help="Keep what was measured from scratch in reference/machines.json.")
    ] = False,
    names: Annotated[bool, typer.Option("--list", help="Only say which can be played.")] = False,
    root: Root = REPOSITORY,
) -> None:
    """Run the tests as other machines would: other kernels, other threads, the oldest versions.

    A result is kept until the code changes, so what was interrupted goes on where it was.
    """
    from svcca_lib.paper.running import machines, trials

    with _reported(WRONG_USE):
        plan = trials.plan(root.resolve(), out, only, from_scratch, parts)
    if names:
        for machine in machines.MACHINES.values():
            print(f"{machine.name:20}{machines.hindrance(machine) or 'can be played'}")
        return
    results, status = [], FAILED
    try:
        for result in trials.run(plan):
            results.append(result)
            if isinstance(result, str):
                print(result, flush=True)
        status = FAILED if trials.failed(results) else 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    print(f"\n{trials.table(results, plan.parts)}")
    if keep:
        print(f"the numbers from scratch are kept in {trials.keep(plan)}")
    sys.exit(status)


# ----------------------------------------------------------------------------------- the book


@app.command()
def workflow(
    targets: Annotated[
        list[str] | None, typer.Argument(help="site (default), chapters, trainings or a file.")
    ] = None,
    profile: Profile = "quick",
    data: Data = "",
    cores: Cores = None,
    on: On = "",
    root: Root = Path(),
) -> None:
    """Train, run the chapters and build the site: whatever is missing or out of date."""
    from svcca_lib.paper import profiles
    from svcca_lib.paper.running import engine, notebooks, sweep

    root = root.resolve()
    with _reported(FAILED):
        profiles.profile(profile)
        config = {"profile": profile, "data": notebooks.anchored(data)}
        settings = engine.Settings(cores, on=on)
        status = engine.run_book(root, targets or TARGETS, config, settings)
    plan = sweep.book(root, profile, config["data"])
    print(f"\n{engine.summary(plan, sweep.Layout(Path('build', profile), 'book'))}\n")
    if status:
        sys.exit(status)
    if not targets or "site" in targets:
        print(f"The book: {(SITE / 'index.html').resolve().as_uri()}")


@app.command()
def reference(root: Root = Path()) -> None:
    """Remake the trained networks in reference/ and the stored outputs of the chapters in book/."""
    from svcca_lib.paper.running import engine

    with _reported(FAILED):
        engine.remake_reference(root.resolve())


@app.command()
def versions(
    bump: Annotated[str, typer.Option(help="Give it a new version: measures or training.")] = "",
    repin: Annotated[
        bool, typer.Option("--repin", help="Code only moved: what was kept stays valid.")
    ] = False,
) -> None:
    """Say which code kept results belong to, or what an edit of it means for them."""
    from svcca_lib.paper.store import identity

    with _reported(FAILED):
        if bump:
            identity.bump(bump)
        if repin:
            identity.repin()
        for version in identity.locked().values():
            state = "pinned" if version.pinned else "edited since: --bump or --repin"
            print(f"{version.name:10} {version.version:18} {state}")


@app.command()
def ledger(root: Root = Path()) -> None:
    """Gather the ledger of book/ anew, after the stored outputs of a chapter were remade.

    The results on the first page and in the README follow.
    """
    from svcca_lib.paper.chapter.ledger import LEDGER, Book
    from svcca_lib.paper.publishing import site
    from svcca_lib.paper.running import notebooks

    notebook = root / "book" / f"{LEDGER}.ipynb"
    with _reported(FAILED):
        notebooks.run(notebook, notebook)
        site.write_results(site.stored(root), root)
        published = sorted(path.name for path in (root / "published").iterdir())
        site.write_readme(map(Book.gather, ("quick", *published)), root)


@app.command()
def site(
    notebooks: Executed,
    staging: Staging,
    root: Root = Path(),
) -> None:
    """Build the site from executed chapters, computing nothing.

    A chapter that the folder lacks is taken as it is stored in book/.
    """
    from svcca_lib.paper.publishing import site

    with _reported(FAILED):
        chosen = _executed(root, notebooks)
        print(site.build(root, chosen, staging, SITE).resolve().as_uri())


@app.command()
def pdf(
    notebooks: Executed,
    staging: Staging,
    root: Root = Path(),
) -> None:
    """Print the book into one PDF, computing nothing; needs Chromium.

    A chapter that the folder lacks is taken as it is stored in book/.
    """
    from svcca_lib.paper.publishing import pdf

    with _reported(FAILED):
        chosen = _executed(root, notebooks)
        print(pdf.build(root, chosen, staging, SITE.parent / pdf.NAME).resolve().as_uri())


def _executed(root: Path, notebooks: Path) -> dict[str, Path]:
    """Return for every chapter its notebook in a folder, or else the one stored in book/."""
    from svcca_lib.paper.publishing import site

    chosen = {}
    for name in site.chapters(root):
        chosen[name] = notebooks / f"{name}.ipynb"
        if not chosen[name].is_file():
            chosen[name] = root / "book" / f"{name}.ipynb"
            logger.info("%s is not in %s: its stored outputs are shown", name, notebooks)
    return chosen


# ------------------------------------------------------------- the steps of which all is made


@app.command()
def train(
    training: Annotated[str, typer.Argument(help="A training of the profile, such as convnet.")],
    seed: Annotated[int, typer.Option(help="Seed of the weights and the order of the data.")] = 0,
    profile: Profile = "quick",
    data: Data = "",
    width: Annotated[int, typer.Option(help="Channels of the ConvNet; 0: the profile's.")] = 0,
    record: Record = None,
    parent: Parent = None,
    bar: Annotated[bool, typer.Option(help="Show a progress bar on a terminal.")] = True,
) -> None:
    """Train one network, or find it in the store."""
    from svcca_lib.paper.chapter import chapter
    from svcca_lib.paper.running import devices, progress

    about = {"training": training, "seed": seed, "profile": profile, "width": width}
    logger.info("training %s, seed %d, profile %s", training, seed, profile)
    with devices.claimed(), progress.recorded(record, parent, **about) as note:
        chapter.train(
            profile,
            training,
            seed,
            data,
            width=width,
            progress=None if bar and record is None else False,
            report=lambda step, steps, seconds: note(step=step, steps=steps, seconds=seconds),
        )


@app.command()
def execute(
    notebook: Annotated[Path, typer.Argument(help="A chapter, such as book/04-dynamics.ipynb.")],
    output: Annotated[Path, typer.Argument(help="Where the executed notebook goes.")],
    parameter: Parameter = None,
    timeout: Timeout = None,
    record: Record = None,
    parent: Parent = None,
) -> None:
    """Execute one chapter with given parameters, here and now."""
    from svcca_lib.paper.running import devices, notebooks, progress

    with _reported(FAILED), devices.claimed():
        given = notebooks.parse(notebooks.parameters(notebook), parameter or ())
        with progress.recorded(record, parent, chapter=notebook.stem) as note:
            notebooks.run(notebook, output, given, timeout=timeout, note=note)


# ------------------------------------------------------------------------------------ helpers


def _go(root: Path, folder: Path, settings: Settings, as_json: bool) -> NoReturn:
    from svcca_lib.paper.running import display, engine, sweep

    listener: Listener = display.for_stream(sys.stderr)
    if as_json:
        listener = display.Json(sys.stdout)
    with _reported(FAILED):
        status = engine.run_sweep(root.resolve(), folder, listener, settings)
        plan, layout = sweep.Plan.read(folder), sweep.Layout(folder)
        rows = [sweep.row(layout, job) for job in plan.jobs]
        sweep.write_table(folder, rows)
    if as_json:
        states = {row.job.name: row.state for row in rows}
        said = {"exit": status, "table": str(folder / "table.json"), "jobs": states}
        print(json.dumps(said))
    else:
        print(f"\n{engine.summary(plan, layout)}\n\nThe table: {folder / 'table.csv'}")
        if status:
            print(f"Go on with: python -m svcca_lib resume {folder}")
    sys.exit(status)


def _settings(cores: int | None, threads: int | None, on: str, retries: int) -> Settings:
    from svcca_lib.paper.running.engine import Settings

    return Settings(cores, threads, on, retries)


def _chosen(root: Path, notebooks: Sequence[Path], chapters: str) -> list[Path]:
    """Return the notebooks that arguments and --chapters name."""
    from svcca_lib.paper.publishing import site
    from svcca_lib.paper.running import sweep

    names = site.chapters(root)
    if chapters == "all":
        found = [name for name in names if name != sweep.GATHERING]
    else:
        found = []
        for wanted in filter(None, chapters.split(",")):
            matches = [n for n in names if wanted in (n, n[:2], n[:2].lstrip("0"))]
            if not matches:
                raise ValueError(f"chapters are all, {', '.join(names)}; got {wanted!r}")
            found += matches
    if not notebooks and not found:
        raise ValueError("name a chapter, such as book/04-dynamics.ipynb, or give --chapters all")
    for path in notebooks:
        if not path.is_file():
            raise ValueError(
                f"there is no notebook {path}; to execute one into a file use `execute`"
            )
    return [*notebooks, *(root / "book" / f"{name}.ipynb" for name in found)]


def _list(plan: Plan, layout: Layout, as_json: bool) -> None:
    from svcca_lib.paper.running import display, sweep

    rows = [sweep.row(layout, job) for job in plan.jobs]
    if as_json:
        print(json.dumps(sweep.table(rows), indent=2))
        return
    for row in rows:
        print(_line(row, layout))
    print(display.counts(row.state for row in rows))


def _line(row: Row, layout: Layout) -> str:
    from svcca_lib.paper.chapter.provenance import duration
    from svcca_lib.paper.running import sweep

    took = duration(row.record["seconds"]) if "seconds" in row.record else ""
    claims = f"{row.holding} of {len(row.claims)} claims" if row.claims else ""
    size = _size(_bytes(layout.results(row.job.name)) + _bytes(layout.notebook(row.job.name)))
    error = sweep.first_line(row.record.get("error", ""))
    return f"{row.job.name:48}{row.state:>9}{took:>12}{claims:>16}{size:>10}  {error}".rstrip()


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.lstat().st_size for file in files if file.is_file())


def _size(size: float) -> str:
    power = 0
    while size >= 1000 and power < 4:
        size, power = size / 1000, power + 1
    return f"{size:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


@contextmanager
def _reported(code: int) -> Iterator[None]:
    """Say an expected error in one line, without a traceback, and end with `code`."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(code)


if __name__ == "__main__":
    app(prog_name="python -m svcca_lib")
