"""The border of the library: what comes in, whatever its type and layout, is the same layer."""

import re
import warnings

import numpy as np
import pytest
import torch

from svcca_lib import cca, cka, svcca
from svcca_lib.errors import ConstantLayerError, one_of, some_variance
from svcca_lib.inputs import as_tensor
from svcca_lib.layer import centre
from svcca_lib.outputs import like_input

RNG = np.random.default_rng(0)
X = RNG.integers(-8, 8, size=(40, 4)).astype(np.float64)  # exact in every dtype below
Y = RNG.normal(size=(40, 3)) + X[:, :1]

NUMPY_DTYPES = ["<f8", ">f8", "<f4", ">f4", "<f2", "longdouble", "i1", ">i2", "i4", "i8"]
TORCH_DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int8,
    torch.int16,
    torch.int64,
]


@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_numpy_dtypes_are_one_layer(dtype):
    assert cca(X.astype(dtype), Y).similarity == cca(X, Y).similarity


@pytest.mark.parametrize("dtype", TORCH_DTYPES, ids=str)
def test_torch_dtypes_are_one_layer(dtype):
    y = torch.from_numpy(Y)
    assert cca(torch.from_numpy(X).to(dtype), y).similarity == cca(X, Y).similarity


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_booleans_and_unsigned_integers_are_numbers(kind):
    spikes = X > 0
    expected = cca(spikes.astype(float), Y).similarity
    assert cca(kind(spikes), kind(Y)).similarity == expected
    assert cca(kind(spikes.astype(np.uint8)), kind(Y)).similarity == expected


@pytest.mark.parametrize(
    "view",
    [
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: np.repeat(x, 3, axis=1)[:, ::3],
        lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
        lambda x: np.ascontiguousarray(x.T).T,
        lambda x: np.broadcast_to(x[:, None], (40, 2, 4))[:, 1],
    ],
    ids=["fortran", "rows", "columns", "negative", "transposed", "broadcast"],
)
def test_strides_do_not_matter(view):
    x = view(X)
    assert cca(x, Y).similarity == cca(X, Y).similarity
    if (np.array(x.strides) > 0).all() and x.flags.writeable:
        assert cca(torch.from_numpy(x), torch.from_numpy(Y)).similarity == cca(X, Y).similarity


def test_read_only_memory_is_taken_without_a_warning(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
        assert cca(mapped, Y).similarity == cca(X, Y).similarity


def test_no_measure_writes_into_its_input():
    x, y = X.copy(), torch.from_numpy(Y.copy())
    for measure in (cca, svcca, cka):
        measure(x, Y)
        measure(torch.from_numpy(X), y)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_as_tensor_converts_to_the_precision_asked_for():
    for given in (X, X.astype("f4"), torch.from_numpy(X).half()):
        assert as_tensor(given, "x", ndim=2).dtype == torch.float64
        assert as_tensor(given, "x", ndim=2, precision="float32").dtype == torch.float32


def test_as_tensor_names_every_accepted_number_of_dimensions():
    assert as_tensor(np.ones((3, 2, 1)), "x", ndim=(2, 3)).shape == (3, 2, 1)
    message = "maps must be 2-D or 4-D; got shape (3,)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        as_tensor(np.ones(3), "maps", ndim=(2, 4))


def test_one_row_is_enough_for_a_batch_of_a_stream():
    assert as_tensor(X[:1], "x", ndim=2, min_rows=1).shape == (1, 4)
    message = "x needs at least 1 row (datapoint); got shape (0, 4)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        as_tensor(X[:0], "x", ndim=2, min_rows=1)


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[s]", "S3", "V8"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match=r"^x must hold real numbers; got dtype "):
        as_tensor(np.zeros((3, 2), dtype=dtype), "x", ndim=2)


def test_one_of_returns_what_it_accepts():
    assert one_of("a", ("a", "b"), "letter") == "a"


def test_centre_leaves_exact_zeros_of_constant_neurons():
    x = torch.tensor([[0.1, 1.0], [0.1, 2.0], [0.1, 6.0]], dtype=torch.float64)
    assert (x.mean(0)[0] - 0.1).abs() > 0 or (x[:, 0] - x[:, 0].mean()).abs().max() >= 0
    centred, mean = centre(x)
    assert centred[:, 0].tolist() == [0, 0, 0]
    assert centred[:, 1].tolist() == [-2, -1, 3]
    assert mean.tolist() == pytest.approx([0.1, 3.0])


def test_a_total_of_nothing_or_of_too_much_is_refused():
    some_variance(torch.tensor(3.0), "x", (3, 2))
    with pytest.raises(ConstantLayerError, match=r"every neuron is constant over the 3 datapoints"):
        some_variance(torch.tensor(0.0), "x", (3, 2))
    with pytest.raises(ValueError, match=r"too large to be squared in torch.float32"):
        some_variance(torch.tensor(torch.inf), "x", (3, 2))


def test_like_input_detaches_for_numpy_only():
    t = torch.ones(2, requires_grad=True)
    assert isinstance(like_input(t, numpy=True), np.ndarray)
    assert like_input(t, numpy=False) is t


def test_negative_strides_along_single_rows_and_columns_are_taken():
    assert as_tensor(X[:1][::-1], "x", ndim=2, min_rows=1).tolist() == X[:1].tolist()
    assert cca(X[:, :1][:, ::-1], Y).similarity == cca(X[:, :1], Y).similarity
