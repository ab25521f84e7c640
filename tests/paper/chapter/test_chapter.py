import base64
import datetime
import io
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fontTools.ttLib import TTFont

from svcca_lib.paper import profiles
from svcca_lib.paper.chapter.chapter import Chapter
from svcca_lib.paper.chapter.claims import Rule, Verdict
from svcca_lib.paper.chapter.ledger import Ledger
from svcca_lib.paper.chapter.outputs import (
    CAPTION_METADATA,
    FIGURE_METADATA,
    LEDGER_METADATA,
    unpacked,
)
from svcca_lib.paper.chapter.provenance import artefact
from svcca_lib.paper.chapter.register import Change, Register, Registered
from svcca_lib.paper.chapter.trainings import train
from svcca_lib.paper.figures.style import drawn, panels
from svcca_lib.paper.store.identity import key_of, plain
from svcca_lib.paper.training.trained import TrainedNetwork

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
    return line([0.25, 1 / 3])


@drawn
def line(values, label="p"):
    figure, axes = panels(height=3)
    axes[0, 0].plot([10, 20], values, label=label)
    axes[0, 0].set(title="A panel", xlabel="neurons kept", ylabel="accuracy")
    return figure


def entry(id, **values):
    defaults = {
        "chapter": NAME,
        "kind": "paper",
        "figure": "Figure 2a",
        "statement": "it suffices",
        "rule": Rule(low=0.85),
        "null": "",
        "registered": datetime.date(2026, 10, 1),
    }
    return Registered(id=id, **defaults | values)


def registering(*entries, **options):
    """A chapter whose claims are these."""
    register = Register({(e.chapter, e.id): e for e in entries})
    return Chapter(NAME, register=register, **options)


def test_unknown_chapter_and_profile_are_refused():
    with pytest.raises(ValueError, match="02-distributed-representations"):
        Chapter("02-distributed")
    with pytest.raises(ValueError, match="quick, cifar10, paper"):
        Chapter(NAME, profile="fast")


def test_every_declared_training_exists_in_every_profile():
    for scale in profiles.PROFILES.values():
        for name in profiles.CHAPTERS:
            for training, _ in scale.trainings(name):
                assert scale.recipe(training).settings["steps"] >= 300


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
        runs.append(TrainedNetwork(config, {}, [], identity | made, {}))
        return runs[-1]

    monkeypatch.setattr("svcca_lib.paper.training.trained.train", train)
    return runs


def test_run_takes_the_seed_of_the_chapter_as_its_base(trained):
    Chapter(NAME, seed=5).run("convnet", 1)
    train(profiles.Training("quick", "convnet", 6))
    assert [run.config.seed for run in trained] == [6, 6]


def test_figure_says_which_networks_were_there_when_it_was_drawn(trained, displayed, figure):
    ch = registering(entry("a"))
    ch.show(figure, "figure-1", alt="x")
    runs = [ch.run("convnet", seed) for seed in (0, 1)]
    ch.show(figure, "figure-2", alt="x")
    ch.run("convnet", 1)
    ch.show(figure, "figure-3", alt="x")
    said = [output.metadata[FIGURE_METADATA]["artefact"] for output in displayed]
    keys = [key_of(run.provenance) for run in runs]
    assert said == ["", artefact(keys), artefact(keys)]
    assert artefact(keys) != artefact(keys[:1])
    ch.claim("a", 0.9)
    ch.ledger()
    making = Ledger.from_dict(displayed[-1].metadata[LEDGER_METADATA]).making
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
    caption = "**It rises.** As {numref}`figure-1` does, *always*."
    Chapter(NAME).show(figure, "figure-2a", alt="A line rises.", caption=caption)
    output, said = displayed
    png = output.data["image/png"]
    assert png.startswith(b"\x89PNG")
    pixels = int.from_bytes(png[16:20], "big")
    about = output.metadata["image/png"]
    assert about == {"width": 760, "alt": "A line rises."}
    assert pixels > 1.4 * about["width"]
    shown = dict(output.metadata[FIGURE_METADATA])
    files = {kind: unpacked(text) for kind, text in shown.pop("files").items()}
    assert set(files) == {"svg", "phone.svg", "csv"}
    assert shown == {
        "name": "figure-2a",
        "alt": "A line rises.",
        "caption": caption,
        "chapter": NAME,
        "artefact": "",
    }
    # for JupyterLab and nbconvert, which know no roles
    words = "**It rises.** As figure-1 does, *always*."
    assert said.data == {"text/markdown": words, "text/plain": words}
    assert said.metadata == {CAPTION_METADATA: "figure-2a"}


def test_vector_drawings_have_a_title_and_text_with_its_letters(displayed, figure):
    Chapter(NAME).show(figure, "figure-2a", alt="x", caption="**A <title>.** More.")
    files = displayed[0].metadata[FIGURE_METADATA]["files"]
    widths = {}
    for kind in ("svg", "phone.svg"):
        root = ET.fromstring(unpacked(files[kind]))
        tag = "{http://www.w3.org/2000/svg}"
        assert root.find(f"{tag}title").text == "A <title>"
        texts = {"".join(text.itertext()) for text in root.iter(f"{tag}text")}
        assert {"A panel", "neurons kept", "accuracy"} <= texts
        rules = root.find(f"{tag}style").text
        for weight in ("normal", "bold"):
            source = rules.split(f"font-weight: {weight}; src: url(data:font/woff;base64,")[1]
            source = source.partition(")")[0]
            letters = TTFont(io.BytesIO(base64.b64decode(source))).getBestCmap()
            wanted = "A panel" if weight == "bold" else "neurons kept accuracy"
            assert set(map(ord, wanted)) <= set(letters) | {ord(" ")}
        widths[kind] = float(root.get("width").removesuffix("pt"))
    assert widths == {"svg": 5.5 * 72, "phone.svg": 3.5 * 72}


def test_text_form_of_a_figure_is_its_description(displayed, figure):
    Chapter(NAME).show(figure, "figure-2a", alt="A line rises to 0.33.")
    assert displayed[0].data["text/plain"] == "figure-2a: A line rises to 0.33."


def test_out_holds_vector_images_and_all_that_is_drawn(displayed, figure, tmp_path):
    Chapter(NAME, out=str(tmp_path / "out")).show(figure, "figure-2a", alt="x")
    table = pd.read_csv(tmp_path / "out" / "figure-2a.csv")
    assert table.to_dict("list") == {
        "panel": 2 * ["A panel"],
        "series": 2 * ["p"],
        "mark": 2 * ["line"],
        "x_label": 2 * ["neurons kept"],
        "x": [10, 20],
        "y_label": 2 * ["accuracy"],
        "y": [0.25, 0.3333333],
    }
    for name in ("figure-2a.svg", "figure-2a.phone.svg"):
        assert ET.parse(tmp_path / "out" / name).getroot().tag.endswith("svg")


def test_figure_files_are_the_same_bytes_each_time(displayed, tmp_path):
    for folder in ("a", "b"):
        show = Chapter(NAME, out=str(tmp_path / folder)).show
        show(line([0, 1 / 3]), "figure-2a", alt="x")
    assert displayed[0].data["image/png"] == displayed[1].data["image/png"]
    for name in ("figure-2a.svg", "figure-2a.phone.svg", "figure-2a.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_figure_with_something_nameless_is_refused(displayed):
    with pytest.raises(ValueError, match="has no name"):
        Chapter(NAME).show(line([0, 1], label=None), "figure-2a", alt="x")
    assert not displayed


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("Figure 2a", {"alt": "x"}, "lower-case words"),
        ("figure-2a", {"alt": " "}, "alt text"),
    ],
)
def test_wrong_figure_is_refused(displayed, figure, name, values, message):
    with pytest.raises(ValueError, match=message):
        Chapter(NAME).show(figure, name, **values)
    assert not displayed


def test_names_are_given_once(displayed, figure):
    ch = registering(entry("a"))
    ch.show(figure, "figure-2a", alt="x")
    ch.claim("a", 0.9)
    with pytest.raises(ValueError, match="twice"):
        ch.show(figure, "figure-2a", alt="x")
    with pytest.raises(ValueError, match="twice"):
        ch.claim("a", 0.9)


def test_values_over_seeds_give_an_interval_and_one_value_none():
    several = registering(entry("a")).claim("a", np.float32([0.5, 0.75, 1.0]))
    assert several.values == (0.5, 0.75, 1.0)
    assert several.interval == pytest.approx((0.75 - 0.6210, 0.75 + 0.6210), abs=1e-4)
    one = registering(entry("a")).claim("a", 0.9)
    assert (one.interval, one.over, one.verdict) == (None, "", Verdict.OPEN)
    given = registering(entry("a")).claim("a", 0.9, interval=(0.86, 0.94), over="images")
    assert (given.interval, given.over, given.verdict) == ((0.86, 0.94), "images", Verdict.HOLDS)


def test_values_on_one_step_are_known_to_a_step_only():
    on_a_step = registering(entry("a")).claim("a", [0.9, 0.9, 0.9], resolution=0.1)
    assert on_a_step.interval == pytest.approx((0.9 - 0.0717, 0.9 + 0.0717), abs=1e-4)


def test_null_is_compared_value_by_value_where_it_has_as_many():
    def margin(null):
        ch = registering(entry("a", null="untrained network"))
        return ch.claim("a", [0.90, 0.95, 1.0], null=null).margin

    assert margin([0.8, 0.85, 0.9]) == pytest.approx((0.1, 0.1))
    low, high = margin(0.85)
    assert (low + high) / 2 == pytest.approx(0.1)
    assert high - low > 0.2


@pytest.mark.parametrize(
    ("registered", "given", "message"),
    [
        ({"null": "untrained network"}, {}, "registered with the null 'untrained network'"),
        ({}, {"null": 0.1}, "registered with the null 'none'"),
        ({"statement": "the first {few}"}, {}, r"has places for \['few'\]; got none"),
        ({}, {"few": 3}, r"has places for no words; got \['few'\]"),
    ],
)
def test_claim_brings_what_the_register_asks_for(registered, given, message):
    with pytest.raises(ValueError, match=message):
        registering(entry("a", **registered)).claim("a", [0.9, 0.91], **given)


def test_words_fill_the_statement_and_a_change_is_told():
    change = Change(datetime.date(2026, 10, 2), "abc", "rule: at least 1", "rule: x", "looked")
    ch = registering(entry("a", statement="the first {few} of {all}", changes=(change,)))
    claim = ch.claim("a", 0.9, few=3, all="48")
    assert (claim.statement, claim.changed) == ("the first 3 of 48", True)


def test_claim_that_is_not_registered_is_refused():
    with pytest.raises(ValueError, match="no registered claim 'b': put its statement and rule"):
        registering(entry("a")).claim("b", 0.9)


def test_registered_claim_that_is_left_out_is_named(displayed):
    ch = registering(entry("a"), entry("b"))
    ch.claim("a", 0.9)
    with pytest.raises(ValueError, match="leaves out b"):
        ch.ledger()
    ch.omit("b", "not trained here")
    ch.ledger()
    assert "[not measured] b: not trained here" in displayed[-1].data["text/plain"]


def test_chapter_that_cannot_run_omits_the_rest_and_still_has_a_ledger(displayed):
    ch = registering(entry("a"), entry("b"))
    with pytest.raises(ValueError, match="makes no claims"):
        ch.ledger()
    ch.omit("a", "not trained here")
    ch.omit_rest("no data")
    ch.ledger()
    text = displayed[-1].data["text/plain"]
    assert "[not measured] a: not trained here\n[not measured] b: no data" in text
    assert text.startswith("no claims")


def test_network_that_was_trained_elsewhere_is_named_with_its_data(displayed):
    ch = registering(entry("a"))
    ch.use("A net (a package)", "f" * 64, "photographs", "e" * 64)
    ch.claim("a", 0.9)
    ch.ledger()
    made = displayed[-1].metadata[LEDGER_METADATA]["making"]
    [network] = made["networks"]
    assert (network["training"], network["key"]) == ("A net (a package)", "f" * 64)
    assert (network["device"], network["commit"]) == ("elsewhere", None)
    assert made["datasets"] == {"photographs": "e" * 64}


def test_withdrawn_claim_is_not_asked_for(displayed):
    ch = registering(entry("a"), entry("b", withdrawn=datetime.date(2026, 10, 3)))
    ch.claim("a", 0.9)
    ch.ledger()


def test_numbers_are_noted_for_the_prose_to_the_last_digit(displayed):
    registering(entry("a")).note(a_third=np.float64(1 / 3), layers=np.int64(16))
    noted = {output.metadata["scrapbook"]["name"]: output.data for output in displayed}
    assert noted == {
        "a-third": {"application/papermill.record/text/plain": repr(1 / 3)},
        "layers": {"application/papermill.record/text/plain": "16"},
    }
    with pytest.raises(ValueError, match="must be finite"):
        registering(entry("a")).note(lost=float("nan"))


def test_ledger_displays_and_keeps_every_claim(displayed, tmp_path):
    ch = registering(
        entry("a"), entry("b", rule=Rule(high=0.95), null="guessing"), out=str(tmp_path)
    )
    ch.claim("a", 1 / 3)
    ch.claim("b", [0.9, 0.9, 0.901], null=0.99)
    assert ch.data.label
    ch.ledger()
    *notes, output = displayed
    names = [note.metadata["scrapbook"]["name"] for note in notes]
    assert names == ["a", "b", "b-low", "b-high", "b-null"]
    assert notes[0].data["application/papermill.record/text/plain"] == repr(1 / 3)
    score = "2 statements of the paper: 1 holds, 1 not settled (profile quick, seed 0"
    assert score in output.data["text/plain"]
    assert ch.data.label in output.data["text/html"]
    written = Ledger.read(tmp_path)
    assert written == Ledger.from_dict(output.metadata[LEDGER_METADATA])
    assert [c.holds for c in written.claims] == [False, True]
    assert written.claims[0].measured == 1 / 3


def test_chapter_without_claims_says_so():
    with pytest.raises(ValueError, match="makes no claims"):
        registering(entry("a")).ledger()
