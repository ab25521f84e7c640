"""The scales: every training that a chapter may ask for can be configured, small enough to run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from svcca_lib.paper.data.images import CIFAR10_CLASSES, image_data
from svcca_lib.paper.data.sources import load
from svcca_lib.paper.profiles import CHAPTERS, PROFILES, Training, profile
from svcca_lib.paper.training.networks import build

IMAGES = ("convnet", "resnet")
BOTH = "-constant-freeze"


@pytest.fixture(scope="module")
def digits():
    return load("digits")


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
    assert (profile("quick").images, profile("quick").text) == ("digits", "pydoc")


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
    base = profile(scale).recipe(name).bind(cifar10, 3)
    freeze = profile(scale).recipe(f"{name}-freeze").bind(cifar10, 3)
    assert base.freeze is None
    assert replace(freeze, freeze=None, checkpoints=base.checkpoints) == base
    *all_but_the_last, _ = build(base.network, 0).groups
    assert freeze.freeze.groups == tuple(all_but_the_last)


@pytest.mark.parametrize(("name", "units"), [("convnet", 12), ("resnet", 17)])
def test_unit_g_of_l_is_frozen_at_g_over_l_of_training(name, units, cifar10):
    """Raghu et al. 2017, section 4.2."""
    config = profile("paper").recipe(f"{name}-freeze").bind(cifar10, 0)
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
    base = profile("quick").recipe(name).bind(cifar10, 3)
    constant, freeze = (
        profile("quick").recipe(name + more).bind(cifar10, 3) for more in ("-constant", BOTH)
    )
    assert constant.schedule == freeze.schedule == "constant"
    assert replace(constant, schedule="cosine", checkpoints=base.checkpoints) == base
    assert replace(freeze, freeze=None) == constant
    assert freeze.freeze == profile("quick").recipe(f"{name}-freeze").bind(cifar10, 3).freeze


@pytest.mark.parametrize("scale", PROFILES)
@pytest.mark.parametrize("name", IMAGES)
def test_the_four_moments_of_figure_4_are_kept(scale, name, cifar10):
    fractions = profile(scale).recipe(name).bind(cifar10, 0).checkpoints
    assert {0.0, 0.35, 0.75, 1.0} <= set(fractions)
    assert len(fractions) >= 8  # the curves of Appendix Figure 3


def test_a_training_takes_its_sizes_seed_and_fingerprint_from_the_data_it_is_given(digits, cifar10):
    for data, shape in ((digits, (1, 8, 8)), (cifar10, (3, 32, 32))):
        config = profile("quick").recipe("convnet").bind(data, 5)
        assert (config.network.inputs, config.network.outputs) == (shape, 10)
        assert (config.seed, config.data) == (5, data.fingerprint)


@pytest.mark.parametrize("scale", ["cifar10", "paper"])
def test_the_networks_have_the_papers_widths(scale, cifar10):
    convnet = profile(scale).recipe("convnet").bind(cifar10, 0).network
    assert (convnet.width, convnet.fc) == (64, (512, 256))
    assert build(profile(scale).recipe("resnet").bind(cifar10, 0).network, 0).labels[-1] == "out"
    assert profile(scale).recipes["toy"].sizes == {"width": 200, "depth": 4}


def test_the_paper_profile_has_the_papers_steps_and_runs():
    paper = profile("paper")
    assert [paper.recipes[name].settings["steps"] for name in IMAGES] == [160_000, 160_000]
    assert (len(paper.seeds), paper.toy_points) == (10, 200_000)


def test_the_networks_of_the_quick_profile_are_small_enough_to_ship():
    quick = profile("quick")
    needed = {item for chapter in CHAPTERS for item in quick.trainings(chapter)}
    total = 0
    for name, seed in needed:
        training = quick.bind(name, seed)
        config = training.config(training.load())
        total += len(config.checkpoints) * size(build(config.network, seed))
    assert total < 18e6  # of five seeds, which is what intervals on small networks need


def test_each_training_learns_from_its_own_kind_of_data():
    quick = profile("quick")
    kinds = {name: quick.bind(name, 0).load().kind for name in (*quick.recipes, "resnet-freeze")}
    assert kinds == {
        "toy": "toy",
        "convnet": "images",
        "resnet": "images",
        "resnet-freeze": "images",
        "lstm": "text",
        "words": "text",
    }


def test_of_a_chapters_parameters_each_training_takes_those_that_mean_something(tmp_path):
    quick = profile("quick")
    (tmp_path / "a.txt").write_text("one two\n")
    words = f"words:{tmp_path / 'a.txt'},{tmp_path / 'a.txt'}"
    assert quick.bind("lstm", 0, words, 32) == Training("quick", "lstm", 0, words)
    assert quick.bind("convnet", 0, words, 32) == Training("quick", "convnet", 0, width=32)
    assert quick.bind("toy", 3, words, 32) == Training("quick", "toy", 3)
    assert quick.dataset("lstm", words).name == "a"
    assert quick.dataset("convnet", words).name == "digits"
    assert quick.dataset("lstm", "digits").name == "pydoc"
    assert profile("cifar10").dataset("convnet", "digits").name == "digits"
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        quick.dataset("convnet", f"folder:{tmp_path / 'gone'}")


def test_parameters_that_mean_nothing_for_a_network_are_refused():
    refused = {
        "training 'lstm' needs data of the kind text; 'digits' is of the kind images": ("digits",),
        "training 'convnet' needs data of the kind images; 'pydoc' is": ("pydoc",),
        "training 'toy' needs data of the kind toy": ("digits",),
        "width is of the networks of images; 'lstm' has none": ("", 32),
        "width must be a positive multiple of 4; got 6": ("", 6),
    }
    for told, parameters in refused.items():
        name = next(n for n in ("lstm", "toy", "convnet") if f"'{n}'" in told or n == "convnet")
        with pytest.raises(ValueError, match=told):
            Training("quick", name, 0, *parameters)


def test_no_two_trainings_have_one_id():
    trainings = [
        Training("quick", "convnet", 0),
        Training("cifar10", "convnet", 0),
        Training("quick", "convnet", 1),
        Training("quick", "convnet", 0, width=32),
        Training("quick", "convnet", 0, "cifar10"),
        Training("quick", "convnet", 0, "cifar10:a"),
    ]
    assert len({training.id for training in trainings}) == len(trainings)


def test_unknown_trainings_and_data_of_another_kind_are_refused(digits):
    quick = profile("quick")
    known = ", ".join(
        ["toy"]
        + [f"{arch}{more}" for arch in IMAGES for more in ("", "-freeze", "-constant", BOTH)]
        + ["lstm", "words"]
    )
    unknown = ("vgg", "toy-freeze", "lstm-constant", "convnet-freeze-freeze")
    for name in (*unknown, "convnet-freeze-constant"):
        with pytest.raises(ValueError, match=f"must be one of {known}; got '{name}'"):
            quick.recipe(name)
    with pytest.raises(TypeError, match="'lstm' needs data of the kind text; got images"):
        quick.recipe("lstm").bind(digits, 0)
