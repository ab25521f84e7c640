"""The scales of the book: which data, how wide the networks, how long the trainings.

A profile is data. A chapter asks for a training by name ("convnet"), the profile fills the name
with numbers, and `CHAPTERS` says which trainings each chapter uses, so that the workflow can have
them made beforehand and share them between chapters.

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

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from svcca_lib.paper.data import sources, toy
from svcca_lib.paper.data.images import ImageData
from svcca_lib.paper.data.text import TextData
from svcca_lib.paper.data.toy import ToyData
from svcca_lib.paper.training.config import FreezeSchedule, TrainConfig
from svcca_lib.paper.training.networks import NetworkConfig, build

FREEZE, CONSTANT = "-freeze", "-constant"

# The four moments of Figure 4 are among them; changes are fast at first (Appendix Figure 3).
CURVE = (0.0, 0.05, 0.1, 0.2, 0.35, 0.55, 0.75, 1.0)
FINE_CURVE = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.275, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 1.0)

MOST_SEEDS = 10
_EVERY = tuple(range(MOST_SEEDS))

# Two toy networks are compared with each other: six make three pairs that share none.
_THREE_PAIRS = {("01-toy-regression", "toy"): 6}
# Layers are matched across at least five networks, however few seeds a profile has.
_FIVE = {("12-after-the-paper", "convnet"): 5}


def _each(*names: str, offsets: tuple[int, ...] = _EVERY) -> tuple[tuple[str, int], ...]:
    return tuple((name, offset) for name in names for offset in offsets)


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
    }
)


@dataclass(frozen=True)
class Profile:
    """One scale of the book.

    Attributes
    ----------
    name
        "quick", "cifar10" or "paper".
    data, text
        Specifications of the images and of the text, for `sources.load` and `sources.text`.
    toy_points
        Samples of the toy targets.
    seeds
        Offsets of the seeds that a statement over seeds uses, from 0 upward.
    recipes
        Name of a training -> its configuration, in which the seed, the data and the input and
        output sizes are still open.
    exceptions
        (chapter, training) -> how many seeds, where it is another number than that of `seeds`.
    """

    name: str
    data: str
    text: str
    toy_points: int
    seeds: tuple[int, ...]
    recipes: Mapping[str, TrainConfig]
    exceptions: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def training(
        self, name: str, seed: int, data: ImageData | TextData | ToyData, width: int = 0
    ) -> TrainConfig:
        """Configure a training of this profile for given data.

        Parameters
        ----------
        name
            A name in `recipes`, or one of an image network followed by "-constant", "-freeze" or
            both.
        seed
            Seed of the initial weights and of the batches.
        data
            What `dataset` returns for this training, or other data of the same kind.
        width
            Channels of the first convolutions of the ConvNet in place of the profile's; the ResNet
            widens in proportion. 0 for the profile's own; nothing else has a width.

        Raises
        ------
        ValueError
            If the profile has no training of that name, or no networks of that width.
        TypeError
            If the data are not of the kind the training needs.
        """
        recipe = self._recipe(name)
        kind = _kind(recipe)
        if not isinstance(data, kind):
            raise TypeError(f"training {name!r} needs {kind.__name__}; got {type(data).__name__}")
        if isinstance(data, ImageData):
            inputs, outputs = data.shape, len(data.classes)
        elif isinstance(data, TextData):
            inputs, outputs = (len(data.vocabulary),), len(data.vocabulary)
        else:
            inputs, outputs = (data.x.shape[1],), data.y.shape[1]
        network = replace(recipe.network, inputs=inputs, outputs=outputs)
        if width and isinstance(data, ImageData):
            network = replace(network, width=self.widths(width)[recipe.network.arch])
        config = replace(recipe, network=network, data=data.fingerprint, seed=seed)
        if CONSTANT in name:
            config = replace(config, schedule="constant", checkpoints=(1.0,))
        if not name.endswith(FREEZE):
            return config
        # Unit g of L is frozen at g / L of training (section 4.2), so the last one never.
        *frozen, _ = build(network, seed).groups
        units = len(frozen) + 1
        return replace(
            config,
            checkpoints=(1.0,),
            freeze=FreezeSchedule(tuple(frozen), start=1 / units, end=len(frozen) / units),
        )

    def dataset(self, name: str, spec: str = "") -> ImageData | TextData | ToyData:
        """Load what a training learns from.

        Parameters
        ----------
        name
            A training of this profile.
        spec
            Images or text to take in place of the profile's own. Images are for the image
            networks, text for the language model; the toy targets are always the same. So one
            specification can be given to all chapters.
        """
        kind = _kind(self._recipe(name))
        if kind is ToyData:
            return toy.toy(self.toy_points)
        for_text = spec.partition(":")[0] in sources.TEXTS
        if kind is TextData:
            return sources.text(spec if for_text else self.text)
        return sources.load(self.data if for_text or not spec else spec)

    def trainings(self, chapter: str) -> tuple[tuple[str, int], ...]:
        """Trainings (name, offset of the seed) that a chapter uses at this scale.

        Raises
        ------
        ValueError
            If there is no such chapter.
        """
        if chapter not in CHAPTERS:
            raise ValueError(f"chapter must be one of {', '.join(CHAPTERS)}; got {chapter!r}")
        return tuple(
            (training, offset)
            for training, offset in CHAPTERS[chapter]
            if offset < self.exceptions.get((chapter, training), len(self.seeds))
        )

    def widths(self, convnet: int) -> dict[str, int]:
        """Return the width of each image network when the ConvNet has `convnet` channels.

        Raises
        ------
        ValueError
            If the others have no whole number of channels in that proportion.
        """
        own = {arch: self.recipes[arch].network.width for arch in ("convnet", "resnet")}
        unit = own["convnet"] // math.gcd(*own.values())
        if convnet < 1 or convnet % unit:
            raise ValueError(f"width must be a positive multiple of {unit}; got {convnet}")
        return {arch: width * convnet // own["convnet"] for arch, width in own.items()}

    def _recipe(self, name: str) -> TrainConfig:
        base = name.removesuffix(FREEZE).removesuffix(CONSTANT)
        if base not in self.recipes or (base != name and _kind(self.recipes[base]) != ImageData):
            known = [
                known
                for recipe, config in self.recipes.items()
                for known in (
                    (recipe, *(recipe + more for more in (FREEZE, CONSTANT, CONSTANT + FREEZE)))
                    if _kind(config) is ImageData
                    else (recipe,)
                )
            ]
            raise ValueError(
                f"training of profile {self.name} must be one of {', '.join(known)}; got {name!r}"
            )
        return self.recipes[base]


def _kind(recipe: TrainConfig) -> type[ImageData] | type[TextData] | type[ToyData]:
    return {"toy": ToyData, "lstm": TextData}.get(recipe.network.arch, ImageData)


def _toy(**changes: Any) -> TrainConfig:
    base = TrainConfig(
        network=NetworkConfig("toy", inputs=(), outputs=0, width=200, depth=4),
        data="",
        batch_size=128,
        optimizer="adam",
        lr=1e-3,
        evaluations=20,
    )
    return replace(base, **changes)


def _images(
    arch: Literal["convnet", "resnet"], width: int, fc: tuple[int, int] = (512, 256), **changes: Any
) -> TrainConfig:
    base = TrainConfig(
        network=NetworkConfig(arch, inputs=(), outputs=0, width=width, fc=fc),
        data="",
        batch_size=128,
        optimizer="sgd",
        momentum=0.9,
        weight_decay=5e-4,
        schedule="cosine",
        translate=4,
        checkpoints=FINE_CURVE,
        evaluations=40,
    )
    return replace(base, **changes)


def _lstm(width: int, **changes: Any) -> TrainConfig:
    base = TrainConfig(
        network=NetworkConfig("lstm", inputs=(), outputs=0, width=width, depth=3),
        data="",
        optimizer="adam",
        lr=2e-3,
        checkpoints=FINE_CURVE,
        evaluations=20,
    )
    return replace(base, **changes)


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        p.name: p
        for p in (
            Profile(
                name="quick",
                data="digits",
                text="pydoc",
                toy_points=4_000,
                # Small networks differ more from seed to seed, and cost little.
                seeds=(0, 1, 2, 3, 4),
                recipes={
                    "toy": _toy(steps=1_500, checkpoints=(1.0,)),
                    "convnet": _images(
                        "convnet",
                        16,
                        (48, 32),
                        batch_size=64,
                        steps=900,
                        lr=0.02,
                        translate=1,
                        checkpoints=CURVE,
                        evaluations=20,
                        precision="float32",
                    ),
                    "resnet": _images(
                        "resnet",
                        4,
                        batch_size=64,
                        steps=300,
                        lr=0.1,
                        translate=1,
                        checkpoints=CURVE,
                        evaluations=20,
                        precision="float32",
                    ),
                    "lstm": _lstm(
                        32, steps=600, batch_size=32, lr=1e-2, context=32, checkpoints=CURVE
                    ),
                },
                exceptions=_THREE_PAIRS,
            ),
            Profile(
                name="cifar10",
                data="cifar10",
                text="pydoc",
                toy_points=20_000,
                seeds=(0, 1, 2),
                recipes={
                    "toy": _toy(steps=10_000),
                    "convnet": _images("convnet", 64, steps=3_500, lr=0.05),
                    "resnet": _images("resnet", 16, steps=3_500, lr=0.1),
                    # about 65 epochs of the topics: more would only learn them by heart
                    "lstm": _lstm(128, steps=600, batch_size=64, context=64),
                },
                # Six more trainings of half an hour on two cores; a larger profile has them.
                exceptions={
                    **_THREE_PAIRS,
                    **_FIVE,
                    ("12-after-the-paper", "convnet-constant"): 0,
                    ("12-after-the-paper", "convnet-constant-freeze"): 0,
                },
            ),
            Profile(
                name="paper",
                data="cifar10",
                text="pydoc",
                toy_points=200_000,
                seeds=_EVERY,
                recipes={
                    "toy": _toy(steps=50_000),
                    "convnet": _images("convnet", 64, steps=160_000, lr=0.05, evaluations=160),
                    "resnet": _images("resnet", 16, steps=160_000, lr=0.1, evaluations=160),
                    # 13 epochs of the training part of Penn Treebank
                    "lstm": _lstm(200, steps=3_000, batch_size=64, context=64, evaluations=50),
                },
            ),
        )
    }
)


def profile(name: str) -> Profile:
    """Return a profile by its name.

    Raises
    ------
    ValueError
        If there is no profile of that name.
    """
    if name not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}; got {name!r}")
    return PROFILES[name]
