"""Data: what was asked for is what is loaded, and it is labelled as what it is."""

import hashlib
import os
import pickle
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from svcca_lib.paper.data.images import CIFAR10_CLASSES, data_folder, spread
from svcca_lib.paper.data.sources import Spec, load
from svcca_lib.paper.data.toy import toy
from svcca_lib.paper.store.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def pixels(seed, height=32, width=32):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_folder(root, classes, *, suffix="png", parts=("train", "test"), each=3, **shape):
    """Write random images as class folders; return the pixels by path below the root."""
    written = {}
    for p, part in enumerate(parts):
        for c, name in enumerate(classes):
            (root / part / name).mkdir(parents=True)
            for i in range(each):
                image = pixels((p, c, i), **shape)
                Image.fromarray(image).save(root / part / name / f"{i:04}.{suffix}")
                written[f"{part}/{name}/{i:04}"] = image
    return written


# ------------------------------------------------------------------------------ specifications


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("digits", Spec("digits")),
        ("cifar10", Spec("cifar10")),
        ("cifar10:/a,b", Spec("cifar10", (Path("/a,b"),))),
        ("folder:/a?size=8&limit=3", Spec("folder", (Path("/a"),), size=8, limit=3)),
        ("pydoc", Spec("pydoc")),
        ("words:/a,/b", Spec("words", (Path("/a"), Path("/b")))),
    ],
)
def test_a_specification_is_read_and_written(text, spec):
    assert Spec.parse(text) == spec
    assert str(spec) == text
    assert spec.kind == ("text" if spec.source in ("pydoc", "words") else "images")


def test_anchored_paths_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/of")
    assert str(Spec.parse("folder:a?size=3").anchored()) == f"folder:{tmp_path}/a?size=3"
    assert str(Spec.parse("words:~/a,b").anchored()) == f"words:/home/of/a,{tmp_path}/b"
    assert str(Spec.parse("digits").anchored()) == "digits"


@pytest.mark.parametrize(
    "text", ["digits?size=8", "cifar10?limit=3", "pydoc?size=8", "words:a,b?limit=3"]
)
def test_options_that_mean_nothing_for_the_data_are_refused(text):
    with pytest.raises(ValueError, match="size and limit are of images in class folders alone"):
        Spec.parse(text)


# ------------------------------------------------------------------------------------ digits


def test_the_digits_are_all_there_once_and_split_by_index():
    from sklearn.datasets import load_digits

    source, data = load_digits(), load("digits")
    assert data.train_images.shape == (1348, 1, 8, 8)
    assert data.test_images.shape == (449, 1, 8, 8)
    assert data.train_images.dtype == torch.uint8
    assert data.train_labels.dtype == data.test_labels.dtype == torch.int64
    # every fourth is a test image; the grey levels 0 to 16 can be had back exactly
    back = np.rint(data.test_images[:, 0].numpy() * (16 / 255))
    assert np.array_equal(back, source.images[3::4])
    assert np.array_equal(data.test_labels.numpy(), source.target[3::4])
    assert np.array_equal(data.train_labels.numpy()[:4], source.target[[0, 1, 2, 4]])


def test_normalised_training_images_have_mean_0_and_variance_1_in_each_channel(tmp_path, store):
    write_folder(tmp_path / "d", ["a", "b"], height=9, width=7)
    for data in (load("digits"), load(f"folder:{tmp_path / 'd'}", store=store)):
        x = data.normalised(data.train_images)
        assert x.dtype == torch.float32
        assert x.mean((0, 2, 3)).abs().max() < 1e-5
        assert (x.var((0, 2, 3), correction=0) - 1).abs().max() < 1e-4


def test_normalising_leaves_the_images_as_they_are():
    data = load("digits")
    before = data.train_images.clone()
    data.normalised(data.train_images)
    assert torch.equal(before, data.train_images)


# ---------------------------------------------------------------------------- class folders


def test_class_folders_are_read_pixel_by_pixel_in_the_order_of_names(tmp_path, store):
    written = write_folder(tmp_path, ["b", "a", "c"], height=5, width=6)
    data = load(f"folder:{tmp_path}", store=store)
    assert data.classes == ("a", "b", "c")
    assert data.train_labels.tolist() == data.test_labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    for part, found in (("train", data.train_images), ("test", data.test_images)):
        expected = [written[f"{part}/{name}/{i:04}"] for name in "abc" for i in range(3)]
        assert found.shape == (9, 3, 5, 6)
        assert np.array_equal(found.permute(0, 2, 3, 1).numpy(), expected)


def test_val_stands_in_for_test(tmp_path, store):
    write_folder(tmp_path, ["a", "b"], parts=("train", "val"))
    assert len(load(f"folder:{tmp_path}", store=store).test_labels) == 6


def test_a_folder_is_decoded_once_and_again_when_a_file_changed(tmp_path, store, monkeypatch):
    write_folder(tmp_path / "d", ["a", "b"])
    first = load(f"folder:{tmp_path / 'd'}", store=store)
    opened = []
    read = Image.open
    monkeypatch.setattr(Image, "open", lambda file: opened.append(file) or read(file))
    assert load(f"folder:{tmp_path / 'd'}", store=store).fingerprint == first.fingerprint
    assert not opened
    Image.fromarray(pixels(99)).save(tmp_path / "d/train/a/0000.png")
    assert load(f"folder:{tmp_path / 'd'}", store=store).fingerprint != first.fingerprint
    assert opened


def test_the_fingerprint_is_of_the_pixels_and_labels_not_of_the_place(tmp_path, store):
    for place in ("one", "two"):
        write_folder(tmp_path / place, ["a", "b"])
    write_folder(tmp_path / "renamed", ["a", "c"])
    one, two, renamed = (
        load(f"folder:{tmp_path / place}", store=store) for place in ("one", "two", "renamed")
    )
    assert one.fingerprint == two.fingerprint != renamed.fingerprint
    assert (one.name, one.label) == ("folder-one", "folder one")


def test_grey_and_palette_images_are_read_as_rgb(tmp_path, store):
    write_folder(tmp_path, ["a", "b"], each=2)
    grey = Image.fromarray(pixels(5)).convert("L")
    grey.save(tmp_path / "train/a/0000.png")
    grey.convert("P").save(tmp_path / "train/a/0001.png")
    images = load(f"folder:{tmp_path}", store=store).train_images
    for image in images[:2]:
        assert np.array_equal(image.numpy(), [np.asarray(grey)] * 3)


def test_images_of_different_sizes_need_a_size_and_get_it_by_a_centre_crop(tmp_path, store):
    write_folder(tmp_path, ["a", "b"], height=8, width=12)
    wide = pixels(1, 8, 14)
    Image.fromarray(wide).save(tmp_path / "train/b/0001.png")
    with pytest.raises(ValueError, match=r"differ in size.*\?size=224.*\(8, 12\).*\(8, 14\)"):
        load(f"folder:{tmp_path}", store=store)
    data = load(f"folder:{tmp_path}?size=8", store=store)
    assert data.shape == (3, 8, 8)
    assert np.array_equal(data.train_images[4].permute(1, 2, 0).numpy(), wide[:, 3:11])
    assert load(f"folder:{tmp_path}?size=4", store=store).shape == (3, 4, 4)


def test_a_limit_takes_the_first_images_of_each_class(tmp_path, store):
    write_folder(tmp_path, ["a", "b"])
    every, two = (load(f"folder:{tmp_path}{q}", store=store) for q in ("", "?size=32&limit=2"))
    assert torch.equal(two.train_images, every.train_images[[0, 1, 3, 4]])
    assert two.train_labels.tolist() == [0, 0, 1, 1]


# ---------------------------------------------------------------------------------- CIFAR-10


def write_torchvision_cifar10(root, monkeypatch, n=4):
    """Write CIFAR-10 in torchvision's own format, tiny, and tell torchvision its checksums."""
    from torchvision.datasets import CIFAR10

    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)

    def write(name, content):
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    def batch(name, seed):
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
        labels = rng.integers(0, 10, n).tolist()
        return images, labels, write(name, {"data": images.reshape(n, -1), "labels": labels})

    train = [batch(f"data_batch_{i}", i) for i in range(1, 6)]
    test = batch("test_batch", 6)
    meta = write("batches.meta", {"label_names": list(CIFAR10_CLASSES)})
    monkeypatch.setattr(CIFAR10, "train_list", [entry for *_, entry in train])
    monkeypatch.setattr(CIFAR10, "test_list", [test[2]])
    monkeypatch.setattr(
        CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]}
    )
    images = np.concatenate([images for images, *_ in train])
    return images, [label for _, labels, _ in train for label in labels], test


def test_an_existing_torchvision_folder_is_read(tmp_path, monkeypatch):
    images, labels, test = write_torchvision_cifar10(tmp_path, monkeypatch)
    data = load(f"cifar10:{tmp_path}")
    assert (data.name, data.label, data.classes) == ("cifar10", "CIFAR-10", CIFAR10_CLASSES)
    assert np.array_equal(data.train_images.numpy(), images)
    assert np.array_equal(data.test_images.numpy(), test[0])
    assert data.train_labels.tolist() == labels
    with pytest.raises(ValueError, match=r"of class folders; .* holds cifar-10-batches-py"):
        load(f"cifar10:{tmp_path}?limit=2")


def test_plain_cifar10_is_looked_for_in_the_data_folder(tmp_path, monkeypatch):
    images, *_ = write_torchvision_cifar10(tmp_path / "data", monkeypatch)
    monkeypatch.setenv("SVCCA_DATA", str(tmp_path / "data"))
    assert np.array_equal(load("cifar10").train_images.numpy(), images)


def test_a_failed_download_says_where_to_put_the_data(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    def no_network(self):
        raise OSError("no route to host")

    monkeypatch.setattr(CIFAR10, "download", no_network)
    monkeypatch.setenv("SVCCA_DATA", str(tmp_path / "data"))
    with pytest.raises(FileNotFoundError, match=r"'cifar10'.*cifar-10-python.tar.gz.*no route"):
        load("cifar10")


def test_an_altered_torchvision_folder_is_refused(tmp_path, monkeypatch):
    write_torchvision_cifar10(tmp_path, monkeypatch)
    file = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FileNotFoundError, match="incomplete or altered"):
        load(f"cifar10:{tmp_path}")


@pytest.mark.parametrize("kind", ["cifar10", "folder"])
@pytest.mark.parametrize(
    ("suffix", "label"), [("jpg", "CIFAR-10, JPEG copy"), ("png", "CIFAR-10, PNG copy")]
)
def test_a_copy_of_cifar10_is_labelled_as_a_copy(tmp_path, store, kind, suffix, label):
    write_folder(tmp_path, CIFAR10_CLASSES, suffix=suffix, each=1)
    data = load(f"{kind}:{tmp_path}", store=store)
    assert (data.label, data.classes) == (label, CIFAR10_CLASSES)
    assert data.name == f"cifar10-{label[10:].split()[0].lower()}"


def test_jpeg_pixels_under_another_name_are_still_labelled_jpeg(tmp_path, store):
    write_folder(tmp_path, CIFAR10_CLASSES, suffix="png", each=1)
    Image.fromarray(pixels(0)).save(tmp_path / "test/ship/0000.png", format="JPEG")
    for _ in range(2):  # decoded, and from the store
        assert load(f"cifar10:{tmp_path}", store=store).label == "CIFAR-10, JPEG copy"


def test_no_name_and_no_option_makes_a_copy_plain_cifar10(tmp_path, store):
    write_folder(tmp_path / "CIFAR-10", CIFAR10_CLASSES, suffix="jpg", each=1)
    resized = load(f"folder:{tmp_path / 'CIFAR-10'}?size=16", store=store)
    assert resized.label == "CIFAR-10, JPEG copy, size 16"
    write_folder(tmp_path / "part" / "CIFAR-10", CIFAR10_CLASSES[:9], suffix="jpg", each=1)
    assert load(f"folder:{tmp_path / 'part/CIFAR-10'}", store=store).label == "folder CIFAR-10"


# ------------------------------------------------------------------------- what is not there


def test_missing_or_misshapen_data_are_one_clear_error_and_nothing_else(tmp_path, store):
    def fails(error, spec, match):
        with pytest.raises(error, match=match):
            load(spec, store=store)

    fails(ValueError, "mnist", "data must be digits, cifar10.*got 'mnist'")
    fails(ValueError, "digits:8", "data must be digits")
    fails(ValueError, "folder:", "data must be digits")
    fails(FileNotFoundError, f"folder:{tmp_path / 'no'}", "there is no folder")
    fails(FileNotFoundError, f"cifar10:{tmp_path}", "neither cifar-10-batches-py")
    fails(FileNotFoundError, f"folder:{tmp_path}", "found no train")
    write_folder(tmp_path, ["a", "b"], parts=("train",))
    fails(FileNotFoundError, f"folder:{tmp_path}", r"found no val")
    write_folder(tmp_path, ["a"], parts=("test",))
    fails(FileNotFoundError, f"folder:{tmp_path}", r"no .jpg or .png image in .*b$")
    write_folder(tmp_path, ["b", "z"], parts=("test",))
    fails(ValueError, f"folder:{tmp_path}", r"classes that train lacks: \['z'\]")
    fails(ValueError, f"cifar10:{tmp_path}", "class folders must be airplane.* has a, b")
    fails(ValueError, f"folder:{tmp_path}?size=big", "got 'size=big'")
    fails(ValueError, f"folder:{tmp_path}?crop=3", "got 'crop=3'")


def test_a_file_that_is_no_image_is_named(tmp_path, store):
    write_folder(tmp_path, ["a", "b"])
    (tmp_path / "train/b/0002.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"train/b/0002.png is not an image that can be read"):
        load(f"folder:{tmp_path}", store=store)


# --------------------------------------------------------------------------------------- toy


def test_the_toy_targets_are_four_different_smooth_functions_within_the_papers_range():
    data = toy(2001)
    assert data.x.shape == (2001, 1)
    assert data.y.shape == (2001, 4)
    assert data.x[[0, 1000, -1], 0].tolist() == pytest.approx([-4, 0, 4], abs=1e-6)
    assert (data.x.diff(dim=0) - 8 / 2000).abs().max() < 1e-5
    assert data.y.abs().max() <= 4
    assert data.y.diff(dim=0).abs().max() < 0.05  # no jumps
    assert np.abs(np.corrcoef(data.y.T.numpy())[np.triu_indices(4, 1)]).max() < 0.9
    assert data.fingerprint == toy(2001).fingerprint != toy(2002).fingerprint


def test_the_toy_needs_two_points():
    with pytest.raises(ValueError, match="n must be at least 2; got 1"):
        toy(1)


# -------------------------------------------------------------------------------------- text


def test_the_pydoc_text_is_prose_in_a_small_alphabet():
    data = load("pydoc")
    assert set(data.vocabulary) <= set("abcdefghijklmnopqrstuvwxyz .,\n")
    n = len(data.train_tokens) + len(data.test_tokens)
    assert len(data.train_tokens) == n * 9 // 10
    written = "".join(data.vocabulary[i] for i in data.train_tokens)
    assert "the statement" in written
    assert "  " not in written
    assert max(data.train_tokens.max(), data.test_tokens.max()) < len(data.vocabulary)


# The topics whose prose is the same in Python 3.11, 3.12 and 3.13.
PYDOC_TOPICS = """
    assert atom-literals bitwise bltin-code-objects bltin-ellipsis-object bltin-null-object
    bltin-type-objects booleans break callable-types comparisons context-managers continue
    conversions customization del dynamic-features else exceptions floating global id-classes if
    imaginary import in integers lambda lists numbers numeric-types pass return sequence-types
    slicings typesfunctions typesmodules unary while with yield
"""


def prose(pages: Iterable[str]) -> str:
    """Keep what Python versions agree on: sentences, without markup, code, tables and headings."""
    paragraphs: dict[str, None] = {}  # a set that keeps the order: some pages repeat others
    for paragraph in "\n\n".join(pages).lower().split("\n\n"):
        if paragraph.startswith(" ") or re.search(r"::=|\*\*\*|===", paragraph):
            continue
        plain = re.sub(r"[^a-z.,]+", " ", re.sub(r"[’'\"*`]", "", paragraph)).strip()
        if plain:
            paragraphs[plain] = None
    return "\n".join(paragraphs) + "\n"


def test_the_pydoc_text_is_that_of_the_published_numbers():
    found = load("pydoc").fingerprint
    assert found == "a26b6a8f6f78d7201e4d52b621632157f7f46550d585fa6b24c5b06525951674"


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="later Pythons may word their topics anew")
def test_the_pydoc_text_is_prose_of_python_s_topics():
    from pydoc_data.topics import topics

    data = load("pydoc")
    tokens = [*data.train_tokens, *data.test_tokens]
    written = prose(topics[name] for name in PYDOC_TOPICS.split() if name in topics)
    assert "".join(data.vocabulary[i] for i in tokens) == written


def test_markup_code_and_headings_are_not_prose():
    page = "\n\n".join(
        ['The "if" statement\n****', "It isn't\n*hard*, see (2).", "   if x:", "x ::= y", "End.\n"]
    )
    assert prose([page, page]) == "it isnt hard, see .\nend.\n"


def test_words_have_the_vocabulary_of_the_training_text(tmp_path):
    (tmp_path / "a.txt").write_text("the cat sat\n\nthe <unk> sat the\n")
    (tmp_path / "b.txt").write_text("the dog sat\n")
    data = load(f"words:{tmp_path / 'a.txt'},{tmp_path / 'b.txt'}")
    assert data.vocabulary == ("the", "<eos>", "sat", "<unk>", "cat")
    assert data.train_tokens.tolist() == [0, 4, 2, 1, 0, 3, 2, 0, 1]
    assert data.test_tokens.tolist() == [0, 3, 2, 1]
    assert data.train_tokens.dtype == data.test_tokens.dtype == torch.int64


def test_missing_texts_are_clear_errors(tmp_path):
    (tmp_path / "empty").write_text("\n \n")
    with pytest.raises(ValueError, match="pydoc or words:TRAIN,TEST; got 'words:only-one'"):
        load("words:only-one")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*gone"):
        load(f"words:{tmp_path / 'gone'},{tmp_path / 'empty'}")
    with pytest.raises(ValueError, match="empty has no words"):
        load(f"words:{tmp_path / 'empty'},{tmp_path / 'empty'}")


def test_the_data_folder_can_be_moved(monkeypatch):
    monkeypatch.setenv("SVCCA_DATA", os.path.join("some", "where"))
    assert data_folder().parts == ("some", "where")
    monkeypatch.delenv("SVCCA_DATA")
    assert "svcca" in str(data_folder())


def test_spread_takes_rows_from_everywhere():
    assert spread(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert spread(101, 3).tolist() == [0, 50, 100]
    assert spread(4, None).tolist() == [0, 1, 2, 3]
