"""What every test and every notebook under test finds in its environment.

It is set here and not in a fixture: the kernels that nbval starts inherit it.
"""

import os
import shutil
import tempfile
from pathlib import Path

import matplotlib.font_manager  # noqa: F401 (its first import says so, here and not in a cell)
import torch

ROOT = Path(__file__).parent


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


def pytest_unconfigure(config):
    """Remove what the tests trained."""
    shutil.rmtree(config.svcca_store, ignore_errors=True)
