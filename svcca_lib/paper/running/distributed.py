"""Compare two networks over several processes, each with its share of the data.

Under ``torchrun`` every process is told its rank; without, there is one process and its share is
all. Moments add up (`svcca_lib.moments`), so the result is the same to rounding.
"""

from __future__ import annotations

import importlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from svcca_lib.models.compare import gather
from svcca_lib.models.table import LayerTable

_TRAINED = re.compile(r"([a-z-]+)\+(\d+)(?:@([\d.]+))?")


def compare(
    first: str,
    second: str,
    layers: str = "",
    measure: str = "svcca",
    conv: str = "mean",
    images: int = 10_000,
    batch_size: int = 250,
    inputs: str = "",
    profile: str = "quick",
    data: str = "",
) -> LayerTable | None:
    """Return the table of all pairs of layers; None in every process but the first.

    Parameters
    ----------
    first, second
        ``convnet+0`` or ``convnet+0@0.05``: a training of the profile, its seed, and the fraction
        of training; or ``module:name`` of a module, or of a function that returns one.
    layers
        Names or patterns with commas; empty for those that the network names itself, or all.
    measure, conv
        As of `svcca_lib.compare`.
    images, batch_size
        Training images at most, and in one forward pass.
    inputs
        ``module:name`` of a tensor or of batches, or of a function that returns either; empty for
        the training images of the profile.
    profile, data
        As of a `Chapter`.

    Raises
    ------
    ValueError
        For a network or inputs that there are not, or fewer batches than processes.
    """
    with group() as (rank, world, device):
        names = dict.fromkeys((first, second))
        networks = [_network(name, profile, data).to(device).eval() for name in names]
        given = _imported(inputs) if inputs else _images(first, profile, data, images)
        batches = torch.split(given, batch_size) if isinstance(given, Tensor) else given
        mine = (batch.to(device) for batch in share(batches, rank, world))
        chosen = [_layers(network, layers) for network in networks]
        reading: Any = conv  # checked there
        ends = networks[0], networks[-1]
        moments = gather(*ends, mine, *chosen, conv=reading, progress=False)
        if world > 1:
            moments.all_reduce()
        return moments.table(measure) if rank == 0 else None


@contextmanager
def group() -> Iterator[tuple[int, int, torch.device]]:
    """Join the other processes, if torchrun started any: rank, how many, device of this one."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_RANK", 0))
    gpus = torch.cuda.device_count()
    device = torch.device("cuda", local) if gpus > local else torch.device("cpu")
    if world == 1:
        yield 0, 1, device
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield dist.get_rank(), world, device
    finally:
        dist.destroy_process_group()


def _network(name: str, profile: str, data: str) -> nn.Module:
    from svcca_lib.paper.chapter.trainings import train
    from svcca_lib.paper.profiles import Training

    if trained := _TRAINED.fullmatch(name):
        training, seed, fraction = trained.groups()
        asked = Training(profile, training, int(seed), data)
        return train(asked, progress=False).network(float(fraction or 1.0))
    network = _imported(name)
    if not isinstance(network, nn.Module):
        raise ValueError(f"{name} must be a torch.nn.Module; got {type(network).__name__}")
    return network


def share(batches: Iterable[Tensor], rank: int, world: int) -> Iterator[Tensor]:
    """Yield every `world`-th batch, from the one of this rank; ValueError if there is none."""
    mine = itertools.islice(batches, rank, None, world)
    first = next(mine, None)
    if first is None:
        raise ValueError(
            f"every process needs a batch: there are fewer than {world}; take fewer processes, or "
            "a smaller --batch-size"
        )
    yield first
    yield from mine


def _images(network: str, profile: str, data: str, most: int) -> Tensor:
    """Return the training images of the profile, for a network that sees images."""
    from svcca_lib.paper import profiles
    from svcca_lib.paper.data.images import ImageData

    trained = _TRAINED.fullmatch(network)
    found = profiles.profile(profile).dataset(trained[1] if trained else "convnet", data)
    if not isinstance(found, ImageData):
        raise ValueError(f"for {network} give its inputs: --inputs MODULE:NAME")
    return found.normalised(found.train_images[:most])


def _layers(network: nn.Module, layers: str) -> Any:
    return layers.split(",") if layers else list(getattr(network, "layers", ())) or "all"


def _imported(name: str) -> Any:
    """Return what ``module:name`` is, or what it returns if it is a function."""
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(f"expected TRAINING+SEED[@FRACTION] or MODULE:NAME; got {name!r}")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no {name}: {error}") from None
    return found() if callable(found) and not isinstance(found, nn.Module) else found
