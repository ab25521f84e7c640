"""The networks of the paper; every layer that is compared is a named submodule.

A network is a straight sequence of *stages*. That one decision serves three readers: `capture`
finds a layer by its name, Freeze Training runs a prefix of stages without autograd, and a person
reads the architecture from top to bottom. No operation works in place, so a captured output is
never overwritten by the layer above it.

The paper gives the order of the layers, the widths of p2 (8x8x64), fc1 (512) and fc2 (256), the
depth of the ResNet (15 residual units) and the toy network (4 x 200). Kernel sizes (3x3), the
other widths, the initialisation (He, fan in) and the shortcut of the ResNet (subsample and pad
with zero channels, no weights) are our choices.

References
----------
Raghu et al. 2017, sections 2 and 4, Figures 2 and 4. He et al. 2015 (initialisation), He et al.
2016, "Identity mappings in deep residual networks" (pre-activation).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from svcca_lib.paper.data.sources import Kind

Arch = Literal["toy", "convnet", "resnet", "lstm"]
Padding = Literal["zeros", "circular"]


@dataclass(frozen=True)
class NetworkConfig:
    """What a network is made from: plain values, so that it can be hashed and stored."""

    arch: Arch
    inputs: tuple[int, ...]  # (features,) for toy, (c, h, w) for images, (vocabulary,) for lstm
    outputs: int  # of a regression, classes, or the size of the vocabulary
    # toy: units of each hidden layer. convnet: channels of each convolution. resnet: channels of
    # the first stage (doubled in each later one). lstm: units of each layer and of the embedding.
    width: int = 64
    # toy: hidden layers. resnet: residual units per stage. lstm: stacked layers. convnet: fixed.
    depth: int = 5
    fc: tuple[int, int] = (512, 256)  # convnet: units of fc1 and fc2
    padding: Padding = "zeros"  # of convolutions; or "circular", as Theorem 1 asks for

    @property
    def kind(self) -> Kind:
        """Kind of data that the network learns from."""
        return kind_of_data(self.arch)


class Network(nn.Module):
    """A straight sequence of named stages, with the names of the layers to compare.

    Parameters
    ----------
    stages
        Name and module of each stage, from the input upward.
    softmax
        Whether there is a layer "out" above the logits, to be captured: it runs in evaluation mode
        alone, and `forward` returns the logits all the same.
    layers
        Names of the compared submodules, from the input upward; by default the stages, and "out".
    labels
        The paper's label of each layer, by default its name; labels may repeat, names do not.
    groups
        Freezing units: name -> names of its stages. Together they are all stages, in order.
    """

    def __init__(
        self,
        stages: dict[str, nn.Module],
        *,
        softmax: bool = False,
        layers: tuple[str, ...] = (),
        labels: tuple[str, ...] = (),
        groups: dict[str, tuple[str, ...]] | None = None,
    ) -> None:
        super().__init__()
        for name, module in stages.items():
            self.add_module(name, module)
        if softmax:
            self.out = nn.Softmax(dim=1)
        self._softmax = softmax
        self.layers = layers or (*stages, *(["out"] if softmax else []))
        self.labels = labels or self.layers
        self.groups = groups or _layer_by_layer(stages)
        self._stages = tuple(stages)

    def stages(self) -> tuple[tuple[str, nn.Module], ...]:
        """Name and module of each stage, in the order in which `forward` runs them."""
        return tuple((name, self.get_submodule(name)) for name in self._stages)

    def frozen_prefix(self, group: str) -> tuple[str, ...]:
        """Names of all stages from the input up to and including a freezing unit."""
        if group not in self.groups:
            raise ValueError(f"group must be one of {', '.join(self.groups)}; got {group!r}")
        units = list(self.groups)
        below = units[: units.index(group) + 1]
        return tuple(stage for unit in below for stage in self.groups[unit])

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (n, classes); regression outputs; or (n, time, vocabulary)."""
        for name in self._stages:
            x = self.get_submodule(name)(x)
        if self._softmax and not self.training:
            self.out(x)  # for whoever captures "out"; the loss works on logits
        return x


class _Residual(nn.Module):
    """Pre-activation residual unit: two times BN, ReLU, convolution, added to the shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int, padding: Padding) -> None:
        super().__init__()
        self.stride = stride
        self.extra = channels - channels_in
        self.bn_cv1 = _bn_conv(channels_in, channels, stride, padding)
        self.bn_cv2 = _bn_conv(channels, channels, 1, padding)
        self.res = nn.Identity()  # gives the sum a name

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.extra:
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, 0, self.extra))
        total: Tensor = self.res(shortcut + self.bn_cv2(self.bn_cv1(x)))
        return total


class _LSTMLayer(nn.LSTM):
    """One LSTM layer whose output is the sequence of hidden states, (n, time, width)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)[0]


def _named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


def _conv(
    channels_in: int, channels: int, padding: Padding, *, stride: int = 1, bias: bool = True
) -> nn.Conv2d:
    return nn.Conv2d(
        channels_in, channels, 3, stride=stride, padding=1, padding_mode=padding, bias=bias
    )


def _bn_conv(channels_in: int, channels: int, stride: int, padding: Padding) -> nn.Sequential:
    return _named(
        bn=nn.BatchNorm2d(channels_in),
        relu=nn.ReLU(),
        conv=_conv(channels_in, channels, padding, stride=stride, bias=False),
    )


def _layer_by_layer(stages: dict[str, nn.Module]) -> dict[str, tuple[str, ...]]:
    """Split stages into freezing units; each begins at a stage with weights (or at the input)."""
    weighted = [name for name, stage in stages.items() if list(stage.parameters())]
    groups: dict[str, tuple[str, ...]] = dict.fromkeys(weighted, ())
    unit = weighted[0]
    for name in stages:
        unit = name if name in groups else unit
        groups[unit] += (name,)
    return groups


def _toy(config: NetworkConfig) -> Network:
    (features,) = config.inputs
    stages: dict[str, nn.Module] = {"in": nn.Identity()}
    for i in range(config.depth):
        stages[f"h{i + 1}"] = _named(
            linear=nn.Linear(config.width if i else features, config.width), relu=nn.ReLU()
        )
    stages["out"] = nn.Linear(config.width, config.outputs)
    # "out" is a stage of the toy network: its regression output is not a softmax
    return Network(stages)


def _convnet(config: NetworkConfig) -> Network:
    channels, height, width = config.inputs
    w, (fc1, fc2), padding = config.width, config.fc, config.padding

    def conv(channels_in: int) -> nn.Sequential:
        return _named(conv=_conv(channels_in, w, padding), relu=nn.ReLU())

    stages: dict[str, nn.Module] = {
        "in": nn.Identity(),
        "c1": conv(channels),
        "c2": conv(w),
        "bn1": nn.BatchNorm2d(w),
        "p1": nn.MaxPool2d(2),
        "c3": conv(w),
        "c4": conv(w),
        "c5": conv(w),
        "bn2": nn.BatchNorm2d(w),
        "p2": nn.MaxPool2d(2),
        "fc1": _named(
            flatten=nn.Flatten(),  # (n, w, h/4, w/4) -> (n, w * h/4 * w/4), channel first
            linear=nn.Linear(w * (height // 4) * (width // 4), fc1),
            relu=nn.ReLU(),
        ),
        "bn3": nn.BatchNorm1d(fc1),
        "fc2": _named(linear=nn.Linear(fc1, fc2), relu=nn.ReLU()),
        "bn4": nn.BatchNorm1d(fc2),
        "logits": nn.Linear(fc2, config.outputs),
    }
    return Network(stages, softmax=True)


def _resnet(config: NetworkConfig) -> Network:
    channels = config.inputs[0]
    stages: dict[str, nn.Module] = {
        "in": nn.Identity(),
        "conv": _conv(channels, config.width, config.padding, bias=False),
        "err": nn.BatchNorm2d(config.width),  # the paper's name; its Figure 4 has it after conv
    }
    layers, labels = list(stages), list(stages)
    groups = {"conv": tuple(stages)}
    channels = config.width
    for i in range(3 * config.depth):
        stage, unit = divmod(i, config.depth)
        wider = config.width * 2**stage
        name = f"unit{i + 1}"
        stages[name] = _Residual(channels, wider, 2 if stage and not unit else 1, config.padding)
        layers += [f"{name}.bn_cv1", f"{name}.bn_cv2", f"{name}.res"]
        labels += ["bn_cv", "bn_cv", "res"]
        groups[name] = (name,)
        channels = wider
    stages["bn"] = nn.BatchNorm2d(channels)
    stages["logits"] = _named(
        relu=nn.ReLU(),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),  # (n, c, 1, 1) -> (n, c)
        linear=nn.Linear(channels, config.outputs),
    )
    head = ("bn", "logits")
    return Network(
        stages,
        softmax=True,
        layers=(*layers, *head, "out"),
        labels=(*labels, *head, "out"),
        groups={**groups, "head": head},
    )


def _lstm(config: NetworkConfig) -> Network:
    (vocabulary,) = config.inputs
    stages: dict[str, nn.Module] = {"emb": nn.Embedding(vocabulary, config.width)}
    for i in range(config.depth):
        stages[f"lstm{i + 1}"] = _LSTMLayer(config.width)
    stages["logits"] = nn.Linear(config.width, config.outputs)
    return Network(stages)


# how it is made, the dimensions of its inputs, and the kind of data it learns from
_ARCHITECTURES: dict[str, tuple[Callable[[NetworkConfig], Network], int, Kind]] = {
    "toy": (_toy, 1, "toy"),
    "convnet": (_convnet, 3, "images"),
    "resnet": (_resnet, 3, "images"),
    "lstm": (_lstm, 1, "text"),
}


def kind_of_data(arch: str) -> Kind:
    """Return the kind of data that networks of an architecture learn from."""
    if arch not in _ARCHITECTURES:
        raise ValueError(f"arch must be one of {', '.join(_ARCHITECTURES)}; got {arch!r}")
    return _ARCHITECTURES[arch][2]


def _initialise(network: nn.Module) -> None:
    """He initialisation for what feeds a ReLU: normal, variance 2 / fan in, biases zero.

    The LSTM and its embedding keep PyTorch's: uniform in +-1 / sqrt(width), standard normal.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def build(config: NetworkConfig, seed: int) -> Network:
    """Build a network with weights that depend on the configuration and the seed alone.

    It is on the CPU, float32, in training mode. The state of torch's global generator neither
    matters nor changes. An unknown architecture, an input shape that does not fit it, or a size
    that is not positive is a ValueError.
    """
    kind_of_data(config.arch)  # refuses those that are unknown
    make, dimensions, _ = _ARCHITECTURES[config.arch]
    if len(config.inputs) != dimensions:
        raise ValueError(
            f"inputs of {config.arch} must have {dimensions} dimension(s); got {config.inputs}"
        )
    sizes = (*config.inputs, config.outputs, config.width, config.depth, *config.fc)
    if min(sizes) < 1:
        raise ValueError(f"every size of a network must be at least 1; got {config}")
    if config.arch == "convnet" and min(config.inputs[1:]) < 4:
        raise ValueError(
            f"the ConvNet pools twice and needs images of at least 4 x 4; got {config.inputs}"
        )
    if config.padding not in get_args(Padding):
        raise ValueError(
            f"padding must be {' or '.join(get_args(Padding))}; got {config.padding!r}"
        )
    with torch.random.fork_rng(devices=[]):
        # not torch.manual_seed: that would also seed the accelerators, which are not restored
        torch.default_generator.manual_seed(seed)
        network = make(config)
        _initialise(network)
    return network


def freezing_units(config: NetworkConfig) -> tuple[str, ...]:
    """Return the names of a network's freezing units, from the input upward."""
    with torch.device("meta"):
        return tuple(build(config, 0).groups)
