"""What a layer's output means: found where it is certain, refused where it is not, and said."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

from svcca_lib import capture, cca, cka, compare, dft_cca, svcca
from svcca_lib.models.capture import View, recording
from svcca_lib.models.readings import Reading


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded(make, seed=0):
    torch.manual_seed(seed)
    return make().eval()


def value(a, b, x, layer, measure="svcca", **options):
    table = compare(a, b, x, layer, measure=measure, progress=False, **options)
    return table.matrix[0, 0]


def axes_of(model, x, layer, feed=None, **asked):
    """Letters that a layer is taken for."""
    with recording((model, layer), feed=feed, view=View(Reading("mean", "mean"))) as run:
        run(x)
        return run.readings()[layer].partition(")")[0][1:].replace(", ", "")


# --- channels last -------------------------------------------------------------------------------


def swin():
    from torchvision.models.swin_transformer import SwinTransformer

    return SwinTransformer([4, 4], 8, [2, 2], [2, 4], [4, 4], stochastic_depth_prob=0.0)


def convnext():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 1)])


@pytest.mark.parametrize("conv", ["mean", "pixels", "channels", "dft"])
def test_swin_is_read_with_its_channels_last(conv):
    a, b, images = seeded(swin, 0), seeded(swin, 1), normal(300, 3, 32, 32)
    with torch.no_grad():
        x, y = (m.features[:3](images).double() for m in (a, b))  # (n, 4, 4, 16)
    expected = {
        "mean": lambda: svcca(x.mean((1, 2)), y.mean((1, 2))),
        "pixels": lambda: svcca(x.flatten(1), y.flatten(1)),
        "channels": lambda: svcca(x.flatten(0, 2), y.flatten(0, 2)),
        "dft": lambda: dft_cca(x.permute(0, 3, 1, 2), y.permute(0, 3, 1, 2), keep=0.99),
    }[conv]().similarity
    assert value(a, b, images, "features.2", conv=conv) == pytest.approx(expected, abs=1e-6)
    assert value(a, b, images, "features.2", conv=conv, channels="last") == pytest.approx(
        expected, abs=1e-6
    )


@pytest.mark.slow
def test_torchvisions_swin_in_full():
    from torchvision.models import swin_t

    a, b, images = seeded(swin_t, 0), seeded(swin_t, 1), normal(40, 3, 64, 64)
    with torch.no_grad():
        x, y = (m.features(images).double().mean((1, 2)) for m in (a, b))
    right = value(a, b, images, "features.7", "cka", conv="mean")
    assert right == pytest.approx(cka(x, y).similarity, abs=1e-6)
    wrong = value(a, b, images, "features.7", "cka", conv="mean", channels="first")
    assert abs(wrong - right) > 0.1


def test_convnext_changes_sides_inside_its_blocks():
    model, images = seeded(convnext), normal(3, 3, 64, 64)
    expected = {
        "features.0": "nchw",
        "features.0.1": "nchw",  # a LayerNorm by type, made for channels first
        "features.1": "nchw",
        "features.1.0": "nchw",
        "features.1.0.block.0": "nchw",
        "features.1.0.block.1": "nhwc",  # a permutation
        "features.1.0.block.2": "nhwc",
        "features.1.0.block.3": "nhwc",
        "features.1.0.block.4": "nhwc",
        "features.1.0.block.5": "nhwc",
        "features.1.0.block.6": "nchw",
        "features.1.0.stochastic_depth": "nchw",
        "avgpool": "nchw",
    }
    assert {layer: axes_of(model, images, layer) for layer in expected} == expected


class Functional(nn.Module):
    """No module tells the axes of its maps."""

    def __init__(self, dims):
        super().__init__()
        self.dims, self.inner = dims, nn.Identity()

    def forward(self, x):
        return self.inner(x.permute(0, *self.dims)).mean((2, 3))


def test_the_shape_decides_only_for_square_maps():
    images = normal(5, 3, 8, 8)
    assert axes_of(Functional((1, 2, 3)), images, "inner") == "nchw"
    assert axes_of(Functional((2, 3, 1)), images, "inner") == "nhwc"
    for odd in (normal(5, 3, 8, 6), normal(5, 8, 8, 8)):
        with pytest.raises(ValueError, match=r"'inner' .*no module tells .*channels='first' or"):
            axes_of(Functional((1, 2, 3)), odd, "inner")


def test_what_is_told_comes_first():
    model, images = Functional((1, 2, 3)), normal(40, 3, 8, 6)
    first, last = (images.mean(axis).double() for axis in ((2, 3), (1, 2)))
    twin = nn.Sequential(nn.Flatten(), nn.Linear(144, 4))
    y = capture(twin, "1", images)["1"].double()
    for told, rows in (
        ({"channels": "first"}, first),
        ({"channels": "last"}, last),
        ({"axes": {"inn*": "nhwc"}}, last),
        ({"axes": {"inner": "nhwc"}, "channels": "first"}, last),
    ):
        table = compare(
            model, twin, images, "inner", "1", "cca", conv="mean", progress=False, **told
        )
        assert table.matrix[0, 0] == pytest.approx(cca(rows, y).similarity, abs=1e-6)
        assert "as told" in table.readings["inner"]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"channels": "middle"}, "channels must be one of"),
        ({"axes": {"inner": "nchh"}}, "must name each axis once"),
        ({"axes": {"inner": "chw"}}, "must name each axis once"),
        ({"axes": {"inner": "nthd"}}, "must name each axis once"),
        ({"axes": {"inner": "ntd"}}, "names 3 axes; layer 'inner' gives 4"),
        ({"axes": {"inned": "nchw"}}, "axes names no layer 'inned'; did you mean 'inner'"),
    ],
)
def test_what_cannot_be_told(told, message):
    model = Functional((1, 2, 3))
    with pytest.raises(ValueError, match=message):
        compare(model, model, normal(9, 3, 8, 8), "inner", conv="mean", progress=False, **told)


def test_a_narrow_residual_network_is_not_refused():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

        def forward(self, x):
            return (x + self.bn(self.conv(x))).relu()

    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Block(), Block())
    for sizes in ((8, 8), (8, 6)):
        assert axes_of(model, normal(8, 3, *sizes), "2") == "nchw"


def test_weights_of_attention_are_no_maps(caplog):
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.drop = nn.Linear(6, 6), nn.Dropout()

        def forward(self, x):
            x = self.linear(x)
            heads = x.unflatten(2, (3, 2)).transpose(1, 2)
            return self.drop((heads @ heads.mT).softmax(-1))

    model, x = Attention(), normal(50, 7, 6)
    with pytest.raises(ValueError, match="no module tells"):
        axes_of(model, x, "drop")
    table = compare(model, model, x, measure="cka", tokens="mean", progress=False)
    assert table.layers_a == ("linear",)
    assert "axes not known, left out (say axes=): drop" in caplog.text


# --- sequences -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("tokens", ["datapoints", "mean", "first", "last"])
def test_recurrent_layers_say_which_axis_is_time(kind, tokens):
    a, b = (seeded(lambda: nn.Sequential(kind(4, 5)), seed) for seed in (0, 1))
    x = normal(9, 30, 4)  # 9 time steps, 30 sequences
    with torch.no_grad():
        rows = [m[0](x)[0].double().transpose(0, 1) for m in (a, b)]
    read = {
        "datapoints": lambda r: r.flatten(0, 1),
        "mean": lambda r: r.mean(1),
        "first": lambda r: r[:, 0],
        "last": lambda r: r[:, -1],
    }[tokens]
    table = compare(a, b, [x], "0", tokens=tokens, progress=False)
    assert table.matrix[0, 0] == pytest.approx(svcca(*map(read, rows)).similarity, abs=1e-6)
    assert table.n == (270 if tokens == "datapoints" else 30)
    assert table.readings["0"].startswith("(t, n, d), as its module tells")


class Turned(nn.Module):
    """Takes datapoints first and works the other way round inside."""

    def __init__(self):
        super().__init__()
        self.lstm, self.norm, self.out = nn.LSTM(4, 5), nn.LayerNorm(5), nn.Linear(5, 3)

    def forward(self, x):
        y = self.norm(self.lstm(x.transpose(0, 1))[0].tanh())
        return self.out(y.transpose(0, 1))


def test_models_that_turn_their_sequences():
    model, x = seeded(Turned), normal(30, 9, 4)
    assert axes_of(model, x, "lstm") == axes_of(model, x, "norm") == "tnd"
    assert axes_of(model, x, "out") == "ntd"
    out = capture(model, ["lstm", "norm", "out"], x, batch_size=7)
    assert {name: tuple(y.shape[:2]) for name, y in out.items()} == dict.fromkeys(out, (30, 9))
    with torch.no_grad():
        torch.testing.assert_close(out["lstm"], model.lstm(x.transpose(0, 1))[0].transpose(0, 1))
    # As many steps as sequences: nothing tells which is which any more.
    for layer in ("norm", "out"):
        with pytest.raises(ValueError, match=rf"axes={{'{layer}': 'ntd'}} or axes=.*'tnd'"):
            axes_of(model, normal(9, 9, 4), layer)
        with pytest.raises(ValueError, match="no module tells"):
            capture(model, layer, normal(9, 9, 4))
    assert value(
        model, model, normal(9, 9, 4), "norm", "cka", tokens="mean", axes={"norm": "tnd"}
    ) == pytest.approx(1)


def test_what_is_passed_on_keeps_its_axes():
    class First(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.out, self.act = nn.LSTM(4, 5), nn.Linear(5, 3), nn.Tanh()

        def forward(self, x):
            return self.act(self.out(self.lstm(x)[0]))

    assert axes_of(seeded(First), normal(9, 9, 4), "act") == "tnd"


def test_a_tensor_is_not_cut_along_time():
    model = nn.Sequential(nn.LSTM(4, 5))
    assert capture(model, "0", normal(9, 30, 4))["0"].shape == (30, 9, 5)
    for run in (
        lambda: capture(model, "0", normal(9, 30, 4), batch_size=4),
        lambda: compare(model, model, normal(9, 30, 4), tokens="mean", batch_size=4),
    ):
        with pytest.raises(ValueError, match=r"9 tokens was cut along them .* batch_size=9"):
            run()


@pytest.mark.parametrize("batch_first", [True, False])
def test_transformers_and_attention(batch_first):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = normal(5, 7, 8)  # 5 and 7 of either
    expected = "ntd" if batch_first else "tnd"
    for name in ("layers.0", "layers.1.self_attn", "layers.0.linear1", "layers.1.norm2"):
        assert axes_of(model, x, name) == expected
    with torch.no_grad():
        inner = model.layers[0](x)
    got = capture(model, "layers.0", x)["layers.0"]
    torch.testing.assert_close(got, inner if batch_first else inner.transpose(0, 1))


def test_a_feed_of_ones_own_hides_the_rows_but_not_the_axes():
    model, x = seeded(lambda: nn.Sequential(nn.LSTM(4, 5), nn.Identity())), normal(9, 30, 4)
    assert axes_of(model, x, "0", feed=lambda m, batch: m[0](batch)) == "tnd"


@pytest.mark.parametrize("conv", ["mean", "pixels", "channels", "dft"])
def test_one_dimensional_convolutions_are_maps(conv):
    def make():
        return nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU())

    a, b, x = seeded(make, 0), seeded(make, 1), normal(80, 3, 9)
    with torch.no_grad():
        y, z = (m(x).double() for m in (a, b))  # (80, 4, 7)
    expected = {
        "mean": lambda: svcca(y.mean(2), z.mean(2)),
        "pixels": lambda: svcca(y.flatten(1), z.flatten(1)),
        "channels": lambda: svcca(y.mT.flatten(0, 1), z.mT.flatten(0, 1)),
        "dft": lambda: dft_cca(y[:, :, None], z[:, :, None], keep=0.99),
    }[conv]().similarity
    assert value(a, b, x, "2", conv=conv) == pytest.approx(expected, abs=1e-6)
    assert axes_of(a, x, "0") == axes_of(a, x, "2") == "ncl"


def test_convolutions_in_three_dimensions():
    def make():
        return nn.Sequential(nn.Conv3d(2, 4, 2))

    a, b, x = seeded(make, 0), seeded(make, 1), normal(40, 2, 3, 4, 5)
    with torch.no_grad():
        y, z = (m(x).double() for m in (a, b))
    for conv, read in (
        ("mean", lambda r: r.mean((2, 3, 4))),
        ("pixels", lambda r: r.flatten(1)),
        ("channels", lambda r: r.movedim(1, -1).flatten(0, 3)),
    ):
        got = value(a, b, x, "0", "cka", conv=conv)
        assert got == pytest.approx(cka(read(y), read(z)).similarity, abs=1e-6)
    with pytest.raises(ValueError, match=r"conv='dft' is of one or two dimensions .*conv='mean'"):
        value(a, b, x, "0")


def test_maps_whose_places_were_put_on_one_axis():
    class Patches(nn.Module):
        def __init__(self, turned):
            super().__init__()
            self.proj, self.keep, self.turned = nn.Conv2d(3, 5, 2, 2), Kept(), turned

        def forward(self, x):
            x = self.proj(x).flatten(2)
            return self.keep(x.transpose(1, 2) if self.turned else x)

    class Kept(nn.Module):
        def forward(self, x):
            return x * 1

    x = normal(4, 3, 8, 6)
    assert axes_of(Patches(True), x, "keep") == "ntd"
    assert axes_of(Patches(False), x, "keep") == "ncl"
    with pytest.raises(ValueError, match=r"axes={'keep': 'ntd'} or axes={'keep': 'ncl'}"):
        axes_of(Patches(True), normal(4, 3, 10, 2), "keep")


sizes = st.integers(2, 5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.permutations("nhwc"), sizes, sizes, sizes, st.sampled_from(["mean", "pixels"]))
def test_the_order_of_axes_does_not_matter_once_told(order, c, h, w, conv):
    x = normal(30, c, h, w)
    turned = x.permute(*("nchw".index(letter) for letter in order))

    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Identity()

        def forward(self, x):
            return self.inner(turned)

    plain = nn.Sequential(nn.Conv2d(c, 3, 1), nn.Flatten())
    got = compare(
        Turned(), plain, x, "inner", "0", "cka", conv=conv, axes={"inner": "".join(order)},
        progress=False,
    ).matrix[0, 0]  # fmt: skip
    with torch.no_grad():
        y = plain[0](x).double()
    read = (lambda r: r.mean((2, 3))) if conv == "mean" else (lambda r: r.flatten(1))
    assert got == pytest.approx(cka(read(x.double()), read(y)).similarity, abs=1e-6)


# --- what comes apart ----------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [weight_norm, spectral_norm, nn.utils.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_layers_with_a_parametrised_weight_are_layers_and_their_weights_are_not(norm):
    model = seeded(lambda: nn.Sequential(norm(nn.Linear(4, 4)), nn.Tanh(), nn.Linear(4, 2)))
    x = normal(4, 4)  # as many datapoints as the weight has rows
    for layers in ("all", "*"):
        out = capture(model, layers, x)
        assert list(out) == ["0", "1", "2"]
    with torch.no_grad():
        torch.testing.assert_close(out["0"], model[0](x))


def test_packed_sequences_come_back_in_order_with_their_lengths():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(4, 5, batch_first=True)

        def forward(self, x, lengths):
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return self.lstm(packed)[1][0]

    a, b = seeded(Packed, 0), seeded(Packed, 1)
    lengths = torch.tensor([3, 6, 1, 4, 2, 5] * 6)
    x = normal(36, 6, 4)
    lengths[20:] = lengths[20:].clamp(max=5)
    batches = [
        {"x": x[:20], "lengths": lengths[:20]},
        {"x": x[20:, :5], "lengths": lengths[20:]},
    ]
    sequences = [row[:n] for row, n in zip(x, lengths.tolist(), strict=True)]
    with torch.no_grad():
        hidden = [[m.lstm(s[None])[0][0].double() for s in sequences] for m in (a, b)]
    for tokens, read in (
        ("datapoints", torch.cat),
        ("mean", lambda hs: torch.stack([h.mean(0) for h in hs])),
        ("first", lambda hs: torch.stack([h[0] for h in hs])),
        ("last", lambda hs: torch.stack([h[-1] for h in hs])),
    ):
        rows = [read(hs) for hs in hidden]
        got = value(a, b, batches, "lstm", tokens=tokens)
        assert got == pytest.approx(svcca(*rows).similarity, abs=1e-5)
        kept = capture(a, "lstm", batches, tokens=tokens)["lstm"]
        torch.testing.assert_close(kept.double(), rows[0], atol=1e-6, rtol=1e-5)


def test_a_batch_may_be_a_packed_sequence():
    model = seeded(lambda: nn.Sequential(nn.LSTM(4, 5)))
    sequences = [normal(n, 4, seed=n) for n in (2, 5, 3)]
    packed = pack_sequence(sequences, enforce_sorted=False)
    out = capture(model, "0", [packed], tokens="datapoints")["0"]
    with torch.no_grad():
        torch.testing.assert_close(out, torch.cat([model[0](s)[0] for s in sequences]))


def test_named_tuples_and_mappings_stay_what_they_are():
    from collections import UserDict, namedtuple

    Pair = namedtuple("Pair", "image label")

    class Encoding(UserDict):
        @property
        def image(self):
            return self["image"]

    model, x = seeded(lambda: nn.Sequential(nn.Linear(4, 3))), normal(6, 4)
    expected = capture(model, "0", x)["0"]
    for batch in (Pair(x, None), Encoding(image=x), {"image": x}):
        seen = []

        def feed(model, batch, seen=seen):
            seen.append(type(batch))
            return model(batch["image"] if isinstance(batch, dict) else batch.image)

        torch.testing.assert_close(capture(model, "0", [batch], feed=feed)["0"], expected)
        assert seen == [type(batch)]
    torch.testing.assert_close(capture(model, "0", [Pair(x, None)])["0"], expected)


def test_output_objects_give_their_first_layer_of_rows():
    from dataclasses import dataclass

    @dataclass
    class Given:
        loss: torch.Tensor
        hidden: torch.Tensor

    class Model(nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.inner, self.kind = nn.Linear(4, 3), kind

        def forward(self, x):
            hidden = self.inner(x)
            given = Given(hidden.sum(), hidden)
            return given if self.kind == "object" else vars(given)

    x = normal(6, 4)
    for kind in ("object", "dict"):
        model = nn.Sequential(seeded(lambda kind=kind: Model(kind)))
        out = capture(model, ["0", "0.inner"], x)
        assert torch.equal(out["0"], out["0.inner"])


def test_readings_say_what_was_taken():
    model = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5)))
    table = compare(model, model, normal(50, 3, 8, 8), conv="mean", measure="cka", progress=False)
    assert table.readings == {
        "0": "(n, c, h, w), channels first, as its module tells: mean over space",
        "1": "(n, d): as it is",
        "2": "(n, d): as it is",
    }
    flat = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.ReLU())
    both = compare(model, flat, normal(50, 3, 8, 8), "0", "0", "cka", conv="mean", progress=False)
    assert both.readings["0"].startswith("model a (n, c, h, w)")
    assert both.readings["0"].endswith("model b (n, d): as it is")
    assert np.isfinite(both.matrix).all()
