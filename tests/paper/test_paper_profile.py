"""The profile of the paper, walked from end to end: its widths, its code, its steps cut to two.

The images are generated, in CIFAR-10's shape and classes, there are two seeds for ten, and the
learning rate is one that two steps bear. What is measured on such networks is noise; that it can be
measured at these widths is what is tested. The path to ImageNet's ResNet-50 is tested in
experiments/test_class_sensitivity.py.
"""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from svcca_lib import capture, svcca
from svcca_lib.paper import profiles
from svcca_lib.paper.chapter.chapter import Chapter
from svcca_lib.paper.data import images
from svcca_lib.paper.experiments import (
    class_sensitivity,
    compression,
    freezing,
    freezing_savings,
    layer_matrices,
    recurrent,
    restriction,
    theorems,
    translation_invariance,
)
from svcca_lib.paper.store.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::svcca_lib.SampleSizeWarning")]

STEPS, IMAGES = 2, 30
PAPER = profiles.profile("paper")


@pytest.fixture(scope="module")
def chapter(tmp_path_factory):
    """Give a chapter at the paper's profile with its steps cut, on generated images."""
    root = tmp_path_factory.mktemp("cifar")
    rng = np.random.default_rng(0)
    for part, count in (("train", IMAGES // 10), ("test", 1)):
        for name in images.CIFAR10_CLASSES:
            (root / part / name).mkdir(parents=True)
            colour = rng.integers(0, 200, size=3)
            for i in range(count):
                pixels = colour + rng.integers(0, 56, size=(32, 32, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(root / part / name / f"{i:04}.png")
    recipes = {
        name: recipe.but(steps=STEPS, batch_size=4, lr=1e-4, evaluations=1)
        for name, recipe in PAPER.recipes.items()
    }
    cut = replace(PAPER, seeds=(0, 1), toy_points=400, recipes=recipes)
    store = Store(tmp_path_factory.mktemp("store"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profiles, "PROFILES", {**profiles.PROFILES, "paper": cut})
        patch.setenv("SVCCA_REFERENCE", "")
        yield lambda name: Chapter(name, profile="paper", data=f"cifar10:{root}", store=store)


def test_what_is_cut_is_as_the_paper_has_it():
    assert len(PAPER.seeds) == 10
    assert {PAPER.recipes[name].settings["steps"] for name in ("convnet", "resnet")} == {160_000}
    assert PAPER.toy_points == 200_000


def test_toy_regression(chapter):
    ch = chapter("01-toy-regression")
    toy = ch.profile.dataset("toy")
    networks = [ch.run("toy", seed).network() for seed in (0, 1)]
    x, y = (capture(network, ["h4"], [toy.x])["h4"] for network in networks)
    assert x.shape == (400, 200)
    assert 0 < svcca(x, y, energy="singular_values").similarity <= 1


def test_convnet_is_restricted_compressed_and_compared(chapter):
    ch = chapter("08-compression")
    runs = [ch.run("convnet", seed) for seed in (0, 1)]
    layers = ("p2", "fc1", "fc2")
    one, other = (restriction.cut(r.network(), layers, ch.data, images=IMAGES) for r in runs)
    assert [one[name].width for name in layers] == [4096, 512, 256]
    found = svcca(one["fc1"].train, other["fc1"].train)
    assert _shares(restriction.on_directions(one["fc1"], found.x_weights, [1]))
    study = compression.study(ch.store, *runs, ch.data, (0.01, 1.0), images=IMAGES)
    assert all(map(_shares, study.values()))
    matrices = layer_matrices.layer_matrices(
        runs[0], ch.data, ch.store, images=IMAGES, fractions=(0.0, 1.0)
    )
    assert matrices.similarity.shape == (2, 16, 16)
    assert matrices.own[1] == pytest.approx(1)


def test_resnet_against_its_logits_and_its_end(chapter):
    ch = chapter("06-class-sensitivity")
    run = ch.run("resnet", 1)
    assert len(run.network().layers) == 51
    five = class_sensitivity.five_classes(ch.data)
    found = class_sensitivity.class_sensitivity(run, ch.data, ch.store, five, images=IMAGES)
    assert found.similarity.shape == (49, 5)
    assert _shares(found.similarity)
    matrices = layer_matrices.layer_matrices(run, ch.data, ch.store, images=12, fractions=(1.0,))
    assert matrices.own[0] == pytest.approx(1)


@pytest.mark.parametrize(("name", "units"), [("convnet", 12), ("resnet", 17)])
def test_freeze_training(chapter, name, units):
    ch = chapter("05-freeze-training")
    pair = freezing.Matched((ch.run(name),), (ch.run(f"{name}-freeze"),))
    assert len(pair.freeze[0].freezes) == units - 1
    assert _shares(freezing.final_accuracy(pair.freeze, ch.data, ch.store, IMAGES))
    uncut = replace(pair.freeze[0].config, steps=160_000)
    assert 0.2 < freezing_savings.savings(uncut).counted < 2 / 3


def test_convolutions_in_the_fourier_basis(chapter):
    ch = chapter("03-fourier")
    circular = translation_invariance.with_borders(ch.run("convnet"), "circular")
    images = translation_invariance.reduced(
        ch.data.normalised(ch.data.train_images[:4]).double(), 4
    )
    shifted = translation_invariance.translations(images)
    found = translation_invariance.responses(circular, {"c1": (0, 1), "c2": (0, 1)}, shifted)
    assert theorems.off_circulant(found["c1"], found["c2"]).worst < 1e-20


def test_language_model(chapter):
    ch = chapter("09-recurrent")
    run = ch.run("lstm")
    text = ch.profile.dataset("lstm")
    inputs = recurrent.sequences(text.test_tokens, run.config.context, 6)
    found = recurrent.convergence(run, inputs, draws=1)
    assert found.layers == ("emb", "lstm1", "lstm2", "lstm3")
    assert found.similarity[-1] == pytest.approx(1)
    assert recurrent.perplexity(run.network(), text.test_tokens[:400], run.config.context) > 1


def _shares(values):
    return bool(np.isfinite(values).all() and (np.asarray(values) >= 0).all()) and bool(
        (np.asarray(values) <= 1 + 1e-9).all()
    )
