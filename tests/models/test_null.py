"""Calibrated tables: the null is that of the arrays, the p-values keep their promise."""

import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from svcca_lib import capture, channels_as_neurons, compare, permutation_test
from svcca_lib.models.calibration import calibrated, p_values

IMAGES = torch.randn(60, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def mlp(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.Tanh(), nn.Linear(6, 4))
    model.layers = ("1", "2", "3")
    return model


def cnn(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))


@pytest.mark.parametrize("measure", ["svcca", "cca", "pwcca", "linear_regression", "cka"])
@pytest.mark.parametrize("memory", [None, "60kB"])
def test_the_null_is_that_of_the_permutation_test(measure, memory):
    a, b = mlp(0), mlp(1)
    table = compare(
        a, b, IMAGES, measure=measure, null=7, seed=3, memory=memory, batch_size=13, progress=False
    )
    xs, ys = (capture(m, list(m.layers), IMAGES, batch_size=13) for m in (a, b))
    for (i, x), (j, y) in itertools.product(enumerate(xs.values()), enumerate(ys.values())):
        test = permutation_test(x.double(), y.double(), measure, n_permutations=7, seed=3)
        np.testing.assert_allclose(table.null[:, i, j], test.null, rtol=0, atol=1e-9)
        assert abs(table.matrix[i, j] - test.observed) < 1e-9


def test_the_null_of_images_is_that_of_the_permutation_test():
    a, b = cnn(0), cnn(1)
    table = compare(a, b, IMAGES, ["0", "2"], null=5, progress=False)
    xs, ys = (capture(m, ["0", "2"], IMAGES) for m in (a, b))
    test = permutation_test(xs["2"], ys["0"], "dft_cca", n_permutations=5, keep=0.99)
    np.testing.assert_allclose(table.null[:, 1, 0], test.null, rtol=0, atol=1e-9)


def test_the_lighter_side_may_be_the_second():
    """Whichever side is held, the rows of the second model are the ones that are shuffled."""
    a, b = mlp(0), mlp(1)
    both = [
        compare(a, b, IMAGES, la, lb, "cca", null=4, progress=False).null
        for la, lb in ((["1", "3"], ["3"]), (["3"], ["1", "3"]))
    ]
    np.testing.assert_allclose(both[0][:, 1, 0], both[1][:, 0, 1], rtol=0, atol=1e-12)


def test_pixels_of_one_image_move_together():
    a, b = cnn(0), cnn(1)
    table = compare(a, b, IMAGES, ["0"], null=5, conv="channels", progress=False)
    x, y = (channels_as_neurons(capture(m, "0", IMAGES)["0"].double()) for m in (a, b))
    images = np.repeat(np.arange(60), 16)
    test = permutation_test(x, y, n_permutations=5, groups=images)
    np.testing.assert_allclose(table.null[:, 0, 0], test.null, rtol=0, atol=1e-9)


def test_tokens_of_one_sentence_move_together_with_those_of_its_length():
    class Model(nn.Module):
        def __init__(self, seed):
            super().__init__()
            torch.manual_seed(seed)
            self.embed, self.out = nn.Embedding(20, 6), nn.Linear(6, 4)

        def forward(self, input_ids, attention_mask):
            return self.out(torch.tanh(self.embed(input_ids)))

    rng = torch.Generator().manual_seed(0)
    lengths = torch.tensor([3, 5] * 20)
    mask = (torch.arange(5) < lengths[:, None]).long()
    batch = {
        "input_ids": torch.randint(0, 20, (40, 5), generator=rng),
        "attention_mask": mask,
    }
    parts = [{key: value[i : i + 10] for key, value in batch.items()} for i in range(0, 40, 10)]
    a, b = Model(0), Model(1)
    table = compare(
        a, b, parts, ["out"], measure="cka", tokens="datapoints", null=6, progress=False
    )
    x, y = (capture(m, "out", parts, tokens="datapoints")["out"].double() for m in (a, b))
    sentences = np.repeat(np.arange(40), lengths)
    test = permutation_test(x, y, "cka", n_permutations=6, groups=sentences)
    np.testing.assert_allclose(table.null[:, 0, 0], test.null, rtol=0, atol=1e-9)


def test_sentences_that_cannot_trade_places_are_refused():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    data = [torch.randn(1, length, 3) for length in (2, 3, 4)]
    with pytest.raises(ValueError, match="no two of 3 have the same"):
        compare(model, model, data, tokens="datapoints", null=3, measure="cka", progress=False)


def test_a_model_with_itself_is_told_from_chance_and_noise_is_not():
    table = compare(mlp(0), mlp(0), IMAGES, measure="cka", null=39, progress=False)
    np.testing.assert_allclose(table.p_values.diagonal(), 1 / 40)
    np.testing.assert_allclose(table.calibrated.diagonal(), 1)
    level = table.null.mean(0)
    np.testing.assert_allclose(table.calibrated, (table.matrix - level) / (1 - level))
    plain = compare(mlp(0), mlp(0), IMAGES, measure="cka", progress=False)
    assert plain.p_values is plain.null is plain.calibrated is None
    assert "9 cells with p <= 0.05" in repr(table)


@pytest.mark.filterwarnings("ignore::svcca_lib.SampleSizeWarning")
def test_where_every_order_scores_one_nothing_is_told():
    few = IMAGES[:5]
    table = compare(mlp(0), mlp(1), few, ["1"], measure="cca", null=9, progress=False)
    assert table.p_values.tolist() == [[1.0]]
    assert np.isnan(table.calibrated).all()


def test_constant_layers_have_no_p_value():
    class Dead(nn.Module):
        def forward(self, x):
            return torch.zeros(len(x), 3)

    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 4), nn.ModuleList([Dead()])[0])
    table = compare(model, mlp(1), IMAGES, ["1", "2"], ["3"], null=5, progress=False)
    assert np.isnan(table.p_values).tolist() == [[False], [True]]


def test_the_null_is_checked():
    for wrong in (-1, 2.5, True):
        with pytest.raises(ValueError, match="null must be a whole number"):
            compare(mlp(0), mlp(1), IMAGES, null=wrong, progress=False)


# --- the promise of the p-values -----------------------------------------------------------------


def simulated(rng, cells, count):
    """Statistics that are correlated over the cells and of other scales in each, and their null."""
    shared = rng.normal(size=(count + 1, 1))
    values = 0.6 * shared + 0.8 * rng.normal(size=(count + 1, cells))
    values = 0.3 + np.linspace(0.001, 0.1, cells) * values
    return values[:1], values[1:, None]


def test_the_family_wise_error_is_kept():
    rng = np.random.default_rng(0)
    smallest = [p_values(*simulated(rng, 12, 99)).min() for _ in range(800)]
    for level in (0.05, 0.2):
        wrong = int(np.sum(np.array(smallest) <= level))
        low, high = scipy.stats.binom.ppf([0.0005, 0.9995], 800, level)
        assert low <= wrong <= high


def test_p_values_of_one_cell_are_uniform():
    rng = np.random.default_rng(1)
    found = [p_values(*simulated(rng, 1, 99))[0, 0] for _ in range(800)]
    values, counts = np.unique(found, return_counts=True)
    assert set(np.round(values * 100).astype(int)) <= set(range(1, 101))
    assert scipy.stats.kstest(found, "uniform").statistic < 0.075
    assert counts.max() < 25


def test_a_real_effect_in_a_quiet_cell_is_seen_beside_loud_ones():
    rng = np.random.default_rng(2)
    null = 0.5 + rng.normal(size=(99, 1, 3)) * [0.001, 0.1, 0.1]
    observed = np.array([[0.51, 0.5, 0.5]])  # ten standard deviations, yet far below 0.7
    assert p_values(observed, null).tolist()[0][0] == 0.01
    assert p_values(observed, null)[0, 1] > 0.5


@pytest.mark.slow
def test_independent_layers_over_many_draws():
    """The whole way: models whose inputs are unrelated."""
    draws = 150
    smallest = []
    for i in range(draws):
        rng = torch.Generator().manual_seed(i)
        x, y = torch.randn(2, 30, 5, generator=rng)
        model = nn.Sequential(nn.Linear(5, 5), nn.Tanh())
        table = compare(model, model, x, loader_b=y, measure="cka", null=19, seed=i, progress=False)
        smallest.append(table.p_values.min())
    wrong = int((np.array(smallest) <= 0.1).sum())
    low, high = scipy.stats.binom.ppf([0.001, 0.999], draws, 0.1)
    assert low <= wrong <= high


def test_calibration_is_zero_at_the_mean_of_the_null():
    null = np.array([0.2, 0.4]).reshape(2, 1, 1)
    assert calibrated(np.array([[0.3]]), null)[0, 0] == pytest.approx(0)
    assert calibrated(np.array([[1.0]]), null)[0, 0] == pytest.approx(1)
