"""What is gathered over the seeds of a sweep."""

import pandas as pd
import pytest
from notebook_files import make_sweep

from svcca_lib.paper.running import collect


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
    assert table["curve.y"].tolist() == [2, 3, 4]
    half = 12.706205  # t(0.975, 1), times the standard deviation sqrt(2) over sqrt(2)
    assert (table["curve.y.high"] - table["curve.y"]).tolist() == pytest.approx([half] * 3)
    assert table["curve.x.low"].tolist() == [0, 1, 2]
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
