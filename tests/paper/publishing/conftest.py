"""The site, built once from the notebooks stored in book/, and visits to it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from visits import Visit

from svcca_lib.paper.store.paths import REPOSITORY as ROOT


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """Return the folder of the site, built as `make site` builds it, with warnings as errors.

    Once for all processes of the tests: each has a temporary folder in a common one.
    """
    common = tmp_path_factory.getbasetemp()
    folder = (common.parent if "PYTEST_XDIST_WORKER" in os.environ else common) / "site"
    pages = folder / "_build" / "html"
    with FileLock(f"{folder}.lock"):
        if not pages.is_dir():
            folder.mkdir(exist_ok=True)
            command = [sys.executable, "-m", "svcca_lib", "site", ROOT / "book"]
            done = subprocess.run(
                [*command, "--staging", "staging", "--root", ROOT],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
    return pages


@pytest.fixture
def visit(browser, site):
    """Open pages, and close them after the test."""
    opened = []

    def go(page, **how):
        opened.append(Visit(browser, site, page, **how))
        return opened[-1]

    yield go
    for one in opened:
        one.tab.context.close()
