"""Capture: what was asked for, in one order, and nothing left behind."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from svcca_lib import capture, cka
from svcca_lib.models.capture import recording
from svcca_lib.paper.training.networks import NetworkConfig, build


def mlp(inplace=False):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=inplace), nn.Linear(8, 3)
    )


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


X = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))


def test_outputs_are_those_of_the_layers():
    model = mlp().eval()
    out = capture(model, ["3", "0"], X, batch_size=7)
    assert list(out) == ["3", "0"]
    torch.testing.assert_close(out["3"], model(X))
    torch.testing.assert_close(out["0"], model[0](X))
    assert not out["3"].requires_grad


def test_in_place_relu_does_not_overwrite_what_was_captured():
    model = mlp(inplace=True).eval()
    out = capture(model, "all", X)
    torch.testing.assert_close(out["1"], model[1](model[0](X)))
    assert (out["1"] < 0).any()


def test_mode_is_restored_module_by_module():
    model = mlp().train()
    model[1].eval()
    before = model[1].running_mean.clone()
    capture(model, "0", X)
    assert [m.training for m in model] == [True, False, True, True]
    assert torch.equal(model[1].running_mean, before)


def test_batch_statistics_are_not_touched_in_training_mode():
    model = mlp().train()
    before = model[1].running_mean.clone()
    capture(model, "3", X)
    assert torch.equal(model[1].running_mean, before)


def test_hooks_are_removed_even_on_error():
    model = mlp()
    capture(model, "all", X)
    assert hooks(model) == 0
    with pytest.raises(RuntimeError):
        capture(model, "all", torch.ones(5, 9))
    assert hooks(model) == 0
    with pytest.raises(ValueError, match="no layer"):
        capture(model, ["0", "nothing"], X)
    assert hooks(model) == 0
    assert model.training
    with pytest.raises(ZeroDivisionError), recording((model, "all")):
        1 / 0  # noqa: B018
    assert hooks(model) == 0


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("0", ["0"]),
        (["2", "0"], ["2", "0"]),
        ("[01]", ["0", "1"]),
        ("*", ["0", "1", "2", "3"]),
        ("all", ["0", "1", "2", "3"]),
        (["3", "*"], ["3", "0", "1", "2"]),
    ],
)
def test_layers_by_name_and_pattern(layers, expected):
    assert list(capture(mlp(), layers, X)) == expected


def test_layers_by_module():
    model = mlp()
    assert list(capture(model, model[2], X)) == ["2"]
    assert list(capture(model, (model[2], "0"), X)) == ["2", "0"]
    with pytest.raises(ValueError, match="this Linear is no part of the model"):
        capture(model, nn.Linear(1, 1), X)


def test_all_means_the_networks_own_layers_where_it_names_them():
    network = build(NetworkConfig("convnet", (3, 8, 8), 5, width=4, fc=(9, 7)), 0)
    out = capture(network, "all", torch.randn(6, 3, 8, 8))
    assert tuple(out) == network.layers
    torch.testing.assert_close(out["out"], out["logits"].softmax(1))


def test_all_else_means_every_module_that_calls_no_other():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.Tanh(), nn.Linear(6, 2)))
    assert list(capture(model, "all", X)) == ["0", "1.0", "1.1"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [("layer1.0.conv3", r"did you mean .*'layer1\.0\.conv1'"), ("zzz", "it has 'conv1', 'bn1'")],
)
def test_a_wrong_name_lists_near_ones(wrong, message):
    from torchvision.models import resnet18

    with pytest.raises(ValueError, match=message):
        capture(resnet18(), wrong, torch.ones(1, 3, 32, 32))


def test_layers_of_another_type():
    for wrong in (3, None, []):
        with pytest.raises(TypeError, match="layers must be a name"):
            capture(mlp(), wrong, X)
    with pytest.raises(TypeError, match="must hold names or modules; got int"):
        capture(mlp(), [0], X)
    with pytest.raises(TypeError, match="model must be a torch"):
        capture(torch.relu, "0", X)


# --- batches -------------------------------------------------------------------------------------


class Keyword(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, *, values, bonus=None):
        return self.linear(values) + (0 if bonus is None else bonus)


def test_every_kind_of_batches_gives_the_same():
    model, labels = mlp(), torch.arange(50)
    expected = capture(model, "3", X)["3"]
    kinds = [
        X.numpy(),
        DataLoader(X, batch_size=8),
        DataLoader(TensorDataset(X, labels), batch_size=8),
        [X[:20], X[20:]],
        ((part, None) for part in X.split(9)),
        [X.numpy()],
    ]
    for batches in kinds:
        torch.testing.assert_close(capture(model, "3", batches)["3"], expected)


def test_a_dict_goes_in_as_keyword_arguments():
    model = Keyword()
    batches = [{"values": part, "bonus": torch.ones(len(part), 3)} for part in X.split(20)]
    out = capture(model, "linear", batches)
    torch.testing.assert_close(out["linear"], model.linear(X))


def test_feed_runs_batches_of_any_other_kind():
    out = capture(mlp(), "0", [{"image": X}], feed=lambda model, batch: model(batch["image"]))
    assert out["0"].shape == (50, 8)


@pytest.mark.parametrize("empty", [[], X[:0], iter(())])
def test_no_batch_is_an_error(empty):
    with pytest.raises(ValueError, match="batches holds no batch"):
        capture(mlp(), "0", empty)


def test_what_is_no_batches():
    for wrong in (3, "data", {"x": X}):
        with pytest.raises(TypeError, match="batches must be a tensor or an iterable"):
            capture(mlp(), "0", wrong)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        capture(mlp(), "0", X, batch_size=0)


def test_two_models_are_fed_from_one_pass_in_one_order():
    model = mlp()
    loader = DataLoader(X, batch_size=10, shuffle=True)
    xs, ys = [], []
    with recording((model, "3"), (model, "0")) as run:
        for batch in loader:
            a, b = run(batch)
            xs.append(a["3"])
            ys.append(b["0"])
    left, right = torch.cat(xs), torch.cat(ys)
    torch.testing.assert_close(model.eval()[3](model[2](model[1](right))), left)
    # Two passes would mis-pair the rows.
    again = capture(model, "3", loader)["3"]
    assert cka(left, again).similarity < 0.5


# --- outputs -------------------------------------------------------------------------------------


def test_a_module_used_twice_gives_numbered_entries():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.relu = nn.Linear(4, 4), nn.ReLU()

        def forward(self, x):
            return self.relu(self.linear(self.relu(x)))

    model = Twice()
    out = capture(model, ["relu", "linear"], X)
    assert list(out) == ["relu#1", "relu#2", "linear"]
    torch.testing.assert_close(out["relu#1"], X.relu())
    torch.testing.assert_close(out["relu#2"], model(X))


def test_of_a_tuple_the_first_tensor_is_taken():
    torch.manual_seed(0)
    lstm = nn.LSTM(4, 5, batch_first=True)
    model = nn.Sequential(nn.Identity(), lstm)
    data = torch.randn(6, 7, 4)
    torch.testing.assert_close(capture(model, "1", data)["1"], lstm(data)[0])


def test_a_transformer_in_full():
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    data = torch.randn(5, 3, 8)
    out = capture(nn.TransformerEncoder(encoder, 2), "all", data)
    assert out["layers.0.linear1"].shape == (5, 3, 16)
    assert "layers.1.self_attn" in out  # calls none of its own submodules


def test_torchvision_networks():
    from torchvision.models import resnet18, vit_b_16
    from torchvision.models.vision_transformer import VisionTransformer

    assert callable(vit_b_16)
    data = torch.randn(2, 3, 32, 32)
    out = capture(resnet18(), ["layer?.?", "fc"], data)
    assert list(out) == [f"layer{i}.{j}" for i in range(1, 5) for j in range(2)] + ["fc"]
    everything = capture(resnet18(), "all", data)
    assert {"layer1.0.relu#1", "layer1.0.relu#2"} <= set(everything)
    vit = VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32
    )
    tokens = capture(vit, "encoder.layers.*", data)
    assert tokens["encoder.layers.encoder_layer_1"].shape == (2, 17, 16)


def test_a_layer_that_did_not_run_or_has_no_rows():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle, self.total = nn.Linear(4, 2), nn.Linear(4, 2), nn.Flatten(0)

        def forward(self, x):
            return self.total(self.used(x))

    with pytest.raises(ValueError, match="layer 'idle' did not run"):
        capture(Odd(), "idle", X)
    with pytest.raises(ValueError, match=r"'total' must give a tensor .* got shape \(100,\)"):
        capture(Odd(), "total", X)
    assert list(capture(Odd(), "all", X)) == ["used"]


def test_what_is_left_out_of_a_pattern_is_logged(caplog):
    model = nn.Sequential(nn.Linear(4, 2), nn.Flatten(0))
    capture(model, "*", X)
    assert "left out: 1" in caplog.text


def test_a_shape_that_changes_between_batches():
    model = nn.Sequential(nn.Identity())
    with pytest.raises(ValueError, match=r"changes shape between batches: \(3,\) and then \(4,\)"):
        capture(model, "0", [torch.ones(2, 3), torch.ones(2, 4)])


def test_memory_of_the_batches_is_released():
    out = capture(nn.Sequential(nn.Identity()), "0", [np.ones((2, 3))] * 3)
    assert out["0"].shape == (6, 3)
    assert out["0"].dtype == torch.float64
