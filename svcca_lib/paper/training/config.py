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

    Attributes
    ----------
    groups : tuple of str
        Freezing units of the network (`Network.groups`), in order. At the time of a group, every
        stage up to and including it is frozen.
    start, end : float
        Fractions of training at which the first and the last of `groups` are frozen; the others
        are equally spaced between them.
    """

    groups: tuple[str, ...]
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
    """Everything that decides a trained network; its hash names the network in the store.

    Attributes
    ----------
    network : NetworkConfig
    data : str
        Fingerprint of the data.
    seed : int
        Of the initial weights, and of the generators of order and augmentation.
    steps, batch_size : int
        Updates, and examples in each. An epoch ends where no full batch is left.
    optimizer : {"sgd", "adam"}
        SGD with Nesterov momentum, or Adam (its betas are PyTorch's).
    lr, momentum, weight_decay : float
        Weight decay is added to the gradient, for all parameters.
    schedule : {"cosine", "steps", "constant"}
        Of the learning rate: down to 0; a tenth at 50 % and again at 75 %; none.
    translate : int
        Largest random translation in pixels, each way; what is moved in is zero, the mean colour.
    context : int
        Tokens in a training example of a language model.
    checkpoints : tuple of float
        Fractions of training whose networks are kept.
    evaluations : int
        Equally spaced measurements of loss and accuracy after the one at step 0.
    precision : {"auto", "float32"}
        Of the forward and backward pass of images: bfloat16 autocast where the device computes in
        it natively, or float32 everywhere. Narrow networks lose accuracy in bfloat16, and networks
        that are to come out alike on different machines need one precision.
    freeze : FreezeSchedule or None
    """

    network: NetworkConfig
    data: str
    seed: int = 0
    steps: int = 1000
    batch_size: int = 128
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Literal["cosine", "steps", "constant"] = "cosine"
    translate: int = 0
    context: int = 32
    checkpoints: tuple[float, ...] = (0.0, 1.0)
    evaluations: int = 10
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
