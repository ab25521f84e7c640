"""The table of coverage: its truths, its draws, and what is stored of it."""

import io

import numpy as np
import pytest
import scipy.stats

from svcca_lib import MEASURES
from svcca_lib.paper.experiments import interval_coverage
from svcca_lib.paper.experiments.interval_coverage import (
    DESIGNS,
    RATIOS,
    Coverage,
    coverage,
    design,
    stored,
    write,
)


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("measure", ["svcca", "cca", "cka", "procrustes", "linear_regression"])
def test_truth_is_what_very_many_datapoints_give(name, measure):
    layers = design(name, 6)
    x, y = layers.draw(60_000, np.random.default_rng(0))
    found = MEASURES[measure]().between(x, y).similarity
    assert found == pytest.approx(layers.similarity(measure), abs=0.015)


def test_truths_of_planted_correlations_are_their_means():
    assert design("half", 10).similarity("cca") == pytest.approx(0.415)
    assert design("few strong", 10).similarity("cca") == pytest.approx(0.36)
    assert design("full", 10).similarity("svcca") == pytest.approx(1)
    # Linear regression and CKA weigh by the variances, 1 / i.
    a, rho = 1 / np.arange(1, 11), np.linspace(0.95, 0, 10)
    graded = design("graded", 10)
    assert graded.similarity("linear_regression") == pytest.approx((rho**2 * a).sum() / a.sum())
    assert graded.similarity("cka") == pytest.approx(((rho * a) ** 2).sum() / (a**2).sum())
    with pytest.raises(ValueError, match=r"^design must be one of few strong, .*; got 'none such'"):
        design("none such")


def test_a_cell_depends_on_the_seed_and_itself_alone():
    few = {"draws": 2, "n_resamples": 4, "neurons": 4}
    (alone,) = coverage(["cka"], ["graded"], [16], **few)
    both = coverage(["cka"], ["equal", "graded"], [8, 16], **few)
    assert alone == both[-1]
    (other,) = coverage(["cka"], ["graded"], [16], seed=1, **few)
    assert other.observed != alone.observed
    assert other.truth == alone.truth


def test_what_is_refused_is_counted_and_no_number():
    (cell,) = coverage(["cca"], ["none"], [2], draws=3, neurons=4)
    assert cell.refused == 1
    assert np.isnan([cell.covered, cell.width, cell.observed]).all()


def test_table_is_read_as_it_was_written(tmp_path, monkeypatch):
    cells = [
        Coverage("cka", "half", 8.0, 64, 0.25, 0.5, 0.95, 0.0, 0.125, 0.0625, 20),
        Coverage("cca", "none", 2.0, 16, 0.0, *[float("nan")] * 2, 1.0, *[float("nan")] * 2, 20),
    ]
    file = io.StringIO()
    write(cells, file)
    path = tmp_path / "intervals.csv"
    path.write_text(file.getvalue(), encoding="utf-8")
    monkeypatch.setattr(interval_coverage, "TABLE", path)
    assert list(map(str, stored())) == list(map(str, cells))


def test_stored_table_is_whole_and_its_intervals_cover():
    cells = stored()
    grid = [(m, d, r) for m in interval_coverage.MEASURES for d in DESIGNS for r in RATIOS]
    assert [(c.measure, c.design, c.ratio) for c in cells] == grid
    assert {c.draws for c in cells} == {100}
    answered = [c for c in cells if c.refused < 1]
    assert len(answered) == sum(c.ratio >= 8 or c.measure == "cka" for c in cells)
    assert all(c.refused == 0 for c in answered)
    # Of 95 %, the least that 100 draws give once in a thousand cells.
    assert min(c.covered for c in answered) * 100 >= scipy.stats.binom.ppf(0.001, 100, 0.95)
    assert sum(c.covered < 0.9 for c in answered) <= 1
    # Where every correlation is clear, no wider than it has to be.
    easy = [c for c in answered if c.design == "equal" and c.ratio == 50]
    assert all(c.width < 4 * c.ideal for c in easy)
    assert all(c.width < 1e-6 for c in answered if c.design == "full")


@pytest.mark.slow
def test_stored_row_is_made_again():
    (again,) = coverage(["linear_regression"], ["equal"], [16])
    (row,) = [
        c for c in stored() if (c.measure, c.design, c.ratio) == ("linear_regression", "equal", 16)
    ]
    assert again.covered == row.covered
    assert again.width == pytest.approx(row.width, abs=1e-3)
