"""The site, built once from the notebooks stored in book/, and visits to it."""

import subprocess
import sys
from pathlib import Path

import pytest
from visits import Visit

from svcca_lib.paper.store.paths import REPOSITORY as ROOT


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """Return the folder of the site, built as `make site` builds it, with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "svcca_lib", "site", ROOT / "book", "--staging", "staging"]
    done = subprocess.run(
        [*command, "--root", ROOT], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "_build" / "html"


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
