"""The compressed network computes what the old one would with its layers projected."""

import numpy as np
import pytest
import torch
from torch import nn

from svcca_lib import Subspace, capture, compress, projection_matrix, svcca
from svcca_lib.paper.training.networks import NetworkConfig, build

TOP = ("p2", "fc1", "bn3", "fc2", "bn4")


def convnet(seed=0):
    """The book's ConvNet, small, with the batch statistics and gains of a trained network."""
    network = build(NetworkConfig("convnet", (3, 8, 8), 5, width=6, fc=(20, 12)), seed)
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            with torch.no_grad():
                module.running_mean.normal_(generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(-2, -0.5, generator=generator)
                module.bias.normal_(generator=generator)
    return network.eval()


def images(n=200, seed=0):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def orthogonal_projection(columns):
    q = torch.linalg.qr(torch.as_tensor(columns).double())[0]
    return q @ q.T


@torch.no_grad()
def projected_forward(model, data, maps):
    """Forward pass with the output of each layer replaced by its projection."""

    def hook(change):
        def apply(module, args, output):
            flat = change(output.double().flatten(1)).to(output.dtype)
            return flat.reshape(output.shape)

        return apply

    handles = [
        model.get_submodule(name).register_forward_hook(hook(change))
        for name, change in maps.items()
    ]
    out = model(data)
    for handle in handles:
        handle.remove()
    return out


def leading(model, layers, k, data):
    acts = capture(model, list(layers), data)
    return {name: Subspace.fit(x.flatten(1), keep=1).directions[:, :k] for name, x in acts.items()}


@pytest.mark.parametrize("layer", TOP)
def test_equals_projecting_the_activations(layer):
    model, data = convnet(), images()
    (columns,) = leading(model, [layer], 5, data).values()
    matrix = orthogonal_projection(columns)
    with torch.no_grad():
        found = compress(model, {layer: columns})(data)
    expected = projected_forward(model, data, {layer: lambda a: a @ matrix})
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert (found - model(data)).abs().max() > 1e-3  # something was lost


@pytest.mark.parametrize("order", [TOP, TOP[::-1]])
def test_all_five_layers_at_once_in_any_order(order):
    model, data = convnet(), images()
    columns = leading(model, order, 4, data)
    matrices = {name: orthogonal_projection(c) for name, c in columns.items()}
    expected = projected_forward(
        model, data, {name: lambda a, m=m: a @ m for name, m in matrices.items()}
    )
    small = compress(model, columns)
    with torch.no_grad():
        torch.testing.assert_close(small(data), expected, atol=1e-5, rtol=1e-4)
    assert parameters(small) < 0.85 * parameters(model)


def test_one_after_another_from_the_output_down_equals_all_at_once():
    model, data = convnet(), images()
    columns = leading(model, TOP, 4, data)
    step = model
    sizes = [parameters(model)]
    for name in TOP[::-1]:
        step = compress(step, {name: columns[name]})
        sizes.append(parameters(step))
    at_once = compress(model, columns)
    with torch.no_grad():
        torch.testing.assert_close(step(data), at_once(data), atol=1e-5, rtol=1e-4)
    assert sizes[-1] < sizes[0]
    assert sizes[-1] == parameters(at_once)


def test_the_projection_of_project_keeps_the_mean():
    model, data = convnet(), images()
    acts = capture(model, ["fc1", "logits"], data)
    weights = svcca(acts["fc1"], acts["logits"], keep=1).x_weights
    mean, down, up = projection_matrix(acts["fc1"], weights, k=5)
    small = compress(model, {"fc1": (mean, down, up)})
    expected = projected_forward(model, data, {"fc1": lambda a: mean + (a - mean) @ down @ up})
    with torch.no_grad():
        torch.testing.assert_close(small(data), expected, atol=1e-5, rtol=1e-4)
        # Logits are a linear map of fc2, not of fc1; the five directions still hold most of them.
        assert (small(data) - model(data)).abs().mean() < model(data).std()


def test_directions_of_channels_below_a_flattening():
    model, data = convnet(), images()
    columns = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    matrix = orthogonal_projection(columns)
    small = compress(model, {"p2": columns})

    def channels(flat):
        return torch.einsum("ncp,cd->ndp", flat.reshape(len(flat), 6, -1), matrix).flatten(1)

    expected = projected_forward(model, data, {"p2": channels})
    with torch.no_grad():
        torch.testing.assert_close(small(data), expected, atol=1e-5, rtol=1e-5)
    assert parameters(small) < parameters(model)


# Zero padding below a batch norm is refused: see test_what_cannot_be_carried.
@pytest.mark.parametrize(
    ("padding", "bn"), [("zeros", False), ("circular", False), ("circular", True)]
)
def test_a_convolution_becomes_a_1x1_and_a_smaller_one(padding, bn):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(16)
    norm.running_mean.normal_()
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.ReLU(),
        norm if bn else nn.Identity(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1, padding_mode=padding),
    ).eval()
    columns = torch.randn(16, 3, dtype=torch.float64)
    matrix = orthogonal_projection(columns)
    small = compress(model, {"1": columns})
    expected = projected_forward(
        model,
        images(),
        {"1": lambda a: torch.einsum("ncp,cd->ndp", a.reshape(len(a), 16, -1), matrix).flatten(1)},
    )
    with torch.no_grad():
        torch.testing.assert_close(small(images()), expected, atol=1e-5, rtol=1e-5)
    assert [type(m).__name__ for m in small[3]] == ["Conv2d", "Conv2d"]
    assert tuple(small[3][0].weight.shape) == (3, 16, 1, 1)


def test_a_torchvision_network_is_traced_through_pooling_and_flattening():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    model, data = resnet18(num_classes=600).eval(), torch.randn(2, 3, 64, 64)
    columns = torch.randn(512, 4, dtype=torch.float64)
    matrix = orthogonal_projection(columns)
    small = compress(model, {"layer4": columns})
    expected = projected_forward(
        model,
        data,
        {"layer4": lambda a: torch.einsum("ncp,cd->ndp", a.reshape(2, 512, -1), matrix).flatten(1)},
    )
    with torch.no_grad():
        torch.testing.assert_close(small(data), expected, atol=1e-5, rtol=1e-4)
    assert parameters(model) - parameters(small) == 512 * 600 - 4 * (512 + 600)


def test_every_reader_of_a_layer_is_replaced():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk, self.a, self.b = nn.Linear(4, 30), nn.Linear(30, 20), nn.Linear(30, 25)

        def forward(self, x):
            x = self.trunk(x)
            return torch.cat([self.a(x), self.b(x)], dim=1)

    torch.manual_seed(0)
    model, data = Fork(), torch.randn(10, 4)
    columns = torch.randn(30, 2, dtype=torch.float64)
    matrix = orthogonal_projection(columns)
    expected = projected_forward(model, data, {"trunk": lambda a: a @ matrix})
    torch.testing.assert_close(compress(model, {"trunk": columns})(data), expected)


def test_the_original_is_untouched_and_its_modes_are_kept():
    model, data = convnet(), images(20)
    model.train()
    model.bn1.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small = compress(model, leading(model, ["fc1"], 3, data))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (model.training, model.bn1.training) == (True, False)
    assert (small.training, small.bn1.training, small.fc2.linear[0].training) == (True, False, True)


def test_full_rank_changes_nothing_and_never_costs_weights():
    model, data = convnet(), images(20)
    small = compress(model, {"fc1": np.random.default_rng(0).normal(size=(20, 20))})
    with torch.no_grad():
        torch.testing.assert_close(small(data), model(data), atol=1e-5, rtol=1e-5)
    assert parameters(small) == parameters(model)


def test_the_compressed_network_can_be_captured_and_trained():
    model, data = convnet(), images(20)
    small = compress(model, leading(model, ["fc1", "p2"], 3, data))
    assert capture(small, ["fc1", "bn3"], data)["bn3"].shape == (20, 20)
    small.train()(data).sum().backward()
    assert small.fc2.linear[0].weight.grad is not None


@pytest.mark.parametrize(
    ("layer", "columns", "message"),
    [
        ("fc9", torch.eye(20), "no layer 'fc9' in the model; did you mean"),
        (
            "fc1",
            torch.eye(19),
            "must have one row for each of 20 neurons; got 19",
        ),
        ("p2", torch.eye(5), "24 neurons or for each channel; got 5"),
        ("c3", torch.eye(6), "after layer 'c3' comes|is read by a convolution"),
        ("logits", torch.eye(5), "nothing reads layer 'logits'|comes"),
        ("bn2", torch.eye(6), "after layer 'bn2' comes 'p2' .MaxPool2d."),
        ("fc1", torch.zeros(20, 2), "direction of length zero"),
        ("fc1", (torch.zeros(20), torch.eye(20)), "got 2 parts"),
    ],
)
def test_what_cannot_be_carried(layer, columns, message):
    if layer == "c3":  # convolution after convolution: fine without a mean, refused with one
        compress(convnet(), {"c3": columns})
        columns = (torch.ones(6), columns, columns * 0.5)
    with pytest.raises(ValueError, match=message):
        compress(convnet(), {layer: columns})


def test_a_model_that_cannot_be_traced_says_so():
    class Branching(nn.Sequential):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else x

    with pytest.raises(ValueError, match=r"torch\.fx, which cannot trace this Branching"):
        compress(Branching(nn.Linear(3, 3)), {"0": torch.eye(3)})
