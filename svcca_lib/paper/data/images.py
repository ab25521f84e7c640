"""Images for classification, each data set as tensors held once.

Images are uint8 tensors of shape (n, c, h, w); a batch is normalised when it is used. Images whose
pixels went through JPEG are labelled so wherever they are shown.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from svcca_lib.paper.data.fingerprint import fingerprint
from svcca_lib.paper.store import identity
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


def spread(n: int, most: int | None) -> Tensor:
    """Indices of at most `most` of n rows, evenly spaced; all of them for None.

    Class folders are read class by class, so the first rows of a data set may be of one class.
    """
    return torch.linspace(0, n - 1, min(n, most or n), dtype=torch.float64).round().long()


def image_data(
    name: str,
    label: str,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    classes: tuple[str, ...],
) -> ImageData:
    """Take split images and labels, with the moments of the training pixels."""
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
        fingerprint=fingerprint((*train, *test), classes),
    )


def digits() -> ImageData:
    """Load scikit-learn's digits, every fourth as a test image."""
    from sklearn.datasets import load_digits

    found = load_digits()
    # 17 grey levels, 0 to 16, spread over the range of a byte
    images = torch.from_numpy(np.rint(found.images * (255 / 16)).astype(np.uint8))[:, None]
    labels = torch.from_numpy(found.target.astype(np.int64))
    # the 43 writers follow one another: interleaving gives each a place on both sides
    test = torch.arange(len(labels)) % 4 == 3
    return image_data(
        "digits",
        "scikit-learn digits",
        (images[~test], labels[~test]),
        (images[test], labels[test]),
        tuple(str(name) for name in found.target_names),
    )


def cifar10(root: Path, spec: str, *, download: bool) -> ImageData:
    """Load CIFAR-10 as torchvision keeps it below `root`."""
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

    return image_data("cifar10", "CIFAR-10", tensors(train), tensors(test), CIFAR10_CLASSES)


def class_folders(
    root: Path, spec: str, size: int | None, limit: int | None, store: Store | None
) -> ImageData:
    """Load train/CLASS/*.jpg and test/CLASS/*.jpg (or val); `store` keeps the decoded pixels."""
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
    return image_data(
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
