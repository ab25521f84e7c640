"""Data sets by their specifications.

What was asked for is what is loaded: a missing data set is an error, never another data set.
Specifications of image data, as `load` takes them:

=====================  ==========================================================================
``digits``             scikit-learn's 8 x 8 digits, embedded; every fourth image is a test image
``cifar10``            CIFAR-10 in the platform's data folder, downloaded there at first use
``cifar10:PATH``       CIFAR-10 as torchvision unpacks it below PATH, or as PATH/train/CLASS/*.png
``folder:PATH``        PATH/train/CLASS/*.jpg and PATH/test/CLASS/*.jpg (or PATH/val)
=====================  ==========================================================================

A folder takes options: ``?size=224`` (shorter side scaled to 224, centre cropped) and
``limit=50`` (the first 50 images of each class by name), as in ``folder:PATH?size=224&limit=50``.
"""

from __future__ import annotations

import os
from pathlib import Path

from svcca_lib.paper.data.images import ImageData, cifar10, class_folders, digits
from svcca_lib.paper.data.text import TextData, pydoc, words
from svcca_lib.paper.data.toy import ToyData
from svcca_lib.paper.store.store import Store

Data = ImageData | TextData | ToyData

TEXTS = ("pydoc", "words")


def load(spec: str, *, store: Store | None = None) -> ImageData:
    """Load image data by its specification (see the module's table).

    Parameters
    ----------
    spec
        "digits", "cifar10", "cifar10:PATH" or "folder:PATH", folders with options.
    store
        Where the decoded pixels of a class folder are kept; the default store if None.

    Raises
    ------
    ValueError
        If the specification is not one of these, or the images do not fit together.
    FileNotFoundError
        If the data are not there.
    """
    kind, _, rest = spec.partition(":")
    if spec == "digits":
        return digits()
    if spec == "cifar10":
        return cifar10(data_folder(), spec, download=True)
    if kind in ("cifar10", "folder") and rest:
        path, size, limit = _parse_folder(rest, spec)
        if not path.is_dir():
            raise FileNotFoundError(f"data {spec!r}: there is no folder {path}")
        if kind == "cifar10":
            if (path / "cifar-10-batches-py").is_dir():
                return cifar10(path, spec, download=False)
            if not (path / "train").is_dir():
                raise FileNotFoundError(
                    f"data {spec!r}: {path} holds neither cifar-10-batches-py (as torchvision "
                    f"unpacks it) nor train/<class>/ and test/<class>/ folders"
                )
        return class_folders(path, spec, size, limit, store)
    raise ValueError(
        f"data must be digits, cifar10, cifar10:PATH or folder:PATH[?size=PIXELS&limit=IMAGES]; "
        f"got {spec!r}"
    )


def text(spec: str) -> TextData:
    """Load a text by its specification.

    Parameters
    ----------
    spec
        "pydoc": prose of the help topics that ship with Python, character by character, lower
        case. "words:TRAIN,TEST": two text files, word by word, with the vocabulary of the first;
        each line ends in <eos>, and a word of the second that the first lacks is <unk>.

    Raises
    ------
    ValueError
        If the specification is neither, or a file has no words.
    FileNotFoundError
        If a file is not there.
    """
    kind, _, rest = spec.partition(":")
    if spec == "pydoc":
        return pydoc()
    train, comma, test = rest.partition(",")
    if kind == "words" and comma and "," not in test:
        return words(Path(train).expanduser(), Path(test).expanduser(), spec)
    raise ValueError(f"text must be pydoc or words:TRAIN,TEST; got {spec!r}")


def data_folder() -> Path:
    """Folder of downloaded data: $SVCCA_DATA, or the platform's data folder for this project."""
    if folder := os.environ.get("SVCCA_DATA"):
        return Path(folder)
    from platformdirs import user_data_path

    return user_data_path("svcca", appauthor=False)


def _parse_folder(rest: str, spec: str) -> tuple[Path, int | None, int | None]:
    path, _, query = rest.partition("?")
    options: dict[str, int] = {}
    for item in filter(None, query.split("&")):
        key, _, value = item.partition("=")
        if key not in ("size", "limit") or not value.isdecimal() or int(value) < 1:
            raise ValueError(
                f"data {spec!r}: an option must be size=PIXELS or limit=IMAGES, with a positive "
                f"whole number; got {item!r}"
            )
        options[key] = int(value)
    return Path(path).expanduser(), options.get("size"), options.get("limit")
