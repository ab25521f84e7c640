"""Commands of the book: workflow, reference, ledger, site, pdf, archive, versions, machines."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from svcca_lib.paper.cli.options import (
    FAILED,
    INTERRUPTED,
    WRONG_USE,
    Cores,
    Data,
    On,
    Profile,
    Root,
    reported,
)
from svcca_lib.paper.store.paths import REPOSITORY

commands = typer.Typer()
logger = logging.getLogger(__name__)

# Snakemake makes no file anew that only lies between; so the chapters are asked for as well.
TARGETS = ["chapters", "site"]
SITE = Path("_build", "html")

Executed = Annotated[Path, typer.Argument(help="A folder of executed chapters.")]
Staging = Annotated[Path, typer.Option(help="A folder for the copy that is built.")]


@commands.command()
def workflow(
    targets: Annotated[
        list[str] | None, typer.Argument(help="site (default), chapters, trainings or a file.")
    ] = None,
    profile: Profile = "quick",
    data: Data = "",
    imagenet: Annotated[
        str, typer.Option(help="A folder of ImageNet photographs, for chapter 14.")
    ] = "",
    texts: Annotated[
        str, typer.Option(help="Texts for chapter 15: words:TRAIN,TEST; several by semicolons.")
    ] = "",
    cores: Cores = None,
    on: On = "",
    root: Root = Path(),
) -> None:
    """Train, run the chapters and build the site: whatever is missing or out of date."""
    from svcca_lib.paper import profiles
    from svcca_lib.paper.running import brought, engine, notebooks, plan, table

    root = root.resolve()
    with reported(FAILED):
        profiles.profile(profile)
        given = brought.brought({brought.PHOTOGRAPHS: imagenet, brought.TEXTS: texts})
        given = {name: brought.absolute(name, value) for name, value in given.items()}
        config = {"profile": profile, "data": notebooks.anchored(data), **given}
        settings = engine.Settings(cores, on=on)
        status = engine.run_book(root, targets or TARGETS, config, settings)
    book = plan.book(root, profile, config["data"], brought=given)
    print(f"\n{table.summary(book, plan.Layout.of_book(profile))}\n")
    if status:
        sys.exit(status)
    if not targets or "site" in targets:
        print(f"The book: {(SITE / 'index.html').resolve().as_uri()}")


@commands.command()
def reference(root: Root = Path()) -> None:
    """Remake the trained networks in reference/ and the stored outputs of the chapters in book/."""
    from svcca_lib.paper.running import engine

    with reported(FAILED):
        engine.remake_reference(root.resolve())


@commands.command()
def ledger(root: Root = Path()) -> None:
    """Gather the ledger of book/ anew, after the stored outputs of a chapter were remade.

    The results on the first page and in the README follow.
    """
    from svcca_lib.paper.chapter.gathered import LEDGER, Book, published
    from svcca_lib.paper.publishing import results
    from svcca_lib.paper.running import notebooks

    notebook = root / "book" / f"{LEDGER}.ipynb"
    with reported(FAILED):
        notebooks.execute(notebook, notebook)
        books = [Book.gather(profile, root=root) for profile in ("quick", *published(root))]
        results.write_results(books[0], root)
        results.write_readme(books, root)


@commands.command()
def site(
    notebooks: Executed,
    staging: Staging,
    root: Root = Path(),
    publish: Annotated[
        bool, typer.Option("--publish", help="Demand the repository's address in _config.yml.")
    ] = False,
) -> None:
    """Build the site from executed chapters, computing nothing.

    A chapter that the folder lacks is taken as it is stored in book/.
    """
    from svcca_lib.paper.publishing import site

    with reported(FAILED):
        if publish:
            site.demand_address(root)
        chosen = _executed(root, notebooks)
        print(site.build(root, chosen, staging, SITE).resolve().as_uri())


@commands.command()
def pdf(notebooks: Executed, staging: Staging, root: Root = Path()) -> None:
    """Print the book into one PDF, computing nothing; needs Chromium.

    A chapter that the folder lacks is taken as it is stored in book/.
    """
    from svcca_lib.paper.publishing import pdf

    with reported(FAILED):
        chosen = _executed(root, notebooks)
        print(pdf.build(root, chosen, staging, SITE.parent / pdf.NAME).resolve().as_uri())


@commands.command()
def archive(
    folder: Annotated[Path, typer.Argument(help="Of the record; the ZIP file lies beside it.")],
    root: Root = Path(),
) -> None:
    """Make the record for an archive: an RO-Crate of code, notebooks, networks, claims and data."""
    from svcca_lib.paper.publishing import archive

    with reported(FAILED):
        print(archive.build(root.resolve(), folder).resolve().as_uri())


@commands.command()
def versions(
    bump: Annotated[str, typer.Option(help="Give it a new version: measures or training.")] = "",
    repin: Annotated[
        bool, typer.Option("--repin", help="Code only moved: what was kept stays valid.")
    ] = False,
) -> None:
    """Say which code kept results belong to, or what an edit of it means for them."""
    from svcca_lib.paper.store import identity

    with reported(FAILED):
        if bump:
            identity.bump(bump)
        if repin:
            identity.repin()
        for version in identity.locked().values():
            state = "pinned" if version.pinned else "edited since: --bump or --repin"
            print(f"{version.name:10} {version.version:18} {state}")


@commands.command(
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
    from svcca_lib.paper.running import machines, outcomes, trials

    with reported(WRONG_USE):
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
        status = FAILED if outcomes.failed(results) else 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    print(f"\n{outcomes.table(results, plan.parts)}")
    if keep:
        print(f"the numbers from scratch are kept in {trials.keep(plan)}")
    sys.exit(status)


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
