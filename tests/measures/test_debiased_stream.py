"""Debiased CKA of a stream is that of the full kernels (Song et al. 2012, equation 5)."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import centred, hsic_unbiased

from svcca_lib import Moments, cka
from svcca_lib.lengths import Lengths
from svcca_lib.measures.alignment import CKA, lifted


def by_full_kernels(x, y):
    k, m = (centred(z) @ centred(z).T for z in (x, y))
    return hsic_unbiased(k, m) / np.sqrt(hsic_unbiased(k, k) * hsic_unbiased(m, m))


def two_layers(n=300, p=9, q=5, seed=0, mean=3.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * np.linspace(3, 0.5, p) + mean
    y = x[:, :1] + rng.standard_t(4, size=(n, q)) - 2 * mean
    order = np.argsort(x[:, 0])  # sorted, so that the first batch is far from the mean
    return x[order], y[order]


def streamed(x, y, parts):
    m = Moments()
    for rows in np.array_split(np.arange(len(x)), parts):
        if len(rows):
            m.update(x[rows], y[rows])
    return m


@pytest.mark.parametrize("parts", [1, 7, 300])
@pytest.mark.parametrize("mean", [0.0, 3.0, 100.0])
def test_a_stream_gives_what_the_full_kernels_give(parts, mean):
    x, y = two_layers(mean=mean)
    found = cka(streamed(x, y, parts), debiased=True)
    assert found.similarity == pytest.approx(by_full_kernels(x, y), abs=2e-14)
    assert (found.measure, found.n, found.chance) == ("cka", 300, 0)


def test_more_neurons_than_datapoints_and_a_large_mean():
    x, y = two_layers(n=20, p=60, q=40)
    expected = by_full_kernels(x, y)
    assert cka(streamed(x, y, 4), debiased=True).similarity == pytest.approx(expected, abs=2e-14)
    x, y = two_layers(mean=1e4)
    expected = by_full_kernels(x, y)
    assert cka(streamed(x, y, 7), debiased=True).similarity == pytest.approx(expected, abs=1e-11)


@settings(deadline=None, derandomize=True, database=None, max_examples=20)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 99))
def test_streams_of_other_pilots_merge_exactly(sizes, seed):
    n = sum(sizes) + 12
    x, y = two_layers(n, 4, 3, seed)
    total, start = Moments(), 0
    for size in [*sizes, 12]:
        rows = slice(start, start + size)
        part = streamed(x[rows], y[rows], 2) if size else Moments()
        kept = pickle.dumps(part)
        total.merge(part)
        assert pickle.dumps(part) == kept
        start += size
    for moments in (total, pickle.loads(pickle.dumps(total)), copy.deepcopy(total)):
        assert cka(moments, debiased=True).similarity == pytest.approx(
            by_full_kernels(x, y), abs=2e-13
        )


def test_sums_about_any_pilot_are_those_of_the_rows():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 4)) + 1, rng.normal(size=(30, 3)) - 2
    m = streamed(x, y, 5)
    to = [torch.from_numpy(rng.normal(size=k)) for k in (4, 3)]
    found = m.lengths_about(to)
    u, v = x - to[0].numpy(), y - to[1].numpy()
    squares = np.stack([(u**2).sum(1), (v**2).sum(1)])
    np.testing.assert_allclose(found.products, squares @ squares.T, rtol=1e-13)
    np.testing.assert_allclose(found.vectors[0], squares @ u, rtol=1e-11)
    np.testing.assert_allclose(found.vectors[1], squares @ v, rtol=1e-11)
    alone = m.halves()[1].lengths_about(to[1:])
    np.testing.assert_allclose(alone.products, squares[1:] @ squares[1:].T, rtol=1e-13)


def test_lengths_of_many_layers_give_those_of_each_pair():
    # How several layers of a network can share one object.
    x, y = two_layers(40)
    three = [torch.from_numpy(z) for z in (x, y, x[:, :2] ** 2)]
    means = [z.mean(0) for z in three]
    many = Lengths.about(means).plus([z - m for z, m in zip(three, means, strict=True)], means)
    pair = Lengths.about(means[1:]).plus(
        [z - m for z, m in zip(three[1:], means[1:], strict=True)], means[1:]
    )
    for one, other in zip(many.of(1, 2).tensors, pair.tensors, strict=True):
        torch.testing.assert_close(one, other)


def test_products_of_lifted_layers_are_enough():
    # Of centred rows with one neuron more, their squared length: what a second sweep can gather.
    x, y = (torch.from_numpy(centred(z)) for z in two_layers())
    measure = CKA(debiased=True)
    assert measure.lifted
    assert not CKA().lifted
    assert not CKA(kernel="rbf", debiased=True).lifted
    a, b, cross = measure.pair(streamed(x.numpy(), y.numpy(), 3), None)
    longer = [torch.cat([z, (z**2).sum(1, keepdim=True)], 1) for z in (x, y)]
    expected = measure.compare(a, b, cross).similarity
    products = longer[0].T @ longer[1]
    assert measure.compare(a, b, products).similarity == pytest.approx(expected, abs=1e-14)
    torch.testing.assert_close(lifted(x.T @ y, products[-1, -1])[-1, -1], products[-1, -1])
    with pytest.raises(TypeError, match="needs the products of the squared lengths too"):
        measure.compare(a, b, x.T @ y)
    with pytest.raises(TypeError, match="compared by the moments of both"):
        measure.compare(a, b)


def test_independent_layers_score_zero_in_the_stream_too():
    rng = np.random.default_rng(2)
    draws = [
        cka(streamed(rng.normal(size=(60, 40)), rng.normal(size=(60, 40)), 3), debiased=True)
        for _ in range(100)
    ]
    scores = [r.similarity for r in draws]
    assert np.mean(scores) == pytest.approx(0, abs=4 * np.std(scores) / 10)
    biased = cka(streamed(rng.normal(size=(60, 40)), rng.normal(size=(60, 40)), 3)).similarity
    assert biased > 0.3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (3, "debiased CKA needs at least 4 datapoints; the first layer of x has 3"),
        (
            None,
            "the second layer of x leaves nothing to the debiased CKA: all datapoints but one, at "
            "most, agree",
        ),
    ],
)
def test_what_a_stream_cannot_tell_is_refused(rows, message):
    x, y = two_layers(20)
    m = streamed(x[:rows], np.eye(20)[:, :1] if rows is None else y[:rows], 2)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        cka(m, debiased=True)
