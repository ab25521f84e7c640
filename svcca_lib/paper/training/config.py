"""What decides a trained network: plain values, so that it can be hashed and stored.

References
----------
Raghu et al. 2017, section 4.1 (Freeze Training).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from svcca_lib.paper.training.networks import NetworkConfig


@dataclass(frozen=True)
class FreezeSchedule:
    """Freeze Training: layers are frozen one after another, from the input upward.

    At the time of a group, every stage up to and including it is frozen. The first is frozen at
    the fraction `start` of training, the last at `end`, the others at equal distances between.
    """

    groups: tuple[str, ...]  # freezing units, of `Network.groups`, in order
    start: float = 0.25
    end: float = 0.75

    def __post_init__(self) -> None:
        if not self.groups:
            raise ValueError("groups must name at least one freezing unit; got none")
        if not 0 <= self.start <= self.end <= 1:
            raise ValueError(
                f"expected 0 <= start <= end <= 1; got start={self.start}, end={self.end}"
            )

    def steps(self, total: int) -> tuple[int, ...]:
        """Step at which each group is frozen, in a run of `total` steps."""
        fractions = np.linspace(self.start, self.end, len(self.groups))
        return tuple(round(float(fraction) * total) for fraction in fractions)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a trained network; its hash names the network in the store."""

    network: NetworkConfig
    data: str  # fingerprint
    seed: int = 0  # of the initial weights, and of the generators of order and augmentation
    steps: int = 1000  # updates; an epoch ends where no full batch is left
    batch_size: int = 128
    optimizer: Literal["sgd", "adam"] = "sgd"  # with Nesterov momentum; with PyTorch's betas
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0  # added to the gradient, for all parameters
    # of the learning rate: down to 0; a tenth at 50 % and again at 75 %; none
    schedule: Literal["cosine", "steps", "constant"] = "cosine"
    # largest random translation in pixels, each way; what is moved in is zero, the mean colour
    translate: int = 0
    context: int = 32  # tokens in a training example of a language model
    checkpoints: tuple[float, ...] = (0.0, 1.0)  # fractions of training
    evaluations: int = 10  # equally spaced, after the one at step 0
    # Of forward and backward of images: bfloat16 autocast where the device computes in it natively,
    # or float32 everywhere. Narrow networks lose accuracy in bfloat16, and networks that are to
    # come out alike on different machines need one precision.
    precision: Literal["auto", "float32"] = "auto"
    freeze: FreezeSchedule | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "evaluations", "context"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.translate < 0:
            raise ValueError(f"translate must not be negative; got {self.translate}")
        if self.translate and self.network.kind != "images":
            raise ValueError(f"translate moves images; {self.network.arch!r} learns from none")
        if self.lr <= 0:
            raise ValueError(f"lr must be positive; got {self.lr}")
        for name, choices in (
            ("optimizer", ("sgd", "adam")),
            ("schedule", ("cosine", "steps", "constant")),
            ("precision", ("auto", "float32")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}"
                )
        c = self.checkpoints
        if list(c) != sorted(set(c)) or not c or c[0] < 0 or c[-1] > 1:
            raise ValueError(f"checkpoints must be ascending fractions in [0, 1]; got {c}")
