import threading

import numpy as np
import pytest
import torch

from svcca_lib import FourierSubspace, dft_cca
from svcca_lib._linalg import one_thread_each
from svcca_lib.fourier.pairs import FourierLayers, pairwise_dft_cca

SHAPES = {"image": (3, 8, 8), "odd": (4, 8, 6), "wide": (7, 8, 8), "small": (5, 4, 4), "fc": (9,)}


def network(seed, n=60):
    """Layers of several sizes that share something; the responses of one are a function of x."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(99))
    layers = {}
    for name, shape in SHAPES.items():
        noise = torch.randn(n, *shape, generator=generator)
        if len(shape) == 3:
            part = torch.nn.functional.adaptive_avg_pool2d(x, shape[1:]).mean(1, keepdim=True)
        else:
            part = x.mean((1, 2, 3))[:, None]
        layers[name] = noise * torch.linspace(0.1, 1, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
        layers[name] = layers[name] + part
    return layers


@pytest.mark.parametrize("keep", [0.9, 1.0])
def test_every_cell_is_the_dft_cca_of_its_pair(keep):
    first, second = network(0), network(1)
    rows, columns = (
        FourierLayers.gather((k, FourierSubspace.fit(v, keep)) for k, v in layers.items())
        for layers in (first, second)
    )
    similarity, chance = pairwise_dft_cca(rows, columns)
    for i, x in enumerate(first.values()):
        for j, y in enumerate(second.values()):
            expected = dft_cca(x, y, keep=keep)
            assert similarity[i, j] == pytest.approx(expected.similarity, abs=1e-12)
            assert chance[i, j] == pytest.approx(expected.chance, abs=1e-12)


def test_a_network_is_itself():
    layers = network(0)
    gathered = FourierLayers.gather((k, FourierSubspace.fit(v)) for k, v in layers.items())
    similarity, _ = pairwise_dft_cca(gathered, gathered)
    np.testing.assert_allclose(similarity.diagonal(), 1.0, atol=1e-10)
    np.testing.assert_allclose(similarity, similarity.T, atol=1e-10)


def test_a_layer_with_frequencies_that_are_cut_to_nothing():
    smooth = torch.randn(50, 2, 1, 1).expand(50, 2, 8, 8) + 1e-9 * torch.randn(50, 2, 8, 8)
    layer = FourierSubspace.fit(smooth, keep=0.99)
    assert (np.asarray(layer.counts) == 0).any()
    one = FourierLayers.gather([("smooth", layer)])
    assert pairwise_dft_cca(one, one)[0][0, 0] == pytest.approx(1)
    # Nothing is held of what was cut: at every frequency the bases are as wide as they have to be.
    held = sum(basis.numel() for bases in one.bases.values() for basis in bases)
    assert held == 50 * int(np.asarray(layer.counts).sum())


def test_different_datapoints_are_refused():
    few, many = (FourierSubspace.fit(torch.randn(n, 2)) for n in (20, 30))
    with pytest.raises(ValueError, match=r"got \[20, 30\]"):
        FourierLayers.gather([("a", few), ("b", many)])
    with pytest.raises(ValueError, match="got 20 and 30"):
        pairwise_dft_cca(FourierLayers.gather([("a", few)]), FourierLayers.gather([("b", many)]))
    with pytest.raises(ValueError, match="none"):
        FourierLayers.gather([])


def test_one_thread_each_keeps_the_order_and_gives_the_threads_back():
    before = torch.get_num_threads()
    assert one_thread_each(lambda i: (i, torch.get_num_threads()), range(5)) == [
        (i, 1) for i in range(5)
    ]
    with pytest.raises(ZeroDivisionError):
        one_thread_each(lambda i: 1 / i, [1, 0])
    assert torch.get_num_threads() == before


def test_a_single_thread_does_the_work_itself_and_later_there_are_others_again():
    before, own = torch.get_num_threads(), threading.get_ident()
    try:
        for threads in (2, 1, 2):
            torch.set_num_threads(threads)
            found = one_thread_each(lambda _: threading.get_ident(), range(3))
            assert (set(found) == {own}) == (threads == 1)
        torch.set_num_threads(1)
        with pytest.raises(ZeroDivisionError):
            one_thread_each(lambda i: 1 / i, [1, 0])
        torch.set_num_threads(2)
        assert own not in one_thread_each(lambda _: threading.get_ident(), range(3))
    finally:
        torch.set_num_threads(before)


def test_one_thread_each_within_one_thread_each_keeps_to_that_thread():
    before = torch.get_num_threads()

    def inner(i):
        found = one_thread_each(lambda j: (threading.get_ident(), torch.get_num_threads()), [0, 1])
        return found, threading.get_ident(), torch.get_num_threads()

    for found, own, threads in one_thread_each(inner, range(4)):
        assert found == [(own, 1), (own, 1)]
        assert threads == 1
    assert torch.get_num_threads() == before
