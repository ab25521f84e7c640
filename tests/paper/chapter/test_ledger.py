"""The ledger of the book, gathered from what chapters recorded."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import nbformat
import pytest

from conftest import ROOT
from svcca_lib.paper.chapter import ledger, provenance
from svcca_lib.paper.chapter.claims import METADATA, Claim, Ledger, at_least
from svcca_lib.paper.chapter.ledger import Book
from svcca_lib.paper.chapter.provenance import PAPER_FIGURES, Making, Shown, Trained, artefact
from svcca_lib.paper.chapter.register import registered
from svcca_lib.paper.publishing import site

ENVIRONMENT = {
    "python": "3.11.1",
    "platform": "an <old> system",
    "libraries": {"torch": "2.6"},
    "device": "a processor",
    "threads": 2,
    "commit": "0123456789abcdef",
}


def claim(id="a", value=0.9, **values):
    defaults = {
        "id": id,
        "kind": "paper",
        "figure": "Figure 2a",
        "statement": "few | suffice",
        "rule": at_least(0.5),
        "values": (value,),
        "over": "images",
        "interval": (value - 0.01, value + 0.01),
    }
    return Claim(**defaults | values)


def network(number):
    return Trained("convnet", number, f"{number}" * 64, "f" * 64, 30.0, "a processor", None)


def chapter(name, claims, figures, networks=(), profile="quick", **environment):
    making = Making(75.0, ENVIRONMENT | environment, {"digits": "ab" * 32}, networks, figures)
    return Ledger(name, profile, 0, "digits", tuple(claims), making)


@pytest.fixture
def book():
    """Two chapters of which the second adds to the first one's figure and shows one of its own."""
    first = chapter(
        "02-first",
        [claim(), claim("b", 0.2, paper=0.7), claim("c", figure="Theorem 1", kind="check")],
        (Shown("figure-2a", ("1" * 64, "2" * 64)),),
        (network(1), network(2)),
    )
    second = chapter(
        "04-second",
        [claim("d", figure="Figure 4, Appendix Figure 3")],
        (
            Shown("figure-4-convnet", ("2" * 64,)),
            Shown("appendix-figure-3", ("2" * 64, "3" * 64)),
            Shown("figure-of-ours"),
        ),
        (network(2), network(3)),
        device="a GPU",
    )
    return Book({ledger.chapter: ledger for ledger in (first, second)})


def rows(table):
    """Return the cells of a table's HTML, without their markup; it has to be well formed."""
    root = ET.fromstring(table._repr_html_().replace("<br>", "<br/>"))
    return [["".join(cell.itertext()) for cell in row] for row in root.find("tbody")]


def write_run(folder, *chapters):
    for made in chapters:
        (folder / made.chapter).mkdir(parents=True)
        made.write(folder / made.chapter / "claims.json")
    return str(folder / ledger.LEDGER)


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
    def test_without_a_run_the_stored_notebooks_are_read(self, out, tmp_path, monkeypatch, book):
        monkeypatch.setattr(ledger, "REPOSITORY", tmp_path)
        for folder, profile in (("book", "quick"), ("published/cifar10", "cifar10")):
            made = replace(book.chapters["02-first"], profile=profile)
            output = nbformat.v4.new_output("display_data", metadata={METADATA: made.to_dict()})
            cell = nbformat.v4.new_code_cell("ch.ledger()", outputs=[output], execution_count=1)
            (tmp_path / folder).mkdir(parents=True)
            notebook = nbformat.v4.new_notebook(cells=[cell])
            nbformat.write(notebook, tmp_path / folder / "02-first.ipynb")
            nbformat.write(nbformat.v4.new_notebook(), tmp_path / folder / "10-ledger.ipynb")
            gathered = Book.gather(profile, str(tmp_path / out) if out else "")
            assert gathered == Book({"02-first": made})

    def test_nothing_to_gather_says_what_to_run(self, tmp_path, monkeypatch):
        monkeypatch.setattr(ledger, "REPOSITORY", tmp_path)
        with pytest.raises(FileNotFoundError, match="run `make book PROFILE=paper`"):
            Book.gather("paper")

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
        ours = (claim("e", 0.1, kind="ours"), claim("f"), claim("g", kind="check"))
        assert ledger.Row("Figure 1", (), (), ours).headline.id == "f"
        assert ledger.Row("Figure 1", (), (), ours[::2]).headline.id == "e"
        assert ledger.Row("Figure 1", (), (), ()).headline is None


class TestDisplay:
    def test_dashboard(self, book):
        table = ledger.dashboard(book)
        by_figure = {row[0]: row[1:] for row in rows(table)}
        both = artefact(["1" * 64, "2" * 64])
        assert by_figure["Figure 2a"] == [
            "✓ a: 0.9✗ b: 0.2, the paper 0.7",
            f"{both}convnet 1, 2",
            "1 min 00 s",
            "1 min 15 s",
            "0123456",
        ]
        assert by_figure["Figure 1"] == ["not run", "", "", "", ""]
        assert by_figure["figure-of-ours"] == ["", "none", "", "1 min 15 s", "0123456"]
        assert 'id="made-figure-4-convnet"' in table._repr_html_()
        assert '<a href="02-first.html#figure-2a">Figure 2a</a>' in table._repr_html_()

    def test_claims_lead_to_their_figures_or_to_themselves(self, book):
        text = ledger.Claims(book)._repr_html_()
        ET.fromstring(text)
        assert '<a href="02-first.html#figure-2a">Figure 2a</a>' in text
        assert '<a href="02-first.html#claim-c">Theorem 1</a>' in text
        assert '<a href="04-second.html#figure-4-convnet">Figure 4</a>, <a' in text
        assert text.count('<tr id="claim-') == len(book.claims) == 4
        assert 'id="claim-02-first-a"' in text

    def test_text_form_of_the_claims_changes_with_a_number(self, book):
        first, second = book.chapters.values()
        other = replace(first, claims=(claim(value=0.91), *first.claims[1:]))
        assert repr(ledger.Claims(book)) != repr(
            ledger.Claims(Book({"02-first": other, "04-second": second}))
        )
        assert repr(first) in repr(ledger.Claims(book))

    def test_networks_data_and_environments_are_listed_once(self, book):
        assert [row[1:3] for row in rows(ledger.networks(book))] == [
            [str(n), f"{n}" * 12] for n in (1, 2, 3)
        ]
        assert rows(ledger.datasets(book)) == [["digits", "ab" * 6, "02, 04", "0"]]
        assert [row[0] for row in rows(ledger.environments(book))] == ["02", "04"]
        assert rows(ledger.environments(book))[0][2] == "an <old> system"

    def test_glance_has_a_row_for_each_figure_of_the_paper(self, book):
        lines = ledger.glance(book).splitlines()
        assert lines[0] == (
            "Of the paper's 3 statements, 2 hold, 1 fail and 0 are not settled at this scale. All "
            "kinds: 3 statements of the paper: 2 hold, 1 fails; 1 of 1 checks hold; in 2 chapters. "
            "Run at profile quick, on digits."
        )
        table = {line.split(" | ")[0]: line for line in lines[4:]}
        assert len(table) == len(PAPER_FIGURES)
        assert table["| {ref}`Figure 2a <figure-2a>`"] == (
            "| {ref}`Figure 2a <figure-2a>` | few \\| suffice | 0.7 | 0.2 | ✗ fails | ✓ 1 ✗ 1 |"
        )
        assert table["| Figure 1"] == "| Figure 1 | not run | | | | |"

    def test_scores_count_kinds_apart(self, book):
        assert rows(ledger.scores(book)) == [
            ["of the paper", "2", "1", "0", "3"],
            ["checks", "1", "0", "0", ""],
        ]

    def test_movements_are_over_seeds_and_over_machines(self, monkeypatch):
        two = claim(values=(0.8, 0.9), over="seeds")
        book = Book({"02-first": chapter("02-first", [two, claim("b")], ())})
        monkeypatch.setattr(ledger, "elsewhere", lambda: {"02-first/a": [0.7, 0.75]})
        assert rows(ledger.movements(book)) == [
            ["02 a", "0.85", "0.1 (2 seeds)", "0.05", "✓ holds"],
            ["02 b", "0.9", "", "", "✓ holds"],
        ]

    def test_numbers_of_other_machines_are_those_of_the_quick_profile(self, monkeypatch):
        monkeypatch.setattr(ledger, "elsewhere", lambda: {"02-first/a": [0.7]})
        published = chapter("02-first", [claim()], (), profile="cifar10")
        assert ledger.machines(Book({"02-first": published})) == {}

    def test_every_change_of_the_register_is_listed(self):
        listed = rows(ledger.changes())
        assert len(listed) == sum(len(c.changes) for c in registered().claims.values())
        assert all(all(row) for row in listed)

    def test_json_holds_all_digits_and_no_infinity(self, book, tmp_path):
        book.write(tmp_path / "a" / "ledger.json")
        text = (tmp_path / "a" / "ledger.json").read_text()
        content = json.loads(text, parse_constant=pytest.fail)
        again = {made["chapter"]: Ledger.from_dict(made) for made in content["chapters"]}
        assert Book(again) == book
        figure = content["figures"][PAPER_FIGURES.index("Figure 2a")]
        assert figure["artefact"] == artefact(["1" * 64, "2" * 64])
        assert [c["verdict"] for c in figure["claims"]] == ["holds", "fails"]


class TestRecords:
    def test_artefact_is_a_set_of_keys(self):
        assert artefact(["a", "b"]) == artefact(["b", "a", "a"]) != artefact(["a"])
        assert artefact([]) == ""

    @pytest.mark.parametrize(
        ("name", "figure"),
        [
            ("figure-2a", "Figure 2a"),
            ("figure-4-differences", "Figure 4"),
            ("appendix-figure-6", "Appendix Figure 6"),
            ("appendix-c", None),
            ("figure-perplexity", None),
            ("figure-app-1", None),
        ],
    )
    def test_name_says_which_figure_of_the_paper(self, name, figure):
        assert provenance.Shown(name).of_the_paper == figure


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
        named = {name for made in stored.claims for name in ledger.supports(made)}
        figures = {name for name in named if "Figure" in name}
        assert figures == set(PAPER_FIGURES)

    def test_networks_behind_the_figures_are_those_of_reference(self, stored):
        kept = {path.name[-12:] for path in (ROOT / "reference" / "network").iterdir()}
        missing = [n for n in stored.networks() if n.key[:12] not in kept]
        assert not missing, "these chapters were run with other networks: run them again"

    def test_results_at_a_glance_are_current(self, stored):
        current = (ROOT / "book" / "results.md").read_text(encoding="utf-8")
        assert current == ledger.glance(stored), "run `python -m svcca_lib ledger`"

    def test_readme_says_what_the_ledgers_say(self, tmp_path):
        written = (ROOT / "README.md").read_text(encoding="utf-8")
        (tmp_path / "README.md").write_text(written)
        books = map(Book.gather, ("quick", *sorted(p.name for p in (ROOT / "published").iterdir())))
        site.write_readme(books, tmp_path)
        again = (tmp_path / "README.md").read_text(encoding="utf-8")
        assert again == written, "run `python -m svcca_lib ledger`"

    @pytest.mark.parametrize("profile", sorted(p.name for p in (ROOT / "published").iterdir()))
    def test_published_ledgers_can_be_gathered(self, profile):
        book = Book.gather(profile)
        assert len(ledger.dashboard(book).rows) >= len(PAPER_FIGURES)
        assert book.networks()

    def test_captions_name_the_figure_of_the_paper(self, stored):
        named = 0
        for name in stored.chapters:
            for cell in nbformat.read(ROOT / "book" / f"{name}.ipynb", as_version=4).cells:
                for output in cell.get("outputs", ()):
                    shown = output.get("metadata", {}).get("svcca_figure", {"name": ""})
                    if figure := _rebuilt(shown["name"]):
                        assert f"({figure} of the paper" in shown["caption"], shown["name"]
                        named += 1
        assert named >= len(PAPER_FIGURES)


def _rebuilt(name):
    """Return the figure of the paper that a name is of, where it rebuilds it and adds nothing."""
    words = name.removesuffix("-convnet").removesuffix("-resnet").split("-")
    figure = " ".join(word.capitalize() if word.isalpha() else word for word in words)
    return figure if figure in PAPER_FIGURES else None
