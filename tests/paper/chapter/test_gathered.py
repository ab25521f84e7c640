"""The ledger of the book, gathered from what chapters recorded."""

import json
from dataclasses import replace

import nbformat
import pytest
from ledgers import over_images, two_chapters

from svcca_lib.paper.chapter.gathered import BOOK, LEDGER, Book, Row, published
from svcca_lib.paper.chapter.ledger import Ledger
from svcca_lib.paper.chapter.outputs import FIGURE_METADATA, LEDGER_METADATA
from svcca_lib.paper.chapter.provenance import PAPER_FIGURES, artefact
from svcca_lib.paper.store.paths import REPOSITORY as ROOT


@pytest.fixture
def book():
    return two_chapters()


def test_json_holds_all_digits_and_no_infinity(book, tmp_path):
    book.write(tmp_path / "a")
    text = (tmp_path / "a" / BOOK).read_text()
    content = json.loads(text, parse_constant=pytest.fail)
    again = {made["chapter"]: Ledger.from_dict(made) for made in content["chapters"]}
    assert Book(again) == book
    figure = content["figures"][PAPER_FIGURES.index("Figure 2a")]
    assert figure["artefact"] == artefact(["1" * 64, "2" * 64])
    assert [c["verdict"] for c in figure["claims"]] == ["holds", "fails"]


def write_run(folder, *chapters):
    for made in chapters:
        made.write(folder / made.chapter)
    return str(folder / LEDGER)


class TestGathering:
    def test_a_run_is_found_beside_the_ledger_s_own_results(self, book, tmp_path):
        out = write_run(tmp_path / "results", *book.chapters.values())
        assert Book.gather("quick", out) == book

    def test_profiles_are_never_mixed(self, book, tmp_path):
        first, second = book.chapters.values()
        out = write_run(tmp_path, first, replace(second, profile="cifar10"))
        with pytest.raises(ValueError, match=r"'quick'.*some chapters were run at cifar10"):
            Book.gather("quick", out)

    @pytest.mark.parametrize("out", ["", "elsewhere/10-ledger"])
    def test_without_a_run_the_stored_notebooks_are_read(self, out, tmp_path, book):
        for folder, profile in (("book", "quick"), ("published/cifar10", "cifar10")):
            made = replace(book.chapters["02-first"], profile=profile)
            output = nbformat.v4.new_output(
                "display_data", metadata={LEDGER_METADATA: made.to_dict()}
            )
            cell = nbformat.v4.new_code_cell("ch.ledger()", outputs=[output], execution_count=1)
            (tmp_path / folder).mkdir(parents=True)
            notebook = nbformat.v4.new_notebook(cells=[cell])
            nbformat.write(notebook, tmp_path / folder / "02-first.ipynb")
            nbformat.write(nbformat.v4.new_notebook(), tmp_path / folder / "10-ledger.ipynb")
            gathered = Book.gather(profile, str(tmp_path / out) if out else "", tmp_path)
            assert gathered == Book({"02-first": made})

    def test_nothing_to_gather_says_what_to_run(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="run `make book PROFILE=paper`"):
            Book.gather("paper", root=tmp_path)

    def test_a_chapter_without_a_record_of_its_making_says_so(self, book):
        made = replace(book.chapters["02-first"], making=None)
        with pytest.raises(ValueError, match="'02-first' has no record of its making"):
            Book({"02-first": made}).rows()


class TestRows:
    def test_every_figure_of_the_paper_has_one_and_ours_follow(self, book):
        figures = [row.figure for row in book.rows()]
        assert figures == [*PAPER_FIGURES, "figure-of-ours"]

    def test_claims_stand_with_every_figure_that_they_name(self, book):
        found = {row.figure: [c.id for c in row.claims] for row in book.rows() if row.claims}
        assert found == {"Figure 2a": ["a", "b"], "Figure 4": ["d"], "Appendix Figure 3": ["d"]}

    def test_networks_are_those_of_the_figure(self, book):
        seeds = {row.figure: [n.seed for n in row.networks] for row in book.rows() if row.shown}
        assert seeds == {
            "Figure 2a": [1, 2],
            "Figure 4": [2],
            "Appendix Figure 3": [2, 3],
            "figure-of-ours": [],
        }

    def test_the_headline_is_the_paper_s_statement_that_fails_if_one_does(self, book):
        headlines = {row.figure: row.headline.id for row in book.rows() if row.claims}
        assert headlines == {"Figure 2a": "b", "Figure 4": "d", "Appendix Figure 3": "d"}
        ours = (
            over_images("e", 0.1, kind="ours"),
            over_images("f"),
            over_images("g", kind="check"),
        )
        assert Row("Figure 1", (), (), ours).headline.id == "f"
        assert Row("Figure 1", (), (), ours[::2]).headline.id == "e"
        assert Row("Figure 1", (), (), ()).headline is None


@pytest.fixture(scope="module")
def stored():
    return Book.gather("quick")


class TestTheBook:
    """What is stored in the repository."""

    def test_every_figure_of_the_paper_is_shown_and_claimed(self, stored):
        for row in stored.rows():
            if row.figure in PAPER_FIGURES:
                assert row.shown, f"{row.figure} is in no chapter"
                assert row.claims, f"no claim is made of {row.figure}"

    def test_claims_name_figures_as_the_paper_does(self, stored):
        named = {name for made in stored.claims for name in made.figures}
        figures = {name for name in named if "Figure" in name}
        assert figures == set(PAPER_FIGURES)

    def test_networks_behind_the_figures_are_those_of_reference(self, stored):
        kept = {path.name[-12:] for path in (ROOT / "reference" / "network").iterdir()}
        missing = [n for n in stored.networks() if n.key[:12] not in kept]
        assert not missing, "these chapters were run with other networks: run them again"

    @pytest.mark.parametrize("profile", published())
    def test_published_ledgers_can_be_gathered(self, profile):
        book = Book.gather(profile)
        assert book.networks()

    def test_captions_name_the_figure_of_the_paper(self, stored):
        named = 0
        for name in stored.chapters:
            for cell in nbformat.read(ROOT / "book" / f"{name}.ipynb", as_version=4).cells:
                for output in cell.get("outputs", ()):
                    shown = output.get("metadata", {}).get(FIGURE_METADATA, {"name": ""})
                    if figure := _rebuilt(shown["name"]):
                        assert f"({figure} of the paper" in shown["caption"], shown["name"]
                        named += 1
        assert named >= len(PAPER_FIGURES)


def _rebuilt(name):
    """Return the figure of the paper that a name is of, where it rebuilds it and adds nothing."""
    words = name.removesuffix("-convnet").removesuffix("-resnet").split("-")
    figure = " ".join(word.capitalize() if word.isalpha() else word for word in words)
    return figure if figure in PAPER_FIGURES else None
