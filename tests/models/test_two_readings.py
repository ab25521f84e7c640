"""Two readings give what one gives, whatever the measure, the reading and the memory."""

import logging
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from svcca_lib import SampleSizeWarning, capture, compare, dft_cca, gather, pairwise, svcca
from svcca_lib.models import compare as front

IMAGES = torch.randn(90, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SMALL = "190kB"  # of all rows of an mlp, a quarter of this cannot hold all
TEXT = torch.randn(60, 5, 6, generator=torch.Generator().manual_seed(1))


def cnn(seed, width=4):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 5, 3, padding=1),
        nn.Flatten(),
        nn.Linear(80, 6),
    )


def mlp(seed, width=30):
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(192, width), nn.Tanh(), nn.Linear(width, 8), nn.ReLU()
    )
    model.layers = ("1", "2", "3", "4")
    return model


def words(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))


def one_reading(a, b, data, measure, options, **how):
    return gather(a, b, data, progress=False, **how).table(measure, **options)


CASES = [
    (cnn, IMAGES, "svcca", {}, {}),
    (cnn, IMAGES, "svcca", {"keep": 0.8, "cut": "frequency"}, {}),
    (cnn, IMAGES, "cca", {}, {}),
    (cnn, IMAGES, "dft_cca", {"mean_over": "weighted", "keep": 0.9}, {}),
    (cnn, IMAGES, "cka", {}, {"conv": "mean"}),
    (cnn, IMAGES, "svcca", {}, {"conv": "channels", "layers_a": ["0", "1"]}),
    (mlp, IMAGES, "svcca", {"energy": "singular_values"}, {}),
    (mlp, IMAGES, "svcca", {"mean_over": "weighted"}, {}),
    (mlp, IMAGES, "cca", {}, {}),
    (mlp, IMAGES, "pwcca", {"side": "y", "keep": 0.9}, {}),
    (mlp, IMAGES, "linear_regression", {}, {}),
    (mlp, IMAGES, "cka", {}, {}),
    (mlp, IMAGES, "procrustes", {}, {}),
    *((words, TEXT, "svcca", {}, {"tokens": t}) for t in ("datapoints", "mean", "first", "last")),
]


@pytest.mark.filterwarnings("ignore::svcca_lib.SampleSizeWarning")
@pytest.mark.parametrize(("network", "data", "measure", "options", "how"), CASES)
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("memory", [None, "small"])
def test_two_readings_equal_one(network, data, measure, options, how, same, memory):
    a = network(0)
    b = a if same else network(1)
    memory = memory and {cnn: "900kB", mlp: SMALL, words: "100kB"}[network]
    table = compare(
        a, b, data, measure=measure, batch_size=13, memory=memory, progress=False, **options, **how
    )
    expected = one_reading(a, b, data, measure, options, batch_size=13, **how)
    np.testing.assert_allclose(table.matrix, expected.matrix, rtol=0, atol=1e-12)
    np.testing.assert_allclose(table.chance, expected.chance, rtol=0, atol=1e-12)
    for found, known in zip(table.results, expected.results, strict=True):
        assert (found.x_kept, found.y_kept, found.n) == (known.x_kept, known.y_kept, known.n)
        if known.correlations is not None:
            np.testing.assert_allclose(found.correlations, known.correlations, rtol=0, atol=1e-9)


@pytest.mark.parametrize("once", [False, True])
def test_debiased_cka_of_a_stream_is_that_of_the_arrays(once):
    a, b = mlp(0), mlp(1)
    data = (part for part in IMAGES.split(30)) if once else IMAGES
    table = compare(a, b, data, measure="cka", debiased=True, null=0, batch_size=30, progress=False)
    xs, ys = (capture(m, list(m.layers), IMAGES, batch_size=30) for m in (a, b))
    known = pairwise(xs, ys, "cka", debiased=True).numpy()
    np.testing.assert_allclose(table.matrix, known, rtol=0, atol=1e-10)


def test_a_small_budget_reads_more_often(caplog):
    caplog.set_level(logging.INFO, "svcca_lib")
    read = []

    class Counted(TensorDataset):
        def __getitem__(self, i):
            if i == 0:
                read.append(1)
            return super().__getitem__(i)

    loader = DataLoader(Counted(IMAGES), 30)
    assert 90 * 4 * 2 * (30 + 30 + 8 + 8) > 190e3 / 4
    tables = []
    for memory in (None, SMALL):
        read.clear()
        tables.append(compare(mlp(0), mlp(1), loader, progress=False, memory=memory))
        assert len(read) == 1 if memory is None else len(read) > 2
    np.testing.assert_allclose(*(t.matrix for t in tables), rtol=0, atol=1e-12)
    first, second = caplog.messages[:2]
    assert "4 and 4 layers: moments of" in first
    assert "products of pairs of" in first
    assert "16 pairs of layers" in second
    assert "the data read 1 more time" in second


def test_mirrored_cells_trade_their_sides():
    model = mlp(0)
    table = compare(model, model, IMAGES, ["1", "3"], progress=False)
    there, back = table.results[1], table.results[2]
    assert (there.x_kept, there.y_kept) == (back.y_kept, back.x_kept)
    assert there.x_kept != there.y_kept
    np.testing.assert_array_equal(there.x_weights, back.y_weights)
    assert back.x_weights.shape[0] == 8


def test_mirrored_cells_of_images_trade_their_sizes():
    model = cnn(0)
    table = compare(model, model, IMAGES, ["0", "3"], progress=False)
    assert (table.results[1].sizes, table.results[2].sizes) == (((8, 8), (4, 4)), ((4, 4), (8, 8)))
    assert table.results[2].directions("y", 1).shape == (1, 4, 8, 8)


def test_weights_are_those_of_the_arrays_or_say_why_not():
    a, b = mlp(0), mlp(1)
    table = compare(a, b, IMAGES, ["3"], progress=False)
    x, y = (m[:4](IMAGES).detach().double() for m in (a, b))
    known = svcca(x, y)
    found = table.results[0].x_weights
    np.testing.assert_allclose(np.abs(found), known.x_weights.abs().numpy(), atol=1e-6)
    small = compare(a, b, IMAGES, memory=SMALL, batch_size=13, progress=False)
    with pytest.raises(ValueError, match="did not fit the memory of this table"):
        _ = small.results[0].x_weights


@pytest.mark.parametrize("how", ["generator", "map", "held"])
def test_a_loader_that_can_be_read_only_once(how, monkeypatch):
    if how == "held":  # as if the products at full width did not fit
        monkeypatch.setattr(front, "in_one_reading", lambda shapes: 10**18)
    once = (
        (part for part in IMAGES.split(25))
        if how == "generator"
        else map(torch.clone, IMAGES.split(25))
    )
    found = compare(mlp(0), mlp(1), once, progress=False)
    expected = compare(mlp(0), mlp(1), IMAGES, batch_size=25, progress=False)
    np.testing.assert_allclose(found.matrix, expected.matrix, rtol=0, atol=1e-12)


def test_a_loader_read_once_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(front, "in_one_reading", lambda shapes: 10**18)
    many = (torch.randn(50, 3, 8, 8) for _ in range(50))
    with pytest.raises(ValueError, match=r"can be read only once.*give a list, a tensor"):
        compare(mlp(0), mlp(1), many, ["3"], memory="1MB", progress=False)


def test_a_shuffling_loader_may_be_read_again():
    loader = DataLoader(TensorDataset(IMAGES), 20, shuffle=True)
    table = compare(mlp(0), mlp(0), loader, memory=SMALL, measure="cka", progress=False)
    assert table.matrix.diagonal() == pytest.approx(1)


def test_data_that_change_between_readings_are_noticed():
    class Noisy(TensorDataset):
        def __getitem__(self, i):
            (x,) = super().__getitem__(i)
            return (x + 0.3 * torch.randn(x.shape),)

    loader = DataLoader(Noisy(IMAGES), 20)
    with pytest.raises(ValueError, match="is not the same when the data are read again"):
        compare(mlp(0), mlp(1), loader, memory=SMALL, progress=False)

    class Fewer:
        readings = 0

        def __iter__(self):
            self.readings += 1
            return iter(IMAGES.split(20)[: 6 - self.readings])

    with pytest.raises(ValueError, match="gave 90 rows when it was read first and 80 when"):
        compare(mlp(0), mlp(1), Fewer(), memory=SMALL, progress=False)


def test_too_little_memory_is_said():
    with pytest.raises(ValueError, match=r"moments of layer '1'.* more than memory="):
        compare(mlp(0), mlp(1), IMAGES, memory="5kB", progress=False)


def test_two_models_with_a_loader_each():
    a, b = mlp(0), mlp(1)
    found = compare(a, b, IMAGES, ["1", "3"], loader_b=IMAGES + 1, memory=SMALL, progress=False)
    known = gather(a, b, IMAGES, ["1", "3"], loader_b=IMAGES + 1, progress=False).table()
    np.testing.assert_allclose(found.matrix, known.matrix, rtol=0, atol=1e-12)


def test_a_constant_layer_is_nan_in_its_row_alone():
    class Dead(nn.Module):
        def forward(self, x):
            return torch.zeros(len(x), 3)

    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ModuleList([Dead()])[0])
    table = compare(model, mlp(1), IMAGES, ["1", "2"], ["3"], progress=False)
    assert np.isnan(table.matrix).tolist() == [[False], [True]]


def test_layers_of_one_run_apart():
    """A module that runs twice is two layers, also where only some of them are wanted."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.act, self.b = nn.Linear(192, 30), nn.Tanh(), nn.Linear(30, 20)

        def forward(self, x):
            return self.act(self.b(self.act(self.a(x.flatten(1)))))

    found = compare(Twice(), mlp(1), IMAGES, memory=SMALL, batch_size=13, progress=False)
    known = compare(Twice(), mlp(1), IMAGES, batch_size=13, progress=False)
    assert set(found.layers_a) == {"a", "act#1", "b", "act#2"}
    np.testing.assert_allclose(found.matrix, known.matrix, rtol=0, atol=1e-12)


def test_tables_are_values():
    import copy

    table = compare(cnn(0), cnn(1), IMAGES, ["0", "3"], progress=False, null=4)
    for make in (lambda t: pickle.loads(pickle.dumps(t)), copy.copy, copy.deepcopy):
        again = make(table)
        np.testing.assert_array_equal(again.matrix, table.matrix)
        np.testing.assert_array_equal(again.p_values, table.p_values)
        np.testing.assert_array_equal(again.chance, table.chance)
        np.testing.assert_array_equal(again.results[1].correlations, table.results[1].correlations)
        for array in (again.matrix, again.chance, again.null, again.p_values, again.calibrated):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
    frame = table.to_pandas()
    frame.iloc[0, 0] = 7.0
    assert table.matrix[0, 0] != 7


def test_spectra_of_ragged_frequencies_are_those_of_the_arrays():
    x = np.random.default_rng(0).normal(size=(80, 7, 8, 8))
    x *= np.linspace(1, 0.01, 7)[:, None, None]
    y = np.random.default_rng(1).normal(size=(80, 5, 8, 8)) + x[:, :5]
    found = dft_cca(x, y, keep=0.9)
    assert len(set(np.asarray(found.counts).tolist())) > 1
    matrix = found.weights.alignment.numpy()
    for f, (k, rho) in enumerate(zip(found.counts, found.correlations, strict=True)):
        known = np.linalg.svd(matrix[f], compute_uv=False)[:k]
        np.testing.assert_allclose(rho[:k], known, atol=1e-12)
        assert not rho[k:].any()


def test_few_rows_warn_at_the_line_that_asked():
    with pytest.warns(SampleSizeWarning) as caught:
        compare(mlp(0), mlp(1), IMAGES[:9], ["1"], progress=False)
    assert [w.filename for w in caught] == [__file__]
