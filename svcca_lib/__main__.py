"""The command line: ``python -m svcca_lib --help``."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Profile = Annotated[str, typer.Option(help="The scale: quick, cifar10 or paper.")]
Data = Annotated[str, typer.Option(help="A data set, such as cifar10:PATH; else the profile's.")]

Root = Annotated[Path, typer.Option(help="The repository; the working folder if not given.")]

# Snakemake makes no file anew that only lies between; so the chapters are asked for as well.
TARGETS = ["chapters", "site"]
SITE = Path("_build", "html")
logger = logging.getLogger(__name__)


@app.callback()
def main() -> None:
    """Run the chapters of the SVCCA book and the trainings they share."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # One line for each evaluation of each training is for those who ask for it.
    logging.getLogger("svcca_lib.paper.training").setLevel(logging.WARNING)


@app.command()
def train(
    training: Annotated[str, typer.Argument(help="A training of the profile, such as convnet.")],
    seed: Annotated[int, typer.Option(help="Seed of the weights and the order of the data.")] = 0,
    profile: Profile = "quick",
    data: Data = "",
    record: Annotated[Path | None, typer.Option(help="Write the seconds to this JSON.")] = None,
    bar: Annotated[bool, typer.Option(help="Show a progress bar on a terminal.")] = True,
) -> None:
    """Train one network, or find it in the store."""
    from svcca_lib.paper import chapter, runs

    logger.info("training %s, seed %d, profile %s", training, seed, profile)
    started = time.perf_counter()
    chapter.train(profile, training, seed, data, progress=None if bar else False)
    seconds = time.perf_counter() - started
    if record is not None:
        runs.write_record(record, training=training, seed=seed, seconds=seconds)


@app.command()
def run(
    notebook: Annotated[Path, typer.Argument(help="A chapter, such as book/04-dynamics.ipynb.")],
    output: Annotated[Path, typer.Argument(help="Where the executed notebook goes.")],
    parameter: Annotated[
        list[str] | None, typer.Option("-p", help="A parameter as name=value; repeatable.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds one cell may take.")] = None,
    record: Annotated[Path | None, typer.Option(help="Write the seconds to this JSON.")] = None,
) -> None:
    """Execute one chapter with given parameters."""
    from svcca_lib.paper import runs

    try:
        given = runs.parse(runs.parameters(notebook), parameter or ())
        seconds = runs.run(notebook, output, given, timeout=timeout)
    except (runs.ChapterError, ValueError, TypeError) as error:
        sys.exit(f"error: {error}")
    if record is not None:
        runs.write_record(record, chapter=notebook.stem, seconds=seconds)


@app.command()
def workflow(
    targets: Annotated[
        list[str] | None, typer.Argument(help="site (default), chapters, trainings or a file.")
    ] = None,
    profile: Profile = "quick",
    data: Data = "",
    cores: Annotated[int | None, typer.Option(help="Cores to use; all if not given.")] = None,
    root: Root = Path(),
) -> None:
    """Train, run the chapters and build the site: whatever is missing or out of date."""
    from svcca_lib.paper import engine, runs

    try:
        config = {"profile": profile, "data": runs.anchored(data)}
        status = engine.run(root.resolve(), targets or TARGETS, config, cores)
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    print(f"\n{engine.summary(root, Path('build', profile))}\n")
    if status:
        sys.exit(status)
    if not targets or "site" in targets:
        print(f"The book: {(SITE / 'index.html').resolve().as_uri()}")


@app.command()
def reference(root: Root = Path()) -> None:
    """Remake the trained networks in reference/ and the stored outputs of the chapters in book/."""
    from svcca_lib.paper import engine

    try:
        engine.remake_reference(root.resolve())
    except RuntimeError as error:
        sys.exit(f"error: {error}")


@app.command()
def site(
    notebooks: Annotated[Path, typer.Argument(help="A folder of executed chapters.")],
    staging: Annotated[Path, typer.Option(help="A folder for the copy that is built.")],
    root: Root = Path(),
) -> None:
    """Build the site from executed chapters, computing nothing.

    A chapter that the folder lacks is taken as it is stored in book/.
    """
    from svcca_lib.paper import site

    chosen = {}
    for name in site.chapters(root):
        chosen[name] = notebooks / f"{name}.ipynb"
        if not chosen[name].is_file():
            chosen[name] = root / "book" / f"{name}.ipynb"
            logger.info("%s is not in %s: its stored outputs are shown", name, notebooks)
    try:
        print(site.build(root, chosen, staging, SITE).resolve().as_uri())
    except site.SiteError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    app(prog_name="python -m svcca_lib")
