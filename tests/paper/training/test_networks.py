"""The architectures: the paper's layers, in the paper's order, at the sizes the paper states."""

import pytest
import torch

from svcca_lib.paper.training.networks import (
    NetworkConfig,
    build,
)

TOY = NetworkConfig("toy", (1,), 4, width=20, depth=4)
CONVNET = NetworkConfig("convnet", (3, 16, 16), 10, width=8, fc=(12, 9))
RESNET = NetworkConfig("resnet", (3, 16, 16), 10, width=4)
LSTM = NetworkConfig("lstm", (11,), 11, width=6, depth=3)
ALL = pytest.mark.parametrize("config", [TOY, CONVNET, RESNET, LSTM], ids=lambda c: c.arch)
CLASSIFIERS = pytest.mark.parametrize("config", [CONVNET, RESNET], ids=lambda c: c.arch)

# the header lines of the paper's Figure 4, as it was published
FIGURE_4_CONVNET = "in c1 c2 bn1 p1 c3 c4 c5 bn2 p2 fc1 bn3 fc2 bn4 logits out"
FIGURE_4_RESNET = " ".join(["in conv err", *["bn_cv bn_cv res"] * 15, "bn logits out"])


def inputs(config, n=5):
    generator = torch.Generator().manual_seed(0)
    if config.arch == "lstm":
        return torch.randint(0, config.inputs[0], (n, 7), generator=generator)
    return torch.randn(n, *config.inputs, generator=generator)


def outputs(network, x):
    """Output of each compared layer, in the order in which they were run."""
    seen = {}

    def hook(name):
        return lambda module, args, output: seen.__setitem__(name, output)

    handles = [network.get_submodule(n).register_forward_hook(hook(n)) for n in network.layers]
    with torch.no_grad():
        result = network(x)
    for handle in handles:
        handle.remove()
    return seen, result


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_labels_are_those_of_the_papers_figure_4():
    convnet, resnet = build(CONVNET, 0), build(RESNET, 0)
    assert " ".join(convnet.labels) == FIGURE_4_CONVNET
    assert " ".join(resnet.labels) == FIGURE_4_RESNET
    assert (len(convnet.labels), len(resnet.labels)) == (16, 51)


@ALL
def test_layers_are_unique_submodules_listed_in_the_order_in_which_they_run(config):
    network = build(config, 0).eval()
    seen, _ = outputs(network, inputs(config))
    assert tuple(seen) == network.layers
    assert len(network.labels) == len(set(network.layers)) == len(network.layers)


def test_the_toy_network_has_the_layers_of_figure_1():
    seen, y = outputs(build(TOY, 0).eval(), inputs(TOY))
    assert {k: tuple(v.shape[1:]) for k, v in seen.items()} == {
        "in": (1,), "h1": (20,), "h2": (20,), "h3": (20,), "h4": (20,), "out": (4,)
    }  # fmt: skip
    assert torch.equal(seen["out"], y)


def test_the_convnet_has_the_sizes_that_the_paper_states():
    config = NetworkConfig("convnet", (3, 32, 32), 10)
    seen, _ = outputs(build(config, 0).eval(), inputs(config, 2))
    shapes = {k: tuple(v.shape[1:]) for k, v in seen.items()}
    assert shapes["c1"] == shapes["bn1"] == (64, 32, 32)
    assert shapes["p1"] == shapes["bn2"] == (64, 16, 16)
    assert shapes["p2"] == (64, 8, 8)
    assert (shapes["fc1"], shapes["bn3"]) == ((512,), (512,))
    assert (shapes["fc2"], shapes["bn4"]) == ((256,), (256,))
    assert shapes["logits"] == shapes["out"] == (10,)


def test_the_resnet_halves_the_image_and_doubles_the_channels_twice():
    network = build(RESNET, 0).eval()
    seen, _ = outputs(network, inputs(RESNET))
    for unit in range(1, 16):
        stage = (unit - 1) // 5
        expected = (4 * 2**stage, 16 // 2**stage, 16 // 2**stage)
        for part in ("bn_cv1", "bn_cv2", "res"):
            assert tuple(seen[f"unit{unit}.{part}"].shape[1:]) == expected
    assert seen["bn"].shape[1:] == (16, 4, 4)
    assert seen["logits"].shape[1:] == seen["out"].shape[1:] == (10,)


def test_a_residual_unit_adds_its_block_to_the_input():
    network = build(RESNET, 0).eval()
    seen, _ = outputs(network, inputs(RESNET))
    # inside a stage the shortcut is the identity
    assert torch.equal(seen["unit2.res"], seen["unit1.res"] + seen["unit2.bn_cv2"])
    # between stages it is every second pixel, and zeros for the new channels
    shortcut = seen["unit6.res"] - seen["unit6.bn_cv2"]
    torch.testing.assert_close(shortcut[:, :4], seen["unit5.res"][:, :, ::2, ::2])
    assert shortcut[:, 4:].abs().max() < 1e-5


def test_the_lstm_layers_are_sequences_of_hidden_states():
    seen, y = outputs(build(LSTM, 0).eval(), inputs(LSTM))
    assert tuple(seen) == ("emb", "lstm1", "lstm2", "lstm3", "logits")
    assert all(seen[f"lstm{i}"].shape == (5, 7, 6) for i in (1, 2, 3))
    assert y.shape == (5, 7, 11)


def test_the_lstm_sees_only_the_past():
    network = build(LSTM, 0).eval()
    x = inputs(LSTM)
    changed = x.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % 11
    a, b = network(x), network(changed)
    assert torch.equal(a[:, :4], b[:, :4])
    assert not torch.equal(a[:, 4:], b[:, 4:])


@CLASSIFIERS
def test_forward_returns_logits_and_out_is_their_softmax(config):
    seen, y = outputs(build(config, 0).eval(), inputs(config))
    assert torch.equal(y, seen["logits"])
    torch.testing.assert_close(seen["out"], y.softmax(dim=1))
    torch.testing.assert_close(seen["out"].sum(dim=1), torch.ones(5))


@ALL
def test_a_captured_output_is_not_overwritten_by_the_layers_above(config):
    network = build(config, 0).eval()
    copies = {}
    for name in network.layers:
        network.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: copies.__setitem__(name, output.clone())
        )
    seen, _ = outputs(network, inputs(config))
    assert all(torch.equal(seen[name], copies[name]) for name in network.layers)


def test_rectified_layers_come_before_their_batch_norm():
    seen, _ = outputs(build(CONVNET, 0).train(), inputs(CONVNET, 64))
    for name in ("c1", "c2", "c3", "c4", "c5", "fc1", "fc2"):
        assert seen[name].min() == 0
    for name in ("bn1", "bn2", "bn3", "bn4"):
        assert seen[name].min() < 0  # standardised after the ReLU, not rectified again


def test_parameter_counts_follow_from_the_architecture():
    w, (f1, f2) = 8, (12, 9)
    convolutions = (3 * 9 + 1) * w + 4 * (w * 9 + 1) * w
    dense = (w * 4 * 4 + 1) * f1 + (f1 + 1) * f2 + (f2 + 1) * 10
    assert parameters(build(CONVNET, 0)) == convolutions + dense + 2 * (2 * w + f1 + f2)

    resnet, channels = 3 * 9 * 4 + 2 * 4, 4
    for unit in range(15):
        wider = 4 * 2 ** (unit // 5)
        resnet += 9 * channels * wider + 2 * channels + 9 * wider * wider + 2 * wider
        channels = wider
    assert parameters(build(RESNET, 0)) == resnet + 2 * 16 + (16 + 1) * 10

    assert parameters(build(TOY, 0)) == 2 * 20 + 3 * (20 + 1) * 20 + (20 + 1) * 4
    assert parameters(build(LSTM, 0)) == 11 * 6 + 3 * 4 * 6 * (6 + 6 + 2) + (6 + 1) * 11


@ALL
def test_weights_depend_on_the_seed_alone_and_leave_the_global_generator_as_it_was(config):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build(config, 7).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second, other = build(config, 7).state_dict(), build(config, 8).state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


def test_weights_before_a_relu_have_the_variance_of_he():
    network = build(NetworkConfig("convnet", (3, 32, 32), 10), 0)
    for name, fan_in in (("c2.conv", 64 * 9), ("fc1.linear", 4096), ("fc2.linear", 512)):
        layer = network.get_submodule(name)
        assert layer.weight.var().item() == pytest.approx(2 / fan_in, rel=0.03)
        assert not layer.bias.any()


@ALL
def test_the_freezing_units_are_all_stages_in_order_and_each_has_weights(config):
    network = build(config, 0)
    stages = [name for name, _ in network.stages()]
    assert [stage for unit in network.groups.values() for stage in unit] == stages
    for unit in network.groups.values():
        assert any(parameters(network.get_submodule(stage)) for stage in unit)


def test_freezing_goes_by_layer_in_the_convnet_and_by_residual_unit_in_the_resnet():
    convnet, resnet = build(CONVNET, 0), build(RESNET, 0)
    assert " ".join(convnet.groups) == "c1 c2 bn1 c3 c4 c5 bn2 fc1 bn3 fc2 bn4 logits"
    assert list(resnet.groups) == ["conv", *(f"unit{i}" for i in range(1, 16)), "head"]
    assert convnet.frozen_prefix("bn1") == ("in", "c1", "c2", "bn1", "p1")
    assert resnet.frozen_prefix("unit1") == ("in", "conv", "err", "unit1")
    with pytest.raises(ValueError, match=r"group must be one of c1, c2, bn1.*; got 'p1'"):
        convnet.frozen_prefix("p1")


@ALL
def test_the_stages_run_one_after_another_are_the_network(config):
    network = build(config, 0).eval()
    x = y = inputs(config)
    for _, stage in network.stages():
        y = stage(y)
    assert torch.equal(network(x), y)


def test_with_circular_padding_a_convolution_commutes_with_shifts_and_with_zeros_it_does_not():
    x = inputs(CONVNET)

    def residual(padding):
        config = NetworkConfig("convnet", (3, 16, 16), 10, width=8, fc=(12, 9), padding=padding)
        network = build(config, 0).eval()
        here = outputs(network, x)[0]["bn1"]
        there = outputs(network, x.roll((3, 5), dims=(2, 3)))[0]["bn1"]
        return (there - here.roll((3, 5), dims=(2, 3))).abs().max()

    assert residual("circular") < 1e-5
    assert residual("zeros") > 1e-2


def test_zero_and_circular_padding_share_their_weights():
    circular = NetworkConfig("resnet", (3, 16, 16), 10, width=4, padding="circular")
    build(circular, 0).load_state_dict(build(RESNET, 0).state_dict(), strict=True)


def test_channels_last_and_autocast_give_the_same_function():
    network = build(CONVNET, 0).eval()
    x = inputs(CONVNET)
    expected = network(x)
    network = network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        network(x.contiguous(memory_format=torch.channels_last)), expected, atol=1e-4, rtol=1e-4
    )
    with torch.autocast("cpu", torch.bfloat16):
        assert (network(x) - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (NetworkConfig("vgg", (3, 8, 8), 10), "arch must be one of toy, convnet, resnet, lstm"),
        (NetworkConfig("convnet", (8, 8), 10), r"inputs of convnet must have 3 dim.*\(8, 8\)"),
        (NetworkConfig("convnet", (3, 2, 8), 10), "at least 4 x 4"),
        (NetworkConfig("resnet", (3, 8, 8), 0), "at least 1"),
        (
            NetworkConfig("convnet", (3, 8, 8), 10, padding="mirror"),
            "padding must be zeros or circ",
        ),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        build(config, 0)
