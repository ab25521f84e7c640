"""Options that several commands take, their completion, and how errors are said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from svcca_lib.paper.store.paths import REPOSITORY

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130  # exit statuses
LAYERS = "Layers"  # in the help, the heading of the commands that need no chapter


@contextmanager
def reported(status: int) -> Iterator[None]:
    """Say an expected error in one line, without a traceback, and end with `status`."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(status)


def chapters(incomplete: str) -> list[str]:
    """Return what completes a notebook."""
    from svcca_lib.paper.publishing import site

    return [f"book/{name}.ipynb" for name in site.chapters(REPOSITORY)]


def profiles() -> list[str]:
    """Return what completes a profile."""
    from svcca_lib.paper.profiles import PROFILES

    return list(PROFILES)


def clusters() -> list[str]:
    """Return what completes a cluster."""
    from svcca_lib.paper.running import engine

    return sorted(p.parent.name for p in (REPOSITORY / engine.PROFILES).glob("*/config.yaml"))


Profile = Annotated[
    str, typer.Option(help="The scale: quick, cifar10 or paper.", autocompletion=profiles)
]
Data = Annotated[str, typer.Option(help="A data set, such as cifar10:PATH; else the profile's.")]
Root = Annotated[Path, typer.Option(help="The repository; the one of this package if not given.")]
Cores = Annotated[
    int | None,
    typer.Option(help="Cores of this machine to use; on a cluster, jobs at once.", min=1),
]
Timeout = Annotated[
    float | None, typer.Option(help="Seconds that one cell may take, more than 0; else no limit.")
]
On = Annotated[
    str,
    typer.Option(
        help="slurm or a Snakemake profile's folder; else this machine.", autocompletion=clusters
    ),
]
