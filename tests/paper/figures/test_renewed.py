"""Stored figures that a reader can move, drawn anew."""

import numpy as np
import pytest

from svcca_lib.paper.figures.interactive.explorer import explorer
from svcca_lib.paper.figures.interactive.renewed import renewed
from svcca_lib.paper.figures.interactive.scrubber import scrubber

MATRICES = np.random.default_rng(0).random((2, 2, 2))
SCRUBBER = scrubber(MATRICES, (0.0, 1.0), ("<in>", "out"), title="a < b", ident="scrub-a")
EXPLORER = explorer(
    {"a": np.zeros((2, 3, 1))},
    {"n": (5, 50), "<p>": (4, 10, 20), "signal": (0,)},
    (1, 2, 0),
    title="a < b",
    ident="explore-a",
)


@pytest.mark.parametrize("shown", [SCRUBBER, EXPLORER, SCRUBBER + EXPLORER, "<p>no figure</p>"])
def test_what_is_of_today_stays_as_it_is(shown):
    assert renewed(shown, {}) == shown


def test_an_older_script_is_replaced_and_the_numbers_stay():
    older = SCRUBBER.replace("const draw =", "const olderDraw =").replace("data-play", "data-old")
    assert older != SCRUBBER
    assert renewed(f"<p>x</p>{older}", {}) == f"<p>x</p>{SCRUBBER}"


def test_the_papers_matrix_is_put_beside_the_figure_it_belongs_to():
    theirs = {1.0: np.eye(2)}
    beside = scrubber(
        MATRICES, (0.0, 1.0), ("<in>", "out"), title="a < b", ident="scrub-a", theirs=theirs
    )
    assert renewed(SCRUBBER + EXPLORER, {"scrub-a": theirs}) == beside + EXPLORER
    assert renewed(beside, {"scrub-a": theirs}) == beside
