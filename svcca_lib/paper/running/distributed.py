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
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from svcca_lib.models.compare import gather
from svcca_lib.models.table import LayerTable

_TRAINED = re.compile(r"([a-z-]+)\+(\d+)(?:@([\d.]+))?")


@dataclass(frozen=True)
class Request:
    """What is to be compared.

    Attributes
    ----------
    first, second : str
        ``convnet+0`` or ``convnet+0@0.05``: a training of the profile, its seed, and the fraction
        of training; or ``module:name`` of a module, or of a function that returns one.
    layers : str
        Names or patterns with commas; empty for those that the network names itself, or all.
    measure, conv
        As of `svcca_lib.compare`.
    images, batch_size : int
        Training images at most, and in one forward pass.
    inputs : str
        ``module:name`` of a tensor or of batches, or of a function that returns either; empty for
        the training images of the profile.
    profile, data : str
        As of a `Chapter`.
    """

    first: str
    second: str
    layers: str = ""
    measure: str = "svcca"
    conv: str = "mean"
    images: int = 10_000
    batch_size: int = 250
    inputs: str = ""
    profile: str = "quick"
    data: str = ""


def compare(request: Request) -> LayerTable | None:
    """Return the table of all pairs of layers; None in every process but the first.

    ValueError for a network or inputs that there are not, or fewer batches than processes.
    """
    with group() as (rank, world, device):
        first = _network(request.first, request).to(device).eval()
        second = first
        if request.second != request.first:
            second = _network(request.second, request).to(device).eval()
        layers = [_layers(first, request.layers)]
        if second is not first:
            layers.append(_layers(second, request.layers))
        batches = (batch.to(device) for batch in share(_batches(request), rank, world))
        conv: Any = request.conv  # checked there
        moments = gather(first, second, batches, *layers, conv=conv, progress=False)
        if world > 1:
            moments.all_reduce()
        return moments.table(request.measure) if rank == 0 else None


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


def _network(name: str, request: Request) -> nn.Module:
    from svcca_lib.paper.chapter.trainings import train
    from svcca_lib.paper.profiles import Training

    if trained := _TRAINED.fullmatch(name):
        training, seed, fraction = trained.groups()
        asked = Training(request.profile, training, int(seed), request.data)
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


def _batches(request: Request) -> Iterable[Tensor]:
    """Return the inputs that are asked for, in batches."""
    from svcca_lib.paper import profiles
    from svcca_lib.paper.data.images import ImageData

    if request.inputs:
        inputs: Tensor | Iterable[Tensor] = _imported(request.inputs)
    else:
        trained = _TRAINED.fullmatch(request.first)
        scale = profiles.profile(request.profile)
        data = scale.dataset(trained[1] if trained else "convnet", request.data)
        if not isinstance(data, ImageData):
            raise ValueError(f"for {request.first} give its inputs: --inputs MODULE:NAME")
        inputs = data.normalised(data.train_images[: request.images])
    return torch.split(inputs, request.batch_size) if isinstance(inputs, Tensor) else inputs


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
