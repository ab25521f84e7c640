"""How the options of a command become jobs."""

import pytest
from notebook_files import write
from typer.testing import CliRunner

from svcca_lib.__main__ import app
from svcca_lib.paper.running.grid import expand, grid
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

BOOK = ROOT / "book"


def test_grid_is_every_combination_once(tmp_path):
    notebook = write(tmp_path / "a.ipynb")
    values = {"seed": ["0-2", "2"], "keep": ["0.5,1"], "deep": ["True"]}
    plan = grid(ROOT, [notebook], values)
    found = {(j.parameters["seed"], j.parameters["keep"]) for j in plan.jobs}
    assert found == {(seed, keep) for seed in (0, 1, 2) for keep in (0.5, 1.0)}
    assert len(plan.jobs) == 6
    assert len({job.name for job in plan.jobs}) == 6
    assert all(job.parameters["deep"] is True for job in plan.jobs)


def test_default_given_is_the_default(tmp_path):
    notebook = write(tmp_path / "a.ipynb")
    (plain,) = grid(ROOT, [notebook], {}).jobs
    (given,) = grid(ROOT, [notebook], {"keep": ["0.99"], "seed": ["0"]}).jobs
    assert plain == given
    assert plain.name == "a/quick_seed-0"


def test_value_with_commas_goes_in_quotes_and_brackets():
    assert expand({"s": ""}, "s", ["'a,b',c"]) == ["a,b", "c"]
    assert expand({"t": (1,)}, "t", ["(1, 2),(3,)"]) == [(1, 2), (3,)]


@pytest.mark.parametrize("value", ["cifar10:/a b", "x/y", "a_b", "'", "é", "z" * 200])
def test_job_of_any_value_has_a_plain_name_of_its_own(tmp_path, value):
    notebook = write(tmp_path / "a.ipynb")
    names = {
        grid(ROOT, [notebook], {"data": [repr(text)]}).jobs[0].name for text in (value, value + "2")
    }
    assert len(names) == 2
    for name in names:
        assert name.isascii()
        assert not set(name) & set(" :'\"=,$")
        assert name.count("/") == 1
        assert len(name) < 150


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"sed": ["1"]}, r"a: unknown parameter 'sed'; the chapter takes profile, seed, data"),
        ({"seed": ["one"]}, "a: parameter seed needs int"),
        ({"seed": ["3-1"]}, "a: a range runs upward"),
        ({"seed": ["-1"]}, "a: seed must be at least 0"),
        ({"keep": ["0.5,half"]}, "a: parameter keep needs float"),
        ({"profile": ["quik"]}, "a: profile must be one of quick, cifar10, paper"),
        ({"out": ["x"]}, "a: out is set by the sweep"),
    ],
)
def test_wrong_parameter_fails_before_anything_is_written(tmp_path, values, error):
    notebook = write(tmp_path / "a.ipynb", "raise SystemExit('it ran')")
    with pytest.raises((ValueError, TypeError), match=error):
        grid(ROOT, [notebook], values)
    arguments = [f"-p{name}={text}" for name, texts in values.items() for text in texts]
    command = ["run", str(notebook), "--out", str(tmp_path / "runs"), *arguments]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert not (tmp_path / "runs").exists()


def test_width_that_no_network_can_have_fails_at_once():
    with pytest.raises(ValueError, match="width must be a positive multiple of 4; got 6"):
        grid(ROOT, [BOOK / "05-freeze-training.ipynb"], {"width": ["6"]})


def test_the_issues_example_is_a_grid_of_twenty():
    values = {"profile": ["cifar10"], "seed": ["0-9"], "width": ["64,128"]}
    plan = grid(ROOT, [BOOK / "05-freeze-training.ipynb"], values)
    # 64 is the profile's own; still a job of its own, with networks of its own name
    assert len(plan.jobs) == 20
    widths = {t.width for t in plan.trainings.values()}
    assert widths == {64, 128}


def test_jobs_share_trainings():
    plan = grid(ROOT, [BOOK / "01-toy-regression.ipynb"], {"keep": ["0.9,0.99"]})
    assert len(plan.jobs) == 2
    assert sorted(plan.trainings) == [f"quick-toy-{seed}" for seed in range(6)]
