"""Configurations are checked, and batches are a function of seed and step alone."""

import math

import pytest
import torch
from trainings import CONVNET, CPU, TOY, configured

from svcca_lib.paper.training.config import FreezeSchedule
from svcca_lib.paper.training.loop import learning_rate
from svcca_lib.paper.training.networks import NetworkConfig
from svcca_lib.paper.training.tasks import make_task, translation_windows

# ---------------------------------------------------------------------------------------- schedules


def test_learning_rates_are_the_closed_forms(toy):
    def rates(schedule):
        config = configured(TOY, toy, steps=8, lr=0.4, schedule=schedule)
        return [learning_rate(config, step) for step in range(9)]

    # half-angle: (1 + cos(pi t)) / 2 = cos(pi t / 2)^2
    assert rates("cosine") == pytest.approx(
        [0.4 * math.cos(math.pi * s / 16) ** 2 for s in range(9)]
    )
    assert rates("steps") == pytest.approx([0.4] * 4 + [0.04] * 2 + [0.004] * 3)
    assert rates("constant") == [0.4] * 9


def test_groups_freeze_at_equally_spaced_times():
    schedule = FreezeSchedule(("c1", "c2", "c3", "c4", "c5"), start=0.2, end=0.6)
    assert schedule.steps(1000) == (200, 300, 400, 500, 600)
    assert FreezeSchedule(("c1",), start=0.5, end=0.5).steps(10) == (5,)


@pytest.mark.parametrize(
    "bad",
    [{"groups": ()}, {"groups": ("c1",), "start": 0.8, "end": 0.2}, {"groups": ("c1",), "end": 2}],
)
def test_a_freeze_schedule_that_makes_no_sense_is_refused(bad):
    with pytest.raises(ValueError, match=r"groups must name|start <= end"):
        FreezeSchedule(**bad)


@pytest.mark.parametrize(
    "bad",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"evaluations": 0},
        {"lr": 0.0},
        {"translate": -1},
        {"translate": 1},  # of points
        {"optimizer": "lion"},
        {"schedule": "linear"},
        {"checkpoints": (1.0, 0.0)},
        {"checkpoints": (0.0, 1.5)},
        {"checkpoints": ()},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(toy, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        configured(TOY, toy, **bad)


# -------------------------------------------------------------------------------------- the batches


def naive_translation(image, down, right):
    h, w = image.shape[1:]
    moved = torch.zeros_like(image)
    for y in range(h):
        for x in range(w):
            if 0 <= y + down < h and 0 <= x + right < w:
                moved[:, y, x] = image[:, y + down, x + right]
    return moved


def test_windows_are_the_naive_translations():
    images = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    windows = translation_windows(images, 2)
    assert windows.shape == (2, 5, 5, 5, 4, 3)
    for i in range(2):
        for down in range(5):
            for right in range(5):
                expected = naive_translation(images[i], down - 2, right - 2)
                assert torch.equal(windows[i, down, right].permute(2, 0, 1), expected)


def test_a_batch_holds_its_own_images_translated(digits, float32):
    config = configured(CONVNET, digits, translate=1)
    task = make_task(config, digits, CPU)
    x, y = task.batch(0)
    assert x.is_contiguous(memory_format=torch.channels_last)
    images = digits.normalised(digits.train_images)
    order = torch.randperm(len(images), generator=task.generator("order", 0))[:32]
    assert torch.equal(y, digits.train_labels[order])
    shifts = []
    for moved, i in zip(x, order, strict=True):
        fits = [
            (down, right)
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
            if torch.equal(naive_translation(images[i], down, right), moved)
        ]
        assert fits
        shifts.append(fits[0])
    assert len(set(shifts)) > 4


def test_an_epoch_shows_each_image_once_and_the_next_another_order(digits):
    task = make_task(configured(CONVNET, digits, batch_size=100), digits, CPU)
    drawn = []
    task.gather = lambda indices, generator: drawn.append(indices)
    for step in range(2 * task.per_epoch):
        task.batch(step)
    first, second = torch.cat(drawn[: task.per_epoch]), torch.cat(drawn[task.per_epoch :])
    assert len(first) == len(digits.train_images) // 100 * 100
    assert len(set(first.tolist())) == len(first)
    assert not torch.equal(first, second)


def test_a_batch_is_a_function_of_seed_and_step_alone(digits):
    def batch(step, before=(), **changes):
        task = make_task(configured(CONVNET, digits, translate=1, **changes), digits, CPU)
        for earlier in before:
            task.batch(earlier)
        return task.batch(step)[0]

    assert torch.equal(batch(60), batch(60, before=(0, 100, 59)))
    assert torch.equal(batch(60), batch(60, steps=77, lr=0.5, checkpoints=(1.0,)))
    assert not torch.equal(batch(60), batch(61))
    assert not torch.equal(batch(60), batch(60, seed=4))


def test_text_is_continued_by_one_token(text):
    config = configured(NetworkConfig("lstm", (10,), 10, width=4, depth=1), text, context=7)
    task = make_task(config, text, CPU)
    for x, y in (task.batch(5), task.test):
        assert x.shape == y.shape
        assert x.shape[1] == 7
        assert torch.equal(y, (x + 1) % 10)
    assert torch.equal(task.test[0].flatten(), text.test_tokens[: task.test[0].numel()])
