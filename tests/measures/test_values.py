"""Results are values: they pickle and copy, none can write into them, and no mode of torch or
other thread changes them.
"""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from svcca_lib import (
    MEASURES,
    FourierMoments,
    FourierSubspace,
    Moments,
    Subspace,
    cca,
    dft_cca,
    pairwise,
    procrustes,
    svcca,
)

NAMES = sorted(MEASURES)
ARRAYS = ("correlations", "x_weights", "y_weights", "frequencies", "multiplicities", "counts")


def layers(name="cca", n=60, dtype=np.float64):
    rng = np.random.default_rng(0)
    shape = (n, 3, 4, 4) if name == "dft_cca" else (n, 6)
    x = rng.normal(size=shape)
    return x.astype(dtype), (x + rng.normal(size=shape)).astype(dtype)


def compared(name, x, y, **options):
    return MEASURES[name](**options).between(x, y)


def same(a, b):
    assert (a.measure, a.similarity, a.n, a.chance) == (b.measure, b.similarity, b.n, b.chance)
    for array in ARRAYS:
        one, other = getattr(a, array, None), getattr(b, array, None)
        assert type(one) is type(other)
        if one is not None:
            np.testing.assert_array_equal(one, other)
    return True


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
@pytest.mark.parametrize("name", NAMES)
def test_results_pickle_and_copy(name, library):
    r = compared(name, *map(library, layers(name)))
    for again in (pickle.loads(pickle.dumps(r)), copy.copy(r), copy.deepcopy(r)):
        assert same(again, r)
    assert same(pickle.loads(pickle.dumps(r)), r), "once the rest was computed"


@pytest.mark.parametrize("name", NAMES)
def test_a_pickled_result_takes_no_rows_along(name):
    few, many = (len(pickle.dumps(compared(name, *layers(name, n)))) for n in (60, 2000))
    assert many < few + 200


def test_pickled_tensors_take_no_larger_ones_along():
    x = np.random.default_rng(1).normal(size=(500, 200)) * np.geomspace(1, 1e-3, 200)
    s = Subspace.fit(x, keep=0.5)
    assert s.kept < 50
    held = 8 * (x.size + 2 * 200 * s.kept)
    assert len(pickle.dumps(s)) < held + 10_000
    r = svcca(s, s)
    assert len(pickle.dumps(r)) < 8 * 3 * 200 * s.kept + 10_000


def test_results_with_a_gradient_are_copied_as_numbers():
    x, y = (torch.from_numpy(z).requires_grad_() for z in layers())
    r = svcca(x, y)
    assert r.correlations.requires_grad
    for again in (copy.deepcopy(r), pickle.loads(pickle.dumps(r))):
        assert not again.correlations.requires_grad
        assert torch.equal(again.correlations, r.correlations.detach())
        torch.testing.assert_close(again.x_weights, r.x_weights.detach())


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
@pytest.mark.parametrize("name", ["cca", "svcca", "pwcca", "dft_cca"])
def test_nobody_can_write_into_a_result(name, library):
    r, untouched = (compared(name, *map(library, layers(name))) for _ in range(2))
    for array in ARRAYS:
        if getattr(r, array, None) is not None:
            getattr(r, array)[...] = 7
    assert same(r, untouched)
    if name == "dft_cca":
        directions = r.directions(k=2)
        directions[...] = 0
        np.testing.assert_array_equal(r.directions(k=2), untouched.directions(k=2))


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_nobody_can_write_into_a_subspace(library):
    x, y = map(library, layers())
    s = Subspace.fit(x)
    before = svcca(s, y).similarity
    for array in ("mean", "directions", "singular_values", "weights", "basis"):
        getattr(s, array)[...] = 0
    assert svcca(s, y).similarity == pytest.approx(before, abs=1e-13)
    f = FourierSubspace.fit(library(layers("dft_cca")[0]))
    f.counts[...] = 0
    assert int(f.counts.max()) == 3


def test_what_results_are_made_of_pickles_and_copies():
    x, y = layers()
    maps, others = layers("dft_cca")
    m, f = Moments(), FourierMoments()
    m.update(x, y)
    f.update(maps, others)
    cases = [
        (Subspace.fit(x), lambda s: cca(s, y)),
        (Subspace.fit(x).primed(), lambda s: cca(s, y)),
        (m, cca),
        (f, dft_cca),
        (FourierSubspace.fit(maps), lambda s: dft_cca(s, others)),
    ]
    for thing, number in cases:
        for again in (pickle.loads(pickle.dumps(thing)), copy.deepcopy(thing), copy.copy(thing)):
            assert number(again).similarity == pytest.approx(number(thing).similarity, abs=1e-13)
    again = copy.deepcopy(m)
    again.update(x, y)
    assert (m.n, again.n) == (60, 120)


@pytest.mark.parametrize("name", NAMES)
def test_measures_and_their_options_pickle(name):
    measure = MEASURES[name]()
    assert pickle.loads(pickle.dumps(measure)) == measure == copy.deepcopy(measure)


# --- modes of torch, threads -------------------------------------------------------------------

MODES = {
    "inference": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "on meta": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_no_mode_of_torch_changes_a_number(name, mode):
    x, y = (torch.from_numpy(z) for z in layers(name))
    expected = compared(name, x, y)
    with MODES[mode]():
        found = compared(name, x, y)
        inside = [getattr(found, array, None) for array in ARRAYS]
        chance = found.chance
    assert (found.similarity, chance) == (expected.similarity, expected.chance)
    for array, value in zip(ARRAYS, inside, strict=True):
        if value is not None:
            torch.testing.assert_close(value, getattr(expected, array))
    assert same(found, expected)


@pytest.mark.parametrize("mode", MODES)
def test_no_mode_of_torch_changes_float32(mode):
    x, y = (torch.from_numpy(z) for z in layers(dtype=np.float32))
    for name in ("svcca", "cka", "procrustes"):
        expected = compared(name, x, y, precision="float32").similarity
        with MODES[mode]():
            assert compared(name, x, y, precision="float32").similarity == expected


@pytest.mark.parametrize("mode", MODES)
def test_no_mode_of_torch_changes_many_pairs_streams_or_subspaces(mode):
    x, y = (torch.from_numpy(z) for z in layers())
    maps, others = (torch.from_numpy(z) for z in layers("dft_cca"))
    expected = pairwise([x, y, x], measure="svcca")
    with MODES[mode]():
        found = pairwise([x, y, x], measure="svcca")
        s, f = Subspace.fit(x), FourierSubspace.fit(maps)
        m, spectral = Moments(), FourierMoments()
        m.update(x[:30], y[:30])
        spectral.update(maps[:30], others[:30])
    torch.testing.assert_close(found, expected)
    # What was begun in a mode is continued outside of it, with gradients too.
    m.update(x[30:], y[30:])
    spectral.update(maps[30:], others[30:])
    assert svcca(m).similarity == pytest.approx(svcca(x, y).similarity, abs=1e-12)
    assert dft_cca(spectral).similarity == pytest.approx(
        dft_cca(maps, others).similarity, abs=1e-12
    )
    assert dft_cca(f, others).similarity == pytest.approx(
        dft_cca(maps, others).similarity, abs=1e-12
    )
    moving = y.clone().requires_grad_()
    svcca(s, moving).correlations.sum().backward()
    assert float(moving.grad.abs().max()) > 0


def test_the_default_device_and_type_change_nothing():
    x, y = layers()
    expected = svcca(x, y)
    torch.set_default_device("meta")
    torch.set_default_dtype(torch.float16)
    try:
        assert same(svcca(x, y), expected)
        assert procrustes(x, y).chance == pytest.approx(0.4, abs=0.2)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


def test_threads_do_not_change_numbers_nor_how_many_threads_there_are():
    x, y = layers(n=400)
    expected = pairwise([x, y, x, y])
    before = torch.get_num_threads()
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: pairwise([x, y, x, y]), range(24)))
        single = list(pool.map(lambda _: svcca(x, y).similarity, range(24)))
    np.testing.assert_allclose(found, [expected] * 24, atol=1e-13)
    np.testing.assert_allclose(single, expected[0, 1], atol=1e-13)
    left = []
    late = threading.Thread(target=lambda: left.append(torch.get_num_threads()))
    late.start()
    late.join()
    assert [torch.get_num_threads(), *left] == [before, before]


# --- in one line -------------------------------------------------------------------------------


def test_a_result_shows_what_matters_in_one_line():
    x, y = layers()
    r = svcca(x, y)
    assert repr(r) == (
        f"Similarity(svcca {r.similarity:.4f}, chance {r.chance:.4f}, "
        f"kept {r.x_kept} and {r.y_kept}, n=60)"
    )
    # Its chance takes a few decompositions, which nobody asked for by looking at a number.
    r = procrustes(x, y)
    assert repr(r) == f"Similarity(procrustes {r.similarity:.4f}, n=60)"
    assert "chance" not in vars(r)
    r = dft_cca(*layers("dft_cca"))
    assert repr(r).startswith("FourierSimilarity(dft_cca ")
    assert "\n" not in repr(r)
