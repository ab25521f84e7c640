"""What a plan holds, and how it is kept."""

import pytest
from notebook_files import write
from typer.testing import CliRunner

from svcca_lib.__main__ import app
from svcca_lib.paper import profiles
from svcca_lib.paper.running.grid import grid
from svcca_lib.paper.running.plan import Plan, book
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

BOOK = ROOT / "book"


def test_trainings_of_a_job_are_those_the_chapter_declares():
    (job,) = grid(ROOT, [BOOK / "03-fourier.ipynb"], {"seed": ["4"]}).jobs
    declared = profiles.profile("quick").trainings("03-fourier")
    assert [(t.name, t.seed) for t in job.trainings] == [(n, 4 + o) for n, o in declared]


def test_plan_is_written_and_read(tmp_path):
    values = {"seed": ["0-1"], "keep": ["0.5"]}
    plan = grid(ROOT, [write(tmp_path / "a.ipynb")], values, timeout=5.0)
    plan.write(tmp_path)
    assert Plan.read(tmp_path) == plan
    more = grid(ROOT, [tmp_path / "a.ipynb"], {"seed": ["1-2"], "keep": ["0.5"]})
    joined = plan.joined(more)
    assert [job.parameters["seed"] for job in joined.jobs] == [0, 1, 2]
    assert joined.timeout is None


def test_folder_without_a_sweep_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"holds no sweep\.json"):
        Plan.read(tmp_path)
    for verb in ("resume", "list", "status", "collect", "clean"):
        done = CliRunner().invoke(app, [verb, str(tmp_path)])
        assert done.exit_code == 1, verb


def test_book_is_a_plan_of_every_chapter_once():
    plan = book(ROOT, "quick")
    assert [job.name for job in plan.jobs] == sorted(
        path.stem for path in BOOK.glob("[0-9]*.ipynb")
    )
    assert {"quick-convnet-0", "quick-resnet-2", "quick-lstm-0"} <= set(plan.trainings)
