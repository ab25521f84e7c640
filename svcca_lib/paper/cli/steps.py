"""Commands of single steps, of which all is made: train, execute, compare."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from svcca_lib.paper.cli import options
from svcca_lib.paper.cli.options import FAILED, WRONG_USE, Data, Profile, Timeout, reported

commands = typer.Typer()
logger = logging.getLogger(__name__)

Record = Annotated[Path | None, typer.Option(help="Say progress, seconds and failure beside it.")]
Parent = Annotated[
    int | None, typer.Option(help="End with this process, which must have started this one.")
]


@commands.command()
def train(
    training: Annotated[str, typer.Argument(help="A training of the profile, such as convnet.")],
    seed: Annotated[
        int, typer.Option(help="Seed of the weights and the order of the data.", min=0)
    ] = 0,
    profile: Profile = "quick",
    data: Data = "",
    width: Annotated[
        int, typer.Option(help="Channels of the ConvNet; 0: the profile's.", min=0)
    ] = 0,
    record: Record = None,
    parent: Parent = None,
    bar: Annotated[bool, typer.Option(help="Show a progress bar on a terminal.")] = True,
) -> None:
    """Train one network, or find it in the store."""
    from svcca_lib.paper.chapter import trainings
    from svcca_lib.paper.profiles import Training
    from svcca_lib.paper.running import devices, progress

    with reported(WRONG_USE):
        bound = Training(profile, training, seed, data, width)
    about = {"training": training, "seed": seed, "profile": profile, "width": width}
    logger.info("training %s, seed %d, profile %s", training, seed, profile)
    with (
        reported(FAILED),
        devices.claimed(),
        progress.recorded(record, parent, **about) as note,
    ):
        trainings.train(
            bound,
            progress=None if bar and record is None else False,
            report=lambda step, steps, seconds: note(step=step, steps=steps, seconds=seconds),
        )


@commands.command()
def execute(
    notebook: Annotated[Path, typer.Argument(help="A chapter, such as book/04-dynamics.ipynb.")],
    output: Annotated[Path, typer.Argument(help="Where the executed notebook goes.")],
    parameter: Annotated[
        list[str] | None, typer.Option("-p", help="A parameter as name=value; repeatable.")
    ] = None,
    timeout: Timeout = None,
    record: Record = None,
    parent: Parent = None,
) -> None:
    """Execute one chapter with given parameters, here and now."""
    from svcca_lib.paper.running import devices, notebooks, progress

    with (
        reported(FAILED),
        devices.claimed(),
        progress.recorded(record, parent, chapter=notebook.stem) as note,
    ):
        given = notebooks.parse(notebooks.parameters(notebook), parameter or ())
        notebooks.execute(notebook, output, given, timeout=timeout, note=note)


@commands.command(
    rich_help_panel=options.LAYERS,
    epilog="""Examples:

    python -m svcca_lib compare convnet+0 convnet+1 --out table.csv

    torchrun --nproc-per-node 2 -m svcca_lib compare convnet+0@0.05 convnet+0 --measure cka

    torchrun --nproc-per-node 8 -m svcca_lib compare mine:model mine:other --inputs mine:images
    """,
)
def compare(
    first: Annotated[str, typer.Argument(help="A network: TRAINING+SEED[@FRACTION], MODULE:NAME.")],
    second: Annotated[str, typer.Argument(help="Another one, or the same.")],
    layers: Annotated[str, typer.Option(help="Names or patterns with commas.")] = "",
    measure: Annotated[str, typer.Option(help="svcca, cca, pwcca, cka, ...")] = "svcca",
    conv: Annotated[str, typer.Option(help="dft, channels, mean, pixels or positions.")] = "mean",
    images: Annotated[int, typer.Option(help="Training images, at most.", min=2)] = 10_000,
    batch_size: Annotated[int, typer.Option(help="Of the forward passes.", min=1)] = 250,
    inputs: Annotated[str, typer.Option(help="MODULE:NAME of batches of your own.")] = "",
    profile: Profile = "quick",
    data: Data = "",
    out: Annotated[Path | None, typer.Option(help="Write the matrix to this CSV.")] = None,
) -> None:
    """Compare all layers of two networks, or of two files (svcca compare a.npy b.npy).

    Networks are compared in one process or, under torchrun, in several.

    Each process takes its share of the batches; their moments are joined, so the result is that of
    one process. A network of your own is a module, or a function that returns one, in a module that
    Python finds.
    """
    from svcca_lib.files.paths import file_to_be
    from svcca_lib.paper.running import distributed

    with reported(FAILED):
        if out is not None:
            file_to_be(out)
        table = distributed.compare(
            first, second, layers, measure, conv, images, batch_size, inputs, profile, data
        )
        if table is None:  # another process says it
            return
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            table.to_csv(out)
        print(table)
