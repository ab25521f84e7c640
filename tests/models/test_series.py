"""Many checkpoints against one: each slice is the table of that pair of models."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from svcca_lib import compare, compare_series

DATA = torch.randn(90, 12, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(40, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def mlp(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 5))


MODELS = [mlp(seed) for seed in range(4)]
STEPS = [0, 10, 20, 40]


@pytest.mark.parametrize("measure", ["svcca", "pwcca", "cka"])
@pytest.mark.parametrize("reference", [-1, 1, MODELS[2]])
def test_each_step_is_the_table_of_two_models(measure, reference):
    series = compare_series(
        MODELS, STEPS, DATA, reference, measure=measure, batch_size=30, progress=False
    )
    other = reference if isinstance(reference, nn.Module) else MODELS[reference]
    assert series.steps == (0, 10, 20, 40)
    assert series.matrix.shape == (4, 3, 3)
    for i, model in enumerate(MODELS):
        table = compare(model, other, DATA, measure=measure, batch_size=30, progress=False)
        np.testing.assert_allclose(series.matrix[i], table.matrix, rtol=0, atol=1e-12)
        np.testing.assert_allclose(series.chance[i], table.chance, rtol=0, atol=1e-12)
    assert (series.layers_a, series.layers_b, series.n) == (table.layers_a, table.layers_b, 90)


def test_images_and_other_layers():
    def cnn(seed):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3))

    models = [cnn(i) for i in range(2)]
    series = compare_series(
        models, "ab", IMAGES, layers=["0", "2"], layers_b="2", memory="1MB", progress=False
    )
    table = compare(models[0], models[1], IMAGES, ["0", "2"], "2", progress=False)
    np.testing.assert_allclose(series.matrix[0], table.matrix, rtol=0, atol=1e-12)


@pytest.mark.parametrize("memory", [None, "60kB"])
def test_one_model_may_be_loaded_with_other_weights(memory):
    """The reference is not overwritten by the steps that follow it."""
    own = mlp(9)
    loaded = []

    def load(step):
        loaded.append(step)
        own.load_state_dict(MODELS[STEPS.index(step)].state_dict())
        return own

    found = compare_series(load, STEPS, DATA, 0, memory=memory, batch_size=30, progress=False)
    known = compare_series(MODELS, STEPS, DATA, 0, batch_size=30, progress=False)
    np.testing.assert_allclose(found.matrix, known.matrix, rtol=0, atol=1e-12)
    assert loaded == [0, *STEPS]


def test_the_reference_runs_once_where_it_fits_the_memory():
    runs = []

    class Counted(nn.Sequential):
        def forward(self, x):
            runs.append(len(x))
            return super().forward(x)

    reference = Counted(*mlp(5))
    compare_series(MODELS, STEPS, DATA, reference, progress=False)
    assert runs == [90]
    runs.clear()
    many = DATA.repeat(10, 1)  # of rows of 84 bytes, half of the memory cannot hold 900
    compare_series(MODELS, STEPS, many, reference, memory="80kB", batch_size=90, progress=False)
    assert len(runs) >= 10 * 5


def test_only_the_cells_asked_for():
    whole = compare_series(MODELS, STEPS, DATA, measure="cka", progress=False)
    diagonal = compare_series(MODELS, STEPS, DATA, cells="diagonal", measure="cka", progress=False)
    assert np.isnan(diagonal.matrix[:, ~np.eye(3, dtype=bool)]).all()
    np.testing.assert_allclose(diagonal.diagonal, whole.diagonal, rtol=0, atol=1e-12)
    asked = [("0", "2"), ("1", "1")]
    some = compare_series(MODELS, STEPS, DATA, cells=asked, measure="cka", progress=False)
    assert (~np.isnan(some.matrix)).sum(0).tolist() == [[0, 0, 4], [0, 4, 0], [0, 0, 0]]
    np.testing.assert_allclose(some.matrix[:, 0, 2], whole.matrix[:, 0, 2], rtol=0, atol=1e-12)
    assert list(some.to_pandas().columns) == asked


@pytest.mark.parametrize("kind", ["generator", "shuffled"])
def test_any_loader_gives_each_step_the_same_rows(kind):
    loader = (
        (part for part in DATA.split(30))
        if kind == "generator"
        else DataLoader(TensorDataset(DATA), 30, shuffle=True)
    )
    same = [mlp(0), mlp(0)]
    found = compare_series(same, [0, 1], loader, measure="cka", progress=False)
    np.testing.assert_allclose(found.diagonal, 1)


def test_what_cannot_be_meant():
    def series(*given, **options):
        return compare_series(*given, progress=False, **options)

    with pytest.raises(ValueError, match="a model for each of the 4 steps; got 3"):
        series(MODELS[:3], STEPS, DATA)
    with pytest.raises(ValueError, match="steps holds no step"):
        series(MODELS, [], DATA)
    with pytest.raises(ValueError, match="reference must be a place in 4 steps; got 4"):
        series(MODELS, STEPS, DATA, 4)
    with pytest.raises(TypeError, match="place of a step or a model; got str"):
        series(MODELS, STEPS, DATA, "last")
    with pytest.raises(ValueError, match="no layer '9'"):
        series(MODELS, STEPS, DATA, cells=[("9", "0")])
    with pytest.raises(ValueError, match="cells must be 'all', 'diagonal' or pairs; got 'some'"):
        series(MODELS, STEPS, DATA, cells="some")
    with pytest.raises(TypeError, match=r"load\(40\) must give a torch.nn.Module; got None"):
        series(lambda step: None, STEPS, DATA)
    with pytest.raises(ValueError, match="step 20 has other layers"):
        series([*MODELS[:2], nn.Sequential(nn.Linear(12, 3)), MODELS[3]], STEPS, DATA)


def test_a_series_is_a_value(tmp_path):
    series = compare_series(MODELS, STEPS, DATA, measure="cka", cells="diagonal", progress=False)
    for again in (pickle.loads(pickle.dumps(series)), copy.copy(series), copy.deepcopy(series)):
        np.testing.assert_array_equal(again.matrix, series.matrix)
        with pytest.raises(ValueError, match="read-only"):
            again.matrix[0] = 1
    series.to_csv(tmp_path / "series.csv")
    head, first, *_ = (tmp_path / "series.csv").read_text().splitlines()
    assert head == "step,0 with 0,1 with 1,2 with 2"
    assert [float(v) for v in first.split(",")[1:]] == series.matrix[0].diagonal().tolist()
    assert repr(series).startswith("LayerSeries(cka, 4 steps x 3 x 3 layers, ")


def test_plots_a_line_a_layer():
    import matplotlib as mpl

    mpl.use("agg")
    ax = compare_series(MODELS, STEPS, DATA, measure="cka", progress=False).plot()
    assert [line.get_label() for line in ax.lines] == ["0", "1", "2"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "10", "20", "40"]
