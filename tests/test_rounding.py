"""What rounding made is no direction: the cut knows the precision that the numbers were made in."""

import numpy as np
import pytest
import torch

from svcca_lib import (
    FourierMoments,
    Moments,
    Subspace,
    cca,
    dft_cca,
    linear_regression,
    pairwise,
    svcca,
)

G = torch.Generator().manual_seed(0)
N = 600


def normal(*shape):
    return torch.randn(*shape, generator=G)


def linear(dtype=torch.float32):
    """32 inputs, 64 outputs: rank 32."""
    x = torch.relu(normal(N, 32)).to(dtype)
    return x, x @ (normal(32, 64) / 6).to(dtype)


def moments(x, y=None):
    m = Moments()
    for rows in torch.arange(len(x)).split(170):
        m.update(x[rows], *([] if y is None else [y[rows]]))
    return m


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_a_linear_layer_has_the_rank_of_its_input_on_every_route(dtype):
    x, y = linear(dtype)
    found = [
        cca(x, y),
        cca(Subspace.fit(x, keep=1), Subspace.fit(y, keep=1)),
        cca(moments(x, y)),
        svcca(x, y, keep=1),
    ]
    for r in found:
        assert (r.x_kept, r.y_kept) == (32, 32)
        # 11 and 8 bits of precision leave their noise in what is kept.
        assert r.similarity > (1 - 1e-6 if dtype == torch.float32 else 0.99)
    assert pairwise([x], [y], "cca")[0, 0] == pytest.approx(found[0].similarity, abs=1e-9)
    assert linear_regression(y, x).similarity == pytest.approx(1, abs=1e-3)


def test_numpy_and_torch_agree_on_what_was_made_in_float32():
    x, y = linear()
    assert cca(x.numpy(), y.numpy()).similarity == pytest.approx(cca(x, y).similarity, abs=1e-12)


def test_copied_to_float64_the_numbers_pass_for_exact():
    x, y = linear()
    assert cca(x.double(), y.double()).y_kept == 64


def test_moments_take_the_coarsest_numbers_they_were_fed():
    x, y = linear()
    m = moments(x[:300], y[:300])
    m.update(x[300:].double(), y[300:].double())
    other = Moments()
    other.update(x.double(), y.double())
    exact = other.rounding
    other.merge(m)
    assert (exact, other.rounding) == ((0.0, 0.0), m.rounding)
    assert cca(m).y_kept == 32


@pytest.mark.parametrize("p", [10, 64, 300])
@pytest.mark.parametrize(
    "make",
    [
        lambda z: torch.softmax(z, 1),
        lambda z: torch.softmax(5 * z, 1),
        lambda z: torch.nn.functional.layer_norm(z, z.shape[1:]),
        lambda z: torch.nn.functional.layer_norm(2 * z + 10, z.shape[1:]),
    ],
    ids=["softmax", "sharp softmax", "layer norm", "layer norm of a large mean"],
)
def test_outputs_that_add_up_to_a_constant_lack_a_direction(make, p):
    x = make(normal(N, p))
    assert Subspace.fit(x, keep=1).rank == p - 1
    assert cca(moments(x, x)).x_kept == p - 1


@pytest.mark.parametrize("mean", [0.0, 3.0])
@pytest.mark.parametrize("p", [3, 100])
def test_a_real_direction_of_a_ten_thousandth_is_kept(p, mean):
    scale = np.ones(p)
    scale[-1] = 1e-4
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(p, p)))[0]
    x = ((rng.normal(size=(2000, p)) * scale) @ rotation + mean).astype(np.float32)
    assert Subspace.fit(x, keep=1).rank == p
    assert cca(moments(torch.from_numpy(x), torch.from_numpy(x))).x_kept == p


@pytest.mark.parametrize("loud", [1e4, 1e8])
def test_quiet_neurons_beside_loud_ones_are_no_rounding(loud):
    """The rounding of a loud neuron is its own: it says nothing of the others."""
    x, y = linear()
    quiet = torch.cat([loud * normal(N, 1), x], dim=1)
    for r in (cca(quiet, y), cca(moments(quiet, y))):
        assert (r.x_kept, r.y_kept) == (33, 32)
        assert r.similarity == pytest.approx(1, abs=1e-4)


def test_a_neuron_that_is_rounding_as_a_whole_is_no_direction():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 4)) * [1.0, 1.0, 1.0, 1e-6]
    left_over = (x[:, :1] * 3.0 - x[:, :1] - x[:, :1] * 2.0) + 1e-17 * rng.normal(size=(300, 1))
    x = np.hstack([x, left_over])
    assert Subspace.fit(x, keep=1).rank == 4
    assert cca(moments(torch.from_numpy(x), torch.from_numpy(x))).x_kept == 4


def test_integers_are_exact():
    rng = np.random.default_rng(1)
    x = rng.integers(0, 2**20, size=(400, 5))
    x = np.hstack([x, x[:, :1] * 2**20 + rng.integers(0, 2, size=(400, 1))])
    assert Subspace.fit(x, keep=1).rank == 6


def test_rounding_is_no_direction_of_a_frequency():
    x = torch.relu(normal(200, 4, 6, 6))
    y = torch.einsum("nchw,dc->ndhw", x, normal(8, 4))
    m = FourierMoments()
    for rows in torch.arange(200).split(70):
        m.update(x[rows], y[rows])
    for r in (dft_cca(x, y), dft_cca(m)):
        assert (r.x_kept, r.y_kept) == (4 * 36, 4 * 36)
        assert r.similarity == pytest.approx(1, abs=1e-4)
    assert dft_cca(x.double(), y.double()).y_kept > 4 * 36


def test_a_network_read_by_compare_has_the_same_rank():
    from svcca_lib.models.moments import NetworkMoments

    x, y = linear()
    network = NetworkMoments(conv="channels")
    network.update({"x": x}, {"y": y})
    result = network.table("cca").results[0]
    assert (result.x_kept, result.y_kept) == (32, 32)
