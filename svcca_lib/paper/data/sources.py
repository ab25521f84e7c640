"""The specifications of data sets: one grammar, and the loading of what is asked for.

======================  ======  ===================================================================
``digits``              images  scikit-learn's 8 x 8 digits; every fourth image is a test image
``cifar10``             images  CIFAR-10 in the platform's data folder, downloaded there if need be
``cifar10:PATH``        images  CIFAR-10 as torchvision unpacks it below PATH, or as class folders
``folder:PATH``         images  PATH/train/CLASS/*.jpg and PATH/test/CLASS/*.jpg (or PATH/val)
``pydoc``               text    prose of Python's help topics, character by character, lower case
``words:TRAIN,TEST``    text    two files, word by word, with the vocabulary of the first
======================  ======  ===================================================================

Class folders take options: ``?size=224`` (shorter side scaled to 224, centre cropped) and
``limit=50`` (the first 50 images of each class by name), as in ``folder:PATH?size=224&limit=50``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from svcca_lib.paper.data.folders import class_folders
from svcca_lib.paper.data.images import CIFAR10_CLASSES, ImageData, cifar10, digits
from svcca_lib.paper.data.text import TextData, pydoc, words
from svcca_lib.paper.data.toy import ToyData
from svcca_lib.paper.store.store import Store

Kind = Literal["images", "text", "toy"]
Data = ImageData | TextData | ToyData

# source -> the kind of its data, and how many paths may follow it
_SOURCES: Mapping[str, tuple[Kind, tuple[int, ...]]] = {
    "digits": ("images", (0,)),
    "cifar10": ("images", (0, 1)),
    "folder": ("images", (1,)),
    "pydoc": ("text", (0,)),
    "words": ("text", (2,)),
}


@dataclass(frozen=True)
class Spec:
    """One data set, as it is asked for."""

    source: str  # "digits", "cifar10", "folder", "pydoc" or "words"
    paths: tuple[Path, ...] = ()
    # of images in class folders; None to take them as they are, and all of them
    size: int | None = None
    limit: int | None = None

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Read a specification such as ``folder:PATH?size=224&limit=50``.

        If it is none, or has options that mean nothing for its data, that is a ValueError.
        """
        named, _, query = text.partition("?")
        source, colon, rest = named.partition(":")
        paths = rest.split(",") if source == "words" else [rest] if colon else []
        if source not in _SOURCES or len(paths) not in _SOURCES[source][1] or not all(paths):
            raise ValueError(
                "data must be digits, cifar10, cifar10:PATH or folder:PATH[?size=PIXELS&limit="
                f"IMAGES], or, for text, pydoc or words:TRAIN,TEST; got {text!r}"
            )
        options: dict[str, int] = {}
        for item in filter(None, query.split("&")):
            key, _, value = item.partition("=")
            if key not in ("size", "limit") or not value.isdecimal() or int(value) < 1:
                raise ValueError(
                    f"data {text!r}: an option must be size=PIXELS or limit=IMAGES, with a "
                    f"positive whole number; got {item!r}"
                )
            options[key] = int(value)
        spec = cls(source, tuple(Path(path).expanduser() for path in paths), **options)
        if options and not (paths and spec.kind == "images"):
            raise ValueError(f"data {text!r}: size and limit are of images in class folders alone")
        return spec

    @property
    def kind(self) -> Kind:
        """The kind of the data: images or text."""
        return _SOURCES[self.source][0]

    def __str__(self) -> str:
        paths = ",".join(map(str, self.paths))
        options = {"size": self.size, "limit": self.limit}
        query = "&".join(f"{key}={n}" for key, n in options.items() if n is not None)
        return self.source + (f":{paths}" if paths else "") + (f"?{query}" if query else "")

    def anchored(self) -> Spec:
        """Return the same data by absolute paths, for a process that runs elsewhere."""
        return replace(self, paths=tuple(path.resolve() for path in self.paths))

    def named(self) -> Spec:
        """Return it with the names of its paths alone: what a reader is told of it."""
        return replace(self, paths=tuple(Path(path.name) for path in self.paths))


def specs(texts: str) -> list[Spec]:
    """Read specifications of texts, separated by semicolons; ValueError for those of other data."""
    found = [Spec.parse(part.strip()) for part in texts.split(";") if part.strip()]
    for spec in found:
        if spec.kind != "text":
            raise ValueError(f"texts must be such as words:TRAIN,TEST; got {str(spec)!r}")
    return found


def source_of(text: str) -> str:
    """Return what a specification names before its paths: what a reader is told of it."""
    return text.partition("?")[0].partition(":")[0]


def load(spec: str | Spec, *, store: Store | None = None) -> ImageData | TextData:
    """Load a data set: what was asked for, or an error, never another data set.

    Decoded pixels of class folders are kept in `store`, by default the default one.

    Raises
    ------
    ValueError
        If the specification is none, or the images do not fit together.
    FileNotFoundError
        If the data are not there.
    """
    spec = Spec.parse(spec) if isinstance(spec, str) else spec
    try:
        return _load(spec, store)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"data '{spec}': {error}") from error
    except ValueError as error:
        raise ValueError(f"data '{spec}': {error}") from error


def _load(spec: Spec, store: Store | None) -> ImageData | TextData:
    if spec.source == "digits":
        return digits()
    if spec.source == "pydoc":
        return pydoc()
    if spec.source == "words":
        return words(*spec.paths)
    if not spec.paths:
        return cifar10()
    (folder,) = spec.paths
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    if spec.source == "folder":
        return class_folders(folder, size=spec.size, limit=spec.limit, store=store)
    if (folder / "cifar-10-batches-py").is_dir():
        if spec.size or spec.limit:
            raise ValueError(
                f"size and limit are of class folders; {folder} holds cifar-10-batches-py"
            )
        return cifar10(folder)
    if not (folder / "train").is_dir():
        raise FileNotFoundError(
            f"{folder} holds neither cifar-10-batches-py (as torchvision unpacks it) nor "
            f"train/<class>/ and test/<class>/ folders"
        )
    return class_folders(
        folder, size=spec.size, limit=spec.limit, expected=CIFAR10_CLASSES, store=store
    )
