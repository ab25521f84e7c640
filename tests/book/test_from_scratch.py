"""Everything trained anew: an empty store, no reference, every chapter at the quick profile.

Freshly trained networks differ between machines, so the exact numbers do too. A verdict that was
settled must not turn into its opposite; one that was not may fall either way; and every number
lies in the band that seeds and machines explain (`drift.band`).
"""

import pytest

from svcca_lib.paper.chapter.drift import drift, on_other_machines
from svcca_lib.paper.chapter.gathered import LEDGER
from svcca_lib.paper.chapter.ledger import Ledger
from svcca_lib.paper.publishing import site
from svcca_lib.paper.running import engine
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

pytestmark = pytest.mark.book

CHAPTERS = [name for name in site.chapters(ROOT) if name != LEDGER]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Run the book in an empty folder; return where the executed chapters are."""
    folder = tmp_path_factory.mktemp("from scratch")  # a path with a space, as users have
    status = engine.from_scratch(ROOT, folder)
    networks = list((folder / "store" / "network").iterdir())
    return status, networks, folder / "build" / "quick" / "book"


def test_every_chapter_runs(executed):
    status, networks, folder = executed
    missing = [name for name in site.chapters(ROOT) if not (folder / f"{name}.ipynb").is_file()]
    logs = [folder.parent / "logs" / f"{name}.log" for name in missing]
    ends = [f"{log.stem}: {log.read_text()[-4000:]}" for log in logs if log.is_file()]
    assert not missing, "\n\n".join(ends)
    assert status == 0
    assert networks, "nothing was trained"


@pytest.mark.parametrize("name", CHAPTERS)
def test_claims_are_decided_as_in_the_book(executed, name, record_property):
    *_, folder = executed
    stored = Ledger.read(ROOT / "book" / f"{name}.ipynb").claims
    anew = {claim.id: claim for claim in Ledger.read(folder / f"{name}.ipynb").claims}
    for claim in anew.values():  # `machines --keep` reads them from pytest's junit file
        record_property(f"{name}/{claim.id}", claim.measured)
    assert [claim.id for claim in stored] == list(anew)
    elsewhere = on_other_machines()
    drifts = [drift(c, anew[c.id], elsewhere.get(f"{name}/{c.id}", ())) for c in stored]
    assert not any(drifts), "\n".join(filter(None, drifts))
