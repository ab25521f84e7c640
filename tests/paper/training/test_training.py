"""One loop: what a run computes follows from its configuration, and freezing freezes."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from test_faults import interrupted
from torch.nn import functional

from svcca_lib.paper.data import sources
from svcca_lib.paper.data.text import TextData
from svcca_lib.paper.data.toy import toy as targets
from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training import journal, loop, tasks
from svcca_lib.paper.training.config import FreezeSchedule, TrainConfig
from svcca_lib.paper.training.evaluation import evaluate
from svcca_lib.paper.training.flops import count_flops
from svcca_lib.paper.training.loop import learning_rate
from svcca_lib.paper.training.networks import NetworkConfig, build
from svcca_lib.paper.training.tasks import translation_windows
from svcca_lib.paper.training.trained import train

CPU = torch.device("cpu")
CONVNET = NetworkConfig("convnet", (1, 8, 8), 10, width=8, fc=(16, 8))
RESNET = NetworkConfig("resnet", (1, 8, 8), 10, width=4, depth=1)
TOY = NetworkConfig("toy", (1,), 4, width=12, depth=3)


@pytest.fixture(scope="module")
def digits():
    return sources.load("digits")


@pytest.fixture(scope="module")
def toy():
    return targets(256)


@pytest.fixture(scope="module")
def text():
    """A text of 3,000 tokens in which each token but the first of ten follows from the last."""
    tokens = torch.arange(3000) % 10
    return TextData("count", "count", tokens[:2500], tokens[2500:], tuple("0123456789"), "c")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def float32(monkeypatch):
    monkeypatch.setattr(tasks, "computes_in_bfloat16", lambda device: False)


def make_config(network, data, **changes):
    settings = {"steps": 40, "batch_size": 32, "lr": 0.05, "evaluations": 4, "seed": 3}
    return TrainConfig(network, data.fingerprint, **(settings | changes))


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# ------------------------------------------------------------------------------------- schedules


def test_learning_rates_are_the_closed_forms(toy):
    def rates(schedule):
        config = make_config(TOY, toy, steps=8, lr=0.4, schedule=schedule)
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
    assert [schedule.frozen(step, 1000) for step in (0, 199, 200, 450, 600, 999)] == [
        0,
        0,
        1,
        3,
        5,
        5,
    ]
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
        {"optimizer": "lion"},
        {"schedule": "linear"},
        {"checkpoints": (1.0, 0.0)},
        {"checkpoints": (0.0, 1.5)},
        {"checkpoints": ()},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(toy, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        make_config(TOY, toy, **bad)


# ------------------------------------------------------------------------------------ the batches


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
    config = make_config(CONVNET, digits, translate=1)
    task = tasks.make_task(config, digits, CPU)
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
    task = tasks.make_task(make_config(CONVNET, digits, batch_size=100), digits, CPU)
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
        task = tasks.make_task(make_config(CONVNET, digits, translate=1, **changes), digits, CPU)
        for earlier in before:
            task.batch(earlier)
        return task.batch(step)[0]

    assert torch.equal(batch(60), batch(60, before=(0, 100, 59)))
    assert torch.equal(batch(60), batch(60, steps=77, lr=0.5, checkpoints=(1.0,)))
    assert not torch.equal(batch(60), batch(61))
    assert not torch.equal(batch(60), batch(60, seed=4))


def test_text_is_continued_by_one_token(text):
    config = make_config(NetworkConfig("lstm", (10,), 10, width=4, depth=1), text, context=7)
    task = tasks.make_task(config, text, CPU)
    for x, y in (task.batch(5), task.test):
        assert x.shape == y.shape
        assert x.shape[1] == 7
        assert torch.equal(y, (x + 1) % 10)
    assert torch.equal(task.test[0].flatten(), text.test_tokens[: task.test[0].numel()])


# -------------------------------------------------------------------------------------- the loop


def test_the_loop_is_sgd_as_written_down(toy, store):
    """An independent loop, with its own momentum and decay, ends at the same weights."""
    config = make_config(TOY, toy, steps=12, lr=0.02, weight_decay=1e-3)
    network = build(TOY, 3)
    task = tasks.make_task(config, toy, CPU)
    velocity = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    for step in range(12):
        x, y = task.batch(step)
        network.zero_grad()
        ((network(x) - y) ** 2).mean().backward()
        rate = 0.02 * math.cos(math.pi * step / 24) ** 2
        with torch.no_grad():
            for name, p in network.named_parameters():
                gradient = p.grad + 1e-3 * p
                velocity[name] = 0.9 * velocity[name] + gradient
                p -= rate * (gradient + 0.9 * velocity[name])  # Nesterov
    trained = train(config, toy, store).network().state_dict()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(trained[name], value, rtol=1e-4, atol=1e-6)


def test_kept_networks_begin_with_the_seeds_own(digits, store):
    run = train(make_config(CONVNET, digits, checkpoints=(0.0, 0.001, 0.5, 1.0)), digits, store)
    assert equal(run.network(0.0).state_dict(), build(CONVNET, 3).state_dict())
    assert equal(run.network(0.001).state_dict(), run.network(0.0).state_dict())  # before step 1
    assert not equal(run.network(0.5).state_dict(), run.network().state_dict())
    network = run.network()
    assert not network.training
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert network.bn1.num_batches_tracked == 40
    with pytest.raises(KeyError, match=r"0\.7"):
        run.network(0.7)


def test_history_is_what_the_kept_networks_measure(digits, store, float32):
    config = make_config(CONVNET, digits, checkpoints=(0.0, 0.25, 0.5, 0.75, 1.0), translate=1)
    run = train(config, digits, store)
    assert run.history["step"] == [0, 10, 20, 30, 40]
    assert run.history["lr"] == [learning_rate(config, step) for step in (0, 10, 20, 30, 40)]
    images = digits.normalised(digits.test_images)
    for row, fraction in enumerate(run.fractions):
        network = run.network(fraction)
        accuracy = evaluate(network, images, digits.test_labels)
        assert run.history["test_accuracy"][row] == pytest.approx(accuracy, abs=0.003)
        loss = functional.cross_entropy(network(images), digits.test_labels).item()
        assert run.history["test_loss"][row] == pytest.approx(loss, rel=1e-3)
    assert run.history["seconds"] == sorted(run.history["seconds"])
    assert run.history["train_loss"][-1] < run.history["train_loss"][1]


def test_networks_of_every_sort_learn(digits, toy, text, store):
    images = make_config(RESNET, digits, steps=80, batch_size=64, lr=0.1)
    assert train(images, digits, store).history["test_accuracy"][-1] > 0.85
    lstm = NetworkConfig("lstm", (10,), 10, width=16, depth=2)
    tokens = make_config(lstm, text, optimizer="adam", lr=0.02, context=8)
    assert train(tokens, text, store).history["test_accuracy"][-1] > 0.8
    points = make_config(TOY, toy, steps=150, optimizer="adam", lr=0.01)
    history = train(points, toy, store).history
    assert history["test_loss"][-1] < history["test_loss"][0] / 2
    assert "test_accuracy" not in history


def test_a_run_is_loaded_and_not_trained_again(toy, store):
    config = make_config(TOY, toy)
    first = train(config, toy, store)
    with interrupted(at=0):  # what trains, stops at once
        second = train(config, toy, store)
        train(dataclasses.replace(config, seed=4), toy, store)
    assert equal(first.tensors, second.tensors)
    assert first.provenance == second.provenance
    assert second.history == first.history


CASES = {
    "sgd": ("convnet", {"translate": 1, "weight_decay": 1e-3}),
    "frozen": ("convnet", {"freeze": FreezeSchedule(("c1", "c2", "c3"), 0.1, 0.6)}),
    "residual": ("resnet", {"freeze": FreezeSchedule(("conv", "unit2"), 0.1, 0.4)}),
    "adam": ("toy", {"optimizer": "adam", "lr": 0.01}),
    "text": ("lstm", {"optimizer": "adam", "lr": 0.01, "context": 8}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("at", [1, 17])
def test_an_interrupted_run_ends_bit_identical(digits, toy, text, tmp_path, case, at):
    arch, settings = CASES[case]
    network, data = {
        "convnet": (CONVNET, digits),
        "resnet": (RESNET, digits),
        "toy": (TOY, toy),
        "lstm": (NetworkConfig("lstm", (10,), 10, width=8, depth=2), text),
    }[arch]
    config = make_config(network, data, steps=24, checkpoints=(0.0, 0.2, 0.5, 1.0), **settings)
    whole = train(config, data, Store(tmp_path / "whole"))

    store = Store(tmp_path / "cut")
    with interrupted(at=at):
        train(config, data, store, checkpoint_seconds=0)
    (workspace,) = store.entries()
    assert (workspace.path / f"resume-{at:09d}").is_dir()
    cut = train(config, data, store)
    assert equal(cut.tensors, whole.tensors)
    for key in whole.history.keys() - {"seconds", "examples_per_second"}:
        assert cut.history[key] == whole.history[key], key


def test_training_leaves_torch_as_it_was(toy, store):
    before, precision = torch.get_rng_state(), torch.get_float32_matmul_precision()
    first = train(make_config(TOY, toy), toy, store)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_float32_matmul_precision() == precision
    torch.manual_seed(99)
    second = train(make_config(TOY, toy), toy, Store(store.root / "other"))
    assert equal(first.tensors, second.tensors)


def test_the_bar_is_on_stderr_and_only_where_asked_for(toy, store, capfd):
    train(make_config(TOY, toy), toy, store)
    assert capfd.readouterr() == ("", "")
    train(make_config(TOY, toy, seed=4), toy, store, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "toy-toy-s4" in err
    assert "40/40" in err


def test_a_report_says_where_a_training_is(toy, store, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(journal.time, "monotonic", lambda: next(clock))
    said = []
    train(make_config(TOY, toy, steps=4), toy, store, report=lambda *now: said.append(now))
    assert [now[:2] for now in said] == [(step, 4) for step in (1, 2, 3, 4)]


# --------------------------------------------------------------------------------------- freezing


@pytest.mark.parametrize(
    ("network", "groups"), [(CONVNET, ("c1", "c2", "c4")), (RESNET, ("conv", "unit1", "unit2"))]
)
def test_frozen_layers_do_not_move(digits, store, network, groups):
    """Bit for bit, batch statistics included, although momentum and decay would move them."""
    schedule = FreezeSchedule(groups, 0.25, 0.75)
    config = make_config(
        network,
        digits,
        weight_decay=0.1,
        translate=1,
        checkpoints=(0.0, 0.25, 0.5, 0.75, 1.0),
        freeze=schedule,
    )
    run = train(config, digits, store)
    assert run.freezes == list(zip((10, 20, 30), groups, strict=True))
    final = run.network().state_dict()
    stages = list(dict(run.network().stages()))
    for fraction, group in zip((0.25, 0.5, 0.75), groups, strict=True):
        then = run.network(fraction).state_dict()
        prefix = run.network().frozen_prefix(group)
        frozen = [k for k in then if k.split(".")[0] in prefix]
        assert frozen
        for name in frozen:
            assert torch.equal(then[name], final[name]), name
        # and what lies above them goes on learning
        later = f"{stages[len(prefix)]}."
        moved = [k for k in then if k.startswith(later) and then[k].dtype.is_floating_point]
        assert not any(torch.equal(then[k], final[k]) for k in moved)


def test_a_frozen_prefix_costs_no_gradient_no_memory_and_no_optimiser(digits):
    config = make_config(CONVNET, digits)
    network = build(CONVNET, 0).train()
    optimizer = loop.make_optimizer(config, network)
    x, y = tasks.make_task(config, digits, CPU).batch(0)

    def step():
        functional.cross_entropy(network(x.float()), y).backward()
        optimizer.step()

    step()
    outputs = {}
    for name, module in network.stages():
        module.register_forward_hook(lambda m, i, output, name=name: outputs.update({name: output}))
    loop.freeze(network, optimizer, "c3")
    before = {k: v.clone() for k, v in network.state_dict().items()}
    step()

    frozen = set(network.frozen_prefix("c3"))
    assert frozen == {"in", "c1", "c2", "bn1", "p1", "c3"}
    for name, output in outputs.items():
        assert output.requires_grad == (name not in frozen)
        assert (output.grad_fn is None) == (name in frozen)
    for name, parameter in network.named_parameters():
        if name.split(".")[0] in frozen:
            assert parameter.grad is None
            assert parameter not in optimizer.state
        else:
            assert parameter.grad is not None
    after = network.state_dict()
    for name, value in before.items():
        if name.split(".")[0] in frozen:
            assert torch.equal(value, after[name]), name
    assert not torch.equal(before["bn2.running_mean"], after["bn2.running_mean"])


def test_base_and_freeze_are_one_run_until_the_first_freeze(digits, store):
    base = make_config(CONVNET, digits, translate=1, checkpoints=(0.0, 0.25, 0.5, 1.0))
    freeze = dataclasses.replace(base, freeze=FreezeSchedule(("c1", "c2"), 0.5, 0.75))
    a, b = train(base, digits, store), train(freeze, digits, store)
    for fraction in (0.0, 0.25, 0.5):
        assert equal(a.network(fraction).state_dict(), b.network(fraction).state_dict())
    assert not equal(a.network().state_dict(), b.network().state_dict())
    for key in ("train_loss", "test_loss", "test_accuracy"):
        assert a.history[key][:3] == b.history[key][:3]


def test_evaluation_does_not_wake_frozen_batch_norms(digits, store):
    """Each evaluation switches modes; with many of them a frozen batch norm must stay asleep."""
    freeze = FreezeSchedule(("c1", "bn1"), 0.25, 0.25)
    config = make_config(CONVNET, digits, evaluations=40, freeze=freeze)
    assert train(config, digits, store).network().bn1.num_batches_tracked == 10


@pytest.mark.parametrize("groups", [("c2", "c1"), ("c1", "logits"), ("nothing",), ("c1", "c1")])
def test_a_freeze_schedule_that_does_not_fit_the_network_is_refused(digits, store, groups):
    config = make_config(CONVNET, digits, freeze=FreezeSchedule(groups))
    with pytest.raises(ValueError, match="in that order"):
        train(config, digits, store)


def test_flops_are_those_of_the_closed_form(toy):
    """A linear layer m -> n costs 2mn per example forward, as much for each gradient."""
    widths = [(1, 12), (12, 12), (12, 12), (12, 4)]
    macs = np.array([m * n for m, n in widths])
    base = count_flops(make_config(TOY, toy))
    forward = 2 * 32 * macs.sum()
    # gradients of all weights, and of all inputs but the data
    assert base.forward == forward
    assert base.stages == ((0, 40, forward + 2 * 32 * (macs.sum() + macs[1:].sum())),)
    assert base.total == 40 * base.stages[0][2]

    freeze = FreezeSchedule(("h1", "h3"), 0.25, 0.5)
    frozen = count_flops(make_config(TOY, toy, freeze=freeze))
    assert [stage[:2] for stage in frozen.stages] == [(0, 10), (10, 20), (20, 40)]
    assert frozen.stages[1][2] == forward + 2 * 32 * (macs[1:].sum() + macs[2:].sum())
    assert frozen.stages[2][2] == forward + 2 * 32 * macs[3]
    assert frozen.total < base.total


@pytest.mark.parametrize(
    ("network", "groups"), [(CONVNET, ("c1", "c2", "c3", "fc1")), (RESNET, ("conv", "unit1"))]
)
def test_each_freeze_saves_flops(digits, network, groups):
    config = make_config(network, digits, freeze=FreezeSchedule(groups))
    flops = [stage[2] for stage in count_flops(config).stages]
    assert len(flops) == len(groups) + 1
    assert flops == sorted(flops, reverse=True)
    assert len(set(flops)) == len(flops)


# --------------------------------------------------------------------------------------- evaluate


def test_evaluate_is_the_share_of_right_answers_whatever_the_batch(digits):
    network = build(CONVNET, 0).train()
    network.bn1.eval()
    images = digits.normalised(digits.test_images)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    accuracies = {evaluate(network, images, digits.test_labels, batch_size=b) for b in (7, 500)}
    assert network.training
    assert not network.bn1.training
    assert equal(network.state_dict(), state)
    network.eval()
    with torch.no_grad():
        answers = network(images).argmax(1)
    expected = sum(int(a == b) for a, b in zip(answers, digits.test_labels, strict=True))
    for accuracy in accuracies:
        assert accuracy == pytest.approx(expected / len(images))


# ----------------------------------------------------------------------------------------- errors


def test_data_other_than_the_configurations_are_refused(digits, toy, store):
    with pytest.raises(ValueError, match="expected data of the configuration's fingerprint"):
        train(make_config(TOY, digits), toy, store)
    with pytest.raises(TypeError, match="trained on ImageData; got ToyData"):
        train(make_config(CONVNET, toy), toy, store)
    with pytest.raises(ValueError, match="batch_size must be at most"):
        train(make_config(TOY, toy, batch_size=257), toy, store)


def test_a_context_longer_than_the_text_is_refused(text, store):
    config = make_config(NetworkConfig("lstm", (10,), 10, width=4), text, context=600)
    with pytest.raises(ValueError, match="less than the 500 test tokens"):
        train(config, text, store)


def test_a_diverging_run_is_an_error_and_is_not_kept(toy, store):
    with pytest.raises(FloatingPointError, match="lower lr"):
        train(make_config(TOY, toy, lr=1e6), toy, store)
    assert not any(entry.finished for entry in store.entries())
