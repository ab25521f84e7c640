"""The command line: ``python -m svcca_lib --help``, or ``svcca --help`` where it is installed."""

import logging

import typer

from svcca_lib.paper.cli import book, steps, sweeps

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="Exit status: 0 all is done; 1 something failed or is missing; 2 wrong use; 130 Ctrl-C.",
)
for part in (sweeps, book, steps):
    app.add_typer(part.commands)


@app.callback()
def main() -> None:
    """Run the chapters of the SVCCA book and the trainings they share."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # One line for each evaluation of each training is for those who ask for it.
    logging.getLogger("svcca_lib.paper.training").setLevel(logging.WARNING)


if __name__ == "__main__":
    app(prog_name="python -m svcca_lib")
