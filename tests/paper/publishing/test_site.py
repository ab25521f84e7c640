"""A small book, built as the site is."""

import base64
import re
from pathlib import Path

import nbformat
import pytest
from ledgers import single

from svcca_lib.paper.chapter.chapter import Chapter
from svcca_lib.paper.chapter.ledger import Ledger
from svcca_lib.paper.chapter.outputs import FIGURE_METADATA, LEDGER_METADATA, noted
from svcca_lib.paper.chapter.provenance import Making, ShownFigure
from svcca_lib.paper.chapter.tables import as_html
from svcca_lib.paper.figures.style import drawn, panels
from svcca_lib.paper.publishing import site
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

NAME = "02-distributed-representations"


@pytest.fixture
def shown(monkeypatch):
    """What a notebook stores of a figure that a chapter shows, drawn from one network."""
    outputs = []
    monkeypatch.setattr(
        "IPython.display.publish_display_data",
        lambda data, metadata=None: outputs.append((data, metadata)),
    )
    Chapter(NAME).show(line(), "figure-2a", alt='A "line" rises.', caption="It *rises*.")
    data, metadata = outputs[0]
    data["image/png"] = base64.b64encode(data["image/png"]).decode()
    metadata[FIGURE_METADATA]["artefact"] = "abcd"
    return outputs


@drawn
def line():
    figure, axes = panels(height=3)
    axes[0, 0].plot([0, 1], [0, 1], label="p")
    return figure


def test_page_shows_caption_number_alt_text_and_where_a_figure_comes_from(tmp_path, shown):
    making = Making(1.0, {"commit": None}, {}, (), (ShownFigure("figure-2a"),))
    ledger = Ledger(NAME, "quick", 0, "digits", (single(0.9, id="a"),), making)
    displayed = ({"text/html": as_html(ledger)}, {LEDGER_METADATA: ledger.to_dict()})
    outputs = [
        nbformat.v4.new_output("display_data", data, metadata=metadata)
        for data, metadata in (*shown, displayed, noted("a-number", 0.87654))
    ]
    text = nbformat.v4.new_markdown_cell(
        "# Title\n\nSee {numref}`figure-2a`: it is {glue:text}`a-number:.2f`."
    )
    cell = nbformat.v4.new_code_cell("ch.show(...)", outputs=outputs, execution_count=1)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=[text, cell], metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "02-x.ipynb")
    root = tmp_path / "repository"
    book = root / "book"
    (book / "_static").mkdir(parents=True)
    (book / "_static" / "book.css").touch()
    (book / "_static" / "favicon.svg").write_bytes((ROOT / "book/_static/favicon.svg").read_bytes())
    (book / "references.bib").touch()
    (book / "index.md").write_text("# Index\n\n```{include} results.md\n```\n")
    (root / "_config.yml").write_text((ROOT / "_config.yml").read_text())
    toc = "format: jb-book\nroot: book/index\nchapters:\n- file: book/02-x\n"
    (root / "_toc.yml").write_text(toc)

    def build():
        notebooks = {"02-x": tmp_path / "02-x.ipynb"}
        return site.build(root, notebooks, tmp_path / "staging", tmp_path / "html")

    first = build()
    page = (first.parent / "book" / "02-x.html").read_text()
    assert 'alt="A &quot;line&quot; rises."' in page
    assert page.count("<em>rises</em>") == 1, "the caption is in the figure alone"
    drawings = [
        dict(re.findall(r'([a-z]+)="([^"]*)"', tag)) for tag in re.findall("<img[^>]*>", page)
    ]
    drawings = [drawing for drawing in drawings if "figure-2a" in drawing["src"]]
    assert [(set(d["class"].split()), Path(d["src"]).name) for d in drawings] == [
        ({"on-page", "only-light"}, "figure-2a.svg"),
        ({"on-page", "only-dark"}, "figure-2a-dark.svg"),
        ({"on-phone", "only-light"}, "figure-2a-phone.svg"),
        ({"on-phone", "only-dark"}, "figure-2a-phone-dark.svg"),
    ]
    shapes = [int(drawing["width"]) / int(drawing["height"]) for drawing in drawings]
    assert shapes[0] == pytest.approx(5.5 / 3, rel=0.01)
    assert shapes[2] == pytest.approx(3.5 / 2.3, rel=0.01)
    assert '<figure class="align-default" id="figure-2a">' in page
    assert '<span class="caption-number">Figure 1 </span>' in page
    assert 'See <a class="reference internal" href="#figure-2a">' in page
    assert 'id="claim-a"' in page
    assert re.search(r"it is\s+<span[^>]*>0\.88</span>", page) or "it is 0.88" in page
    origin = "Made by chapter 2 from networks abcd"
    assert f'href="10-ledger.html#made-figure-2a">{origin}</a>' in page
    index = (first.parent / "book" / "index.html").read_text()
    assert 'href="02-x.html#figure-2a"' in index
    assert "0 fail and 1 are not settled" in index
    (book / "index.md").write_text("# Index\n\n[nowhere](missing.md)\n")
    with pytest.raises(site.SiteError, match="warnings are errors"):
        build()
    assert first.is_file(), "the site built before stays"
