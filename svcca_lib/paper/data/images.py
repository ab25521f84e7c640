"""Images for classification, each data set as tensors held once.

Images are uint8 tensors of shape (n, c, h, w); a batch is normalised when it is used.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from svcca_lib.paper.data.fingerprint import fingerprint

CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images for classification, already split."""

    kind: ClassVar[Literal["images"]] = "images"
    name: str  # for files: "digits", "cifar10", "cifar10-jpeg", "folder-<its name>"
    label: str  # what a reader is told: "CIFAR-10" only for the original pixels
    train_images: Tensor  # uint8, (n, c, h, w)
    train_labels: Tensor  # int64, (n,): indices into `classes`
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    mean: Tensor  # float32, (c,): of the training pixels, where a pixel is in [0, 1]
    std: Tensor
    fingerprint: str  # of all tensors and of the names of the classes

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (c, h, w) of one image."""
        return tuple(self.train_images.shape[1:])

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of what a network takes."""
        return self.shape

    @property
    def outputs(self) -> int:
        """How many logits a network gives: one for each class."""
        return len(self.classes)

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
    counts = [torch.bincount(c.flatten(), minlength=256) for c in train[0].unbind(1)]
    histograms = torch.stack(counts).double()
    weights = histograms / histograms.sum(1, keepdim=True)
    mean = weights @ values
    std = (weights * (values - mean[:, None]) ** 2).sum(1).sqrt()
    if not bool((std > 0).all()):
        raise ValueError(f"the training images of {label} are constant in a channel")
    found = fingerprint((*train, *test), classes)
    return ImageData(name, label, *train, *test, classes, mean.float(), std.float(), found)


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


def cifar10(root: Path | None = None) -> ImageData:
    """Load CIFAR-10 as torchvision unpacks it below `root`; by default it is downloaded.

    If it is incomplete or altered, or cannot be downloaded, a FileNotFoundError says the remedy.
    """
    from torchvision.datasets import CIFAR10

    folder = root or data_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        train, test = (CIFAR10(folder, train=part, download=root is None) for part in (True, False))
    except (RuntimeError, OSError) as error:
        remedy = (
            f"{folder / 'cifar-10-batches-py'} is incomplete or altered: unpack "
            f"cifar-10-python.tar.gz there anew"
            if root
            else f"torchvision could not download it to {folder}: unpack cifar-10-python.tar.gz "
            f"there, or point to a copy with cifar10:PATH"
        )
        raise FileNotFoundError(f"{remedy} ({error})") from error

    def tensors(part: CIFAR10) -> tuple[Tensor, Tensor]:
        images = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()
        return images, torch.tensor(part.targets, dtype=torch.int64)

    return image_data("cifar10", "CIFAR-10", tensors(train), tensors(test), CIFAR10_CLASSES)


def data_folder() -> Path:
    """Folder of downloaded data: $SVCCA_DATA, or the platform's data folder for this project."""
    if folder := os.environ.get("SVCCA_DATA"):
        return Path(folder)
    from platformdirs import user_data_path

    return user_data_path("svcca", appauthor=False)
