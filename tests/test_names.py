"""Names that come from data: harmless wherever they reach a page, a drawing or a table."""

import csv
import io
import json
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from ledgers import two_chapters
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from torch import nn

from svcca_lib import compare
from svcca_lib.files.command import main
from svcca_lib.names import FORMULA, cell, cells_of, markdown, markup, mathtext
from svcca_lib.paper.chapter import dashboard, tables
from svcca_lib.paper.chapter.chapter import Chapter
from svcca_lib.paper.chapter.drawings import Drawing
from svcca_lib.paper.chapter.gathered import Book
from svcca_lib.paper.chapter.outputs import FIGURE_METADATA
from svcca_lib.paper.figures.style import drawn, panels
from svcca_lib.paper.publishing import results

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", '=HYPERLINK("http://a","b")')
MARKUP = ("<script>alert(1)</script>", "<b>b</b>", "a & b", "'\"><img src=x onerror=alert(1)>")
MATHS = ("$x$", r"\(x\)", r"\begin{align}x\end{align}", "$$x$$")
MARKED = (
    "**b**",
    "_b_",
    "`b`",
    "[b](http://a)",
    "![b](c.png)",
    "{ref}`b`",
    "a|b",
    "{{ b }}",
    "~~b~~",
)
HOSTILE = (*FORMULAS, *MARKUP, *MATHS, *MARKED)
ORDINARY = (
    "conv2d",
    "layer 3.1",
    "CIFAR-10, JPEG copy",
    "automobile",
    "p2",
    "model/encoder",
    "été",
)


class Page(HTMLParser):
    """What a browser shows of HTML, and which tags it finds; ignored text is marked for MathJax."""

    def __init__(self, text):
        super().__init__()
        self.shown, self.for_maths, self.tags, self.inside = "", "", [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.inside.append("tex2jax_ignore" in (dict(attrs).get("class") or ""))

    def handle_endtag(self, tag):
        self.inside.pop()

    def handle_data(self, data):
        self.shown += data
        self.for_maths += "" if any(self.inside) else data


@pytest.mark.parametrize("name", HOSTILE)
def test_markup_shows_a_name_as_it_is_and_nothing_else(name):
    page = Page(markup(name))
    assert page.shown == name
    assert set(page.tags) <= {"span"}
    assert not set("$\\") & set(page.for_maths)


def rendered(text):
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"]).use(dollarmath_plugin)
    return parser.render(text)


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_a_name_as_it_is_and_nothing_else(name):
    page = Page(rendered(f"On {markdown(name)}, drawn."))
    assert page.shown.strip() == f"On {' '.join(name.split())}, drawn."
    assert page.tags == ["p"]


@pytest.mark.parametrize("name", [n for n in HOSTILE if "$" in n])
def test_mathtext_draws_no_mathematics(name):
    figure = plt.figure()
    text = figure.text(0, 0, mathtext(name))
    said, mathematics = text._preprocess_math(text.get_text())
    plt.close(figure)
    assert said == name
    assert mathematics in (False, "TeX")


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_names_stay_as_they_are(name):
    assert markup(name) == markdown(name) == mathtext(name) == cell(name) == name


@pytest.mark.parametrize("name", FORMULAS)
def test_a_cell_is_no_formula_and_a_number_stays_one(name):
    assert cell(name) == f"'{name}"
    assert cells_of({name: -1.5, "n": -2}) == {f"'{name}": -1.5, "n": -2}


def read(text):
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) > 1
    return rows


def no_formulas(rows):
    """Whether no cell of a table but a number begins as a formula does."""

    def number(value):
        try:
            return np.isscalar(float(value))
        except ValueError:
            return False

    return not [v for row in rows for v in row if v.startswith(FORMULA) and not number(v)]


def hostile_model():
    model = nn.Module()
    model.first, model.second = nn.Linear(4, 3), nn.Linear(3, 3)
    model.forward = lambda x: model.second(model.first(x))
    return model


def test_a_table_of_layers_is_written_and_drawn_without_formulas(tmp_path):
    table = compare(hostile_model(), hostile_model(), torch.randn(200, 4), progress=False)
    named = replace(table, layers_a=("=1+1", "$x$"), layers_b=("@b", "-1+2"))
    named.to_csv(tmp_path / "table.csv")
    rows = read((tmp_path / "table.csv").read_text())
    assert no_formulas(rows)
    assert [row[0] for row in rows] == ["layer", "'=1+1", "$x$"]
    ax = named.plot()
    shown = [label.get_text() for label in ax.get_yticklabels()]
    plt.close(ax.figure)
    assert shown == ["=1+1", r"\$x\$"]


def test_the_command_writes_no_formulas(tmp_path, capsys):
    layers = {"=1+1": np.eye(30, 3), "b": np.random.default_rng(0).normal(size=(30, 3))}
    np.savez(tmp_path / "a.npz", **layers)
    main(["compare", str(tmp_path / "a.npz"), "--csv", str(tmp_path / "out.csv")])
    rows = read((tmp_path / "out.csv").read_text())
    assert any("'=1+1" in row for row in rows)
    assert no_formulas(rows)


@drawn
def hostile_figure():
    figure, axes = panels(1, 1, height=2)
    axes[0, 0].plot([-1.5], [-2.0], label="=1+1")
    axes[0, 0].set(title="@b", xlabel="+c", ylabel="-d")
    return figure


def test_the_numbers_of_a_figure_hold_no_formulas():
    text = Drawing.of(hostile_figure(), "figure-x", "A title").files["csv"]
    assert no_formulas(read(text))
    columns, values = read(text)
    assert dict(zip(columns, values, strict=True)) == {
        "panel": "'@b",
        "series": "'=1+1",
        "mark": "line",
        "x_label": "'+c",
        "x": "-1.5",
        "y_label": "'-d",
        "y": "-2",
    }


@pytest.fixture(params=HOSTILE)
def hostile_book(request):
    """A book whose data, statements, networks and devices have a hostile name."""
    name = request.param
    chapters = {}
    for key, ledger in two_chapters().chapters.items():
        making = ledger.provenance
        networks = tuple(replace(n, training=name, device=name) for n in making.networks)
        making = replace(making, datasets={name: "f" * 64}, networks=networks)
        claims = tuple(replace(claim, statement=name) for claim in ledger.claims)
        chapters[key] = replace(ledger, data=name, making=making, claims=claims)
    return name, Book(chapters)


def test_tables_of_the_ledger_show_names_as_they_are(hostile_book):
    name, book = hostile_book
    [first, *_] = book.chapters.values()
    for text in (
        tables.as_html(first),
        dashboard.Claims(book)._repr_html_(),
        dashboard.networks(book)._repr_html_(),
        dashboard.datasets(book)._repr_html_(),
        dashboard.figures(book)._repr_html_(),
    ):
        page = Page(text)
        assert name in page.shown
        assert not {"script", "img"} & set(page.tags)
        assert not set("$\\") & set(page.for_maths)


def test_results_at_a_glance_show_names_as_they_are(hostile_book):
    name, book = hostile_book
    page = Page(rendered(results.glance(book)))
    plain = " ".join(name.split())
    assert page.shown.count(plain) >= 2  # a statement, and the data
    assert not {"script", "img", "strong", "a", "b", "s", "eq"} & set(page.tags)


def test_a_chapter_shows_names_of_its_data_as_text(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "svcca_lib.paper.chapter.chapter._display", lambda *given: shown.append(given)
    )
    chapter = Chapter("02-distributed-representations", profile="quick")
    chapter._foreign = {"folder **x** $y$"}
    chapter.show(hostile_figure(), "some", alt="a", caption="**On** folder **x** $y$.")
    chapter.say("**On** folder **x** $y$.")
    figure, *others = shown
    texts = [figure[1][FIGURE_METADATA]["caption"], *(o[0]["text/markdown"] for o in others)]
    assert len(texts) == 3  # on the page, below the figure elsewhere, and what is said
    for text in texts:
        page = Page(rendered(text))
        assert page.shown.strip() == "On folder **x** $y$."
        assert page.tags == ["p", "strong"]


def test_what_a_chapter_keeps_of_its_data_is_there_to_be_escaped():
    chapter = Chapter("02-distributed-representations", profile="quick")
    assert {chapter.data.label, *chapter.data.classes} == chapter._foreign


def test_a_script_cannot_be_closed_by_a_name():
    from svcca_lib.paper.figures.interactive.scrubber import scrubber

    page = scrubber(np.ones((1, 1, 1)), [1.0], ["</script><b>"], title="<i>", ident="a")
    assert "</script><b>" not in page
    assert json.dumps("\\u003c/script>\\u003cb>")[3:-1].replace("\\\\", "\\") in page
    assert "<i>" not in page
