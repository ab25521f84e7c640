"""Which way imports go, as pyproject.toml says it; and that a wrong one is seen."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from svcca_lib.paper.store.paths import REPOSITORY as ROOT

LAYER = "A layer goes one way: inputs, moments, subspace, measures"
WAY = "The rooms of the reproduction import one way"
MEASURES = "The measures know nothing of the reproduction"
EXPERIMENTS = "Experiments know each other by shared tools only"
INSIDE = "\n\ndef f():\n    "


def lint(folder):
    """Return the contracts that the package of a folder keeps and those that it breaks."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"]
    wide = os.environ | {"COLUMNS": "200"}
    done = subprocess.run(
        command, cwd=folder, env=wide, capture_output=True, text=True, check=False
    )
    found = re.findall(r"(?m)^(.+) (KEPT|BROKEN)(?: \(.*\))?$", done.stdout)
    kept, broken = ({name for name, how in found if how == h} for h in ("KEPT", "BROKEN"))
    assert done.returncode == bool(broken), done.stdout + done.stderr
    return kept, broken


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "svcca_lib", folder / "svcca_lib", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_imports_keep_the_contracts():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = {contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]}
    assert lint(ROOT) == (named, set())


@pytest.mark.parametrize(
    ("file", "planted", "contract"),
    [
        ("paper/store/files.py", "import svcca_lib.paper.training", WAY),
        ("paper/data/sources.py", f"{INSIDE}from svcca_lib.paper import profiles", WAY),
        ("paper/figures/style.py", "from svcca_lib.paper.experiments import inputs", WAY),
        ("paper/cellar/__init__.py", "", WAY),
        ("inputs.py", f"{INSIDE}from svcca_lib import subspace", LAYER),
        ("inference/intervals.py", f"{INSIDE}from svcca_lib.paper.store import store", MEASURES),
        ("paper/experiments/cost.py", "from . import freezing", EXPERIMENTS),
    ],
)
def test_wrong_import_breaks_its_contract(original, tmp_path, file, planted, contract):
    copy = shutil.copytree(original, tmp_path / "copy")
    path = copy / "svcca_lib" / file
    path.parent.mkdir(exist_ok=True)
    with open(path, "a", encoding="utf-8") as source:
        source.write(f"\n{planted}\n")
    assert contract in lint(copy)[1]
