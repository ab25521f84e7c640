import base64
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from svcca_lib.paper import chapter, claims, profiles
from svcca_lib.paper.chapter import FIGURE_METADATA, Chapter
from svcca_lib.paper.claims import METADATA, Ledger, at_least, at_most
from svcca_lib.paper.records import Making, Shown, artefact
from svcca_lib.paper.store import key_of, plain
from svcca_lib.paper.training import Run

NAME = "02-distributed-representations"


@pytest.fixture
def displayed(monkeypatch):
    """Collect what a notebook would display."""
    outputs = []
    monkeypatch.setattr(
        "IPython.display.publish_display_data",
        lambda data, metadata=None: outputs.append(SimpleNamespace(data=data, metadata=metadata)),
    )
    return outputs


@pytest.fixture
def figure():
    drawing = Figure(figsize=(4, 3), dpi=100)
    drawing.subplots().plot([0, 1], [0, 1])
    return drawing


def made(**values):
    return {
        "figure": "Figure 2a",
        "statement": "it suffices",
        "measured": 0.9,
        "rule": at_least(0.85),
        "band": 0.05,
    } | values


def test_unknown_chapter_and_profile_are_refused():
    with pytest.raises(ValueError, match="02-distributed-representations"):
        Chapter("02-distributed")
    with pytest.raises(ValueError, match="quick, cifar10, paper"):
        Chapter(NAME, profile="fast")


def test_every_declared_training_exists_in_every_profile():
    for scale in profiles.PROFILES.values():
        for name in profiles.CHAPTERS:
            for training, _ in scale.trainings(name):
                data = SimpleNamespace()
                with pytest.raises(TypeError, match="needs"):  # the name is known, the data wrong
                    scale.training(training, 0, data)


def test_training_that_the_chapter_does_not_declare_is_refused():
    with pytest.raises(ValueError, match=r"lstm\+0.*convnet\+0, convnet\+1.*CHAPTERS"):
        Chapter(NAME).run("lstm")


@pytest.fixture
def trained(monkeypatch):
    """Train nothing; return the runs that were asked for, without their networks."""
    runs = []

    def train(config, *rest, **options):
        identity = {"kind": "network", "config": plain(config), "version": "1"}
        made = {"wall_seconds": 2.5, "device": "a processor", "commit": "abc"}
        runs.append(Run(config, {}, [], identity | made, {}))
        return runs[-1]

    monkeypatch.setattr("svcca_lib.paper.training.train", train)
    return runs


def test_run_takes_the_seed_of_the_chapter_as_its_base(trained):
    Chapter(NAME, seed=5).run("convnet", 1)
    chapter.train("quick", "convnet", 6)
    assert [run.config.seed for run in trained] == [6, 6]


def test_figure_says_which_networks_were_there_when_it_was_drawn(trained, displayed, figure):
    ch = Chapter(NAME)
    ch.show(figure, "figure-1", alt="x")
    runs = [ch.run("convnet", seed) for seed in (0, 1)]
    ch.show(figure, "figure-2", alt="x")
    ch.run("convnet", 1)
    ch.show(figure, "figure-3", alt="x")
    said = [output.metadata[FIGURE_METADATA]["artefact"] for output in displayed]
    keys = [key_of(run.provenance) for run in runs]
    assert said == ["", artefact(keys), artefact(keys)]
    assert artefact(keys) != artefact(keys[:1])
    ch.claim("a", **made())
    ch.ledger()
    making = Ledger.from_dict(displayed[-1].metadata[METADATA]).making
    assert [(n.training, n.seed, n.seconds) for n in making.networks] == [
        ("convnet", 0, 2.5),
        ("convnet", 1, 2.5),
    ]
    assert [(f.name, len(f.networks)) for f in making.figures] == [
        ("figure-1", 0),
        ("figure-2", 2),
        ("figure-3", 2),
    ]
    assert making.datasets == {ch.data.label: ch.data.fingerprint}
    assert making.environment["libraries"].keys() >= {"torch", "numpy"}


def test_missing_reference_network_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SVCCA_TRAIN", "never")
    monkeypatch.setenv("SVCCA_STORE", str(tmp_path))
    monkeypatch.delenv("SVCCA_REFERENCE", raising=False)
    with pytest.raises(LookupError, match="run `make reference`"):
        Chapter(NAME).run("convnet", 0)


def test_figure_is_displayed_sharp_described_and_captioned(displayed, figure):
    Chapter(NAME).show(figure, "figure-2a", alt="A line rises.", caption="It *rises*.")
    [output] = displayed
    png = output.data["image/png"]
    assert png.startswith(b"\x89PNG")
    width = int.from_bytes(png[16:20], "big")
    assert output.metadata["image/png"]["width"] == width // 2
    assert 600 < width < 900  # 4 inches at twice 100 dpi, borders trimmed
    shown = dict(output.metadata[FIGURE_METADATA])
    assert chapter.unpacked(shown.pop("files")["svg"]).startswith("<?xml")
    assert shown == {
        "name": "figure-2a",
        "alt": "A line rises.",
        "caption": "It *rises*.",
        "chapter": NAME,
        "artefact": "",
    }


def test_text_form_of_a_figure_changes_with_its_data(displayed, figure):
    for values in ([0.1, 0.2], [0.1, 0.201], [0.1, 0.2000001]):
        Chapter(NAME).show(figure, "figure-2a", alt="x", data={"accuracy": values})
    changed, same = displayed[1].data["text/plain"], displayed[2].data["text/plain"]
    assert displayed[0].data["text/plain"] == same
    assert displayed[0].data["text/plain"] != changed
    assert same == "figure-2a: x\n  accuracy: 2 x 1, from 0.1 to 0.2, mean 0.15"


def test_text_form_of_a_figure_is_the_same_on_both_sides_of_a_round_number(displayed, figure):
    for largest in (1.0, 1 - 1e-9, 1 + 1e-9):
        Chapter(NAME).show(figure, "figure-2a", alt="x", data={"accuracy": [0.41826, largest]})
    first, *others = (shown.data["text/plain"] for shown in displayed)
    assert others == [first, first]


def test_out_holds_vector_image_and_data(displayed, figure, tmp_path):
    frame = pd.DataFrame({"mean": [0.5, 0.25]}, index=["fc1", "p2"])
    data = {"k": np.arange(3), "rho": np.array([[0.1, 0.2]]), "layer": frame}
    Chapter(NAME, out=str(tmp_path / "out")).show(figure, "figure-2a", alt="x", data=data)
    table = pd.read_csv(tmp_path / "out" / "figure-2a.csv")
    assert list(table) == ["k", "rho.0", "rho.1", "layer.index", "layer.mean"]
    np.testing.assert_array_equal(table["k"], [0, 1, 2])
    assert list(table["layer.index"].dropna()) == ["fc1", "p2"]
    assert ET.parse(tmp_path / "out" / "figure-2a.svg").getroot().tag.endswith("svg")


def test_figure_files_are_the_same_bytes_each_time(displayed, figure, tmp_path):
    for folder in ("a", "b"):
        show = Chapter(NAME, out=str(tmp_path / folder)).show
        show(figure, "figure-2a", alt="x", data={"k": [1 / 3]})
    assert displayed[0].data["image/png"] == displayed[1].data["image/png"]
    for name in ("figure-2a.svg", "figure-2a.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_figure_is_not_displayed_twice_by_the_notebook(displayed):
    import matplotlib.pyplot as plt

    drawing, _ = plt.subplots()
    Chapter(NAME).show(drawing, "figure-2a", alt="x")
    assert not plt.fignum_exists(drawing.number)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("Figure 2a", {"alt": "x"}, "lower-case words"),
        ("figure-2a", {"alt": " "}, "alt text"),
        ("figure-2a", {"alt": "x", "data": {"a": np.zeros((2, 2, 2))}}, "1 or 2 dimensions"),
    ],
)
def test_wrong_figure_is_refused(displayed, figure, name, values, message):
    with pytest.raises(ValueError, match=message):
        Chapter(NAME).show(figure, name, **values)
    assert not displayed


def test_names_are_given_once(displayed, figure):
    ch = Chapter(NAME)
    ch.show(figure, "figure-2a", alt="x")
    ch.claim("a", **made())
    with pytest.raises(ValueError, match="twice"):
        ch.show(figure, "figure-2a", alt="x")
    with pytest.raises(ValueError, match="twice"):
        ch.claim("a", **made())


def test_several_values_give_mean_and_range():
    claim = Chapter(NAME).claim("a", **made(measured=np.float32([0.5, 0.75, 1.0])))
    assert (claim.measured, claim.spread) == (0.75, (0.5, 1.0))
    assert Chapter(NAME).claim("a", **made()).spread is None


def test_ledger_displays_and_keeps_every_claim(displayed, tmp_path):
    ch = Chapter(NAME, out=str(tmp_path))
    ch.claim("a", **made(measured=1 / 3))
    ch.claim("b", **made(rule=at_most(0.95)))
    assert ch.data.label
    ch.ledger()
    [output] = displayed
    assert "1 of 2 claims hold (profile quick, seed 0" in output.data["text/plain"]
    assert ch.data.label in output.data["text/html"]
    written = Ledger.read(tmp_path / "claims.json")
    assert written == Ledger.from_dict(output.metadata[METADATA])
    assert [c.holds for c in written.claims] == [False, True]
    assert written.claims[0].measured == 1 / 3


def test_chapter_without_claims_says_so():
    with pytest.raises(ValueError, match="makes no claims"):
        Chapter(NAME).ledger()


def test_page_shows_caption_number_and_alt_text(tmp_path, figure, displayed):
    """The figure as jupyter-book renders it."""
    import nbformat

    from svcca_lib.paper import site

    Chapter(NAME).show(figure, "figure-2a", alt='A "line" rises.', caption="It *rises*.")
    [output] = displayed
    image = base64.b64encode(output.data["image/png"]).decode()
    shown = Shown("figure-2a", ("a key",))
    output.metadata[FIGURE_METADATA]["artefact"] = shown.artefact
    making = Making(1.0, {"commit": None}, {}, (), (shown,))
    ledger = Ledger(NAME, "quick", 0, "digits", (claims.Claim(id="a", **made()),), making)
    outputs = [
        nbformat.v4.new_output(
            "display_data", {"image/png": image, "text/plain": "x"}, metadata=output.metadata
        ),
        nbformat.v4.new_output(
            "display_data",
            {"text/html": ledger._repr_html_()},
            metadata={METADATA: ledger.to_dict()},
        ),
    ]
    cell = nbformat.v4.new_code_cell("ch.show(...)", outputs=outputs, execution_count=1)
    text = nbformat.v4.new_markdown_cell("# Title\n\nSee {numref}`figure-2a`.")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = tmp_path / "repository" / "book"
    (book / "_static").mkdir(parents=True)
    (book / "_static" / "book.css").touch()
    (book / "references.bib").touch()
    (book / "index.md").write_text("# Index\n\n```{include} results.md\n```\n")
    notebook = nbformat.v4.new_notebook(cells=[text, cell], metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "02-x.ipynb")
    config = (site_root() / "_config.yml").read_text()
    (book.parent / "_config.yml").write_text(config)
    toc = "format: jb-book\nroot: book/index\nchapters:\n- file: book/02-x\n"
    (book.parent / "_toc.yml").write_text(toc)
    first = site.build(
        book.parent, {"02-x": tmp_path / "02-x.ipynb"}, tmp_path / "staging", tmp_path / "html"
    )
    page = (first.parent / "book" / "02-x.html").read_text()
    assert 'alt="A &quot;line&quot; rises."' in page
    assert '<figure class="align-default" id="figure-2a">' in page
    assert '<span class="caption-number">Figure 1 </span>' in page
    assert 'See <a class="reference internal" href="#figure-2a">' in page
    assert 'id="claim-a"' in page
    origin = f"Made by chapter 2 from networks {shown.artefact}"
    assert f'href="10-ledger.html#made-figure-2a">{origin}</a>' in page
    index = (first.parent / "book" / "index.html").read_text()
    assert 'href="02-x.html#figure-2a"' in index
    assert "1 of 1 claims hold" in index
    (book / "index.md").write_text("# Index\n\n[nowhere](missing.md)\n")
    with pytest.raises(site.SiteError, match="warnings are errors"):
        site.build(
            book.parent, {"02-x": tmp_path / "02-x.ipynb"}, tmp_path / "staging", tmp_path / "html"
        )
    assert first.is_file(), "the site built before stays"


def site_root():
    from pathlib import Path

    return Path(__file__).parents[1]
