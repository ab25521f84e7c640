"""Any value, path and name that a user can give: it arrives as it is, or is refused in words."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from notebook_files import texts, write
from typer.testing import CliRunner

from svcca_lib.__main__ import app
from svcca_lib.paper.running import notebooks
from svcca_lib.paper.running.grid import MOST, Grid, expand, grid
from svcca_lib.paper.running.plan import Job, Layout, Plan, kept
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

SNAKEFILE = (ROOT / "workflow" / "Snakefile").read_text(encoding="utf-8")
PLAIN = re.compile(re.search(r'job="(.+)"', SNAKEFILE)[1])  # what it takes for the name of a job
KNOWN = {
    **{"profile": "quick", "seed": 0, "data": "", "out": "", "keep": 0.99, "deep": False},
    **{"widths": (1, 2), "list": [1], "map": {}, "none": None},
}
NASTY = 'it\'s "two"\nlines = {b} $HOME\t#%é\\ \u2028'

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(
        st.characters(exclude_categories=())
    ),  # lone surrogates, too: a shell hands on what is no UTF-8
    st.binary(),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(scalars, inner, max_size=3)
    ),
    max_leaves=6,
)
assignments = st.text(st.characters(exclude_characters="\0"), max_size=30)


def exactly(found, value):
    assert repr(found) == repr(value)


@given(values)
@settings(deadline=None)
def test_value_survives_plan_command_line_and_cell(value):
    known = {"v": value}
    job = Job("a/b", "a.ipynb", known)
    exactly(Job.from_dict(json.loads(json.dumps(job.to_dict()))).parameters, known)
    exactly(notebooks.parse(known, job.arguments[1::2]), known)
    cell = {}
    exec(notebooks._assignments(known), cell)
    exactly(cell["v"], value)


@given(st.sampled_from(sorted(KNOWN)), assignments)
@settings(deadline=None)
def test_any_text_is_a_value_or_refused_in_words(name, text):
    for read in (
        lambda: notebooks.parse(KNOWN, [f"{name}={text}"]),
        lambda: expand(KNOWN, name, [text]),
    ):
        try:
            read()
        except (ValueError, TypeError) as error:
            assert str(error)  # noqa: PT017 (whether it is raised depends on the text)


@given(st.lists(st.text(st.characters(exclude_characters="\0"), max_size=12), min_size=1))
@settings(deadline=None)
def test_quoted_texts_are_split_at_the_commas_between_them(wanted):
    assert expand(KNOWN, "data", [",".join(map(repr, wanted))]) == list(dict.fromkeys(wanted))


def test_apostrophes_and_brackets_that_nothing_closes_are_characters():
    assert expand(KNOWN, "data", ["it's,b"]) == ["it's", "b"]
    assert expand(KNOWN, "data", ["a),(b,f(c,d)"]) == ["a)", "(b,f(c,d)"]


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 20)).map(lambda t: (t[0], t[0] + t[1])),
        min_size=1,
        max_size=5,
    )
)
@settings(deadline=None)
def test_long_ranges_hold_each_number_once(spans):
    far = 10**9
    text = ",".join(f"{low}-{high}" for low, high in spans) + f",7,{far}-{far + MOST}"
    found = expand({"seed": 0}, "seed", [text])
    numbers = {n for low, high in spans for n in range(low, high + 1)} | {7}
    assert len(found) == len(numbers) + MOST + 1
    assert {found[i] for i in range(len(numbers))} == numbers
    assert found[len(found) - 1] == far + MOST


@given(stem=st.text(st.characters(exclude_characters="\0/\\"), min_size=1, max_size=20))
@settings(deadline=None, max_examples=60)
def test_notebook_of_any_name_has_a_folder_that_snakemake_takes(tmp_path_factory, stem):
    folder = tmp_path_factory.mktemp("named")
    try:
        notebook = write(folder / f"{stem}.ipynb")
    except (OSError, UnicodeEncodeError):
        return  # no file system takes it
    try:
        (job,) = grid(ROOT, [notebook], {}).jobs
    except ValueError as error:
        assert "braces" in str(error) and set("{}") & set(stem)  # noqa: PT017, PT018
        return
    assert PLAIN.fullmatch(job.name)
    assert (job.name == f"{stem}/quick_seed-0") == bool(
        re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+_-]*", stem)
    )
    assert Layout(folder).record(job.name).is_relative_to(folder)


def test_names_that_differ_in_accents_have_folders_of_their_own(tmp_path):
    chosen = [write(tmp_path / f"{stem}.ipynb") for stem in ("ä", "a", "á", "_a", "a b", "a-b")]
    assert len({job.name for job in grid(ROOT, chosen, {}).jobs}) == 6


def test_two_notebooks_of_one_name_are_refused(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "a.ipynb")
    chosen = [tmp_path / "x" / "a.ipynb", tmp_path / "y" / "a.ipynb"]
    with pytest.raises(ValueError, match=r"two notebooks go by the name a: .*rename one"):
        grid(ROOT, chosen, {})
    with pytest.raises(ValueError, match="two notebooks go by the name a"):
        grid(ROOT, chosen[:1], {}).joined(grid(ROOT, chosen[1:], {}))
    assert len(grid(ROOT, [chosen[0], chosen[0]], {}).jobs) == 1


def test_chapter_gets_the_very_values_in_and_into_any_path(tmp_path):
    odd = tmp_path / "-odd {seed} #% é"
    odd.mkdir()
    notebook = write(odd / "_ä {x}.ipynb", "print(repr((widths, data, keep, deep)))")
    values = {"widths": (3,), "data": NASTY, "keep": 1e-300, "deep": True}
    notebooks.execute(notebook, odd / "out {y}.ipynb", values)
    printed = f"{((3,), NASTY, 1e-300, True)!r}\n"
    assert texts(odd / "out {y}.ipynb")[-1] == printed


@pytest.mark.slow
def test_sweep_of_oddly_named_notebooks_and_values_runs_to_its_end(tmp_path):
    odd = tmp_path / "od d#%"
    odd.mkdir()
    chosen = [write(odd / f"{stem}.ipynb", "print(repr((widths, data)))") for stem in ("_ü x", "-")]
    out = tmp_path / "out {1}"
    given = ["-p", "widths=(3,)", "-p", f"data={NASTY!r}", "--out", out, "--cores", "2"]
    command = [sys.executable, "-m", "svcca_lib", "run", *chosen, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    plan = Plan.read(out)
    assert len(plan.jobs) == 2
    for job in plan.jobs:
        assert texts(Layout(out).notebook(job.name))[-1] == f"{((3,), NASTY)!r}\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["-p", "data='a"], "begins with a quote, so all of it must be one text in quotes"),
        (["-p", "widths=[3]"], "widths needs tuple like its default"),
        (["-p", "keep=1e999"], "keep needs a value that Python can state"),
        (["-p", "deep=yes"], "deep needs bool"),
        (["-p", "seed"], "a parameter is given as name=value"),
        (["-p", "=3"], "unknown parameter ''"),
        (["--seed", f"0-{10**30}"], "a range runs upward, to 2"),
        (["--seed", str(2**64)], "seed must be at least 0, and less than 2"),
        (["--seed", "0-100000000"], "that is 100,000,001 jobs, and a sweep has 10,000 at most"),
        (["--seed", ""], "seed needs int"),
        (["--timeout", "0"], "timeout must be a positive number of seconds"),
        (["--timeout", "nan"], "timeout must be a positive number of seconds"),
        (["--timeout", "-3"], "timeout must be a positive number of seconds"),
    ],
)
def test_wrong_value_is_refused_in_a_sentence(tmp_path, arguments, error):
    notebook = write(tmp_path / "a.ipynb")
    out = tmp_path / "runs"
    done = CliRunner().invoke(app, ["run", str(notebook), "--out", str(out), *arguments])
    assert done.exit_code == 2
    assert error in done.output
    assert done.output.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("option", ["--cores=0", "--threads=0", "--retries=-1"])
def test_numbers_that_mean_nothing_are_refused(tmp_path, option):
    notebook = write(tmp_path / "a.ipynb")
    done = CliRunner().invoke(app, ["run", str(notebook), option, "--dry-run"])
    assert done.exit_code == 2
    assert "Invalid value" in done.output


def test_parameter_given_by_p_takes_the_place_of_an_options_default(tmp_path):
    notebook = write(tmp_path / "a.ipynb")
    command = ["run", str(notebook), "--dry-run", "--json", "--out", str(tmp_path / "runs")]
    said = json.loads(CliRunner().invoke(app, [*command, "-p", "seed=5,6"]).output)
    assert [job["seed"] for job in said] == [5, 6]
    said = json.loads(CliRunner().invoke(app, [*command, "-p", "seed=5", "--seed", "1"]).output)
    assert [job["seed"] for job in said] == [1, 5]


def test_dry_run_of_very_many_jobs_states_their_number(tmp_path):
    notebook = write(tmp_path / "a.ipynb")
    command = ["run", str(notebook), "--seed", "0-100000000", "-p", "keep=0.5,0.9", "--dry-run"]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "runs")])
    lines = done.output.splitlines()
    assert lines[0] == "a/quick_seed-0_keep-0.5"
    assert lines[-2] == "a/quick_seed-100000000_keep-0.9"
    assert lines[-1] == "200,000,002 jobs; the first 3 and the last 3"


def test_grid_makes_the_jobs_of_its_plan_one_by_one(tmp_path):
    chosen = [write(tmp_path / f"{stem}.ipynb") for stem in "ab"]
    lazy = Grid.of(ROOT, chosen, {"seed": ["0-2"], "keep": ["0.5,0.9"]})
    assert lazy.size == 12
    jobs = [lazy.job(place) for place in range(12)]
    assert sorted(job.name for job in jobs) == [job.name for job in lazy.plan().jobs]
    with pytest.raises(IndexError):
        lazy.job(12)


def test_timeout_of_a_part_of_a_second_is_rounded_up(tmp_path):
    notebooks.execute(write(tmp_path / "a.ipynb", "1"), tmp_path / "b.ipynb", timeout=0.2)
    assert (tmp_path / "b.ipynb").is_file()


def test_output_that_cannot_be_written_is_known_before_anything_runs(tmp_path):
    began = tmp_path / "began"
    notebook = write(tmp_path / "a.ipynb", f"open({str(began)!r}, 'w')")
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "file").touch()
    for output, values, error in [
        ("folder.ipynb", {}, "is a folder: name a file"),
        ("file/b.ipynb", {}, "cannot be a folder"),
        ("b.ipynb", {"out": str(tmp_path / "file")}, "cannot be a folder"),
        ("b.ipynb", {"out": str(tmp_path / "file" / "deep")}, "cannot be a folder"),
    ]:
        with pytest.raises(OSError, match=error):
            notebooks.execute(notebook, tmp_path / output, values)
    command = ["execute", str(notebook), str(tmp_path / "b.ipynb")]
    done = CliRunner().invoke(app, [*command, "--record", str(tmp_path / "folder.ipynb")])
    assert (done.exit_code, "is a folder" in done.output) == (1, True)
    command = ["run", str(notebook), "--out", str(tmp_path / "file")]
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, "cannot be a folder" in done.output) == (2, True)
    assert not began.exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission_is_known_before_anything_runs(tmp_path):
    notebook = write(tmp_path / "a.ipynb", "raise SystemExit('it ran')")
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="cannot be written to"):
        notebooks.execute(notebook, tmp_path / "locked" / "b.ipynb")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "is no notebook"),
        ("[1]", "is no notebook"),
        ('{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "is no notebook"),
        ('{"a": 1}', "is no notebook"),
    ],
)
def test_file_that_is_no_notebook_is_said_to_be_none(tmp_path, content, error):
    (tmp_path / "a.ipynb").write_text(content)
    for command in (["run"], ["execute", str(tmp_path / "b.ipynb")]):
        done = CliRunner().invoke(app, [command[0], str(tmp_path / "a.ipynb"), *command[1:]])
        assert done.exit_code in (1, 2)
        assert error in done.output
        assert "Traceback" not in done.output


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"jobs": [{}], "timeout": null}'])
def test_damaged_plan_is_named(tmp_path, content):
    (tmp_path / "sweep.json").write_text(content)
    for verb in ("resume", "list", "status", "collect", "clean"):
        done = CliRunner().invoke(app, [verb, str(tmp_path)])
        assert (done.exit_code, "sweep.json is damaged" in done.output) == (1, True)


def test_default_that_is_no_plain_value_is_named(tmp_path):
    notebook = write(tmp_path / "a.ipynb")
    text = notebook.read_text().replace("keep = 0.99", "keep = 1 / 3").replace("# quick", "# '")
    notebook.write_text(text)
    with pytest.raises(ValueError, match="the default of keep must be a plain value"):
        notebooks.parameters(notebook)


def test_step_that_fails_by_its_parameters_leaves_word(tmp_path):
    """A sweep whose notebook was edited meanwhile: `status` calls the job failed, and says why."""
    notebook, record = write(tmp_path / "a.ipynb"), tmp_path / "run.json"
    command = ["execute", str(notebook), str(tmp_path / "b.ipynb"), "-p", "sed=1"]
    assert CliRunner().invoke(app, [*command, "--record", str(record)]).exit_code == 1
    assert "unknown parameter 'sed'" in record.with_suffix(".failed").read_text()


def test_plan_keeps_plain_values_readable():
    assert kept({"seed": 3, "sizes": (3,)}) == {"seed": 3, "sizes": {"python": "(3,)"}}


def test_arguments_of_a_job_pass_a_shell():
    job = Job("a/b", "a.ipynb", {"data": NASTY})
    assert shlex.split(shlex.join(job.arguments)) == job.arguments
