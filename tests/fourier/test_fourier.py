"""DFT-CCA: the theorems of section 3 through real layers, and a naive loop as the oracle."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from svcca_lib import (
    FourierMoments,
    FourierSubspace,
    SampleSizeWarning,
    cca,
    channels_as_neurons,
    dft_cca,
    image_of_row,
    pairwise,
    phases_as_channels,
    pixels_as_neurons,
    positions_as_neurons,
    svcca,
)
from svcca_lib.fourier import subspace as fourier_subspace
from svcca_lib.fourier.subspace import decompose

RNG = np.random.default_rng


def all_shifts(images, stride=1):
    """Every circular shift of every image by multiples of `stride`."""
    _, _, h, w = images.shape
    shifted = [
        torch.roll(images, (i, j), dims=(2, 3))
        for i in range(0, h, stride)
        for j in range(0, w, stride)
    ]
    return torch.cat(shifted)


def conv(channels_in, channels, seed, stride=1):
    layer = nn.Conv2d(
        channels_in, channels, 3, stride=stride, padding=1, padding_mode="circular"
    ).double()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    return nn.Sequential(layer, nn.ReLU())


def images(n, size=6, channels=2, seed=0):
    """Images with a mean, a gradient and a smooth spectrum: nothing is stationary before shifts."""
    noise = torch.from_numpy(RNG(seed).normal(size=(n, channels, size, size)))
    smooth = functional.avg_pool2d(functional.pad(noise, (1, 1, 1, 1), mode="circular"), 3, 1)
    ramp = torch.linspace(0, 1, size, dtype=torch.float64)
    return smooth * (1 + ramp) + ramp[:, None] + 0.3 * noise


@torch.no_grad()
def layers(stride=1, shifts=True, n=60, size=6):
    """Two layers of two random networks with circular borders, 4 channels each."""
    data = images(n, size)
    data = all_shifts(data, stride) if shifts else data
    x = conv(4, 4, 2)(conv(2, 4, 1, stride)(data))
    pooled = conv(2, 4, 3)(data)
    pooled = functional.max_pool2d(pooled, stride) if stride > 1 else pooled
    return x.numpy(), conv(4, 4, 4)(pooled).numpy()


def spectrum(x):
    """Full orthonormal DFT of the centred layer, (n, c, h * w)."""
    return np.fft.fft2(x - x.mean(0), norm="ortho").reshape(len(x), x.shape[1], -1)


def off_block(x, y):
    """Share of the energy of the cross-covariance of two spectra outside the c x c blocks."""
    a, b = spectrum(x), spectrum(y)
    energy = np.abs(np.einsum("ncf,ndg->cdfg", a.conj(), b)) ** 2
    off = energy * (1 - np.eye(energy.shape[2]))
    return off.sum() / energy.sum()


# --- the theorems --------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_theorem_1_the_covariance_of_the_dft_is_block_diagonal(stride):
    x, y = layers(stride)
    assert off_block(x, y) < 1e-20
    assert off_block(x, x) < 1e-20


def test_theorem_1_needs_the_shifts():
    x, y = layers(shifts=False)
    assert off_block(x, y) > 1e-3


def test_theorem_1_needs_circular_borders():
    x, _ = layers()
    zero_padded = functional.conv2d(torch.from_numpy(x), torch.ones(4, 4, 3, 3).double(), padding=1)
    assert off_block(zero_padded.numpy(), zero_padded.numpy()) > 1e-3


def test_theorem_2_the_dft_of_a_pair_of_channels_has_a_diagonal_covariance():
    x, y = layers()
    a, b = spectrum(x)[:, 1], spectrum(y)[:, 2]
    energy = np.abs(a.conj().T @ b) ** 2
    assert (energy * (1 - np.eye(len(energy)))).sum() < 1e-20 * energy.sum()


def test_lemma_1_the_covariance_of_a_channel_is_circulant_and_block_circulant():
    x, y = layers()
    a, b = (z.reshape(len(z), 4, 6, 6)[:, 0] - z[:, 0].mean(0) for z in (x, y))
    covariance = np.einsum("nij,nkl->ijkl", a, b)
    for shift in [(1, 0), (0, 1), (2, 5)]:
        moved = np.roll(covariance, shift + shift, axis=(0, 1, 2, 3))
        np.testing.assert_allclose(moved, covariance, atol=1e-9 * np.abs(covariance).max())


def test_lemma_2_the_dft_diagonalises_a_circulant_matrix():
    column = RNG(0).normal(size=7)
    circulant = np.stack([np.roll(column, i) for i in range(7)], axis=1)
    dft = np.fft.fft(np.eye(7), norm="ortho")
    diagonal = dft @ circulant @ dft.conj().T
    np.testing.assert_allclose(diagonal, np.diag(np.fft.fft(column)), atol=1e-12)


def test_lemma_3_the_cca_of_the_dft_is_the_cca_of_the_channel():
    x, y = layers(n=20)
    a, b = spectrum(x)[:, 0], spectrum(y)[:, 0]  # (n, pixels), complex
    bases = [np.linalg.qr(z)[0] for z in (a, b)]
    rho = np.linalg.svd(bases[0].conj().T @ bases[1], compute_uv=False)
    flat = cca(x[:, 0].reshape(len(x), -1), y[:, 0].reshape(len(y), -1))
    np.testing.assert_allclose(rho, flat.correlations, atol=1e-10)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_equals_the_flat_cca_on_all_shifts(stride):
    x, y = layers(stride)
    flat = cca(pixels_as_neurons(x), pixels_as_neurons(y))
    r = dft_cca(x, y)
    unrolled = np.sort(np.repeat(r.correlations, r.multiplicities, axis=0).ravel())[::-1]
    np.testing.assert_allclose(unrolled, flat.correlations, atol=1e-10)
    assert abs(r.similarity - flat.similarity) < 1e-10
    assert (r.x_kept, r.y_kept) == (flat.x_kept, flat.y_kept)


@pytest.mark.parametrize("mean_over", ["kept", "smaller_layer"])
@pytest.mark.parametrize("energy", ["variance", "singular_values"])
def test_equals_the_flat_svcca_on_all_shifts_when_the_layer_is_cut_as_a_whole(energy, mean_over):
    x, y = layers(n=80)
    flat = svcca(
        pixels_as_neurons(x), pixels_as_neurons(y), keep=0.9, energy=energy, mean_over=mean_over
    )
    r = dft_cca(x, y, keep=0.9, energy=energy, mean_over=mean_over)
    # The flat cut may fall between the two members of a conjugate pair.
    assert 0 <= r.x_kept - flat.x_kept <= 1
    assert 0 <= r.y_kept - flat.y_kept <= 1
    assert abs(r.similarity - flat.similarity) < (0.01 if r.x_kept != flat.x_kept else 1e-9)


def test_weighted_mean_equals_the_flat_one_when_nothing_is_cut():
    x, y = layers()
    flat = svcca(pixels_as_neurons(x), pixels_as_neurons(y), keep=1, mean_over="weighted")
    weighted = dft_cca(x, y, mean_over="weighted").similarity
    assert abs(weighted - flat.similarity) < 1e-9
    assert abs(weighted - dft_cca(x, y).similarity) > 0.01


def test_differs_from_the_flat_cca_without_the_shifts():
    data = images(600, 4)
    x, y = (conv(2, 2, seed)(data).detach().numpy() for seed in (1, 2))
    flat = cca(pixels_as_neurons(x), pixels_as_neurons(y)).similarity
    assert abs(dft_cca(x, y).similarity - flat) > 1e-3


def test_phases_as_channels_is_exact_for_layers_of_different_size():
    data = all_shifts(images(70), 2)
    with torch.no_grad():
        x, y = conv(2, 3, 1)(data).numpy(), conv(2, 3, 2, stride=2)(data).numpy()
    flat = cca(pixels_as_neurons(x), pixels_as_neurons(y))
    folded = dft_cca(phases_as_channels(x, 2), y)
    assert abs(folded.similarity - flat.similarity) < 1e-10
    # Comparing the shared waves alone is a lower bound.
    shared = dft_cca(x, y)
    held = (shared.correlations.sum(1) * shared.multiplicities).sum()
    assert held < flat.correlations.sum() - 0.1


# --- frequencies ---------------------------------------------------------------------------------


def textbook_cca(x, y):
    """Correlations of centred complex data through QR, (n, p) and (n, q)."""
    a, b = np.linalg.qr(x)[0], np.linalg.qr(y)[0]
    return np.linalg.svd(a.conj().T @ b, compute_uv=False).clip(max=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 2), (4, 5), (5, 4), (6, 6), (3, 7), (2, 5)])
def test_agrees_with_a_loop_over_the_full_dft(size):
    rng = RNG(1)
    x = rng.normal(size=(40, 3, *size))
    y = np.einsum("nchw,dc->ndhw", np.roll(x, 1, 3), rng.normal(size=(2, 3)))
    y = y + rng.normal(size=y.shape)
    r = dft_cca(x, y)
    assert r.multiplicities.sum() == size[0] * size[1]

    xf, yf = (np.fft.fft2(z - z.mean(0)) for z in (x, y))
    full = []
    expected = {}
    for i in range(size[0]):
        for j in range(size[1]):
            rho = textbook_cca(xf[:, :, i, j], yf[:, :, i, j])
            expected[i, j] = rho
            full.append(rho.mean())
    assert abs(r.similarity - np.mean(full)) < 1e-10
    for (ky, kx), rho in zip(r.frequencies, r.correlations, strict=True):
        np.testing.assert_allclose(rho, expected[ky % size[0], kx % size[1]], atol=1e-10)
        np.testing.assert_allclose(rho, expected[-ky % size[0], -kx % size[1]], atol=1e-10)


def test_frequencies_come_once_of_each_conjugate_pair_and_real_ones_first():
    s = FourierSubspace.fit(RNG(0).normal(size=(9, 2, 4, 6)))
    keys = [tuple(k) for k in s.frequencies.tolist()]
    assert keys[:4] == [(0, 0), (2, 0), (0, 3), (2, 3)]
    assert s.multiplicities.tolist() == [1] * 4 + [2] * 10
    mirrored = {((-i) % 4, (-j) % 6) for i, j in keys[4:]}
    assert not mirrored & {(i % 4, j % 6) for i, j in keys[4:]}


def test_layers_of_different_size_share_the_waves_below_the_smaller_nyquist():
    rng = RNG(0)
    x, y = rng.normal(size=(50, 2, 8, 6)), rng.normal(size=(50, 3, 4, 6))
    r = dft_cca(x, y)
    keys = {tuple(k) for k in r.frequencies.tolist()}
    # Vertically 8 and 4: cycles -1, 0, 1. Horizontally both 6: all, Nyquist 3 included.
    assert keys == {(0, 0), (0, 3), (1, 0), (1, 3)} | {(k, j) for k in (-1, 0, 1) for j in (1, 2)}
    assert r.multiplicities.sum() == 3 * 6


def test_a_wave_both_layers_can_hold_is_found_across_sizes():
    rng = RNG(0)
    low = np.fft.rfft2(rng.normal(size=(80, 2, 4, 4)))
    low[:, :, 2], low[:, :, :, 2] = 0, 0  # nothing at the smaller grid's Nyquist
    small = np.fft.irfft2(low)
    wide = np.zeros((80, 2, 8, 5), complex)
    wide[:, :, [0, 1, 7], :2] = low[:, :, [0, 1, 3], :2]
    large = np.fft.irfft2(wide) + 3.0
    r = dft_cca(large, small)
    assert abs(r.similarity - 1) < 1e-10
    assert r.x_kept == r.y_kept == 18  # 2 channels at 9 frequencies


def test_a_vector_meets_the_frequency_zero_alone():
    rng = RNG(0)
    x, y = rng.normal(size=(90, 5, 4, 4)) + 7, rng.normal(size=(90, 2))
    y += x.mean((2, 3))[:, :2]
    for a, b in [(x, y), (y, x)]:
        r = dft_cca(a, b)
        assert r.frequencies.tolist() == [[0, 0]]
        np.testing.assert_allclose(
            r.correlations[0], cca(x.mean((2, 3)), y).correlations, atol=1e-10
        )
    flat = cca(pixels_as_neurons(x), y)
    assert (flat.correlations >= dft_cca(x, y).correlations[0] - 1e-12).all()


def test_two_matrices_give_plain_cca():
    rng = RNG(0)
    x, y = rng.normal(size=(90, 5)), rng.normal(size=(90, 3))
    a, b = dft_cca(x, y), cca(x, y)
    assert abs(a.similarity - b.similarity) < 1e-12
    assert abs(a.chance - b.chance) < 1e-12


# --- rank, cut, chance ---------------------------------------------------------------------------


def test_dead_and_duplicated_channels_add_nothing():
    x, y = RNG(0).normal(size=(2, 60, 3, 4, 4))
    noisy = np.concatenate([x, x[:, :1], 0 * x[:, :1] + 5], axis=1)
    a, b = dft_cca(x, y), dft_cca(noisy, y)
    np.testing.assert_allclose(b.correlations, a.correlations, atol=1e-10)
    assert b.x_kept == a.x_kept == 48


def test_rounding_of_the_fft_is_not_taken_for_signal():
    x = np.repeat(np.repeat(RNG(0).normal(size=(60, 3, 1, 1)), 4, 2), 4, 3) + 100
    s = FourierSubspace.fit(x)
    assert (s.rank, s.counts.tolist()) == (3, [3] + [0] * 9)
    r = dft_cca(x, RNG(1).normal(size=(60, 3, 4, 4)))
    assert r.x_kept == 3
    assert (r.correlations[1:] == 0).all()
    assert r.correlations[0].min() > 0


def test_ill_conditioned_directions_survive_at_keep_1():
    rng = RNG(0)
    x = rng.normal(size=(80, 3, 4, 4)) * np.array([1, 1e-5, 1e-8])[:, None, None]
    mixed = np.einsum("nchw,dc->ndhw", x, np.linalg.qr(rng.normal(size=(3, 3)))[0])
    y = rng.normal(size=(80, 3, 4, 4))
    well = dft_cca(x / np.array([1, 1e-5, 1e-8])[:, None, None], y)
    np.testing.assert_allclose(dft_cca(mixed, y).correlations, well.correlations, atol=1e-6)
    np.testing.assert_allclose(dft_cca(y, mixed).correlations, well.correlations, atol=1e-6)


def test_cut_per_frequency_keeps_the_quiet_ones():
    x, y = (z.numpy() for z in (images(80, 6), images(80, 6, seed=1)))
    whole, each = (dft_cca(x, y, keep=0.9, cut=cut) for cut in ("layer", "frequency"))
    assert each.counts.min() >= 1
    assert whole.counts.min() == 0
    assert FourierSubspace.fit(x, 0.9).explained >= 0.9


@pytest.mark.parametrize(("n", "c"), [(300, 6), (40, 1)])
def test_chance_is_the_mean_of_independent_layers(n, c):
    rng = RNG(0)
    found = [
        dft_cca(rng.normal(size=(n, c, 6, 6)), rng.normal(size=(n, 3, 6, 6))) for _ in range(6)
    ]
    assert abs(np.mean([r.similarity for r in found]) - found[0].chance) < 0.005


def test_warns_where_channels_reach_images():
    x = RNG(0).normal(size=(6, 5, 4, 4))
    with pytest.warns(SampleSizeWarning, match="6 images for a layer of 5 channels"):
        assert dft_cca(x, x[::-1].copy()).similarity > 0.99


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scale_does_not_matter(scale):
    x, y = RNG(0).normal(size=(2, 60, 3, 4, 4))
    for keep in (1.0, 0.9):
        a, b = dft_cca(x, y, keep=keep), dft_cca(scale * x, y, keep=keep)
        assert abs(a.similarity - b.similarity) < 1e-10


def test_is_invariant_to_shifts_channel_mixing_and_offsets_but_not_to_mixing_pixels():
    rng = RNG(0)
    x, y = rng.normal(size=(2, 60, 3, 4, 4))
    base = dft_cca(x, y).similarity
    moved = np.einsum("nchw,dc->ndhw", np.roll(x, (1, 2), (2, 3)), rng.normal(size=(3, 3)))
    assert abs(dft_cca(moved + rng.normal(size=(3, 4, 4)), y).similarity - base) < 1e-10
    scrambled = x.reshape(60, 3, 16)[:, :, rng.permutation(16)].reshape(x.shape)
    assert abs(dft_cca(scrambled, y).similarity - base) > 1e-3


def test_float32_is_close():
    x, y = (z.numpy() for z in (images(200), images(200, seed=1)))
    exact, fast = (dft_cca(x, y, keep=0.99, precision=p) for p in ("float64", "float32"))
    assert abs(exact.similarity - fast.similarity) < 1e-3


# --- directions ----------------------------------------------------------------------------------


def test_fourier_weights_give_orthonormal_variates():
    x, y = (z.numpy() for z in (images(60, 4), images(60, 4, seed=1)))
    r = dft_cca(x, y)
    for f, (ky, kx) in enumerate(r.frequencies):
        a, b = (np.fft.fft2(z - z.mean(0), norm="ortho")[:, :, ky, kx] for z in (x, y))
        h, g = a @ r.x_weights[f], b @ r.y_weights[f]
        np.testing.assert_allclose(h.conj().T @ h, np.eye(2), atol=1e-10)
        np.testing.assert_allclose(h.conj().T @ g, np.diag(r.correlations[f]), atol=1e-10)


def test_directions_in_space_are_the_canonical_variates_of_the_flat_layer():
    x, y = layers(n=40)
    r = dft_cca(x, y)
    k = 30
    a, b = r.directions("x", k), r.directions("y", k)
    assert a.shape == (k, 4, 6, 6)
    h, g = (
        np.tensordot(z - z.mean(0), d, axes=([1, 2, 3], [1, 2, 3])) for z, d in ((x, a), (y, b))
    )
    np.testing.assert_allclose(h.T @ h, np.eye(k), atol=1e-8)
    np.testing.assert_allclose(g.T @ g, np.eye(k), atol=1e-8)
    flat = cca(pixels_as_neurons(x), pixels_as_neurons(y)).correlations[:k]
    np.testing.assert_allclose(h.T @ g, np.diag(flat), atol=1e-8)


def test_directions_of_a_smaller_layer_have_its_size():
    rng = RNG(0)
    r = dft_cca(rng.normal(size=(50, 2, 8, 8)), rng.normal(size=(50, 3, 4, 4)))
    assert r.directions("x").shape == (18, 2, 8, 8)
    assert r.directions("y", 4).shape == (4, 3, 4, 4)
    with pytest.raises(ValueError, match="from 1 to 18; got 19"):
        r.directions("x", 19)


# --- streaming, many layers ----------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [((6, 6), (6, 6)), ((6, 6), (3, 4)), ((5, 5), (1, 1))])
def test_moments_in_batches_equal_the_whole(sizes):
    rng = RNG(0)
    x = rng.normal(size=(120, 3, *sizes[0])) + 1e4
    y = rng.normal(size=(120, 2, *sizes[1])) - 1e4 + x.mean((2, 3), keepdims=True)[:, :2]
    a, b = FourierMoments(), FourierMoments()
    for rows in (slice(0, 1), slice(1, 50)):
        a.update(x[rows], y[rows])
    for rows in (slice(50, 90), slice(90, 120)):
        b.update(x[rows], y[rows])
    a.merge(b)
    for keep in (1.0, 0.9):
        streamed, whole = dft_cca(a, keep=keep), dft_cca(x, y, keep=keep)
        np.testing.assert_allclose(streamed.correlations, whole.correlations, atol=1e-9)
        assert abs(streamed.similarity - whole.similarity) < 1e-9
        assert streamed.n == 120


def test_moments_ignore_dead_channels():
    x, y = RNG(0).normal(size=(2, 90, 3, 4, 4))
    dead = np.concatenate([x, np.full((90, 1, 4, 4), 1e3 / 7)], axis=1)
    m = FourierMoments()
    for rows in np.array_split(np.arange(90), 7):
        m.update(dead[rows], y[rows])
    assert dft_cca(m).x_kept == 48
    constant = FourierMoments()
    for rows in np.array_split(np.arange(90), 7):
        constant.update(dead[rows, 3:], y[rows])
    with pytest.raises(ValueError, match="the first layer of x has no variance left"):
        dft_cca(constant)


def test_moments_keep_to_one_shape_and_one_kind():
    m = FourierMoments()
    m.update(np.ones((2, 3, 4, 4)), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"\(3, 4, 4, 2, 1, 1\).*got \(3, 4, 5, 2, 1, 1\)"):
        m.update(np.ones((2, 3, 4, 5)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="2 rows in x and 3 in y"):
        m.update(np.ones((2, 3, 4, 4)), np.ones((3, 2)))
    with pytest.raises(TypeError, match="hold both layers"):
        dft_cca(m, np.ones((2, 2)))
    single = FourierMoments()
    single.update(np.ones((2, 3, 4, 4)))
    with pytest.raises(ValueError, match="two layers"):
        dft_cca(single)


def test_pairwise_prepares_each_layer_once(monkeypatch):
    rng = RNG(0)
    xs = {"c1": rng.normal(size=(60, 3, 8, 8)), "fc": rng.normal(size=(60, 5))}
    ys = {"c1": rng.normal(size=(60, 4, 4, 4)), "c2": rng.normal(size=(60, 2, 8, 8))}
    expected = [[dft_cca(x, y, keep=0.9).similarity for y in ys.values()] for x in xs.values()]
    fits = []
    monkeypatch.setattr(fourier_subspace, "decompose", lambda *a: fits.append(1) or decompose(*a))
    np.testing.assert_allclose(pairwise(xs, ys, "dft_cca", keep=0.9), expected, atol=1e-12)
    assert len(fits) == 4


def test_a_prepared_layer_stands_for_the_array():
    x, y = RNG(0).normal(size=(2, 60, 3, 4, 4))
    prepared = FourierSubspace.fit(x, keep=0.9)
    expected = dft_cca(x, y, keep=0.9).similarity
    assert dft_cca(prepared, y, keep=0.9).similarity == pytest.approx(expected, abs=1e-12)
    assert isinstance(pairwise([prepared], [y], "dft_cca"), np.ndarray)


@pytest.mark.parametrize("keep", [0.9, 1.0])
def test_blocks_of_images_give_what_all_images_give(keep, monkeypatch):
    x, y = RNG(0).normal(size=(2, 60, 3, 4, 4)) + 1e3
    x[:, 1] = 7.0  # dead
    y[:, 2] = y[:, 0] + 1e-9 * y[:, 2]  # nearly twice the same: its Gram matrix is singular
    prepared = [FourierSubspace.fit(z, keep=keep) for z in (x, y)]
    monkeypatch.setattr("svcca_lib.fourier.moments.BLOCK", 7 * x[0].size)
    r, expected = dft_cca(x, y, keep=keep), dft_cca(*prepared)
    np.testing.assert_allclose(r.correlations, expected.correlations, atol=1e-10)
    assert (r.x_kept, r.y_kept) == (expected.x_kept, expected.y_kept)


def test_torch_in_torch_out():
    x, y = torch.from_numpy(RNG(0).normal(size=(2, 60, 3, 4, 4)))
    r = dft_cca(x, y)
    assert all(isinstance(v, torch.Tensor) for v in (r.correlations, r.frequencies, r.x_weights))
    assert isinstance(r.directions("x", 2), torch.Tensor)
    assert isinstance(dft_cca(x.numpy(), y.numpy()).x_weights, np.ndarray)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :, 0], r"x must be 2-D or 4-D; got shape \(20, 2, 4\)"),
        (lambda x: x[:1], "x needs at least 2 rows"),
        (lambda x: x[:19], "19 rows in x and 20 in y"),
        (lambda x: np.full_like(x, 3.3), "x has no variance left"),
        (lambda x: np.where(x > 2, np.nan, x), "x must be finite"),
    ],
)
def test_bad_layers_give_one_clear_sentence(change, message):
    x, y = RNG(0).normal(size=(2, 20, 2, 4, 4))
    with pytest.raises(ValueError, match=message):
        dft_cca(change(x), y)


def test_bad_options_give_one_clear_sentence():
    x = RNG(0).normal(size=(20, 2, 4, 4))
    for options in ({"cut": "pixel"}, {"mean_over": "all"}, {"energy": "power"}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be one of"):
            dft_cca(x, x, **options)
    with pytest.raises(TypeError, match="y is missing"):
        dft_cca(x)
    with pytest.raises(ValueError, match="side must be one of"):
        dft_cca(x, x).directions("z")


# --- the paper's readings ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_readings_put_every_response_where_they_say(kind):
    x = np.arange(2 * 3 * 4 * 6.0).reshape(2, 3, 4, 6)
    rows = np.asarray(channels_as_neurons(kind(x)))
    assert rows[1 * 24 + 2 * 6 + 5].tolist() == x[1, :, 2, 5].tolist()
    assert image_of_row(kind(x)).tolist() == [0] * 24 + [1] * 24
    assert np.asarray(pixels_as_neurons(kind(x)))[1].tolist() == x[1].ravel().tolist()
    phases = np.asarray(phases_as_channels(kind(x), (2, 3)))
    assert phases.shape == (2, 18, 2, 2)
    assert phases[1, 2 * 6 + 1 * 3 + 2].tolist() == x[1, 2, 1::2, 2::3].tolist()


@pytest.mark.parametrize(
    "reading", [channels_as_neurons, pixels_as_neurons, positions_as_neurons, image_of_row]
)
def test_readings_want_images(reading):
    with pytest.raises(ValueError, match=r"\(n, c, h, w\); got \(3, 4\)"):
        reading(np.ones((3, 4)))
    with pytest.raises(TypeError, match="got list"):
        reading([1.0])


def test_stride_must_divide_the_size():
    with pytest.raises(ValueError, match=r"must divide the layer's size \(4, 6\); got 4"):
        phases_as_channels(np.ones((2, 1, 4, 6)), 4)


@pytest.mark.parametrize("keep", [0.95, 0.99, 1.0])
@pytest.mark.parametrize("cut", ["layer", "frequency"])
def test_float32_keeps_what_float64_keeps_under_one_loud_channel(keep, cut):
    """One channel far louder than the others hides them from a Gram matrix in float32."""
    rng = RNG(0)
    loud = np.array([170.0, *np.ones(299)])[:, None, None]
    x = rng.normal(size=(400, 300, 2, 2)) * loud
    y = np.concatenate([x[:, :1], rng.normal(size=(400, 299, 2, 2))], axis=1)
    exact = dft_cca(x, y, keep=keep, cut=cut)
    rounded = dft_cca(x, y, keep=keep, cut=cut, precision="float32")
    assert (rounded.x_kept, rounded.y_kept) == (exact.x_kept, exact.y_kept)
    assert rounded.similarity == pytest.approx(exact.similarity, abs=1e-3)
    table = pairwise([x, y], measure="dft_cca", keep=keep, cut=cut, precision="float32")
    assert table[0, 1] == pytest.approx(exact.similarity, abs=1e-3)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_positions_read_the_same_places_whatever_the_size_of_the_grid(kind):
    """What is constant over blocks of pixels looks the same on the fine grid and on the coarse."""
    coarse = np.random.default_rng(0).normal(size=(5, 3, 4, 8))
    fine = coarse.repeat(4, axis=2).repeat(2, axis=3)
    read = positions_as_neurons(kind(coarse))
    assert isinstance(read, type(kind(coarse)))
    assert read.shape == (5, 12)
    np.testing.assert_array_equal(read, positions_as_neurons(kind(fine)))
    inner = coarse[:, :, [1, 1, 2, 2], [3, 5, 3, 5]]
    np.testing.assert_array_equal(np.asarray(read).reshape(5, 4, 3), inner.transpose(0, 2, 1))


def test_positions_at_every_place_are_all_pixels():
    x = np.random.default_rng(1).normal(size=(300, 2, 3, 4))
    y = np.random.default_rng(2).normal(size=(300, 5)) + x[:, 0, :, 0] @ np.ones((3, 5))
    every = [(row / 3, column / 4) for row in range(3) for column in range(4)]
    found = cca(positions_as_neurons(x, every), y).similarity
    assert found == pytest.approx(cca(pixels_as_neurons(x), y).similarity, abs=1e-12)


@pytest.mark.parametrize("places", [[], [(0.5, 1.0)], [(-0.1, 0.5)], [(0.5,)]])
def test_positions_outside_the_grid_are_refused(places):
    with pytest.raises(ValueError, match="positions must"):
        positions_as_neurons(np.zeros((2, 1, 3, 3)), places)
