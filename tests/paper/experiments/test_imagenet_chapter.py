"""Chapter 14 from its first cell to its last, on generated pictures and a tiny network.

What it measures there is noise; that it runs, and says what it needs to, is what is tested.
"""

import json

import pytest
from imagenet_in_small import TINY, pictures
from whole_chapters import runner

from svcca_lib.paper.chapter.register import registered
from svcca_lib.paper.data import imagenet
from svcca_lib.paper.store.paths import REPOSITORY

NOTEBOOK = REPOSITORY / "book" / "14-imagenet.ipynb"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(imagenet, "NETWORKS", {"tiny": TINY, **imagenet.NETWORKS})
    return runner(NOTEBOOK, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::svcca_lib.SampleSizeWarning")
def test_the_chapter_runs_on_generated_pictures(run, tmp_path):
    root = pictures(tmp_path / "photos", range(0, 1000, 16))
    _, ledger = run(imagenet=str(root), network="tiny")
    assert {claim.id for claim in ledger.claims} == set(registered().chapter("14-imagenet"))
    assert not ledger.omitted
    assert all(len(claim.values) == 10 for claim in ledger.claims if claim.kind != "check")
    assert all(claim.statement.startswith("Tiny, ImageNet") for claim in ledger.claims)
    [network] = ledger.provenance.networks
    assert (network.training, network.device) == ("Tiny (a test)", "elsewhere")
    assert ledger.data == "63 ImageNet photographs, one a class"
    named = {figure.name: figure for figure in ledger.provenance.figures}
    assert set(named) == {"figure-6-imagenet", "figure-6-all-classes"}
    assert all(figure.of_the_paper == "Figure 6" for figure in named.values())
    assert all(figure.networks == (network.key,) for figure in named.values())
    assert str(tmp_path) not in json.dumps(ledger.to_dict())


def test_without_photographs_it_is_one_sentence(run):
    shown, ledger = run()
    assert not ledger.claims
    assert dict(ledger.omitted).keys() == registered().chapter("14-imagenet").keys()
    sentence, _ = shown
    assert "without photographs of ImageNet" in sentence["text/plain"]


def test_a_folder_without_photographs_is_one_sentence(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="class folders named as in ImageNet"):
        run(imagenet=str(tmp_path / "none"), network="tiny")
