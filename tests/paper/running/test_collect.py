"""What is gathered over the seeds of a sweep."""

import json
import os
import socket
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
from notebook_files import make_sweep
from typer.testing import CliRunner

from svcca_lib.__main__ import app
from svcca_lib.paper.chapter.ledger import CLAIMS, Ledger
from svcca_lib.paper.running import collect, progress
from svcca_lib.paper.running.grid import grid
from svcca_lib.paper.running.plan import Plan
from svcca_lib.paper.store.files import write_json
from svcca_lib.paper.store.paths import REPOSITORY as ROOT


def test_collected_claims_have_mean_interval_and_verdicts(tmp_path):
    make_sweep(tmp_path, [1.0, 2.0, 3.0, 0.0])
    (group,) = collect.collect(tmp_path)
    assert group.name == "stand-in/quick"
    assert group.seeds == (0, 1, 2, 3)
    (claim,) = group.ledger.claims
    # by hand: mean 1.5, standard deviation sqrt(5/3), t(0.975, 3) = 3.182446
    half = 3.182446 * (5 / 3) ** 0.5 / 2
    assert claim.interval == pytest.approx((1.5 - half, 1.5 + half))
    assert group.holding == (3,)
    assert (claim.measured, claim.over, claim.verdict) == (1.5, "seeds", "not settled")
    row = pd.read_csv(tmp_path / "collected" / "ledger.csv").iloc[0]
    assert (row["mean"], row["seeds_holding"], row["paper"]) == (1.5, 3, 2.0)
    page = (tmp_path / "collected" / "index.html").read_text()
    assert "it is &lt;high&gt;" in page
    assert "holds for 3 of 4" in page


def test_collected_figures_have_mean_and_interval_of_every_number(tmp_path):
    make_sweep(tmp_path, [1.0, 3.0])
    (group,) = collect.collect(tmp_path)
    assert group.figures == ("figure-1",)
    assert group.left_out == ("odd",)  # as many rows as the value: not alike
    table = pd.read_csv(tmp_path / "collected" / group.name / "figure-1.csv")
    assert table["y"].tolist() == [2, 3, 4]
    half = 12.706205  # t(0.975, 1), times the standard deviation sqrt(2) over sqrt(2)
    assert (table["y.high"] - table["y"]).tolist() == pytest.approx([half] * 3)
    assert table["x.low"].tolist() == [0, 1, 2]
    assert table["series"].tolist() == 3 * ["curve"]
    assert (tmp_path / "collected" / group.name / "figure-1.svg").stat().st_size > 1000


def test_jobs_that_are_not_done_are_counted_and_left_out(tmp_path):
    layout, plan = make_sweep(tmp_path, [1.0, 2.0, 6.0])
    layout.record(plan.jobs[2].name).unlink()
    (group,) = collect.collect(tmp_path)
    assert (group.seeds, group.missing) == ((0, 1), 1)
    assert group.ledger.claims[0].values == (1.0, 2.0)


def test_seeds_that_share_networks_are_marked(tmp_path):
    make_sweep(tmp_path, [1.0, 2.0], chapter="01-toy-regression")
    assert collect.collect(tmp_path)[0].shared  # seed 0 uses networks 0 and 1, seed 1 uses 1 and 2
    assert "too narrow" in (tmp_path / "collected" / "index.html").read_text()


def standing(folder):
    """Return how many jobs are in which state, as `status` says and as `collect` counts."""
    said = json.loads(CliRunner().invoke(app, ["status", str(folder), "--json"]).output)
    counted = json.loads(CliRunner().invoke(app, ["collect", str(folder), "--json"]).output)
    return Counter(said["jobs"].values()), sum((Counter(g["jobs"]) for g in counted), Counter())


def test_collect_counts_as_status_does(tmp_path):
    layout, plan = make_sweep(tmp_path, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    _, failed, killed, silent, damaged, runs = (layout.record(job.name) for job in plan.jobs)
    write_json(progress.failed_path(failed), {"error": "it broke"})
    write_json(progress.pulse_path(runs), {"host": socket.gethostname(), "pid": os.getpid()})
    layout.notebook(plan.jobs[2].name).unlink()
    (killed.parent / CLAIMS).unlink()
    (silent.parent / CLAIMS).unlink()  # done, and makes no claims
    (damaged.parent / CLAIMS).write_text('{"claims": [{}]}')
    status, collected = standing(tmp_path)
    assert status == collected
    assert status == {"done": 2, "failed": 2, "stopped": 1, "running": 1}
    (group,) = collect.collect(tmp_path)
    assert (group.seeds, group.missing, group.made) == ((0, 3), 4, (1,))
    page = (tmp_path / "collected" / "index.html").read_text()
    assert "2 of 6 done, 1 running, 2 failed, 1 stopped" in page


def test_sweep_without_claims_is_collected(tmp_path):
    layout, plan = make_sweep(tmp_path, [1.0, 2.0])
    for job in plan.jobs:
        layout.claims(job.name).unlink()
    (group,) = collect.collect(tmp_path)
    assert (group.seeds, group.figures) == ((0, 1), ("figure-1",))


def test_group_of_which_nothing_is_done_is_shown(tmp_path):
    make_sweep(tmp_path, [1.0, 2.0])
    more = grid(ROOT, [tmp_path / "stand-in.ipynb"], {"keep": ["0.5"]})
    Plan.read(tmp_path).joined(more).write(tmp_path)
    groups = collect.collect(tmp_path)
    assert [(group.seeds, group.states) for group in groups] == [
        ((0, 1), ("done", "done")),
        ((), ("waiting",)),
    ]


def test_claim_that_one_seed_leaves_out_is_of_the_others(tmp_path):
    layout, plan = make_sweep(tmp_path, [1.0, 3.0, 5.0])
    ledger = Ledger.read(layout.results(plan.jobs[0].name))
    replace(ledger, claims=(replace(ledger.claims[0], id="low"),)).write(
        layout.results(plan.jobs[0].name)
    )
    (group,) = collect.collect(tmp_path)
    found = {claim.id: claim.values for claim in group.ledger.claims}
    assert found == {"low": (1.0,), "high": (3.0, 5.0)}
    assert group.made == (1, 2)


@pytest.mark.parametrize("level", ["0", "1", "95", "nan"])
def test_level_is_a_share(tmp_path, level):
    make_sweep(tmp_path, [1.0])
    done = CliRunner().invoke(app, ["collect", str(tmp_path), "--level", level])
    assert done.exit_code == 1
    assert "level must lie between 0 and 1" in done.output
