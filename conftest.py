"""What every test and every notebook under test finds in its environment.

It is set here and not in a fixture: the kernels that nbval starts inherit it.
"""

import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import matplotlib.font_manager  # noqa: F401 (its first import says so, here and not in a cell)
import nbval.kernel
import pytest
import torch
from jupyter_client.manager import KernelManager
from nbval.plugin import IPyNbCell, IPyNbFile

from svcca_lib.paper.chapter import regression
from svcca_lib.paper.publishing.pdf import chromium
from svcca_lib.paper.running import kernels, machines
from svcca_lib.paper.running.sockets import own_sockets

ROOT = Path(__file__).parent
# It trains the whole book, as long as all other tests take together: `make scratch` names it.
collect_ignore = ["tests/book/test_from_scratch.py"]


def pytest_addoption(parser):
    """Add an option to run the notebooks a second time, as on another machine."""
    told = "with --nbval, run each notebook with the kernels of another machine as well"
    parser.addoption("--foreign", action="store_true", help=told)


def pytest_configure(config):
    """Point the stores of this process, and of all that it starts, to where tests belong."""
    # The networks that ship with the book are loaded; one that is missing is an error that says
    # what to do, not a training; and nothing touches the store of whoever runs the tests.
    config.svcca_store = tempfile.mkdtemp(prefix="svcca-tests-")
    os.environ["SVCCA_STORE"] = config.svcca_store
    os.environ["SVCCA_REFERENCE"] = str(ROOT / "reference") if (ROOT / "reference").is_dir() else ""
    os.environ["SVCCA_TRAIN"] = "never"
    if "PYTEST_XDIST_WORKER" in os.environ:
        # As many workers as cores: one thread for each, in this process and in those it starts.
        # Rounding depends on the number of threads, and some tests compare the two bit for bit.
        torch.set_num_threads(int(os.environ.setdefault("OMP_NUM_THREADS", "1")))
    config.svcca_foreign = kernels.foreign() if config.option.foreign else None


def pytest_unconfigure(config):
    """Remove what the tests trained."""
    for store in (config.svcca_store, ForeignNotebook.store(config)):
        shutil.rmtree(store, ignore_errors=True)


class ForeignNotebook(IPyNbFile):
    """A notebook whose cells run with the kernels that the libraries take on another machine."""

    @staticmethod
    def store(config):
        """Return where it keeps what it measures: found in the other store, nothing would be."""
        return f"{config.svcca_store}-foreign"

    def setup(self):
        """Start the kernel in that machine's environment."""
        found = machines.environment(self.config.svcca_foreign)
        found["SVCCA_STORE"] = self.store(self.config)
        with mock.patch.dict(os.environ, found, clear=True):
            super().setup()


def pytest_collect_file(file_path, parent):
    """Collect each notebook once more with --foreign, under a name of its own."""
    config = parent.config
    if not (config.svcca_foreign and config.option.nbval and file_path.suffix == ".ipynb"):
        return None
    name = f"{file_path.name}@{config.svcca_foreign.name}"
    node = file_path.relative_to(config.rootpath).with_name(name).as_posix()
    return ForeignNotebook.from_parent(parent, path=file_path, name=name, nodeid=node)


@pytest.fixture(scope="session")
def browser():
    """Return the system's Chromium, one for all tests of a process: Playwright starts only once."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if chromium() is None:
        pytest.skip("no Chromium on the PATH")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium())
        yield started
        started.close()


def compare_outputs(self, test, ref, skip_compare=None):
    """Compare a cell's outputs with the stored ones as `regression` does: numbers as numbers."""
    found = regression.differences(ref, test, self.cell.metadata.get(regression.METADATA))
    self.comparison_traceback = found
    return not found


# Notebooks of several processes start at once.
nbval.kernel.KernelManager = lambda **traits: KernelManager(**own_sockets(), **traits)

# In the class itself: it names itself in its `super` call, so that a subclass put in its place in
# nbval's module would be its own parent. tests/paper/chapter/test_regression.py sees that nbval
# calls it.
IPyNbCell.compare_outputs = compare_outputs
