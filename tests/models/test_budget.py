"""What is said before the start is what is taken."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from memory import PEAK

from svcca_lib.models.budget import Shape, available, duration, in_words, own_moments, parsed
from svcca_lib.models.layers import Layer
from svcca_lib.models.pairs import planned
from svcca_lib.models.products import Frame

MEASURED = (
    PEAK
    + """
import json, logging, resource, sys
import torch
from torch import nn
from svcca_lib import compare
from svcca_lib.models import tabulate

torch.set_num_threads(1)
width, layers, rows, memory = {width}, {layers}, {rows}, {memory!r}
def network(seed):
    torch.manual_seed(seed)
    parts = [nn.Linear(64, width), nn.Tanh()]
    for _ in range(layers - 1):
        parts += [nn.Linear(width, width), nn.Tanh()]
    model = nn.Sequential(*parts)
    model.layers = tuple(str(2 * i) for i in range(layers))
    return model
a, b = network(0), network(1)
x = torch.randn(rows, 64) @ torch.diag(torch.logspace(0, -3, 64))
compare(a, b, x[:40], ["0"], measure="cka", progress=False)  # libraries are loaded
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
plans = []
plan = tabulate.Comparison.plan
tabulate.Comparison.plan = lambda *args: plans.append(plan(*args)) or plans[-1]
before = resident()
table = compare(a, b, x, measure={measure!r}, memory=memory, progress=False)
print(json.dumps([peak() - before, plans[0].bytes, len(plans[0].shares), table.matrix.tolist()]))
"""
)


def measured(**given):
    env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(**given)],
        capture_output=True,
        text=True,
        env=env,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_is_what_was_planned_and_within_the_budget():
    sizes = {"width": 2000, "layers": 4, "rows": 1200, "measure": "cka"}
    whole = measured(**sizes, memory="4GB")
    tight = measured(**sizes, memory="600MB")
    noise = 120e6  # of the allocator and the libraries
    assert whole[1] * 0.6 - noise < whole[0] < whole[1] * 1.1 + noise
    assert tight[0] < 600e6 + noise < whole[0]
    assert (whole[2], tight[2] > 1) == (1, True)
    np.testing.assert_allclose(whole[3], tight[3], rtol=0, atol=1e-9)


def layers(count, width, kept, batch=256):
    shape = Shape(width=width, entries=1, itemsize=8, output=4 * batch * width, rows=batch)
    empty = torch.empty(width, dtype=torch.float64, device="meta")
    frame = Frame(empty, None, np.array([kept]), ())
    return {str(i): Layer(object(), frame, empty, shape, 20_000) for i in range(count)}


def test_thirty_two_layers_of_4096_against_as_many_fit_12_gb():
    budget = int(12e9 * 0.9)
    shapes = [layer.shape for layer in layers(32, 4096, 4096).values()]
    # In one reading where no basis is kept, else in a few, as half of the bases are not known yet.
    assert own_moments(shapes, sum(s.output for s in shapes)) < budget
    for kept in (300, 1000, 4096):
        sides = [layers(32, 4096, kept), layers(32, 4096, kept)]
        cells = [(a, b) for a in sides[0] for b in sides[1]]
        bases = 64 * 2 * 4096 * kept * 8
        if kept == 4096:
            bases = 0  # a measure of all neurons holds none
        plan = planned(sides, cells, budget, bases, rereads=True)
        assert plan.bytes <= budget
        assert plan.products == 32 * 32 * kept**2 * 8
        fewest = plan.products / (budget - bases)
        assert fewest <= len(plan.shares) <= np.ceil(1.5 * fewest) + 1
        told = {(a, b) for s in plan.shares for a in s.held for b in s.met}
        assert told == set(cells)
        assert sum(len(s.held) * len(s.met) for s in plan.shares) == len(cells)


def test_a_plan_gathers_only_what_is_asked_for():
    sides = [layers(6, 50, 20), layers(5, 50, 10)]
    cells = [(str(i), str(i)) for i in range(5)]
    plan = planned(sides, cells, 10**8, 0, rereads=True)
    assert plan.turned  # the lighter side is held
    assert plan.products == 5 * 20 * 10 * 8


@pytest.mark.parametrize(
    ("given", "amount"),
    [
        ("4GB", 4e9),
        ("4 gb", 4e9),
        ("1.5GiB", 1.5 * 2**30),
        ("800MB", 8e8),
        (12345, 12345),
        (2e9, 2e9),
    ],
)
def test_amounts_of_memory(given, amount):
    assert parsed(given) == int(amount)


@pytest.mark.parametrize("wrong", ["much", "-3GB", "4 parsecs", 0, float("nan"), ""])
def test_wrong_amounts_of_memory(wrong):
    with pytest.raises(ValueError, match="memory must be an amount such as"):
        parsed(wrong)


def test_other_things_are_no_memory():
    for wrong in (True, [4], b"4GB"):
        with pytest.raises(TypeError, match="memory must be an amount such as '4GB'"):
            parsed(wrong)


def test_by_default_4_gb_or_half_of_what_is_free():
    assert parsed(None) <= 4e9
    assert 1e6 < parsed(None) <= available()


def test_words():
    assert (in_words(4.2e9), in_words(3.1e6)) == ("4.2 GB", "3.1 MB")
    assert [duration(s) for s in (12, 600, 9000)] == ["12 s", "10 min", "2.5 h"]
