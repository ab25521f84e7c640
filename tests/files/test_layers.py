"""Files of layers: every kind gives the rows that were saved, and says what is wrong with it."""

import itertools
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from svcca_lib.files import open_layers
from svcca_lib.files.layers import SUFFIXES, names_file

RNG = np.random.default_rng(0)
LAYERS = {
    "fc1": RNG.normal(size=(57, 5)),
    "fc2": RNG.normal(size=(57, 3)).astype(np.float32),
    "conv/c1": RNG.normal(size=(57, 2, 3, 3)),
}
KINDS = ("stored.npz", "packed.npz", "fortran.npz", "a.safetensors", "a.h5", "a.hdf5", "a.zarr")


def save(path, layers):
    """Write layers into a file of the kind that its name says; skip where no package does."""
    match path.suffix:
        case ".npz" if "packed" in path.name:
            np.savez_compressed(path, **layers)
        case ".npz":
            order = np.asfortranarray if "fortran" in path.name else np.asarray
            np.savez(path, **{name: order(layer) for name, layer in layers.items()})
        case ".safetensors":
            pytest.importorskip("safetensors.numpy").save_file(layers, path)
        case ".zarr":
            group = pytest.importorskip("zarr").open_group(path, mode="w")
            for name, layer in layers.items():
                group.create_array(name, data=layer)
        case _:
            with pytest.importorskip("h5py").File(path, "w") as file:
                for name, layer in layers.items():
                    file.create_dataset(name, data=layer, chunks=(8, *layer.shape[1:]))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_those_that_were_saved(tmp_path, kind):
    path = save(tmp_path / kind, LAYERS)
    with open_layers(path) as layers:
        assert set(layers) == set(LAYERS)
        assert not layers.left_out
        for name, saved in LAYERS.items():
            layer = layers[name]
            assert (layer.shape, layer.ndim, layer.dtype) == (saved.shape, saved.ndim, saved.dtype)
            assert layer.place == f"{path}:{name}"
            for rows in (slice(None), slice(3, 10), slice(0, 3), slice(50, 99), slice(9, 9)):
                assert np.array_equal(layer[rows], saved[rows])
            with pytest.raises(ValueError, match="rows that follow one another"):
                layer[::2]
            with pytest.raises(TypeError, match="slices of rows"):
                layer[0]


@given(cuts=st.lists(st.integers(0, 57), max_size=6), kind=st.sampled_from(KINDS[:3]))
@settings(deadline=None)
def test_blocks_of_any_sizes_join_to_the_layer(tmp_path_factory, cuts, kind):
    path = save(tmp_path_factory.mktemp("zip") / kind, LAYERS)
    ends = [0, *sorted(cuts), 57]
    with open_layers(path) as layers:
        parts = [layers["fc1"][a:b] for a, b in itertools.pairwise(ends)]
        assert np.array_equal(np.concatenate(parts), LAYERS["fc1"])


@pytest.mark.parametrize("order", [np.ascontiguousarray, np.asfortranarray])
def test_npy_is_mapped_and_not_read(tmp_path, order):
    np.save(tmp_path / "a.npy", order(LAYERS["fc1"]))
    with open_layers(tmp_path / "a.npy") as layers:
        (layer,) = layers.values()
        assert list(layers) == ["a"]
        assert isinstance(layer[3:9], np.memmap)
        assert np.array_equal(layer[3:9], LAYERS["fc1"][3:9])


def test_types_that_numpy_lacks_come_as_they_are(tmp_path):
    torch_file = pytest.importorskip("safetensors.torch")
    halves = torch.tensor(LAYERS["fc1"]).bfloat16()
    torch_file.save_file({"h": halves}, tmp_path / "a.safetensors")
    with open_layers(tmp_path / "a.safetensors") as layers:
        assert layers["h"].dtype == np.float32
        assert layers["h"][5:9].dtype == torch.bfloat16
        assert torch.equal(layers["h"][5:9], halves[5:9])


@pytest.mark.parametrize("kind", ["a.npz", "a.h5", "a.zarr"])
def test_what_is_no_layer_is_left_out_with_a_word(tmp_path, kind):
    others = {"labels": np.arange(57), "empty": np.zeros((0, 3)), "wave": np.ones((57, 2)) * 1j}
    path = save(tmp_path / kind, {name: LAYERS[name] for name in ("fc1",)})
    if kind == "a.npz":
        path = save(path, {**LAYERS, **others})
    elif kind == "a.h5":
        with pytest.importorskip("h5py").File(path, "a") as file:
            for name, value in {**others, "epoch": 3, "note": "text"}.items():
                file[name] = value
    else:
        group = pytest.importorskip("zarr").open_group(path, mode="a")
        for name, value in others.items():
            group.create_array(name, data=value)
    with open_layers(path) as layers:
        assert "fc1" in layers
        assert not set(layers) & set(others)
        said = " / ".join(layers.left_out)
        assert "labels has shape (57,), and a layer is (datapoints, neurons)" in said
        assert "wave holds no real numbers but complex128" in said
        assert "empty is empty: its shape is (0, 3)" in said
    with pytest.raises(ValueError, match=r"labels has shape \(57,\), and a layer is"):
        open_layers(f"{path}:labels")


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("fc1", ["fc1"]),
        ("fc*", ["fc1", "fc2"]),
        ("conv", ["conv/c1"]),
        ("conv/c1", ["conv/c1"]),
        ("", ["fc1", "fc2", "conv/c1"]),
    ],
)
def test_layer_group_or_pattern_after_a_colon(tmp_path, wanted, names):
    path = save(tmp_path / "a.npz", LAYERS)
    with open_layers(f"{path}:{wanted}") as layers:
        assert list(layers) == names


def test_file_whose_name_holds_colons(tmp_path):
    path = save(tmp_path / "a:b.npz", LAYERS)
    assert len(open_layers(path)) == 3
    assert list(open_layers(f"{path}:fc2")) == ["fc2"]


def test_layer_that_is_not_there_is_answered_by_those_that_are(tmp_path):
    path = save(tmp_path / "a.npz", {f"block{i}": LAYERS["fc1"] for i in range(30)})
    with pytest.raises(ValueError, match=r"no layer 'blok7'; it holds block7"):
        open_layers(f"{path}:blok7")
    with pytest.raises(ValueError, match=r"it holds block0, .*, block11 and 18 more"):
        open_layers(f"{path}:zzz")


def damaged(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([[1, None]]), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", a=np.array([[1, None]]), allow_pickle=True)
    whole = save(tmp_path / "whole.npz", LAYERS).read_bytes()
    np.save(tmp_path / "cut.npy", LAYERS["fc1"])
    cut = (tmp_path / "cut.npy").read_bytes()[:-100]
    contents = {
        **{f"none{suffix}": b"" for suffix in SUFFIXES if suffix != ".zarr"},
        **{f"text{suffix}": b"no such thing\n" * 9 for suffix in SUFFIXES if suffix != ".zarr"},
        **{"cut.npz": whole[:-200], "cut.npy": cut},
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "void.zarr").mkdir()
    with zipfile.ZipFile(tmp_path / "void.npz", "w") as archive:
        archive.writestr("readme.txt", "no array")
    return sorted(path.name for path in tmp_path.iterdir() if path.name != "whole.npz")


def test_damaged_files_are_named_in_a_sentence(tmp_path):
    for name in damaged(tmp_path):
        with pytest.raises((ValueError, OSError, ModuleNotFoundError)) as found:
            open_layers(tmp_path / name)
        text = str(found.value)
        assert "\n" not in text
        if found.type is ModuleNotFoundError:
            assert text.endswith("which is not installed: pip install 'svcca-lib[files]'")
        else:
            assert name in text


@pytest.mark.parametrize("kind", ["stored.npz", "packed.npz"])
def test_damage_within_the_numbers_is_found_when_they_are_read(tmp_path, kind):
    path = save(tmp_path / kind, {"fc1": RNG.normal(size=(900, 50))})
    content = bytearray(path.read_bytes())
    content[200_000:200_020] = bytes(20)
    path.write_bytes(content)
    damage = pytest.raises(ValueError, match=r"is no \.npz file, or damaged")
    with open_layers(path) as layers, damage:
        layers["fc1"][:]


@pytest.mark.parametrize("kind", ["stored.npz", "packed.npz"])
def test_blocks_in_any_order_are_read_without_seeking(tmp_path, monkeypatch, kind):
    """From Python 3.13 on a seek in what is stored ends the check that finds damage."""
    array = RNG.normal(size=(90, 5))
    with open_layers(save(tmp_path / kind, {"fc1": array})) as layers:
        monkeypatch.setattr(zipfile.ZipExtFile, "seek", None)
        for rows in (slice(40, 60), slice(70, 90), slice(0, 10), slice(5, 90)):
            np.testing.assert_array_equal(layers["fc1"][rows], array[rows])


def test_pickled_objects_are_not_read(tmp_path):
    damaged(tmp_path)
    with pytest.raises(ValueError, match="holds Python objects, which are not unpickled"):
        open_layers(tmp_path / "objects.npy")
    with pytest.raises(ValueError, match="holds Python objects, which are not unpickled"):
        open_layers(f"{tmp_path}/objects.npz:a")


def test_files_of_other_kinds_and_none(tmp_path):
    (tmp_path / "a.csv").touch()
    with pytest.raises(ValueError, match=r"a\.csv is of no kind that holds layers: \.npy, \.npz"):
        open_layers(tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*b\.npz$"):
        open_layers(tmp_path / "b.npz:fc1")


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("a.npy", True),
        ("A.NPZ:conv:1", True),
        ("-x/a.safetensors", True),
        ("mine:model", False),
        ("convnet+0@0.05", False),
        ("npy", False),
    ],
)
def test_files_are_told_from_networks(text, file):
    assert names_file(text) is file
