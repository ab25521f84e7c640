"""Images in class folders: train/CLASS/*.jpg and test/CLASS/*.jpg (or val), decoded once.

Images whose pixels went through JPEG are labelled so wherever they are shown.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from svcca_lib.paper.data.images import CIFAR10_CLASSES, ImageData, image_data
from svcca_lib.paper.store import identity
from svcca_lib.paper.store.store import Store

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


_SIZES_DIFFER = (
    "the images differ in size; give one to scale and crop them to, as in folder:PATH?size=224"
)


def class_folders(
    root: Path,
    *,
    size: int | None = None,
    limit: int | None = None,
    expected: tuple[str, ...] = (),
    store: Store | None = None,
) -> ImageData:
    """Load images of which each class is a folder of `root`'s train/, and test/ or val/.

    The shorter side is scaled to `size` and the centre cropped; `limit` takes the first images of
    each class by name. The classes must be those `expected`, if any are. Decoded pixels are kept
    in `store`, by default the default one.

    Raises
    ------
    FileNotFoundError
        If a folder is not there, or holds no image.
    ValueError
        If the classes are not those expected, an image cannot be read, or sizes differ.
    """
    parts = [root / "train", root / ("test" if (root / "test").is_dir() else "val")]
    for part in parts:
        if not part.is_dir():
            raise FileNotFoundError(
                f"expected {root}/train/<class>/ and {root}/test/<class>/ (or val), and found no "
                f"{part.name}"
            )
    classes = tuple(sorted(folder.name for folder in parts[0].iterdir() if folder.is_dir()))
    if expected and classes != expected:
        raise ValueError(
            f"the class folders must be {', '.join(expected)}; {parts[0]} has "
            f"{', '.join(classes) or 'none'}"
        )
    for part in parts:
        if extra := {folder.name for folder in part.iterdir() if folder.is_dir()} - set(classes):
            raise ValueError(f"{part} has classes that train lacks: {sorted(extra)}")
    files = [_listing(part, classes, limit) for part in parts]

    def decode(_: Path) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
        formats: set[str] = set()
        tensors = {}
        for name, part in zip(("train", "test"), files, strict=True):
            tensors[f"{name}_images"], found = _decode([file for file, _ in part], size)
            tensors[f"{name}_labels"] = torch.tensor([label for _, label in part])
            formats |= found
        if tensors["train_images"].shape[1:] != tensors["test_images"].shape[1:]:
            raise ValueError(_SIZES_DIFFER)
        return tensors, {"formats": sorted(formats)}

    listing = hashlib.sha256()
    for file, index in (item for part in files for item in part):
        stat = file.stat()
        listing.update(
            os.fsencode(f"{file.relative_to(root)}\0{index}\0{stat.st_size}\0{stat.st_mtime_ns}\n")
        )
    config = {"listing": listing.hexdigest(), "size": size}
    artefact = (store or Store()).fetch("images", config, decode, version=identity.of_training())
    train, test = (
        (artefact.tensors[f"{part}_images"], artefact.tensors[f"{part}_labels"])
        for part in ("train", "test")
    )
    name, label = _names(root, classes, artefact.meta["formats"], {"size": size, "limit": limit})
    return image_data(name, label, train, test, classes)


def one_folder(
    root: Path, classes: Sequence[str], *, size: int, limit: int | None = None
) -> tuple[Tensor, Tensor]:
    """Load images of which each class is a folder of `root`: pixels, and positions in `classes`.

    Pixels are uint8, (n, 3, size, size): the shorter side is scaled to `size` and the centre
    cropped; `limit` takes the first images of each class by name.

    Raises
    ------
    FileNotFoundError
        If a folder holds no image.
    ValueError
        If an image cannot be read.
    """
    files = _listing(root, classes, limit)
    pixels, _ = _decode([file for file, _ in files], size)
    return pixels, torch.tensor([label for _, label in files])


def _names(
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


def _listing(part: Path, classes: Sequence[str], limit: int | None) -> list[tuple[Path, int]]:
    """List the images of a part with the numbers of their classes."""
    files = []
    for label, name in enumerate(classes):
        folder = part / name
        found = sorted(f for f in folder.glob("*") if f.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise FileNotFoundError(f"there is no .jpg or .png image in {folder}")
        files += [(file, label) for file in found[:limit]]
    if not files:
        raise FileNotFoundError(f"there is no class folder in {part}")
    return files


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


def _decode(files: list[Path], size: int | None) -> tuple[Tensor, set[str]]:
    """Decode files into one (n, 3, h, w) uint8 tensor, with a thread for each core."""
    from tqdm import tqdm

    first, _ = _read_image(files[0], size)
    images = np.empty((len(files), *first.shape), dtype=np.uint8)

    def read(i: int) -> str:
        pixels, found = _read_image(files[i], size)
        if pixels.shape != first.shape:
            raise ValueError(
                f"{_SIZES_DIFFER} ({files[0]} is {first.shape[:2]}, {files[i]} is "
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
