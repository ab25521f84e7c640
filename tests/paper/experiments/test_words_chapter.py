"""Chapter 15 from its first cell to its last, on two texts that a small model learns quickly.

What it measures there is of no interest; that it runs, and says what it needs to, is what is
tested.
"""

import json

import numpy as np
import pytest
from whole_chapters import runner

from svcca_lib.paper.chapter.register import registered
from svcca_lib.paper.store.paths import REPOSITORY

NOTEBOOK = REPOSITORY / "book" / "15-words.ipynb"


@pytest.fixture
def run(tmp_path, monkeypatch):
    return runner(NOTEBOOK, tmp_path, monkeypatch)


def written(folder, name, seed):
    """Write sentences of a small grammar, to train and to test on; return their specification."""
    rng = np.random.default_rng(seed)
    verbs, nouns = ("sees", "hears", "likes"), ("dog", "cat", "bird", "fish")
    for part, lines in (("train", 600), ("test", 200)):
        sentences = (
            f"the {nouns[a]} {verbs[b]} the {nouns[(a + b) % 4]}"
            for a, b in rng.integers((4, 3), size=(lines, 2))
        )
        (folder / f"{name}-{part}.txt").write_text("\n".join(sentences), encoding="utf-8")
    return f"words:{folder / name}-train.txt,{folder / name}-test.txt"


@pytest.mark.slow
def test_the_chapter_runs_on_two_texts(run, tmp_path):
    texts = "; ".join(written(tmp_path, name, seed) for seed, name in enumerate(("one", "two")))
    shown, ledger = run(texts=texts)
    assert {claim.id for claim in ledger.claims} == set(registered().chapter("15-words"))
    assert not ledger.omitted
    assert all(len(claim.values) == 5 for claim in ledger.claims)
    learned = next(claim for claim in ledger.claims if claim.id == "a-language-is-learned")
    assert max(learned.values) < 0.6  # of the grammar's words every other is certain
    named = {figure.name: figure for figure in ledger.provenance.figures}
    assert set(named) == {
        f"{figure}-{name}"
        for figure in ("figure-perplexity", "appendix-figure-6")
        for name in ("words", "words-2")
    }
    assert all(len(figure.networks) >= 5 for figure in named.values())
    table = next(data["table"] for data in shown if "table" in data)
    assert list(table.columns) == ["one-train", "two-train"]
    assert table.loc["different words", "one-train"] == "10"  # the, <eos>, <unk> and seven more
    assert str(tmp_path) not in json.dumps(ledger.to_dict())


def test_without_texts_it_is_one_sentence(run):
    shown, ledger = run()
    assert not ledger.claims
    assert dict(ledger.omitted).keys() == registered().chapter("15-words").keys()
    assert "without texts" in shown[0]["text/plain"]


def test_data_of_another_kind_is_one_sentence(run):
    with pytest.raises(ValueError, match="texts must be such as words:TRAIN,TEST; got 'digits'"):
        run(texts="digits")
