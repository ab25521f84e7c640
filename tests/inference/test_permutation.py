"""Chance by shuffling: the null is that of shuffled layers, whole groups trade places."""

import re

import numpy as np
import pytest
import torch
from layers import images, related

from svcca_lib import (
    MEASURES,
    Moments,
    SampleSizeWarning,
    Subspace,
    chance_correlation,
    channels_as_neurons,
    image_of_row,
    pairwise,
    permutation_test,
    svcca,
)
from svcca_lib import subspace as subspace_module
from svcca_lib.subspace import decompose

MATRIX_MEASURES = sorted(set(MEASURES) - {"dft_cca"})


def streamed():
    moments = Moments()
    moments.update(related()[0])
    return moments


@pytest.mark.parametrize("measure", MATRIX_MEASURES)
def test_null_is_the_similarity_of_shuffled_layers(measure):
    x, y = related()
    test = permutation_test(x, y, measure, n_permutations=20, seed=3)
    rng = np.random.default_rng(3)
    rows = np.arange(60)[:, None]
    expected = [pairwise([x], [y[rng.permutation(rows)[:, 0]]], measure)[0, 0] for _ in range(20)]
    np.testing.assert_allclose(test.null, expected, atol=1e-9)
    assert test.observed == pytest.approx(pairwise([x], [y], measure)[0, 0], rel=1e-12)
    assert test.chance == pytest.approx(np.mean(expected), abs=1e-9)
    assert test.measure == measure


@pytest.mark.parametrize("options", [{"kernel": "rbf"}, {"debiased": True}])
def test_null_takes_the_options_of_the_measure(options):
    x, y = related()
    test = permutation_test(x, y, "cka", n_permutations=5, seed=3, **options)
    rng = np.random.default_rng(3)
    rows = np.arange(60)[:, None]
    shuffled = [y[rng.permutation(rows)[:, 0]] for _ in range(5)]
    expected = [pairwise([x], [z], "cka", **options)[0, 0] for z in shuffled]
    np.testing.assert_allclose(test.null, expected, atol=1e-9)


def test_p_value_counts_the_observed_order_itself():
    x, y = related(signal=5.0)
    assert permutation_test(x, y, n_permutations=19).p_value == 1 / 20
    # Orders no better than chance: a p-value of one half or so, and by the definition.
    x, y = related(signal=0.0)
    test = permutation_test(x, y, n_permutations=99)
    assert test.p_value == (1 + (test.null >= test.observed).sum()) / 100
    assert 0.02 < test.p_value < 1


def test_p_values_of_independent_layers_are_uniform():
    p = [
        permutation_test(*related(seed, n=25, p=2, q=2, signal=0.0), n_permutations=39).p_value
        for seed in range(100)
    ]
    for level in (0.1, 0.25, 0.5, 0.75):
        assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=0.13)


def test_chance_agrees_with_the_closed_form():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(200, 20)), rng.normal(size=(200, 20))
    test = permutation_test(x, y, "cca", n_permutations=50)
    assert test.chance == pytest.approx(chance_correlation(20, 20, 200), abs=0.01)


@pytest.mark.filterwarnings("ignore::svcca_lib.SampleSizeWarning")
def test_fewer_datapoints_than_neurons_prove_nothing():
    # Every order gives 1 up to rounding, which must not decide.
    x, y = related(n=10, p=12, q=12)
    test = permutation_test(x, y, "cca", n_permutations=49)
    assert test.observed == pytest.approx(1, abs=1e-9)
    assert test.p_value == 1
    test = permutation_test(x, y, "cca", n_permutations=49, precision="float32")
    assert test.p_value == 1


def test_warns_of_few_datapoints_once():
    x, y = related(n=10, p=12, q=3)
    with pytest.warns(SampleSizeWarning) as caught:
        permutation_test(x, y, n_permutations=5)
    assert len(caught) == 1


def test_layers_are_decomposed_once(monkeypatch):
    fits = []
    monkeypatch.setattr(subspace_module, "decompose", lambda *a: fits.append(1) or decompose(*a))
    permutation_test(*related(), n_permutations=10)
    assert len(fits) == 2


def test_takes_subspaces_and_torch():
    x, y = related()
    expected = permutation_test(x, y, n_permutations=9)
    for pair in (
        (Subspace.fit(x), Subspace.fit(y)),
        (torch.from_numpy(x), torch.from_numpy(y)),
        (Subspace.fit(torch.from_numpy(x)), y),
    ):
        test = permutation_test(*pair, n_permutations=9)
        np.testing.assert_allclose(np.asarray(test.null), expected.null, atol=1e-12)
        numpy = isinstance(pair[0], Subspace) and pair[0].numpy
        assert isinstance(test.null, np.ndarray if numpy else torch.Tensor)


def test_the_same_seed_gives_the_same_answer_and_another_another():
    x, y = related()
    a, b, c = (permutation_test(x, y, n_permutations=9, seed=s).null for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_whole_groups_trade_places_with_others_of_their_size(monkeypatch):
    labels = np.array(["b", "a", "b", "c", "a", "d", "e"])  # pairs a, b; singles c, d, e
    orders = []
    monkeypatch.setattr(
        Subspace, "reordered", lambda self, order: orders.append(order.numpy().copy()) or self
    )
    x, y = related(n=7, p=2, q=2)
    permutation_test(x, y, n_permutations=200, groups=labels)
    seen = set()
    for order in orders:
        assert sorted(order) == list(range(7))
        pairs = tuple(order[[0, 2]]), tuple(order[[1, 4]])
        # Rows keep their order within a group, and pairs only take the place of pairs.
        assert set(pairs) == {(0, 2), (1, 4)}
        assert set(order[[3, 5, 6]]) == {3, 5, 6}
        seen.add(tuple(order))
    assert len(seen) == 2 * 6


def test_shuffling_pixels_finds_similarity_where_there_is_none_and_images_do_not():
    a, b = images(1), images(2)
    x, y = channels_as_neurons(a), channels_as_neurons(b)
    by_pixel = permutation_test(x, y, n_permutations=39)
    by_image = permutation_test(x, y, n_permutations=39, groups=image_of_row(a))
    assert by_pixel.p_value == 1 / 40
    assert by_image.p_value > 0.1
    assert by_pixel.chance < 0.06 < by_image.chance
    assert by_pixel.chance == pytest.approx(svcca(x, y).chance, abs=0.01)
    assert by_image.chance == pytest.approx(chance_correlation(4, 4, 40), abs=0.05)


def test_shuffles_the_images_of_convolutional_measures():
    a = images(3)
    rng = np.random.default_rng(4)
    mixed = np.einsum("nchw,cd->ndhw", a, rng.normal(size=(4, 4)))
    test = permutation_test(a, mixed, "dft_cca", n_permutations=9)
    assert test.observed == pytest.approx(1, abs=1e-6)
    assert test.p_value == 0.1


def test_groups_of_any_label_type_are_one():
    x, y = related()
    integers = np.arange(60) // 3
    expected = permutation_test(x, y, n_permutations=3, groups=integers).null
    for labels in (
        integers.tolist(),
        torch.from_numpy(integers),
        [f"image {i:02d}" for i in integers],
    ):
        null = permutation_test(x, y, n_permutations=3, groups=labels).null
        np.testing.assert_array_equal(null, expected)


X, Y = related()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: permutation_test(X, Y, n_permutations=0),
            ValueError,
            "n_permutations must be a whole number of at least 1; got 0",
        ),
        (
            lambda: permutation_test(X, Y, n_permutations=9.5),
            ValueError,
            "n_permutations must be a whole number of at least 1; got 9.5",
        ),
        (
            lambda: permutation_test(X, Y, n_permutations=True),
            ValueError,
            "n_permutations must be a whole number of at least 1; got True",
        ),
        (
            lambda: permutation_test(X, Y, groups=[0, 1]),
            ValueError,
            "groups must hold one label for each of 60 rows; got (2,)",
        ),
        (
            lambda: permutation_test(X, Y, groups=torch.zeros(60)),
            ValueError,
            "groups can only trade places with others of their size; no two of 1 have the same",
        ),
        (
            lambda: permutation_test(X, Y, "cca", keep=0.5),
            TypeError,
            "cca takes the options squared, precision; got 'keep'",
        ),
        (
            lambda: permutation_test(X, Y[:9]),
            ValueError,
            "x and y must be responses to the same datapoints, row by row; "
            "got 60 rows in x and 9 in y",
        ),
        (
            lambda: permutation_test(streamed(), streamed()),
            TypeError,
            "x must be an array: its rows are shuffled; got Moments, which hold no rows",
        ),
    ],
)
def test_bad_input_gets_one_clear_sentence(call, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


def test_result_is_frozen():
    result = permutation_test(X, Y, n_permutations=2)
    with pytest.raises(AttributeError):
        result.similarity = 1
