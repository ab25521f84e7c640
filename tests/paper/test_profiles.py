"""The scales: every training that a chapter may ask for can be configured, small enough to run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from svcca_lib.paper.data import sources
from svcca_lib.paper.data.images import CIFAR10_CLASSES, ImageData, image_data
from svcca_lib.paper.data.text import TextData
from svcca_lib.paper.data.toy import ToyData
from svcca_lib.paper.profiles import CHAPTERS, PROFILES, profile
from svcca_lib.paper.training.networks import build

IMAGES = ("convnet", "resnet")
BOTH = "-constant-freeze"


@pytest.fixture(scope="module")
def digits():
    return sources.load("digits")


@pytest.fixture(scope="module")
def cifar10():
    """Random pixels in the shape of CIFAR-10: profiles look at shapes and names alone."""
    images = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8)
    return image_data(
        "cifar10",
        "CIFAR-10",
        (images, torch.arange(20) % 10),
        (images, torch.arange(20) % 10),
        CIFAR10_CLASSES,
    )


def size(network):
    """Bytes of a float32 checkpoint."""
    return sum(t.numel() * t.element_size() for t in network.state_dict().values())


def test_the_profiles_are_those_of_the_design():
    assert tuple(PROFILES) == ("quick", "cifar10", "paper")
    assert all(profile(name).name == name for name in PROFILES)
    with pytest.raises(ValueError, match="profile must be one of quick, cifar10, paper; got 'big'"):
        profile("big")


def test_the_default_profile_needs_no_download():
    assert (profile("quick").data, profile("quick").text) == ("digits", "pydoc")


@pytest.mark.parametrize("scale", PROFILES)
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_training_of_a_chapter_is_one_of_the_profile(scale, chapter):
    trainings = profile(scale).trainings(chapter)
    assert set(trainings) <= set(CHAPTERS[chapter])
    assert len(set(trainings)) == len(trainings)
    for name, offset in trainings:
        assert name.removesuffix("-freeze").removesuffix("-constant") in profile(scale).recipes
        if not profile(scale).exceptions.get((chapter, name)):
            assert offset in profile(scale).seeds


def test_a_chapter_has_as_many_seeds_as_its_profile():
    six = tuple(("toy", offset) for offset in range(6))  # three pairs that share no network
    assert profile("quick").trainings("01-toy-regression") == six
    assert profile("cifar10").trainings("01-toy-regression") == six
    freeze = profile("paper").trainings("05-freeze-training")
    assert len(freeze) == 4 * 10  # the paper's mean of ten runs
    assert len(profile("cifar10").trainings("05-freeze-training")) == 4 * 3
    with pytest.raises(ValueError, match=r"chapter must be one of 01-toy-regression.*; got '99'"):
        profile("quick").trainings("99")


@pytest.mark.parametrize("scale", PROFILES)
@pytest.mark.parametrize("name", IMAGES)
def test_a_freeze_training_differs_from_its_base_in_the_freezing_alone(scale, name, cifar10):
    base = profile(scale).training(name, 3, cifar10)
    freeze = profile(scale).training(f"{name}-freeze", 3, cifar10)
    assert base.freeze is None
    assert replace(freeze, freeze=None, checkpoints=base.checkpoints) == base
    *all_but_the_last, _ = build(base.network, 0).groups
    assert freeze.freeze.groups == tuple(all_but_the_last)


@pytest.mark.parametrize(("name", "units"), [("convnet", 12), ("resnet", 17)])
def test_unit_g_of_l_is_frozen_at_g_over_l_of_training(name, units, cifar10):
    """Raghu et al. 2017, section 4.2."""
    config = profile("paper").training(f"{name}-freeze", 0, cifar10)
    times = np.array(config.freeze.steps(config.steps)) / config.steps
    np.testing.assert_allclose(times, np.arange(1, units) / units, atol=1 / config.steps)


def test_a_chapter_may_have_seeds_of_its_own():
    for scale in PROFILES:
        trainings = profile(scale).trainings("12-after-the-paper")
        seeds = [offset for name, offset in trainings if name == "convnet"]
        assert seeds == list(range(max(5, len(profile(scale).seeds))))
    others = profile("cifar10").trainings("08-compression")
    assert others == (("convnet", 0), ("convnet", 1), ("convnet", 2))
    assert "convnet-constant" not in dict(profile("cifar10").trainings("12-after-the-paper"))


@pytest.mark.parametrize("name", IMAGES)
def test_a_constant_training_differs_from_its_base_in_the_schedule_alone(name, cifar10):
    base = profile("quick").training(name, 3, cifar10)
    constant, freeze = (
        profile("quick").training(name + more, 3, cifar10) for more in ("-constant", BOTH)
    )
    assert constant.schedule == freeze.schedule == "constant"
    assert replace(constant, schedule="cosine", checkpoints=base.checkpoints) == base
    assert replace(freeze, freeze=None) == constant
    assert freeze.freeze == profile("quick").training(f"{name}-freeze", 3, cifar10).freeze


@pytest.mark.parametrize("scale", PROFILES)
@pytest.mark.parametrize("name", IMAGES)
def test_the_four_moments_of_figure_4_are_kept(scale, name, cifar10):
    fractions = profile(scale).training(name, 0, cifar10).checkpoints
    assert {0.0, 0.35, 0.75, 1.0} <= set(fractions)
    assert len(fractions) >= 8  # the curves of Appendix Figure 3


def test_a_training_takes_its_sizes_seed_and_fingerprint_from_the_data_it_is_given(digits, cifar10):
    for data, shape in ((digits, (1, 8, 8)), (cifar10, (3, 32, 32))):
        config = profile("quick").training("convnet", 5, data)
        assert (config.network.inputs, config.network.outputs) == (shape, 10)
        assert (config.seed, config.data) == (5, data.fingerprint)


@pytest.mark.parametrize("scale", ["cifar10", "paper"])
def test_the_networks_have_the_papers_widths(scale, cifar10):
    convnet = profile(scale).training("convnet", 0, cifar10).network
    assert (convnet.width, convnet.fc) == (64, (512, 256))
    assert build(profile(scale).training("resnet", 0, cifar10).network, 0).labels[-1] == "out"
    toy = profile(scale).recipes["toy"].network
    assert (toy.width, toy.depth) == (200, 4)


def test_the_paper_profile_has_the_papers_steps_and_runs():
    paper = profile("paper")
    assert [paper.recipes[name].steps for name in IMAGES] == [160_000, 160_000]
    assert (len(paper.seeds), paper.toy_points) == (10, 200_000)


@pytest.mark.filterwarnings("ignore:the pydoc topics")
def test_the_networks_of_the_quick_profile_are_small_enough_to_ship():
    quick = profile("quick")
    needed = {item for chapter in CHAPTERS for item in quick.trainings(chapter)}
    total = 0
    for name, seed in needed:
        config = quick.training(name, seed, quick.dataset(name))
        total += len(config.checkpoints) * size(build(config.network, seed))
    assert total < 18e6  # of five seeds, which is what intervals on small networks need


@pytest.mark.filterwarnings("ignore:the pydoc topics")
def test_each_training_learns_from_its_own_kind_of_data(tmp_path):
    quick = profile("quick")
    kinds = {name: type(quick.dataset(name)) for name in (*quick.recipes, "resnet-freeze")}
    assert kinds == {
        "toy": ToyData,
        "convnet": ImageData,
        "resnet": ImageData,
        "resnet-freeze": ImageData,
        "lstm": TextData,
    }


@pytest.mark.filterwarnings("ignore:the pydoc topics")
def test_a_specification_replaces_the_data_of_its_kind_and_no_other(tmp_path):
    quick = profile("quick")
    (tmp_path / "a.txt").write_text("one two\n")
    words = f"words:{tmp_path / 'a.txt'},{tmp_path / 'a.txt'}"
    assert quick.dataset("lstm", words).name == "a"
    assert quick.dataset("convnet", words).name == "digits"
    assert quick.dataset("lstm", "digits").name == "pydoc"
    assert profile("cifar10").dataset("convnet", "digits").name == "digits"
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        quick.dataset("convnet", f"folder:{tmp_path / 'gone'}")


def test_unknown_trainings_and_data_of_another_kind_are_refused(digits):
    quick = profile("quick")
    known = ", ".join(
        ["toy"]
        + [f"{arch}{more}" for arch in IMAGES for more in ("", "-freeze", "-constant", BOTH)]
        + ["lstm"]
    )
    unknown = ("vgg", "toy-freeze", "lstm-constant", "convnet-freeze-freeze")
    for name in (*unknown, "convnet-freeze-constant"):
        with pytest.raises(ValueError, match=f"must be one of {known}; got '{name}'"):
            quick.training(name, 0, digits)
    with pytest.raises(TypeError, match="training 'lstm' needs TextData; got ImageData"):
        quick.training("lstm", 0, digits)
