"""One loop: what a training computes follows from its configuration, interrupted or not."""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional
from trainings import CONVNET, CPU, RESNET, TOY, configured, equal, interrupted

from svcca_lib.paper.store.store import Store
from svcca_lib.paper.training import journal
from svcca_lib.paper.training.config import FreezeSchedule
from svcca_lib.paper.training.evaluation import evaluate
from svcca_lib.paper.training.loop import learning_rate
from svcca_lib.paper.training.networks import NetworkConfig, build
from svcca_lib.paper.training.tasks import make_task
from svcca_lib.paper.training.trained import train

pytestmark = pytest.mark.slow


# ----------------------------------------------------------------------------------------- the loop


def test_the_loop_is_sgd_as_written_down(toy, store):
    """An independent loop, with its own momentum and decay, ends at the same weights."""
    config = configured(TOY, toy, steps=12, lr=0.02, weight_decay=1e-3)
    network = build(TOY, 3)
    task = make_task(config, toy, CPU)
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
    run = train(configured(CONVNET, digits, checkpoints=(0.0, 0.001, 0.5, 1.0)), digits, store)
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
    config = configured(CONVNET, digits, checkpoints=(0.0, 0.25, 0.5, 0.75, 1.0), translate=1)
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
    images = configured(RESNET, digits, steps=80, batch_size=64, lr=0.1)
    assert train(images, digits, store).history["test_accuracy"][-1] > 0.85
    lstm = NetworkConfig("lstm", (10,), 10, width=16, depth=2)
    tokens = configured(lstm, text, optimizer="adam", lr=0.02, context=8)
    assert train(tokens, text, store).history["test_accuracy"][-1] > 0.8
    points = configured(TOY, toy, steps=150, optimizer="adam", lr=0.01)
    history = train(points, toy, store).history
    assert history["test_loss"][-1] < history["test_loss"][0] / 2
    assert "test_accuracy" not in history


def test_a_run_is_loaded_and_not_trained_again(toy, store):
    config = configured(TOY, toy)
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
    config = configured(network, data, steps=24, checkpoints=(0.0, 0.2, 0.5, 1.0), **settings)
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
    first = train(configured(TOY, toy), toy, store)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_float32_matmul_precision() == precision
    torch.manual_seed(99)
    second = train(configured(TOY, toy), toy, Store(store.root / "other"))
    assert equal(first.tensors, second.tensors)


def test_the_bar_is_on_stderr_and_only_where_asked_for(toy, store, capfd):
    train(configured(TOY, toy), toy, store)
    assert capfd.readouterr() == ("", "")
    train(configured(TOY, toy, seed=4), toy, store, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "toy-toy-s4" in err
    assert "40/40" in err


def test_a_report_says_where_a_training_is(toy, store, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(journal.time, "monotonic", lambda: next(clock))
    said = []
    train(configured(TOY, toy, steps=4), toy, store, report=lambda *now: said.append(now))
    assert [now[:2] for now in said] == [(step, 4) for step in (1, 2, 3, 4)]


# ----------------------------------------------------------------------------------------- evaluate


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


# ------------------------------------------------------------------------------------------- errors


def test_data_other_than_the_configurations_are_refused(digits, toy, store):
    with pytest.raises(ValueError, match="expected data of the configuration's fingerprint"):
        train(configured(TOY, digits), toy, store)
    with pytest.raises(TypeError, match="kind images; got toy"):
        train(configured(CONVNET, toy), toy, store)
    with pytest.raises(ValueError, match="batch_size must be at most"):
        train(configured(TOY, toy, batch_size=257), toy, store)


def test_a_context_longer_than_the_text_is_refused(text, store):
    config = configured(NetworkConfig("lstm", (10,), 10, width=4), text, context=600)
    with pytest.raises(ValueError, match="less than the 500 test tokens"):
        train(config, text, store)


def test_a_diverging_run_is_an_error_and_is_not_kept(toy, store):
    with pytest.raises(FloatingPointError, match="lower lr"):
        train(configured(TOY, toy, lr=1e6), toy, store)
    assert not any(entry.finished for entry in store.entries())
