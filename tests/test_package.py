"""What someone gets who installs the library alone."""

import doctest
import inspect
import json
import re
import subprocess
import sys

import pytest

import svcca_lib
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

FUNCTIONS = [n for n in svcca_lib.__all__ if inspect.isfunction(getattr(svcca_lib, n))]
# Of all that is installed here, what the library must do without.
FOREIGN = ("torchvision", "matplotlib", "pandas", "sklearn", "IPython", "svcca_lib.paper")

IMPORT = """
import json, sys, time, torch
import numpy
started = time.process_time()
import svcca_lib
print(json.dumps([time.process_time() - started, sorted(sys.modules)]))
"""


def imported():
    command = [sys.executable, "-c", IMPORT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_import_is_fast_and_loads_nothing_of_the_reproduction():
    first = imported()
    assert not {name for name in first[1] if name.startswith(FOREIGN)}
    # Processor time, and the best of a few: others may compute meanwhile.
    assert min(first[0], *(imported()[0] for _ in range(3))) < 0.3


@pytest.mark.slow  # `make check` runs mypy itself
def test_types_of_the_library_hold_strictly():
    pytest.importorskip("mypy", reason="mypy is not installed; it comes with the dev group")
    command = [sys.executable, "-m", "mypy"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_an_example_and_says_when_it_misleads(name):
    function = getattr(svcca_lib, name)
    assert re.search(r"^Notes\n-----$", inspect.getdoc(function), re.MULTILINE)
    assert doctest.DocTestFinder(recurse=False).find(function)[0].examples


@pytest.mark.parametrize("name", svcca_lib.__all__)
def test_examples_give_what_they_state(name):
    thing = getattr(svcca_lib, name)
    names = vars(sys.modules[getattr(thing, "__module__", "svcca_lib")]) | vars(svcca_lib)
    if name == "MEASURES":
        pytest.skip("a dictionary: its functions have the examples")
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder().find(thing, name, globs=dict(names)):
        assert runner.run(test).failed == 0


def test_reference_pages_hold_every_public_name():
    page = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\.\. (?:auto\w+|data):: (\w+)$", page, re.MULTILINE)
    assert sorted(listed) == sorted(svcca_lib.__all__)
