"""What is trained on what: examples drawn in batches, and how an output is scored.

The data come from generators of their own: the order of epoch *e* from ``(seed, "order", e)``, the
translations of step *t* from ``(seed, "augment", t)``. A batch is therefore a function of the seed
and the step, whatever happened before: a base run and a Freeze Training run of one seed see the
same images, and a run that was killed goes on with the batch it would have had.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.data.sources import Data
from svcca_lib.paper.data.text import TextData
from svcca_lib.paper.data.toy import ToyData
from svcca_lib.paper.training.config import TrainConfig
from svcca_lib.paper.training.evaluation import classification, measure

STREAMS = {"order": 1, "augment": 2}


class Task:
    """Examples held once as one tensor, drawn in batches, and how an output is scored.

    It is measured on `test`, inputs and targets.
    """

    classifies = True
    test: tuple[Tensor, Tensor]

    def __init__(self, config: TrainConfig, size: int, device: torch.device) -> None:
        self.config, self.size, self.device = config, size, device
        self.per_epoch = size // config.batch_size
        if not self.per_epoch:
            raise ValueError(
                f"batch_size must be at most the number of training examples, {size}; "
                f"got {config.batch_size}"
            )
        self._epoch, self._order = -1, torch.empty(0)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a step: a function of seed and step alone."""
        epoch, i = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = torch.randperm(self.size, generator=self.generator("order", epoch))
        b = self.config.batch_size
        return self.gather(self._order[i * b : (i + 1) * b], self.generator("augment", step))

    def generator(self, stream: str, index: int) -> torch.Generator:
        """Return a generator of its own for one epoch's order or one step's augmentation."""
        entropy = np.random.SeedSequence((self.config.seed, STREAMS[stream], index))
        return torch.Generator().manual_seed(int(entropy.generate_state(1)[0]))

    def gather(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Inputs and targets of some training examples."""
        raise NotImplementedError

    def autocast(self) -> AbstractContextManager[object]:
        """Return the precision of the forward pass."""
        return nullcontext()

    def score(self, output: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy of a batch."""
        return classification(output, y)

    def measure(self, network: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
        """Loss and accuracy in evaluation mode, in the precision of the training."""
        return measure(network, x, y, self.score, self.autocast)


class _Images(Task):
    """Images in channels_last, normalised, and padded for the translations."""

    def __init__(self, config: TrainConfig, data: ImageData, device: torch.device) -> None:
        super().__init__(config, len(data.train_images), device)
        self.bfloat16 = config.precision == "auto" and computes_in_bfloat16(device)
        dtype = torch.bfloat16 if self.bfloat16 else torch.float32

        def prepare(images: Tensor) -> Tensor:
            parts = (images[i : i + 1000] for i in range(0, len(images), 1000))
            parts = (data.normalised(part).to(dtype) for part in parts)
            return torch.cat([p.contiguous(memory_format=torch.channels_last) for p in parts])

        train = prepare(data.train_images)
        self.windows = translation_windows(train, config.translate).to(device)
        self.labels = data.train_labels.to(device)
        self.test = prepare(data.test_images).to(device), data.test_labels.to(device)

    def gather(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        positions = self.windows.shape[1]  # 2 * translate + 1, each way
        shifts = torch.randint(positions, (2, len(indices)), generator=generator)
        i, down, right = (t.to(self.device, non_blocking=True) for t in (indices, *shifts))
        # (n, h, w, c) in memory, seen as (n, c, h, w): channels_last
        return self.windows[i, down, right].permute(0, 3, 1, 2), self.labels[i]

    def autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


class _Regression(Task):
    classifies = False

    def __init__(self, config: TrainConfig, data: ToyData, device: torch.device) -> None:
        super().__init__(config, len(data.x), device)
        self.test = data.x.to(device), data.y.to(device)  # the toy data have no split

    def gather(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x, y = self.test
        i = indices.to(self.device)
        return x[i], y[i]

    def score(self, output: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return functional.mse_loss(output, y), torch.zeros((), dtype=torch.float64).to(y.device)


class _Text(Task):
    """All windows of `context` tokens, each to be continued by one."""

    def __init__(self, config: TrainConfig, data: TextData, device: torch.device) -> None:
        width = config.context + 1
        for name, tokens in (("train", data.train_tokens), ("test", data.test_tokens)):
            if len(tokens) < width:
                raise ValueError(
                    f"context must be less than the {len(tokens)} {name} tokens of {data.label}; "
                    f"got {config.context}"
                )
        self.windows = data.train_tokens.to(device).unfold(0, width, 1)  # (n, context + 1)
        super().__init__(config, len(self.windows), device)
        test = data.test_tokens.to(device).unfold(0, width, config.context)
        self.test = test[:, :-1], test[:, 1:]

    def gather(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        windows = self.windows[indices.to(self.device)]
        return windows[:, :-1], windows[:, 1:]


def make_task(config: TrainConfig, data: Data, device: torch.device) -> Task:
    """Make what a network is trained on of its data; a TypeError if it learns from another kind."""
    needs = config.network.kind
    if data.kind != needs:
        raise TypeError(
            f"a network of architecture {config.network.arch!r} learns from data of the kind "
            f"{needs}; got {data.kind} ({data.label})"
        )
    if isinstance(data, ImageData):
        return _Images(config, data, device)
    if isinstance(data, TextData):
        return _Text(config, data, device)
    return _Regression(config, data, device)


def translation_windows(images: Tensor, most: int) -> Tensor:
    """View zero-padded images (n, c, h, w) at all translations of up to `most` pixels each way.

    The view is (n, 2 * most + 1, 2 * most + 1, h, w, c): ``windows[i, down, right]`` is image `i`
    whose content was moved up by ``down - most`` and left by ``right - most`` pixels, with zeros
    moved in.
    """
    h, w = images.shape[-2:]
    # (n, h + 2 most, w + 2 most, c)
    padded = functional.pad(images.permute(0, 2, 3, 1), (0, 0, most, most, most, most))
    # (n, 2 most + 1, 2 most + 1, c, h, w)
    return padded.unfold(1, h, 1).unfold(2, w, 1).permute(0, 1, 2, 4, 5, 3)


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether a device has arithmetic for bfloat16; where it does not, autocast costs time."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private; may go away
    return any(getattr(torch.cpu, name, bool)() for name in names)
