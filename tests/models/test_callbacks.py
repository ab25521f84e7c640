"""A training's layers against their past: plain, and as the trainers call it."""

import sys
import types

import pytest
import torch
from torch import nn

from svcca_lib import PastSimilarity, compare

PROBE = torch.randn(100, 6, generator=torch.Generator().manual_seed(0))


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3))


def moved(model, step):
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(step)))


def states(steps):
    """Copies of one model at each step."""
    model, found = mlp(), []
    for step in range(steps):
        moved(model, step)
        copy = mlp()
        copy.load_state_dict(model.state_dict())
        found.append(copy)
    return found


@pytest.mark.parametrize("past", ["previous", "first"])
def test_each_value_is_that_of_the_two_models(past):
    logged = []
    watch = PastSimilarity(
        PROBE, every=2, past=past, measure="cka", log=lambda values, step: logged.append(step)
    )
    then = states(7)
    model = mlp().train()
    for step in range(7):
        moved(model, step)
        found = watch(model, step)
        assert (found is None) == (step % 2 == 1 or step == 0)
        assert model.training
        if found is not None:
            before = then[0 if past == "first" else step - 2]
            table = compare(then[step], before, PROBE, measure="cka", progress=False)
            names, values = table.layers_a, table.matrix.diagonal()
            assert found == pytest.approx(dict(zip(names, values, strict=True)))
    assert [step for step, _ in watch.history] == logged == [2, 4, 6]


def test_the_past_is_let_go():
    watch = PastSimilarity(PROBE, every=1, measure="cka")
    model, held = mlp(), []
    for step in range(5):
        moved(model, step)
        watch(model, step)
        held.append(watch._past[0].held)
    assert len(set(held)) == 1


def test_what_cannot_be_meant():
    with pytest.raises(ValueError, match="every must be a number of steps"):
        PastSimilarity(PROBE, every=0)
    with pytest.raises(ValueError, match="past must be one of 'previous', 'first'"):
        PastSimilarity(PROBE, past="next")
    with pytest.raises(TypeError, match="probe is read at every step"):
        PastSimilarity(part for part in PROBE.split(10))
    with pytest.raises(ValueError, match="half of memory="):
        PastSimilarity(PROBE, memory="8kB", batch_size=5)(mlp(), 0)


# --- fakes that follow the documented signatures -------------------------------------------------


class Logger:
    def __init__(self):
        self.seen = []

    def log_metrics(self, metrics, step=None):
        self.seen.append((step, metrics))


def lightning_calls(callback, model, steps, logger):
    """What Lightning 2 does at the end of each batch; two batches a step, as where they add up."""
    trainer = types.SimpleNamespace(loggers=[logger], global_step=0, is_global_zero=True)
    for batch_idx in range(2 * steps):
        trainer.global_step = batch_idx // 2
        if batch_idx % 2 == 0:
            moved(model, batch_idx)
        callback.on_train_batch_end(trainer, model, None, None, batch_idx)


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_lightning(package, monkeypatch):
    class Callback:
        pass

    parts = package.split(".")
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    for i in range(len(parts)):
        fake = types.ModuleType(".".join(parts[: i + 1]))
        fake.Callback = Callback
        monkeypatch.setitem(sys.modules, fake.__name__, fake)
    watch, logger = PastSimilarity(PROBE, every=2, measure="cka"), Logger()
    callback = watch.lightning()
    assert isinstance(callback, Callback)
    lightning_calls(callback, mlp(), 5, logger)
    assert [step for step, _ in logger.seen] == [2, 4]
    assert set(logger.seen[0][1]) == {"cka/0", "cka/1", "cka/2"}
    assert watch.named(watch.history[0][1]) == logger.seen[0][1]


def test_hugging_face(monkeypatch):
    class TrainerCallback:
        def on_step_begin(self, args, state, control, **kwargs):
            pass

    fake = types.ModuleType("transformers")
    fake.TrainerCallback = TrainerCallback
    monkeypatch.setitem(sys.modules, "transformers", fake)
    callback = PastSimilarity(PROBE, every=3, measure="cka").hugging_face()
    assert isinstance(callback, TrainerCallback)
    state = types.SimpleNamespace(global_step=0, log_history=[], is_world_process_zero=True)
    model = mlp()
    for step in range(1, 10):
        state.global_step = step
        moved(model, step)
        callback.on_step_end(None, state, None, model=model, optimizer=None, train_dataloader=None)
    assert [entry["step"] for entry in state.log_history] == [6, 9]
    assert set(state.log_history[0]) == {"step", "cka/0", "cka/1", "cka/2"}


def test_a_missing_package_is_named(monkeypatch):
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"needs lightning\.pytorch or pytorch_lightning"):
        PastSimilarity(PROBE).lightning()
    with pytest.raises(ImportError, match="needs transformers"):
        PastSimilarity(PROBE).hugging_face()
