"""Kept results know the code that decides them: nothing stale is read, nothing is made in vain."""

import ast
import shutil
import tomllib

import numpy as np
import pytest
from typer.testing import CliRunner

from svcca_lib.__main__ import app
from svcca_lib.paper.experiments.measurements import measured
from svcca_lib.paper.running import imports
from svcca_lib.paper.store import identity
from svcca_lib.paper.store.identity import LOCK, locked
from svcca_lib.paper.store.paths import PACKAGE
from svcca_lib.paper.store.store import Store

# What trainings and measures import and what decides none of their numbers.
NEUTRAL = "paper/store/"


def test_the_code_is_the_one_that_its_versions_stand_for():
    for version in locked().values():
        assert version.pinned, (
            f"the code that decides the numbers of {version.name} was edited. If they may change: "
            f"`python -m svcca_lib versions --bump {version.name}`, and what was kept is made "
            "anew. If code was only moved or explained: `python -m svcca_lib versions --repin`"
        )


def test_all_that_decides_a_number_is_under_a_version():
    """What trainings and measures import is in the lock: it is no list someone has to remember."""
    lock = tomllib.loads(LOCK.read_text())
    inside = {path for entry in lock.values() for path in identity.files(entry["code"])}
    modules = [".".join([PACKAGE.name, *_parts(path)]) for path in inside]
    reached = {path for path in imports.module_files(modules) if path.stem != "__init__"}
    left = {path.relative_to(PACKAGE).as_posix() for path in reached - inside}
    assert not [path for path in left if not path.startswith(NEUTRAL)]


def _parts(path):
    return path.relative_to(PACKAGE).with_suffix("").parts


def _called(path):
    """Names of the functions that a file calls, without what they are attributes of."""
    calls = (n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
    return {f.id if isinstance(f, ast.Name) else getattr(f, "attr", "") for f in calls}


EXPERIMENTS = PACKAGE / "paper" / "experiments"
# Where results are kept under the weights they belong to: it decides no number either.
KEEPING = EXPERIMENTS / "measurements.py"
KEPT = [
    path
    for path in sorted(EXPERIMENTS.glob("*.py"))
    if path != KEEPING and {"measured", "of_measurement"} & _called(path)
]


def test_there_are_experiments_whose_results_are_kept():
    assert {path.stem for path in KEPT} >= {"layer_matrices", "matching", "definitions"}


@pytest.mark.parametrize("experiment", KEPT, ids=lambda path: path.stem)
def test_what_is_kept_of_an_experiment_is_decided_by_its_file_and_by_what_is_under_a_version(
    experiment,
):
    """Its key has its own file and the two versions; so it imports nothing else that decides."""
    lock = tomllib.loads(LOCK.read_text())
    inside = {path for entry in lock.values() for path in identity.files(entry["code"])}
    reached = imports.module_files([".".join([PACKAGE.name, *_parts(experiment)])])
    left = [
        path.relative_to(PACKAGE).as_posix()
        for path in reached
        if path.stem != "__init__" and path not in inside | {experiment, KEEPING}
    ]
    assert not [path for path in left if not path.startswith(NEUTRAL)]


# ------------------------------------------------------------------- a planted change, a pure move


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the package's sources with its lock, where `identity` looks for them."""
    package = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(identity, "LOCK", package / LOCK.relative_to(PACKAGE))
    monkeypatch.setattr(identity, "PACKAGE", package)
    monkeypatch.setattr(identity, "current", locked)  # not remembered: tests edit the code
    return package


class Kept:
    """Something measured and kept; how often it was made."""

    def __init__(self, store):
        self.store, self.made = store, 0

    def ask(self):
        def make():
            self.made += 1
            return {"x": np.ones(1)}

        measured(self.store, "thing", [], {}, make)
        return self.made


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def file_with(package, text):
    (found,) = (path for path in package.rglob("*.py") if text in path.read_text())
    return found


def test_after_a_change_in_the_fourier_transform_nothing_stale_is_read(copy, tmp_path):
    kept = Kept(Store(tmp_path / "store"))
    before = int(locked()["measures"].version)
    assert (kept.ask(), kept.ask()) == (1, 1)
    edit(file_with(copy / "fourier", 'norm="ortho"'), '"ortho"', '"forward"')
    assert not locked()["measures"].pinned
    assert locked()["training"].pinned
    assert (kept.ask(), kept.ask()) == (2, 2)  # at once, before anybody bumps the version
    identity.bump("measures")
    assert int(locked()["measures"].version) == before + 1
    assert locked()["measures"].pinned
    assert (kept.ask(), kept.ask()) == (3, 3)


def test_after_a_pure_move_nothing_is_made_again(copy, tmp_path):
    kept = Kept(Store(tmp_path / "store"))
    assert kept.ask() == 1
    old = file_with(copy, "def phases_as_channels")
    function = next(
        node
        for node in ast.parse(old.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "phases_as_channels"
    )
    lines = old.read_text().splitlines(keepends=True)
    start, end = function.lineno - 1, function.end_lineno
    text = "".join(lines[start:end])
    old.write_text("".join(lines[:start] + lines[end:]))
    new = old.with_name("elsewhere.py")
    new.write_text(f'"""A new room."""\n\n{text}')
    assert locked()["measures"].pinned
    assert kept.ask() == 1
    new.write_text(new.read_text().replace("def phases_as_channels", "def renamed"))
    assert not locked()["measures"].pinned
    identity.repin()
    assert kept.ask() == 1


def test_an_edit_of_training_makes_networks_anew(copy):
    before = identity.of_training()
    edit(file_with(copy, "def settings(device"), "allow_tf32=True", "allow_tf32=False")
    edited = identity.of_training()
    assert edited != before
    identity.bump("training")
    assert identity.of_training() not in (before, edited)
    assert identity.of_training().isdecimal()


def test_a_measurement_knows_the_whole_file_of_its_experiment(tmp_path):
    def version(source):
        path = tmp_path / "experiment.py"
        path.write_text(source)
        space = {}
        exec(compile(source, path, "exec"), space)
        return identity.of_measurement(space["make"])

    source = "def helper():\n    return 1\n\ndef make():\n    return helper()\n"
    assert version(source) == version(f'"""Told."""\n{source}')
    assert version(source) != version(source.replace("return 1", "return 2"))


def test_a_pattern_of_no_file_is_refused():
    with pytest.raises(FileNotFoundError, match=r"no file of .* is named by 'gone/"):
        identity.files(["gone/*.py"])


def test_a_version_that_is_not_there_is_named(copy):
    with pytest.raises(ValueError, match="only of training and measures"):
        identity.bump("nothing")


def test_the_command_says_and_sets_versions(copy):
    run = lambda *a: CliRunner().invoke(app, ["versions", *a]).output  # noqa: E731
    before = int(locked()["measures"].version)
    assert run().count("pinned") == 2
    edit(file_with(copy / "fourier", 'norm="ortho"'), '"ortho"', '"forward"')
    assert f"measures   {before:<18} edited since: --bump or --repin" in run()
    assert f"measures   {before + 1:<18} pinned" in run("--bump", "measures")
