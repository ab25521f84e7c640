"""Data sets, each as tensors held once.

Images are uint8 tensors of shape (n, c, h, w); a batch is normalised when it is used. What was
asked for is what is loaded: a missing data set is an error, never another data set, and images
whose pixels went through JPEG are labelled so wherever they are shown.

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

import hashlib
import os
import platform
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from svcca_lib.paper.store.store import Store

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images for classification, already split.

    Attributes
    ----------
    name
        Short name, for files: "digits", "cifar10", "cifar10-jpeg", "folder-<its name>".
    label
        What a reader is told: "CIFAR-10" only for the original pixels.
    train_images, test_images
        uint8, (n, c, h, w).
    train_labels, test_labels
        int64, (n,): indices into `classes`.
    classes
        Names of the classes.
    mean, std
        float32, (c,): of the training pixels, where a pixel is in [0, 1].
    fingerprint
        sha256 of all tensors and of the names of the classes.
    """

    name: str
    label: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    mean: Tensor
    std: Tensor
    fingerprint: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (c, h, w) of one image."""
        return tuple(self.train_images.shape[1:])

    def normalised(self, images: Tensor) -> Tensor:
        """Scale uint8 images (n, c, h, w) to float32 of mean 0 and variance 1 per channel."""
        std = self.std.to(images.device)[:, None, None]
        mean = self.mean.to(images.device)[:, None, None]
        return images.float().div_(255).sub_(mean).div_(std)


@dataclass(frozen=True, eq=False)
class ToyData:
    """Regression from one number to four: x (n, 1) in [-4, 4] and y (n, 4), float32."""

    name: str
    label: str
    x: Tensor
    y: Tensor
    fingerprint: str


@dataclass(frozen=True, eq=False)
class TextData:
    """A text as int64 tokens (n,), split into train and test, and its vocabulary."""

    name: str
    label: str
    train_tokens: Tensor
    test_tokens: Tensor
    vocabulary: tuple[str, ...]
    fingerprint: str


# ------------------------------------------------------------------------------------ images


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
        return _digits()
    if spec == "cifar10":
        return _cifar10_torchvision(data_folder(), spec, download=True)
    if kind in ("cifar10", "folder") and rest:
        path, size, limit = _parse_folder(rest, spec)
        if not path.is_dir():
            raise FileNotFoundError(f"data {spec!r}: there is no folder {path}")
        if kind == "cifar10":
            if (path / "cifar-10-batches-py").is_dir():
                return _cifar10_torchvision(path, spec, download=False)
            if not (path / "train").is_dir():
                raise FileNotFoundError(
                    f"data {spec!r}: {path} holds neither cifar-10-batches-py (as torchvision "
                    f"unpacks it) nor train/<class>/ and test/<class>/ folders"
                )
        return _class_folders(path, spec, size, limit, store)
    raise ValueError(
        f"data must be digits, cifar10, cifar10:PATH or folder:PATH[?size=PIXELS&limit=IMAGES]; "
        f"got {spec!r}"
    )


def data_folder() -> Path:
    """Folder of downloaded data: $SVCCA_DATA, or the platform's data folder for this project."""
    if folder := os.environ.get("SVCCA_DATA"):
        return Path(folder)
    from platformdirs import user_data_path

    return user_data_path("svcca", appauthor=False)


def _fingerprint(tensors: Iterable[Tensor], names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.contiguous().numpy().data)
    digest.update("\0".join(names).encode())
    return digest.hexdigest()


def _image_data(
    name: str,
    label: str,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    classes: tuple[str, ...],
) -> ImageData:
    # a histogram gives exact moments without a float copy of the images
    values = torch.arange(256, dtype=torch.float64) / 255
    histograms = torch.stack(
        [torch.bincount(c.flatten(), minlength=256) for c in train[0].unbind(1)]
    ).double()
    weights = histograms / histograms.sum(1, keepdim=True)
    mean = weights @ values
    std = (weights * (values - mean[:, None]) ** 2).sum(1).sqrt()
    if not bool((std > 0).all()):
        raise ValueError(f"the training images of {label} are constant in a channel")
    return ImageData(
        name=name,
        label=label,
        train_images=train[0],
        train_labels=train[1],
        test_images=test[0],
        test_labels=test[1],
        classes=classes,
        mean=mean.float(),
        std=std.float(),
        fingerprint=_fingerprint((*train, *test), classes),
    )


def _digits() -> ImageData:
    from sklearn.datasets import load_digits

    digits = load_digits()
    # 17 grey levels, 0 to 16, spread over the range of a byte
    images = torch.from_numpy(np.rint(digits.images * (255 / 16)).astype(np.uint8))[:, None]
    labels = torch.from_numpy(digits.target.astype(np.int64))
    # the 43 writers follow one another: interleaving gives each a place on both sides
    test = torch.arange(len(labels)) % 4 == 3
    return _image_data(
        "digits",
        "scikit-learn digits",
        (images[~test], labels[~test]),
        (images[test], labels[test]),
        tuple(str(name) for name in digits.target_names),
    )


def _cifar10_torchvision(root: Path, spec: str, *, download: bool) -> ImageData:
    from torchvision.datasets import CIFAR10

    try:
        if download:
            root.mkdir(parents=True, exist_ok=True)
        train, test = (CIFAR10(root, train=part, download=download) for part in (True, False))
    except (RuntimeError, OSError) as error:
        remedy = (
            f"torchvision could not download it to {root}: unpack cifar-10-python.tar.gz there, "
            f"or point to a copy with cifar10:PATH"
            if download
            else f"{root / 'cifar-10-batches-py'} is incomplete or altered: unpack "
            f"cifar-10-python.tar.gz there anew"
        )
        raise FileNotFoundError(f"data {spec!r}: {remedy} ({error})") from error

    def tensors(part: CIFAR10) -> tuple[Tensor, Tensor]:
        images = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
        return images, torch.tensor(part.targets, dtype=torch.int64)

    return _image_data("cifar10", "CIFAR-10", tensors(train), tensors(test), CIFAR10_CLASSES)


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


def _class_folders(
    root: Path, spec: str, size: int | None, limit: int | None, store: Store | None
) -> ImageData:
    from svcca_lib.paper.store import identity
    from svcca_lib.paper.store.store import Store

    parts = [root / "train", root / ("test" if (root / "test").is_dir() else "val")]
    for part in parts:
        if not part.is_dir():
            raise FileNotFoundError(
                f"data {spec!r}: expected {root}/train/<class>/ and {root}/test/<class>/ (or "
                f"val), and found no {part.name}"
            )
    classes = tuple(sorted(folder.name for folder in parts[0].iterdir() if folder.is_dir()))
    if spec.startswith("cifar10:") and classes != CIFAR10_CLASSES:
        raise ValueError(
            f"data {spec!r}: the class folders of CIFAR-10 are {', '.join(CIFAR10_CLASSES)}; "
            f"{parts[0]} has {', '.join(classes) or 'none'}"
        )
    files = [_listing(part, classes, limit, spec) for part in parts]

    def decode(_: Path) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
        formats: set[str] = set()
        tensors = {}
        for name, part in zip(("train", "test"), files, strict=True):
            tensors[f"{name}_images"], found = _decode([file for file, _ in part], size, spec)
            tensors[f"{name}_labels"] = torch.tensor([label for _, label in part])
            formats |= found
        if tensors["train_images"].shape[1:] != tensors["test_images"].shape[1:]:
            raise ValueError(f"data {spec!r}: {_SIZES_DIFFER}")
        return tensors, {"formats": sorted(formats)}

    listing = hashlib.sha256()
    for file, index in (item for part in files for item in part):
        stat = file.stat()
        listing.update(
            os.fsencode(f"{file.relative_to(root)}\0{index}\0{stat.st_size}\0{stat.st_mtime_ns}\n")
        )
    artefact = (Store() if store is None else store).fetch(
        "images",
        {"listing": listing.hexdigest(), "size": size},
        decode,
        version=identity.of_training(),
    )
    tensors = artefact.tensors
    options = {"size": size, "limit": limit}
    name, label = _folder_names(root, classes, artefact.meta["formats"], options)
    return _image_data(
        name,
        label,
        (tensors["train_images"], tensors["train_labels"]),
        (tensors["test_images"], tensors["test_labels"]),
        classes,
    )


def _folder_names(
    root: Path, classes: tuple[str, ...], formats: list[str], options: Mapping[str, int | None]
) -> tuple[str, str]:
    """Name and label; pixels count as JPEG by what the decoder found, not by the file's name.

    A folder's own name never stands alone: a copy in a folder called CIFAR-10 is not CIFAR-10.
    """
    if classes == CIFAR10_CLASSES:
        copy = "JPEG" if "JPEG" in formats else "PNG"
        name, label = f"cifar10-{copy.lower()}", f"CIFAR-10, {copy} copy"
    else:
        folder = root.resolve().name
        name, label = f"folder-{folder}", f"folder {folder}"
    given = [f"{key} {value}" for key, value in options.items() if value is not None]
    return name, ", ".join([label, *given])


def _listing(
    part: Path, classes: tuple[str, ...], limit: int | None, spec: str
) -> list[tuple[Path, int]]:
    extra = {folder.name for folder in part.iterdir() if folder.is_dir()} - set(classes)
    if extra:
        raise ValueError(f"data {spec!r}: {part} has classes that train lacks: {sorted(extra)}")
    files = []
    for label, name in enumerate(classes):
        folder = part / name
        found = sorted(f for f in folder.glob("*") if f.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise FileNotFoundError(f"data {spec!r}: there is no .jpg or .png image in {folder}")
        files += [(file, label) for file in found[:limit]]
    if not files:
        raise FileNotFoundError(f"data {spec!r}: there is no class folder in {part}")
    return files


_SIZES_DIFFER = (
    "the images differ in size; give one to scale and crop them to, as in folder:PATH?size=224"
)


def _read_image(file: Path, size: int | None) -> tuple[np.ndarray, str]:
    """Decode a file to (h, w, 3) uint8, and say which format it really has."""
    from PIL import Image

    try:
        with Image.open(file) as source:
            found = source.format or "unknown"
            image = source.convert("RGB")
    except OSError as error:  # also of a truncated file
        raise ValueError(f"{file} is not an image that can be read ({error})") from error
    if size is not None:
        scale = size / min(image.size)
        if scale != 1:
            width, height = (max(size, round(side * scale)) for side in image.size)
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = ((side - size) // 2 for side in image.size)
        image = image.crop((left, top, left + size, top + size))
    return np.asarray(image), found


def _decode(files: list[Path], size: int | None, spec: str) -> tuple[Tensor, set[str]]:
    """Decode files into one (n, 3, h, w) uint8 tensor, with a thread for each core."""
    from tqdm import tqdm

    first, _ = _read_image(files[0], size)
    images = np.empty((len(files), *first.shape), dtype=np.uint8)

    def read(i: int) -> str:
        pixels, found = _read_image(files[i], size)
        if pixels.shape != first.shape:
            raise ValueError(
                f"data {spec!r}: {_SIZES_DIFFER} ({files[0]} is {first.shape[:2]}, {files[i]} is "
                f"{pixels.shape[:2]})"
            )
        images[i] = pixels
        return found

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside the GIL
        progress = tqdm(
            pool.map(read, range(len(files)), chunksize=64), "decode", len(files), disable=None
        )
        formats = set(progress)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), formats


# --------------------------------------------------------------------------------------- toy


TOY_TARGETS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: 3 * torch.sin(1.5 * x),
    lambda x: x**2 / 4 - 2 + torch.sin(4 * x) / 2,
    lambda x: 3 * torch.cos(3 * x) * torch.exp(-(x**2) / 6),
    lambda x: 3 * torch.tanh(x) - torch.sin(2 * x),
)


def spread(n: int, most: int | None) -> Tensor:
    """Indices of at most `most` of n rows, evenly spaced; all of them for None.

    Class folders are read class by class, so the first rows of a data set may be of one class.
    """
    return torch.linspace(0, n - 1, min(n, most or n), dtype=torch.float64).round().long()


def toy(n: int) -> ToyData:
    """Four smooth targets of one variable, sampled evenly on [-4, 4].

    The paper does not state its own targets; these four are ours: a sine, a parabola with a
    ripple, a wave packet and a step with a ripple, all within [-4, 4] as in its Figure 3.

    Parameters
    ----------
    n
        Number of samples, at least 2. The paper uses 200,000.

    References
    ----------
    Raghu et al. 2017, Figures 1 and 3.
    """
    if n < 2:
        raise ValueError(f"n must be at least 2; got {n}")
    x = torch.linspace(-4, 4, n, dtype=torch.float64)
    y = torch.stack([target(x) for target in TOY_TARGETS], dim=1).float()
    x = x[:, None].float()
    # rounding makes the fingerprint the same where the last bit of a sine is not
    rounded = torch.cat([x, y], dim=1).double().mul(1e4).round().long()
    return ToyData("toy", f"toy regression, {n} points", x, y, _fingerprint([rounded], ()))


# -------------------------------------------------------------------------------------- text

# The pydoc topics whose prose is the same in Python 3.11, 3.12 and 3.13.
PYDOC_TOPICS = """
    assert atom-literals bitwise bltin-code-objects bltin-ellipsis-object bltin-null-object
    bltin-type-objects booleans break callable-types comparisons context-managers continue
    conversions customization del dynamic-features else exceptions floating global id-classes if
    imaginary import in integers lambda lists numbers numeric-types pass return sequence-types
    slicings typesfunctions typesmodules unary while with yield
"""
PYDOC_FINGERPRINT = "a26b6a8f6f78d7201e4d52b621632157f7f46550d585fa6b24c5b06525951674"
TEXTS = ("pydoc", "words")
END_OF_LINE, UNKNOWN = "<eos>", "<unk>"


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
        return _pydoc()
    train, comma, test = rest.partition(",")
    if kind == "words" and comma and "," not in test:
        return _words(Path(train).expanduser(), Path(test).expanduser(), spec)
    raise ValueError(f"text must be pydoc or words:TRAIN,TEST; got {spec!r}")


def _pydoc() -> TextData:
    from pydoc_data.topics import topics

    prose = _prose(topics[name] for name in PYDOC_TOPICS.split() if name in topics)
    vocabulary = tuple(sorted(set(prose)))
    index = {character: i for i, character in enumerate(vocabulary)}
    tokens = torch.tensor([index[character] for character in prose])
    fingerprint = _fingerprint([tokens], vocabulary)
    label = "pydoc topics"
    if fingerprint != PYDOC_FINGERPRINT:
        version = platform.python_version()
        label = f"pydoc topics of Python {version}"
        warnings.warn(
            f"the pydoc topics of Python {version} are worded differently from those of the "
            f"published numbers: expect other numbers where this text is used",
            stacklevel=3,
        )
    cut = len(tokens) * 9 // 10
    return TextData("pydoc", label, tokens[:cut], tokens[cut:], vocabulary, fingerprint)


def _prose(pages: Iterable[str]) -> str:
    """Keep what Python versions agree on: sentences, without markup, code, tables and headings."""
    paragraphs: dict[str, None] = {}  # a set that keeps the order: some pages repeat others
    for paragraph in "\n\n".join(pages).lower().split("\n\n"):
        if paragraph.startswith(" ") or re.search(r"::=|\*\*\*|===", paragraph):
            continue
        plain = re.sub(r"[^a-z.,]+", " ", re.sub(r"[’'\"*`]", "", paragraph)).strip()
        if plain:
            paragraphs[plain] = None
    return "\n".join(paragraphs) + "\n"


def _words(train: Path, test: Path, spec: str) -> TextData:
    parts = []
    for file in (train, test):
        if not file.is_file():
            raise FileNotFoundError(f"text {spec!r}: there is no file {file}")
        lines = file.read_text(encoding="utf-8").splitlines()
        parts.append(
            [word for line in lines if line.split() for word in (*line.split(), END_OF_LINE)]
        )
        if not parts[-1]:
            raise ValueError(f"text {spec!r}: {file} has no words")
    # most frequent first, ties in alphabetical order
    counts = Counter(parts[0])
    counts.setdefault(UNKNOWN, 0)
    vocabulary = tuple(sorted(counts, key=lambda word: (-counts[word], word)))
    index = {word: i for i, word in enumerate(vocabulary)}
    tokens = [torch.tensor([index.get(word, index[UNKNOWN]) for word in part]) for part in parts]
    fingerprint = _fingerprint(tokens, vocabulary)
    return TextData(train.stem, train.stem, tokens[0], tokens[1], vocabulary, fingerprint)
