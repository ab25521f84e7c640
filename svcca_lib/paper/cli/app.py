"""All commands: those of the reproduction, and before them those on files."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperGroup

from svcca_lib.files import command
from svcca_lib.paper.cli import book, options, steps, sweeps


class _WithFiles(TyperGroup):
    """What is of files goes there as it came: it has options of its own."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **more: Any) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        if not command.takes(given):
            return super().main(args, *others, **more)
        if given[0] == "compare" and {"-h", "--help"} & set(given):
            with suppress(SystemExit):
                command.main(given)
            print("\nTwo networks take other options.")
            return super().main(["compare", "--help"], *others, **more)
        return sys.exit(command.main(given))


app = typer.Typer(
    cls=_WithFiles,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="Exit status: 0 all is done; 1 something failed or is missing; 2 wrong use; 130 Ctrl-C.",
)
for part in (sweeps, book, steps):
    app.add_typer(part.commands)


@app.command(rich_help_panel=options.LAYERS)
def measures() -> None:
    """List the measures, with their options."""
    command.main(["measures"])


@app.callback()
def main() -> None:
    """Compare layers; run the chapters of the SVCCA book and the trainings they share."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # One line for each evaluation of each training is for those who ask for it.
    logging.getLogger("svcca_lib.paper.training").setLevel(logging.WARNING)
