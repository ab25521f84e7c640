"""Two models in one line: the table equals what the arrays give, whatever the reading."""

import csv
import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import svcca_lib
from svcca_lib import (
    NetworkMoments,
    SampleSizeWarning,
    capture,
    channels_as_neurons,
    compare,
    dft_cca,
    gather,
    pairwise,
    positions_as_neurons,
)
from svcca_lib.measures.similarity import Similarity
from svcca_lib.paper.training.networks import NetworkConfig, build

IMAGES = torch.randn(120, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def cnn(seed, width=4):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 5, 3, padding=1),
        nn.Flatten(),
        nn.Linear(80, 6),
    )


def mlp(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 10), nn.Tanh(), nn.Linear(10, 7))


def test_dft_equals_the_arrays_for_layers_of_any_size():
    a, b = cnn(0), cnn(1, width=3)
    layers = ["0", "1", "3", "5"]
    table = compare(a, b, DataLoader(IMAGES, 50), layers, ["3", "0"], keep=0.9, progress=False)
    xs, ys = capture(a, layers, IMAGES), capture(b, ["3", "0"], IMAGES)
    expected = [[dft_cca(x, y, keep=0.9) for y in ys.values()] for x in xs.values()]
    np.testing.assert_allclose(
        table.matrix, [[r.similarity for r in row] for row in expected], atol=1e-9
    )
    np.testing.assert_allclose(table.chance, [[r.chance for r in row] for row in expected])
    assert (table.layers_a, table.layers_b, table.n) == (tuple(layers), ("3", "0"), 120)


@pytest.mark.parametrize(
    "measure", ["svcca", "cca", "pwcca", "linear_regression", "cka", "procrustes"]
)
@pytest.mark.parametrize("same", [False, True])
def test_every_measure_equals_the_arrays(measure, same):
    a = mlp(0)
    b = a if same else mlp(1)
    layers = ["1", "2", "3"]
    table = compare(a, b, IMAGES, layers, measure=measure, batch_size=33, progress=False)
    xs, ys = capture(a, layers, IMAGES), capture(b, layers, IMAGES)
    expected = pairwise(xs, ys, measure).numpy()
    np.testing.assert_allclose(table.matrix, expected, atol=1e-9)
    one = getattr(svcca_lib, measure)(xs["1"], ys["3"])
    assert abs(table.chance[0, 2] - one.chance) < 1e-9


@pytest.mark.parametrize("conv", ["mean", "pixels", "channels", "positions"])
def test_readings_of_a_convolution(conv):
    a, b = cnn(0), cnn(1)
    layers = ["0", "1"] if conv in ("pixels", "channels") else ["0", "3", "5"]
    table = compare(a, b, IMAGES[:60], layers, measure="cka", conv=conv, progress=False)
    read = {
        "mean": lambda x: x.mean((2, 3)) if x.ndim == 4 else x,
        "pixels": lambda x: x.flatten(1),
        "channels": channels_as_neurons,
        "positions": lambda x: positions_as_neurons(x) if x.ndim == 4 else x,
    }[conv]
    xs, ys = (
        {name: read(x.double()) for name, x in capture(m, layers, IMAGES[:60]).items()}
        for m in (a, b)
    )
    np.testing.assert_allclose(table.matrix, pairwise(xs, ys, "cka").numpy(), atol=1e-9)
    assert table.n == (60 * 64 if conv == "channels" else 60)


@pytest.mark.parametrize("tokens", ["datapoints", "mean", "first", "last"])
def test_readings_of_tokens(tokens):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh())
    data = torch.randn(90, 4, 6)
    table = compare(model, model, data, ["0", "1"], measure="cca", tokens=tokens, progress=False)
    read = {
        "datapoints": lambda x: x.flatten(0, 1),
        "mean": lambda x: x.mean(1),
        "first": lambda x: x[:, 0],
        "last": lambda x: x[:, -1],
    }[tokens]
    xs = {name: read(x.double()) for name, x in capture(model, ["0", "1"], data).items()}
    np.testing.assert_allclose(table.matrix, pairwise(xs, measure="cca").numpy(), atol=1e-7)
    assert f"tokens={tokens}" in table.reading


def test_tokens_must_be_read_somehow():
    model = nn.Sequential(nn.Linear(6, 5))
    with pytest.raises(ValueError, match=r"\(n, tokens, d\) = \(9, 4, 5\); say how to read it"):
        compare(model, model, torch.randn(9, 4, 6), progress=False)


def test_recurrent_networks():
    network = build(NetworkConfig("lstm", (12,), 12, width=6, depth=2), 0)
    text = torch.randint(0, 12, (40, 9), generator=torch.Generator().manual_seed(0))
    table = compare(network, network, text, tokens="datapoints", progress=False)
    assert table.layers_a == ("emb", "lstm1", "lstm2", "logits")
    np.testing.assert_allclose(table.matrix.diagonal(), 1)
    assert table.n == 360


def test_the_books_convnet_with_all_its_layers():
    a, b = (build(NetworkConfig("convnet", (3, 8, 8), 5, width=4, fc=(9, 7)), s) for s in (0, 1))
    table = compare(a, b, IMAGES, progress=False)
    assert table.layers_a == a.layers
    assert table.matrix.shape == (16, 16)
    assert table.matrix[0, 0] == pytest.approx(1)  # the input is the same
    assert (table.matrix > 0).all()
    assert (table.chance < table.matrix.max(axis=1, keepdims=True)).all()


def test_torchvision_networks_in_one_line(caplog):
    from torchvision.models import resnet18
    from torchvision.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    data = torch.randn(24, 3, 32, 32)
    vit = VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16
    )
    table = compare(
        resnet18(num_classes=8),
        vit,
        data,
        ["conv1", "fc"],
        ["encoder.layers.*ln_1", "encoder.ln"],
        measure="cka",
        conv="mean",
        tokens="first",
        progress=False,
    )
    assert table.matrix.shape == (2, len(table.layers_b))
    # The class token is the same for every image until the first attention.
    constant = [
        name
        for name in table.layers_b
        if np.isnan(table.matrix[:, table.layers_b.index(name)]).any()
    ]
    assert constant == ["encoder.layers.encoder_layer_0.ln_1"]
    assert np.isnan(table.chance[0]).sum() == 1
    assert "ln_1' has no variance left" in caplog.text


def test_a_shuffled_loader_does_not_mispair():
    model = mlp(0)
    loader = DataLoader(IMAGES, 20, shuffle=True)
    table = compare(model, mlp(0), loader, ["3"], measure="cka", progress=False)
    assert table.matrix[0, 0] == pytest.approx(1)


def test_one_pass_serves_many_measures_and_reads_the_data_once():
    served = []

    class Once(torch.utils.data.IterableDataset):
        def __iter__(self):
            served.append(1)
            yield from IMAGES

    moments = gather(mlp(0), mlp(1), DataLoader(Once(), 25), ["1", "3"], progress=False)
    assert len(served) == 1
    for measure in ("svcca", "cka"):
        direct = compare(mlp(0), mlp(1), IMAGES, ["1", "3"], measure=measure, progress=False)
        np.testing.assert_allclose(moments.table(measure).matrix, direct.matrix, atol=1e-9)


def test_memory_does_not_grow_with_the_data():
    def held(n):
        return gather(cnn(0), cnn(1), IMAGES[:n], ["0", "3"], batch_size=20, progress=False).nbytes

    assert held(20) == held(120) > 8 * IMAGES[0].numel()


def test_moments_of_networks_stay_exact_on_a_large_mean():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 400, 5)) + 1e6
    y[:, :3] += x[:, :3]
    m = NetworkMoments()
    for rows in np.array_split(np.arange(400), 13):
        m.update({"x": x[rows]}, {"y": y[rows]})
    expected = svcca_lib.cca(x, y).similarity
    assert abs(m.table("cca").matrix[0, 0] - expected) < 1e-9


# --- the table -----------------------------------------------------------------------------------


@pytest.fixture
def table():
    return compare(mlp(0), mlp(1), IMAGES, ["1", "3"], ["3"], measure="cca", progress=False)


def test_to_pandas_and_csv(table, tmp_path):
    frame = table.to_pandas()
    assert frame.loc["3", "3"] == table.matrix[1, 0]
    table.to_csv(tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["layer", "3"]
    assert [row[0] for row in rows] == ["1", "3"]
    assert [float(row[1]) for row in rows] == table.matrix[:, 0].tolist()


def test_plot_labels_both_axes(table):
    import matplotlib as mpl

    mpl.use("agg")
    ax = table.plot()
    assert [t.get_text() for t in ax.get_yticklabels()] == ["1", "3"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["3"]
    np.testing.assert_array_equal(ax.images[0].get_array(), table.matrix)


def with_numbers(matrix, chance, a=("x", "y"), b=("x", "y"), n=100):
    cells = [
        Similarity("svcca", 0.0, n, independent=lambda value=value: value)
        for value in np.ravel(chance)
    ]
    return svcca_lib.LayerTable(np.array(matrix), a, b, n, "svcca", "conv=dft", cells)


def test_describes_layers_of_the_same_name_beside_chance():
    table = with_numbers([[0.9, 0.2], [0.6, 0.5]], [[0.1, 0.1], [0.1, 0.3]])
    assert table.describe() == (
        "svcca on 100 datapoints: layers of the same name score 0.70 on average; highest is x "
        "(0.90), lowest y (0.50). 1 of 2 are most like their namesake. Independent layers of these "
        "sizes would score 0.20."
    )


def test_describes_the_likest_layers_where_no_name_is_shared():
    table = with_numbers([[0.9, 0.2], [0.6, 0.7]], np.full((2, 2), 0.8), b=("u", "v"))
    words = table.describe()
    assert "layers and those most like them score 0.80 on average" in words
    assert "highest is x with u (0.90), lowest y with v (0.70)" in words
    assert "namesake" not in words
    assert "would score 0.80. That leaves little to see: take more datapoints" in words


def test_describes_constant_layers_and_a_missing_chance():
    nothing = np.full((2, 2), np.nan)
    table = with_numbers([[np.nan, np.nan], [np.nan, 0.5]], nothing)
    assert "score 0.50 on average" in table.describe()
    assert table.describe().endswith("Constant over the data: x.")
    assert "Independent" not in table.describe()
    assert "nothing to compare" in with_numbers(nothing, nothing).describe()


def test_prints_as_a_table(table):
    lines = str(table).splitlines()
    assert lines[0] == "cca, n = 120, conv=dft"
    assert lines[2].split() == ["1", f"{table.matrix[0, 0]:.3f}"]


def test_is_frozen(table):
    with pytest.raises(AttributeError):
        table.n = 3


# --- what goes wrong -----------------------------------------------------------------------------


def test_layers_of_different_size_cannot_share_pixels():
    with pytest.raises(ValueError, match=r"'0' and '3' give 7680 and 1920 datapoints .*'channels'"):
        compare(cnn(0), cnn(1), IMAGES, ["0", "3"], conv="channels", progress=False)


def test_measures_without_a_fourier_form_say_what_to_do():
    with pytest.raises(ValueError, match="for cka read the convolutions by conv='mean'"):
        compare(cnn(0), cnn(1), IMAGES, ["0"], measure="cka", progress=False)
    with pytest.raises(ValueError, match="dft_cca needs layers"):
        compare(mlp(0), mlp(1), IMAGES, ["1"], measure="dft_cca", progress=False)


def test_wrong_options_fail_after_the_first_batch():
    seen = []

    def batches():
        for part in IMAGES.split(20):
            seen.append(1)
            yield part

    with pytest.raises(TypeError, match="svcca takes the options"):
        compare(mlp(0), mlp(1), batches(), ["1"], kept=3, progress=False)
    assert len(seen) == 1
    with pytest.raises(ValueError, match="conv must be one of"):
        compare(mlp(0), mlp(1), IMAGES, conv="flat", progress=False)


def test_few_images_warn_once_and_at_the_line_that_asked():
    with pytest.warns(SampleSizeWarning, match="9 datapoints .*; 3 of the other") as caught:
        compare(mlp(0), mlp(1), IMAGES[:9], ["1", "2"], progress=False)
    assert [w.filename for w in caught] == [__file__]


def test_one_row_is_not_enough():
    with pytest.raises(ValueError, match="at least 2 rows"):
        compare(mlp(0), mlp(1), IMAGES[:1], ["1"], progress=False)


def test_batches_must_agree():
    m = NetworkMoments()
    with pytest.raises(ValueError, match="at least one layer"):
        m.update({})
    m.update({"a": np.ones((3, 2))})
    with pytest.raises(ValueError, match="the same layers"):
        m.update({"b": np.ones((3, 2))})
    with pytest.raises(ValueError, match="the same layers"):
        m.update({"a": np.ones((3, 2))}, {"a": np.ones((3, 2))})
    with pytest.raises(ValueError, match=r"expected layers of sizes"):
        m.update({"a": np.ones((3, 4))})


def test_progress_bar_goes_to_stderr_only(capsys, caplog):
    caplog.set_level(logging.DEBUG)
    compare(mlp(0), mlp(1), IMAGES, ["1"], measure="cka")
    out, err = capsys.readouterr()
    assert out == ""
    assert "batch" in err
