"""The scales of the book: which data, how wide the networks, how long the trainings.

A profile is data: recipes by name ("convnet"), to be bound to data and seed. `CHAPTERS` says which
trainings each chapter uses, so that the workflow can have them made beforehand and share them
between chapters; both bind them by `Profile.bind`.

A "-freeze" training is its base training with a freeze schedule and nothing else changed; a
"-constant" one keeps its first learning rate to the end, and may be frozen on top of it.

=========  =======================  ==============================  ===========================
profile    data                     networks                        for
=========  =======================  ==============================  ===========================
quick      digits, pydoc topics     the architectures, narrower     any laptop, minutes
cifar10    CIFAR-10, pydoc topics   the paper's widths, few epochs  a workstation, hours
paper      CIFAR-10, text files     the paper's, 160,000 steps      one GPU or a cluster
=========  =======================  ==============================  ===========================

The paper states the 160,000 steps, the ten runs and the widths; optimiser, learning rate, batch
size, translations and the sizes of the LSTM are our choices.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from svcca_lib.paper.data.sources import Data, Kind, Spec, load
from svcca_lib.paper.data.toy import toy
from svcca_lib.paper.training.config import FreezeSchedule, TrainConfig
from svcca_lib.paper.training.networks import Arch, NetworkConfig, freezing_units, kind_of_data

FREEZE, CONSTANT = "-freeze", "-constant"

# The four moments of Figure 4 are among them; changes are fast at first (Appendix Figure 3).
CURVE = (0.0, 0.05, 0.1, 0.2, 0.35, 0.55, 0.75, 1.0)
EARLY_CURVE = (0.0, 0.025, 0.05, *(n / 10 for n in range(1, 11)))  # a test at each of them
FINE_CURVE = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.275, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 1.0)

_EVERY = tuple(range(10))  # offsets of seeds: no profile has more

# Two toy networks are compared with each other: six make three pairs that share none.
_THREE_PAIRS = {("01-toy-regression", "toy"): 6}
# Layers are matched across at least five networks, however few seeds a profile has.
_FIVE = {("12-after-the-paper", "convnet"): 5}


def _each(*names: str) -> tuple[tuple[str, int], ...]:
    return tuple((name, offset) for name in names for offset in _EVERY)


# chapter -> (training, offset counted onto the chapter's seed); a profile with fewer seeds than
# an offset leaves that one out: see `Profile.trainings`
CHAPTERS: Mapping[str, tuple[tuple[str, int], ...]] = MappingProxyType(
    {
        "01-toy-regression": _each("toy"),
        "02-distributed-representations": _each("convnet"),
        "03-fourier": _each("convnet"),
        "04-dynamics": _each("convnet", "resnet"),
        "05-freeze-training": _each("convnet", "convnet-freeze", "resnet", "resnet-freeze"),
        "06-class-sensitivity": _each("resnet"),
        "07-resnet-against-convnet": _each("resnet", "convnet"),
        "08-compression": _each("convnet"),
        "09-recurrent": _each("lstm"),
        "10-ledger": (),
        "11-own-models": (("convnet", 0), ("lstm", 0)),
        "12-after-the-paper": _each(
            "convnet",
            "convnet-freeze",
            "convnet-constant",
            "convnet-constant-freeze",
            "resnet",
            "resnet-freeze",
        ),
        "13-which-measure": _each("convnet"),
        "14-imagenet": (),
        "15-words": (),  # of texts that a reader brings
    }
)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, whatever the data and the seed."""

    arch: Arch
    sizes: Mapping[str, Any]  # width and depth, as `NetworkConfig` takes them
    settings: Mapping[str, Any]  # of the training, as `TrainConfig` takes them
    freezes: bool = False  # whether its layers are frozen one after another

    @property
    def kind(self) -> Kind:
        """Kind of data that the network learns from."""
        return kind_of_data(self.arch)

    def but(self, **settings: Any) -> Recipe:
        """Return the recipe with other settings."""
        return replace(self, settings={**self.settings, **settings})

    def bind(self, data: Data, seed: int) -> TrainConfig:
        """Return what trains the network of a seed; a TypeError on data of another kind."""
        if data.kind != self.kind:
            raise TypeError(f"{self.arch!r} needs data of the kind {self.kind}; got {data.kind}")
        network = NetworkConfig(self.arch, data.inputs, data.outputs, **self.sizes)
        config = TrainConfig(network, data.fingerprint, seed, **self.settings)
        if not self.freezes:
            return config
        # Unit g of L is frozen at g / L of training (section 4.2), so the last one never.
        *frozen, _ = freezing_units(network)
        units = len(frozen) + 1
        schedule = FreezeSchedule(tuple(frozen), start=1 / units, end=len(frozen) / units)
        return replace(config, freeze=schedule)


@dataclass(frozen=True)
class Training:
    """One training of a profile, bound to its seed, its data and its width.

    `data` is a specification in place of the profile's own, and `width` the channels of the first
    convolutions of the ConvNet, in proportion to which the ResNet widens; empty and 0 for the
    profile's own. Values that mean nothing for the training are a ValueError.
    """

    profile: str  # such as "quick"
    name: str  # such as "convnet-freeze"
    seed: int  # of the initial weights and of the batches
    data: str = ""
    width: int = 0

    def __post_init__(self) -> None:
        kind = self.recipe.kind
        if self.data and (given := Spec.parse(self.data).kind) != kind:
            raise ValueError(
                f"training {self.name!r} needs data of the kind {kind}; {self.data!r} is of the "
                f"kind {given}"
            )

    @property
    def id(self) -> str:
        """A name that is no other training's, and a plain file name."""
        parts = [self.profile, self.name, str(self.seed)]
        if self.width:
            parts.append(f"w{self.width}")
        if self.data:
            parts.append(hashlib.sha256(self.data.encode()).hexdigest()[:6])
        return "-".join(parts)

    @property
    def recipe(self) -> Recipe:
        """How it trains."""
        return profile(self.profile).recipe(self.name, self.width)

    def load(self) -> Data:
        """Load what it learns from."""
        scale, kind = profile(self.profile), self.recipe.kind
        if kind == "toy":
            return toy(scale.toy_points)
        return load(self.data or (scale.images if kind == "images" else scale.text))

    def config(self, data: Data) -> TrainConfig:
        """Return its configuration for what `load` gave."""
        return self.recipe.bind(data, self.seed)


@dataclass(frozen=True)
class Profile:
    """One scale of the book."""

    name: str
    images: str  # a specification for `sources.load`, as that of `text`
    text: str
    toy_points: int  # samples of the toy targets
    seeds: tuple[int, ...]  # offsets that a statement over seeds uses, from 0 upward
    recipes: Mapping[str, Recipe]
    # (chapter, training) -> how many seeds, where it is another number than that of `seeds`
    exceptions: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def recipe(self, name: str, width: int = 0) -> Recipe:
        """Return how a training trains, by a name in `recipes`.

        That of an image network may be followed by "-constant", "-freeze" or both. An unknown name,
        or a width that its network cannot have, is a ValueError.
        """
        known = [
            base + ending
            for base, recipe in self.recipes.items()
            for ending in ("", FREEZE, CONSTANT, CONSTANT + FREEZE)
            if not ending or recipe.kind == "images"
        ]
        if name not in known:
            raise ValueError(
                f"training of profile {self.name} must be one of {', '.join(known)}; got {name!r}"
            )
        recipe = self.recipes[name.removesuffix(FREEZE).removesuffix(CONSTANT)]
        if width and recipe.kind != "images":
            raise ValueError(f"width is of the networks of images; {name!r} has none of them")
        if width:
            wider = {**recipe.sizes, "width": self.widths(width)[recipe.arch]}
            recipe = replace(recipe, sizes=wider)
        if CONSTANT in name:
            recipe = recipe.but(schedule="constant", checkpoints=(1.0,))
        if name.endswith(FREEZE):
            recipe = replace(recipe.but(checkpoints=(1.0,)), freezes=True)
        return recipe

    def bind(self, name: str, seed: int, data: str = "", width: int = 0) -> Training:
        """Return a training of a chapter, of whose parameters those count that mean something.

        So one data set and one width can be given to all trainings of all chapters: images are for
        the image networks, text for the language model, and the toy targets are always the same.
        """
        kind = self.recipe(name).kind
        meant = data if data and Spec.parse(data).kind == kind else ""
        return Training(self.name, name, seed, meant, width if kind == "images" else 0)

    def dataset(self, name: str, spec: str = "") -> Data:
        """Load what a training learns from, where a chapter is given the data `spec`."""
        return self.bind(name, 0, spec).load()

    def trainings(self, chapter: str) -> tuple[tuple[str, int], ...]:
        """Trainings (name, offset of the seed) that a chapter uses at this scale."""
        if chapter not in CHAPTERS:
            raise ValueError(f"chapter must be one of {', '.join(CHAPTERS)}; got {chapter!r}")
        return tuple(
            (training, offset)
            for training, offset in CHAPTERS[chapter]
            if offset < self.exceptions.get((chapter, training), len(self.seeds))
        )

    def widths(self, convnet: int) -> dict[str, int]:
        """Return the width of each image network when the ConvNet has `convnet` channels.

        If the others have no whole number of channels in that proportion, that is a ValueError.
        """
        own = {arch: int(self.recipes[arch].sizes["width"]) for arch in ("convnet", "resnet")}
        unit = own["convnet"] // math.gcd(*own.values())
        if convnet < 1 or convnet % unit:
            raise ValueError(f"width must be a positive multiple of {unit}; got {convnet}")
        return {arch: width * convnet // own["convnet"] for arch, width in own.items()}


def _toy(**settings: Any) -> Recipe:
    own = {"optimizer": "adam", "lr": 1e-3, "evaluations": 20}
    return Recipe("toy", {"width": 200, "depth": 4}, own | settings)


def _images(arch: Arch, width: int, fc: tuple[int, int] = (512, 256), **settings: Any) -> Recipe:
    # in batches of 128, by SGD with momentum and the cosine schedule, as `TrainConfig` has them
    own = {"weight_decay": 5e-4, "translate": 4, "checkpoints": FINE_CURVE, "evaluations": 40}
    return Recipe(arch, {"width": width, "fc": fc}, own | settings)


def _lstm(width: int, **settings: Any) -> Recipe:
    own = {"optimizer": "adam", "lr": 2e-3, "checkpoints": FINE_CURVE, "evaluations": 20}
    return Recipe("lstm", {"width": width, "depth": 3}, own | settings)


def _words(width: int, steps: int) -> Recipe:
    # to beyond the least perplexity of a small text: the best state kept is compared
    own = {"batch_size": 20, "context": 35, "checkpoints": EARLY_CURVE, "evaluations": 40}
    return _lstm(width, steps=steps, **own)


_SMALL: Mapping[str, Any] = {
    "batch_size": 64,
    "translate": 1,
    "evaluations": 20,
    "precision": "float32",
}
_QUICK = Profile(
    name="quick",
    images="digits",
    text="pydoc",
    toy_points=4_000,
    seeds=(0, 1, 2, 3, 4),  # small networks differ more from seed to seed, and cost little
    recipes={
        "toy": _toy(steps=1_500, checkpoints=(1.0,)),
        "convnet": _images(
            "convnet", 16, (48, 32), steps=900, lr=0.02, checkpoints=CURVE, **_SMALL
        ),
        "resnet": _images("resnet", 4, steps=300, lr=0.1, checkpoints=CURVE, **_SMALL),
        "lstm": _lstm(32, steps=600, batch_size=32, lr=1e-2, checkpoints=CURVE),
        "words": _words(32, steps=200),
    },
    exceptions=_THREE_PAIRS,
)
_CIFAR10 = Profile(
    name="cifar10",
    images="cifar10",
    text="pydoc",
    toy_points=20_000,
    seeds=(0, 1, 2),
    recipes={
        "toy": _toy(steps=10_000),
        "convnet": _images("convnet", 64, steps=3_500, lr=0.05),
        "resnet": _images("resnet", 16, steps=3_500, lr=0.1),
        # about 65 epochs of the topics: more would only learn them by heart
        "lstm": _lstm(128, steps=600, batch_size=64, context=64),
        "words": _words(128, steps=2_000),
    },
    # Six more trainings of half an hour on two cores; a larger profile has them.
    exceptions={
        **_THREE_PAIRS,
        **_FIVE,
        ("12-after-the-paper", "convnet-constant"): 0,
        ("12-after-the-paper", "convnet-constant-freeze"): 0,
    },
)
_PAPER = Profile(
    name="paper",
    images="cifar10",
    text="pydoc",
    toy_points=200_000,
    seeds=_EVERY,
    recipes={
        "toy": _toy(steps=50_000),
        "convnet": _images("convnet", 64, steps=160_000, lr=0.05, evaluations=160),
        "resnet": _images("resnet", 16, steps=160_000, lr=0.1, evaluations=160),
        # 13 epochs of the training part of Penn Treebank
        "lstm": _lstm(200, steps=3_000, batch_size=64, context=64, evaluations=50),
        "words": _words(200, steps=20_000),
    },
)
PROFILES: Mapping[str, Profile] = MappingProxyType({p.name: p for p in (_QUICK, _CIFAR10, _PAPER)})


def profile(name: str) -> Profile:
    """Return a profile by its name."""
    if name not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}; got {name!r}")
    return PROFILES[name]
