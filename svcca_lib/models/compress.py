r"""Build the smaller network that reads some layers through few directions."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn

from svcca_lib._linalg import thin_svd
from svcca_lib.inputs import ArrayLike, as_tensor
from svcca_lib.models.selection import bare, near
from svcca_lib.rank import rank_cut

Projection: TypeAlias = ArrayLike | tuple[ArrayLike, ArrayLike, ArrayLike]


def compress(model: nn.Module, directions: Mapping[str, Projection]) -> nn.Module:
    r"""Build the smaller network that reads some layers through few directions.

    With a layer's directions as the orthonormal rows of P, (k, p), the linear map W above it is
    replaced by two, :math:`P` and :math:`W P^\top`: k (p + q) weights in place of p q. The network
    then computes exactly what the old one would with that layer's output projected on the
    directions.

    Parameters
    ----------
    model : torch.nn.Module
        Left untouched. torch.fx must be able to trace its forward pass.
    directions : dict of str to array or to (mean, down, up)
        For each layer, by name: directions (p, k), one a column, of any scale, such as
        ``svcca(x, y).x_weights[:, :k]``, which are orthonormalised; or what
        `projection_matrix` gives, to project as `project` does, in data space and about the mean.
        p is the number of neurons; for a convolutional layer the number of channels, which makes
        the first factor a 1x1 convolution, or, below a flattening, of all pixels, channel first.

    Returns
    -------
    torch.nn.Module
        A copy that takes and gives what the old one does; its layers keep their names.

    Raises
    ------
    TypeError, ValueError
        If a layer is not in the model, directions do not fit it, something else than a
        normalisation, a flattening or a linear map follows it, or the model cannot be traced.

    Notes
    -----
    Several layers are projected all at once, whatever their order in the dict. Compressing one
    after another is the same as long as it goes from the output towards the input.

    A batch normalisation between the layer and the linear map stays where it is and is taken into
    account, with the statistics of evaluation mode. `capture` still finds the layer at its full
    width, before the projection. Where k is so large that two factors would hold more weights than
    one, their product is stored instead.

    Directions that keep the correlation of two layers need not keep what the network computes; see
    the accuracy, not the number of directions.

    References
    ----------
    Raghu et al. 2017, section 5 and Appendix Figure 5.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from svcca_lib import compress
    >>> model = nn.Sequential(nn.Linear(5, 40), nn.ReLU(), nn.BatchNorm1d(40), nn.Linear(40, 30))
    >>> small = compress(model, {"1": torch.eye(40)[:, :4]})
    >>> [sum(w.numel() for w in m.parameters()) for m in (model, small)]
    [1550, 630]
    """
    model = bare(model)
    names = [name for name, _ in model.named_modules()]
    for name in directions:
        if name not in names or not name:
            raise ValueError(f"no layer {name!r} in the model; {near(name, names[1:])}")
    small = copy.deepcopy(model)
    modes = {module: module.training for module in small.modules()}
    small.eval()
    # From the output towards the input: a projection further down is to be applied first.
    position = {name: _position(small, name) for name in directions}
    for name in sorted(directions, key=position.__getitem__, reverse=True):
        _project_layer(small, name, directions[name])
    for module in small.modules():
        module.training = modes.get(module, model.training)
    return small


class _Tracer(fx.Tracer):
    """Trace down to torch's own modules and the layer that is compressed."""

    def __init__(self, layer: str) -> None:
        super().__init__()
        self.layer = layer

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = module_qualified_name == self.layer or isinstance(m, nn.RNNBase)
        return own or super().is_leaf_module(m, module_qualified_name)


def _trace(model: nn.Module, layer: str) -> list[fx.Node]:
    try:
        return list(_Tracer(layer).trace(model).nodes)
    except Exception as error:  # torch.fx raises whatever the model's own code does with a proxy
        raise ValueError(
            f"compress follows the forward pass with torch.fx, which cannot trace "
            f"this {type(model).__name__}: {error}"
        ) from error


def _position(model: nn.Module, layer: str) -> int:
    nodes = _trace(model, layer)
    calls = [i for i, node in enumerate(nodes) if _called(node) == layer]
    if len(calls) != 1:
        raise ValueError(
            f"layer {layer!r} must run once in the forward pass; it runs {len(calls)} times"
        )
    return calls[0]


def _called(node: fx.Node) -> str:
    """Name of the module that a node calls; empty where it calls none."""
    return str(node.target) if node.op == "call_module" else ""


@dataclass(frozen=True)
class _Reading:
    """How a linear map sees the layer: ``z = scale * a + shift`` for each neuron, maybe flat."""

    scale: Tensor  # (c,) float64, or (1,) for all
    shift: Tensor
    flat: bool = False

    def normalised(self, bn: nn.modules.batchnorm._BatchNorm, name: str) -> _Reading:
        if bn.running_mean is None or bn.running_var is None:
            raise ValueError(f"{name!r} keeps no running statistics: it is no linear map")
        scale = (bn.running_var.double() + bn.eps).rsqrt()
        shift = -bn.running_mean.double() * scale
        if bn.affine:
            scale, shift = scale * bn.weight, shift * bn.weight + bn.bias
        before, offset = (_spread(value, scale) for value in (self.scale, self.shift))
        return _Reading((scale * before).detach(), (scale * offset + shift).detach(), self.flat)


def _spread(value: Tensor, like: Tensor) -> Tensor:
    """One value a neuron of `like`, from one for all or one a channel (channels come first)."""
    return value.to(like.device).repeat_interleave(len(like) // len(value))


# Linear, alike for all channels, and leaving a constant as it is (without padding).
_CHANNELWISE = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.AdaptiveAvgPool2d, nn.AvgPool2d)


def _project_layer(model: nn.Module, layer: str, projection: Projection) -> None:
    """Replace every linear map that reads the layer by its two factors, in place."""
    nodes = _trace(model, layer)
    modules = dict(model.named_modules())
    (start,) = (node for node in nodes if _called(node) == layer)
    as_it_is = _Reading(torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    pending = [(user, as_it_is) for user in start.users]
    if not pending:
        raise ValueError(f"nothing reads layer {layer!r}: there is nothing to compress")
    while pending:
        node, reading = pending.pop()
        name = _called(node)
        module = modules.get(name) if name else None
        onwards: _Reading | None = None
        if isinstance(module, _CHANNELWISE) and not getattr(module, "padding", 0):
            onwards = reading
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001
            onwards = reading.normalised(module, name)
            if not onwards.scale.all():
                raise ValueError(f"batch norm {name!r} scales a neuron by 0; remove the neuron")
        elif isinstance(module, nn.Flatten) or _flattens(node):
            onwards = _Reading(reading.scale, reading.shift, flat=True)
        elif isinstance(module, (nn.Linear, nn.Conv2d)):
            if sum(_called(other) == name for other in nodes) > 1:
                raise ValueError(f"{name!r} is used twice; it cannot be replaced for one input")
            factored = _factored(module, reading, _maps(projection, layer), layer)
            model.set_submodule(name, factored)
        else:
            what = name or getattr(node.target, "__name__", str(node.target))
            kind = f" ({type(module).__name__})" if module is not None else ""
            raise ValueError(
                f"after layer {layer!r} comes {what!r}{kind}; expected a batch norm, a flattening "
                f"or a linear map, through which a projection can be carried"
            )
        if onwards is not None:
            pending += [(user, onwards) for user in node.users]


def _flattens(node: fx.Node) -> bool:
    named = node.target is torch.flatten or (node.op, node.target) == ("call_method", "flatten")
    return named and node.args[1:] == (1,)


def _maps(projection: Projection, layer: str) -> tuple[Tensor, Tensor, Tensor]:
    """V (k, p), U (p, k) and t (p,): the layer's output a becomes ``t + U V a``."""
    name = f"directions[{layer!r}]"
    if isinstance(projection, tuple):
        if len(projection) != 3:
            raise ValueError(
                f"{name} must be directions or (mean, down, up); got {len(projection)} parts"
            )
        mean, down, up = (
            as_tensor(part, name, ndim=ndim, min_rows=1).detach()
            for part, ndim in zip(projection, (1, 2, 2), strict=True)
        )
        return down.T, up.T, mean - (mean @ down) @ up
    columns = as_tensor(projection, name, ndim=2, min_rows=1).detach()
    length = columns.norm(dim=0)
    if not length.all():
        raise ValueError(f"{name} has a direction of length zero")
    u, s, _ = thin_svd(columns / length)
    basis = u[:, : rank_cut(s, columns.shape)]
    return basis.T, basis, columns.new_zeros(len(columns))


def _factored(
    module: nn.Linear | nn.Conv2d, reading: _Reading, maps: tuple[Tensor, ...], layer: str
) -> nn.Module:
    """Two maps in place of one: first to the k directions, then on to the outputs."""
    weight = module.weight.detach().double()  # (q, inputs) or (q, c, kh, kw)
    v, u, t = (part.to(weight.device) for part in maps)
    p, inputs = v.shape[1], weight.shape[1]
    convolution = isinstance(module, nn.Conv2d)
    # Below a flattening the directions may be of channels: every pixel is projected alike.
    pixels = inputs // p if reading.flat else 1
    if p * pixels != inputs:
        raise ValueError(
            f"directions[{layer!r}] must have one row for each of {inputs} neurons"
            f"{' or for each channel' if reading.flat else ''}; got {p}"
        )
    if pixels > 1 and len(reading.scale) > p:
        raise ValueError(
            f"a batch norm of flattened pixels follows layer {layer!r}: give directions of all "
            f"{inputs} of them"
        )
    scale, shift = _spread(reading.scale, t), _spread(reading.shift, t)

    # a = (z - shift) / scale is projected, scaled and shifted again, and meets the old weights.
    first, first_bias = v / scale, -(v / scale) @ shift
    constant = scale * t + shift
    spread = weight if convolution else weight.reshape(len(weight), p, pixels)  # (q, p, ...)
    second = torch.einsum("qp...,pk->qk...", spread, scale[:, None] * u)
    bias = torch.einsum("qp...,p->q", spread, constant)
    if module.bias is not None:
        bias = bias + module.bias
    if convolution:
        if module.groups != 1:
            raise ValueError(
                f"layer {layer!r} is read by a grouped convolution; expected an ordinary one"
            )
        bordered = module.padding not in (0, (0, 0), "valid") and module.padding_mode == "zeros"
        if bordered and (first_bias.any() or constant.any()):
            raise ValueError(
                f"layer {layer!r} is read by a convolution with zero padding, across which only "
                f"directions without a batch norm or a mean can be carried"
            )
    bias = bias + torch.einsum("qk...,k->q", second.reshape(len(bias), len(v), -1), first_bias)
    if first.numel() + second.numel() > weight.numel():
        return _linear_map(module, torch.einsum("qk...,kp->qp...", second, first), bias)
    plain = first[:, :, None, None] if convolution else first
    down = _linear_map(module, plain, torch.zeros(1), plain=True)
    up = _linear_map(module, second, bias)
    if pixels == 1:
        return nn.Sequential(down, up)
    # (n, c * pixels) -> (n, pixels, c) -> (n, pixels, k) -> (n, k * pixels)
    return nn.Sequential(nn.Unflatten(1, (p, pixels)), _Swap(), down, _Swap(), nn.Flatten(), up)


class _Swap(nn.Module):
    """Exchange the last two dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def _linear_map(
    like: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor, *, plain: bool = False
) -> nn.Module:
    """A linear map with these weights; a convolution of the geometry of `like` unless plain."""
    options: dict[str, Any] = {
        "bias": bool(bias.any()) or (like.bias is not None and not plain),
        "dtype": like.weight.dtype,
        "device": like.weight.device,
    }
    made: nn.Module
    if isinstance(like, nn.Conv2d):
        if not plain:
            for option in ("stride", "padding", "dilation", "padding_mode"):
                options[option] = getattr(like, option)
        outputs, inputs, height, width = weight.shape
        made = nn.Conv2d(inputs, outputs, (height, width), **options)
    else:
        weight = weight.flatten(1)
        made = nn.Linear(weight.shape[1], len(weight), **options)
    with torch.no_grad():
        made.weight.copy_(weight)
        if made.bias is not None:
            made.bias.copy_(bias)
    return made
