"""Files compared in blocks: the numbers of the arrays themselves."""

import subprocess
import sys

import numpy as np
import pytest
from memory import PEAK

from svcca_lib import cka, dft_cca, pairwise, svcca
from svcca_lib.files import comparison, open_layers
from svcca_lib.files.comparison import compare_files

RNG = np.random.default_rng(1)
N = 400
SHARED = RNG.normal(size=(N, 4))


def layer(width, shape=()):
    noise = RNG.normal(size=(N, width * int(np.prod(shape or (1,)))))
    return (SHARED @ RNG.normal(size=(4, noise.shape[1])) + noise).reshape(N, width, *shape)


A = {"fc1": layer(7), "fc2": layer(5)}
B = {"out": layer(6)}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "BLOCK", 8 * 18 * 37)  # blocks of 37 rows

    def save(**layers):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npz"
        np.savez(path, **layers)
        return open_layers(path)

    return save


@pytest.mark.parametrize(
    ("measure", "options"),
    [
        ("svcca", {"keep": 0.9}),
        ("cca", {}),
        ("pwcca", {"side": "y"}),
        ("linear_regression", {}),
        ("cka", {}),
        ("cka", {"kernel": "rbf"}),
        ("cka", {"debiased": True}),
        ("procrustes", {}),
    ],
)
def test_every_measure_gives_what_it_gives_of_arrays(files, measure, options):
    table = compare_files(files(**A), files(**B), measure, **options)
    assert np.abs(table.matrix - pairwise(A, B, measure, **options)).max() < 1e-12
    assert (table.layers_a, table.layers_b, table.n) == (("fc1", "fc2"), ("out",), N)
    assert np.isfinite(table.chance).all()


def test_file_against_itself(files):
    table = compare_files(files(**A), measure="cca")
    assert np.abs(table.matrix - pairwise(A, measure="cca")).max() < 1e-12


def test_few_datapoints_are_held_and_give_the_same(files, monkeypatch):
    x, y = {"x": RNG.normal(size=(30, 40))}, {"y": RNG.normal(size=(30, 35))}
    with pytest.warns(UserWarning, match="30 datapoints for a layer of 40 neurons"):
        table = compare_files(files(**x), files(**y), "svcca", keep=0.8)
    with pytest.warns(UserWarning, match="30 datapoints"):
        right = svcca(x["x"], y["y"], keep=0.8)
    assert table.matrix[0, 0] == pytest.approx(right.similarity, abs=1e-12)
    monkeypatch.setattr(comparison, "_few", lambda layers: False)
    with pytest.warns(UserWarning, match="30 datapoints"):
        streamed = compare_files(files(**x), files(**y), "svcca", keep=0.8)
    assert streamed.matrix[0, 0] == pytest.approx(right.similarity, abs=1e-9)


def test_convolutions_by_frequency_and_by_readings(files):
    x, y = layer(3, (4, 4)), layer(2, (4, 4))
    by_dft = compare_files(files(c=x), files(c=y), "dft_cca")
    assert by_dft.matrix[0, 0] == pytest.approx(dft_cca(x, y).similarity, abs=1e-12)
    mean = compare_files(files(c=x), files(c=y), "cka", conv="mean")
    assert mean.matrix[0, 0] == pytest.approx(
        cka(x.mean((2, 3)), y.mean((2, 3))).similarity, abs=1e-12
    )
    rbf = compare_files(files(c=x), files(c=y), "cka", conv="mean", kernel="rbf")
    assert rbf.matrix[0, 0] == pytest.approx(
        cka(x.mean((2, 3)), y.mean((2, 3)), kernel="rbf").similarity, abs=1e-12
    )
    flat = compare_files(files(c=x), files(c=y), "cca", conv="pixels")
    assert flat.matrix[0, 0] == pytest.approx(
        pairwise([x.reshape(N, -1)], [y.reshape(N, -1)], "cca")[0, 0], abs=1e-9
    )


def test_tokens_as_asked(files):
    x = layer(3, (5,))
    table = compare_files(files(t=x), files(**B), "cka", tokens="mean")
    right = cka(x.mean(1), B["out"]).similarity
    assert table.matrix[0, 0] == pytest.approx(right, abs=1e-12)


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (np.ones((N, 3, 2, 2)), r"\(n, c, h, w\); take --measure dft_cca, or say how"),
        (np.ones((N, 3, 2)), r"\(n, tokens, d\); say how to read it: --tokens mean"),
        (np.ones((N, 1, 1, 1, 1)), r"layers are \(n, p\), \(n, tokens, d\) or \(n, c, h, w\)"),
        (np.ones((N - 1, 3)), "both must hold the same datapoints, row by row; .* 399 rows"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_read(files, x, error):
    with pytest.raises(ValueError, match=error):
        compare_files(files(x=x), files(**B))


def test_one_row_is_too_few(files):
    one = {"x": np.ones((1, 3))}
    with pytest.raises(ValueError, match="needs at least 2 rows"):
        compare_files(files(**one))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_named_with_its_row(files, value):
    wrong = A["fc1"].copy()
    wrong[123, 2:4] = value
    with pytest.raises(ValueError, match=r"2 NaN or infinite values .*, the first in row 123$"):
        compare_files(files(x=wrong), files(**B))


def test_constant_layer_is_nan_and_the_others_are_not(files):
    table = compare_files(files(dead=np.ones((N, 3)), fc1=A["fc1"]), files(**B))
    assert np.isnan(table.matrix[:, 0]).tolist() == [True, False]
    table = compare_files(files(dead=np.ones((N, 3)), fc1=A["fc1"]), measure="cka", kernel="rbf")
    assert np.isnan(table.matrix).tolist() == [[True, True], [True, False]]


def test_wrong_measures_and_options_are_known_before_anything_is_read(files):
    layers = files(**A)
    layers.close()
    with pytest.raises(ValueError, match="measure must be one of"):
        compare_files(layers, measure="svca")
    with pytest.raises(TypeError, match=r"cka takes the options .*; got 'keep'"):
        compare_files(layers, measure="cka", keep=0.5)


MEMORY = (
    PEAK
    + """
import sys
import numpy as np
from svcca_lib.files import open_layers
from svcca_lib.files.comparison import compare_files
compare_files(open_layers(sys.argv[1]))  # what the libraries take, whatever the file
before = peak()
table = compare_files(open_layers(sys.argv[2]))
print(peak() - before, table.n, table.matrix[0, 0])
"""
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_file(tmp_path):
    rng = np.random.default_rng(0)
    small, large = tmp_path / "small.npz", tmp_path / "large.npz"
    np.savez(small, x=rng.normal(size=(20_000, 256)))
    np.savez(large, x=np.tile(rng.normal(size=(20_000, 256)).astype(np.float32), (5, 1)))
    assert large.stat().st_size > 100e6
    command = [sys.executable, "-c", MEMORY, str(small), str(large)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    size, n, similarity = done.stdout.split()
    assert (int(n), round(float(similarity), 9)) == (100_000, 1.0)
    assert int(size) < 60e6  # of 102 MB that were read, and 205 MB as float64
