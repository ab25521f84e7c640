"""Printed numbers are compared as numbers, and all else as text."""

import subprocess
import sys

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook, new_output
from nbval.plugin import IPyNbCell

from svcca_lib.paper.chapter import regression
from svcca_lib.paper.chapter.outputs import FIGURE_METADATA, LEDGER_METADATA, RECORD, packed
from svcca_lib.paper.chapter.printed import Printed
from svcca_lib.paper.chapter.regression import differences, granted, spread, stored
from svcca_lib.paper.store.paths import REPOSITORY as ROOT


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def shown(data, **metadata):
    return new_output("display_data", data=data, metadata=metadata)


def page(text):
    return [shown({"text/html": text, "text/plain": "whatever"})]


def figure(csv, name="figure-1"):
    files = {"csv": packed(csv), "svg": packed("<svg/>")}
    about = {"name": name, "alt": "drawn", "caption": "", "files": files}
    return shown({"text/plain": name, "image/png": "abcd"}, **{FIGURE_METADATA: about})


def glue(name, text):
    return shown({f"{RECORD}text/plain": text}, scrapbook={"name": name, "mime_prefix": RECORD})


CLAIM = {
    "id": "rises",
    "statement": "It rises (at 35 %)",
    "rule": {"low": 0.5, "high": None},
    "values": [0.7, 0.8],
    "interval": [0.1, 1.4],
    "measured": 0.75,
    "verdict": "holds",
    "holds": True,
}


def ledger(seconds=1.0, **changes):
    content = {"chapter": "01", "claims": [CLAIM | changes], "making": {"seconds": seconds}}
    return shown({"text/plain": "1 claim"}, **{LEDGER_METADATA: content})


def said(before, after, tolerances=None):
    return differences([stream(before)], [stream(after)], tolerances)


# -------------------------------------------------------------------------------- printed numbers


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("0.80", "0.81"),  # 0.805 lies between
        ("0.999", "1"),  # number(0.9995)
        ("45.4", "45.3"),
        ("97", "96.9"),  # 96.95 to three digits
        ("0.6", "0.599"),
        ("9.99", "10.0"),
        ("0.0001", "9.9e-05"),
        ("4.0e-05", "4.1e-05"),
        ("-0.00", "0.00"),
        ("-0.00", "+0.01"),
        ("\N{MINUS SIGN}0.50", "-0.51"),
        ("  a  0.5\n", "a 0.5"),
        ("0.9999999876941291", "0.9999999876"),
        ("nan and inf", "nan and inf"),
    ],
)
def test_same_number_passes(before, after):
    assert said(before, after) == []
    assert said(after, before) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("0.80", "0.82"),
        ("36", "37"),
        ("36", "36.4"),
        ("0.6", "0.613"),
        ("1,348", "1,349"),
        ("4.0e-05", "4.0e-06"),
        ("0.50", "-0.50"),
        ("0.9999999876941291", "0.9999899876941291"),
        ("<1e-6", "<1e-5"),
        ("<1e-6", "2e-6"),
        ("0.5", "nan"),
        ("nan", "inf"),
        ("0.5 0.6", "0.5"),
        ("0.5", "0.5 0.6"),
        ("c1 0.5", "c2 0.5"),
        ("ResNet-32", "ResNet-31"),
        ("35 %", "35"),
        ("p2 first", "p2 last"),
    ],
)
def test_other_number_or_text_fails(before, after):
    assert said(before, after)
    assert said(after, before)


@given(st.floats(0, 1), st.integers(1, 5))
def test_a_value_at_a_rounding_boundary_passes_either_way(value, digits):
    step = 1e-7 * value
    assert said(f"{value - step:.{digits}f}", f"{value + step:.{digits}f}") == []


@given(st.floats(0.1, 1), st.integers(1, 5))
def test_two_last_digits_are_too_many(value, digits):
    assert said(f"{value:.{digits}f}", f"{value + 2.1 * 10.0**-digits:.{digits}f}")


def test_sentence_says_what_changed_and_where():
    [sentence] = said(
        "p2: 36 neurons, similarity 0.80 (c1)", "p2: 36 neurons, similarity 0.83 (c1)"
    )
    assert sentence.startswith("text 2: 0.80 became 0.83, more than 0.01 away (")
    assert "similarity 0.80 (c1)" in sentence
    [sentence] = said("p2 similar: 0.80", "p2 unlike: 0.80")
    assert sentence == "text: 'p2 similar: #' became 'p2 unlike: #'"


def test_streams_count_as_one_however_they_are_cut():
    cut = [stream("a 0.5\nb 0"), shown({"text/plain": "c 3"}), stream(".7\n")]
    whole = [shown({"text/plain": "c 3"}), stream("a 0.5\nb 0.7\n")]
    assert differences(cut, whole) == []
    assert list(Printed(cut).numbers) == ["text 1", "text 2", "text 3"]
    assert differences(cut, [*whole, stream("warned", "stderr")])


def test_html_is_compared_in_place_of_plain_text():
    table = '<th>c1</th>\n<td class="a">0.80</td><td>&lt;1e-6</td>'
    assert differences(page(table), page(table.replace("0.80", "0.81"))) == []
    assert differences(page(table), page(table.replace("0.80", "0.85")))
    assert differences(page(table), page(table.replace("c1", "c2")))
    assert list(Printed(page(table)).numbers) == ["html 1", "html 2"]


def test_images_are_not_compared():
    before, after = ([shown({"image/png": data, "text/plain": "a"})] for data in ("x", "y"))
    assert differences(before, after) == []


def test_an_output_more_or_less_is_told():
    assert differences([stream("a 1")], []) == ["stream: is gone", "text: is gone"]
    assert differences([], [stream("a")]) == ["stream: is new ('stdout')", "text: is new ('a')"]
    assert differences([figure(DRAWN)], [shown({"text/plain": "figure-1"})])


# --------------------------------------------------------------------------- what is kept in full

DRAWN = """series,mark,x,x_name,y,low,high
p,line,1,c1,0.5,,
p,line,2,c2,0.75,,
q,line,1,c1,0.002,,
q,range,1,c1,,0.001,0.9
r = 0.98,text,,,,,
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.75", "0.75075"),
        (",2,", ",3,"),
        ("c2", "c3"),
        ("0.75,,", "0.75,0.5,"),
        ("low", "lowest"),
        ("q,range,1,c1,,0.001,0.9\n", ""),
        ("q,", "s,"),
        ("r = 0.98", "r = 0.95"),
    ],
)
def test_other_curve_fails_though_the_summary_is_the_same(old, new):
    assert differences([figure(DRAWN)], [figure(DRAWN.replace(old, new))])


def test_curve_may_differ_by_the_rounding_of_its_largest_value():
    # The two ends of ranges have one scale, each series has its own.
    other = DRAWN.replace("0.75", "0.7500005").replace("0.001", "0.0010005")
    assert differences([figure(DRAWN)], [figure(other)]) == []
    assert differences([figure(DRAWN)], [figure(DRAWN.replace("0.002", "0.0020005"))])


def test_words_in_a_drawing_are_compared_by_the_digits_that_they_show():
    assert differences([figure(DRAWN)], [figure(DRAWN.replace("r = 0.98", "r = 0.99"))]) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": "not settled"},
        {"holds": False},
        {"statement": "It falls (at 35 %)"},
        {"rule": {"low": 0.51, "high": None}},
        {"rule": {"low": 0.5, "high": 1.0}},
        {"measured": 0.75075},
        {"values": [0.7]},
        {"interval": None},
        {"interval": [0.1, 1.401]},
        {"new": 1},
    ],
)
def test_other_claim_fails(changes):
    assert differences([ledger()], [ledger(**changes)])


def test_claim_may_differ_by_rounding_and_in_its_making():
    assert differences([ledger()], [ledger(2.0, measured=0.7500001, interval=[0.1, 1.4])]) == []


def test_noted_number_is_compared_in_full():
    assert differences([glue("a", "0.9876543211234")], [glue("a", "0.9876543219")]) == []
    assert differences([glue("a", "1e-16")], [glue("a", "3e-16")]) == []  # noise of both
    [sentence] = differences([glue("a", "0.9876543211234")], [glue("a", "0.987664")])
    assert sentence.startswith("glue a: 0.9876543211234 became 0.987664, more than ")
    assert differences([glue("a", "0.5")], [glue("b", "0.5")])


# -------------------------------------------------------------------------------------- tolerances


def test_tolerance_holds_for_its_address_alone():
    before, after = "36 of 36, 0.80", "37 of 36, 0.80"
    assert said(before, after)
    assert said(before, after, {"text 1": 1}) == []
    assert said(before, after, {"text 2": 1})
    assert said("36 of 36, 0.80", "38 of 36, 0.80", {"text 1": 1})


def test_every_kind_of_number_can_have_a_tolerance():
    before = [figure(DRAWN), glue("a", "0.5"), ledger(), stream("x 0.80")]
    after = [
        figure(DRAWN.replace("0.75", "0.76")),
        glue("a", "0.51"),
        ledger(interval=[0.11, 1.4]),
        stream("x 0.83"),
    ]
    found = spread(before, after)
    names = ["csv figure-1 p y", "glue a", "claim rises.interval.0", "text 1"]
    assert set(found) == set(names)
    tolerances, refused = granted(before, found)
    assert refused == []
    assert differences(before, after, tolerances) == []
    for name in names:
        rest = {key: value for key, value in tolerances.items() if key != name}
        assert len(differences(before, after, rest)) == 1


def test_tolerance_that_belongs_to_no_number_is_told():
    assert said("0.80", "0.80", {"text 2": 0.1}) == [
        "text 2: has a tolerance stored, but is no number of this cell"
    ]


def test_spread_is_the_largest_deviation_beyond_the_digits():
    before = [stream("0.80 and 5 and 0.3")]
    others = [[stream("0.83 and 5 and 0.3")], [stream("0.76 and 5 and 0.4")], [stream("other")]]
    assert spread(before, *others) == pytest.approx({"text 1": 0.03})


def test_stored_tolerance_is_twice_the_deviation_rounded_up():
    found = stored({"a": 0.03, "b": 0.011, "c": 6e-6, "d": 1.0})
    assert found == {"a": 0.06, "b": 0.03, "c": 2e-5, "d": 2.0}


@pytest.mark.parametrize(
    ("before", "after", "tolerance"),
    [
        ("0.800", "0.820", 0.04),
        ("0.800", "0.900", None),
        ("0.02", "0.03", {}),
        ("0.02", "0.04", None),
        ("36", "37", 1),
        ("36", "38", None),
        ("0", "1", 1),
        ("1,000", "1,010", 20),
        ("1,000", "1,040", 50),
        ("1,000", "1,060", None),
    ],
)
def test_tolerance_has_a_ceiling(before, after, tolerance):
    reference = [stream(before)]
    found, refused = granted(reference, spread(reference, [stream(after)]))
    if tolerance is None:
        assert found == {}
        assert refused[0].startswith(f"text 1: not determined: {before} moved by ")
    else:
        assert refused == []
        assert found == ({"text 1": tolerance} if tolerance else {})
        assert said(before, after, found) == []


def test_tolerance_above_the_ceiling_does_not_pass_however_it_got_there():
    [sentence] = said("0.80", "0.80", {"text 1": 0.2})
    assert sentence == "text 1: the tolerance 0.2 is above its ceiling, 0.08"


@given(st.floats(1e-12, 1e6))
def test_stored_tolerance_is_enough_and_not_much_more(deviation):
    [found] = stored({"a": deviation}).values()
    assert 2 * deviation * (1 - 1e-8) <= found <= 4 * deviation * (1 + 1e-8)


# -------------------------------------------------------------------------------------- notebooks


def book(*printed, source="show({})", metadata=None):
    cells = []
    for index, text in enumerate(printed):
        cell = new_code_cell(source.format(index), execution_count=index + 1)
        cell.outputs = [stream(text)]
        cell.metadata.update(metadata or {})
        cells.append(cell)
    return new_notebook(cells=cells)


def test_tolerances_are_written_beside_the_outputs(tmp_path):
    paths = [tmp_path / f"{name}.ipynb" for name in ("stored", "a", "b")]
    stale = {regression.METADATA: {"text 9": 1.0}, "tags": ["parameters"]}
    books = [
        book("0.80", "c1 36", "0.5", "0.5", metadata=stale),
        book("0.83", "c1 37", "0.5", "0.7"),
        book("0.80", "c2 36", "0.5", "0.5"),
    ]
    injected = new_code_cell("seed = 1", metadata={"tags": ["injected-parameters"]})
    books[2].cells.insert(0, injected)
    for path, content in zip(paths, books, strict=True):
        nbformat.write(content, path)
    left = regression.write_tolerances(paths[0], paths[1:])
    cells = nbformat.read(paths[0], as_version=4).cells
    assert [cell.metadata.get(regression.METADATA) for cell in cells] == [
        {"text 1": 0.04},
        {"text 1": 1},
        None,
        None,
    ]
    assert all(cell.metadata.tags == ["parameters"] for cell in cells)
    assert [sentence.partition(" became")[0] for sentence in left] == [
        "code cell 1: text: 'c1 #'",
        "code cell 3: text 1: not determined: 0.5 moved by 0.1, and may get 0.1 at most; print "
        "what is stable (…0.5…)",
    ]


def test_tolerances_are_not_taken_from_other_code(tmp_path):
    paths = [tmp_path / "a.ipynb", tmp_path / "b.ipynb"]
    nbformat.write(book("0.80"), paths[0])
    nbformat.write(book("0.80", source="other({})"), paths[1])
    with pytest.raises(ValueError, match="other code"):
        regression.write_tolerances(paths[0], paths[1:])


@pytest.mark.parametrize("tags", [["nbval-ignore-output"], ["nbval-skip"]])
def test_cell_that_is_not_compared_gets_no_tolerance(tmp_path, tags):
    paths = [tmp_path / "a.ipynb", tmp_path / "b.ipynb"]
    for path, text in zip(paths, ("1 second", "2 seconds"), strict=True):
        nbformat.write(book(text, metadata={"tags": tags}), path)
    before = paths[0].read_text()
    assert regression.write_tolerances(paths[0], paths[1:]) == []
    assert paths[0].read_text() == before


def test_tolerance_outlives_an_execution(tmp_path):
    from svcca_lib.paper.running import notebooks

    parameters = new_code_cell("seed = 0", metadata={"tags": ["parameters"]})
    kept = {regression.METADATA: {"text 1": 0.01}}
    cells = [parameters, new_code_cell("print(0.80)", metadata=kept)]
    path = tmp_path / "a.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    notebooks.execute(path, path)
    cell = nbformat.read(path, as_version=4).cells[1]
    assert cell.metadata[regression.METADATA] == kept[regression.METADATA]
    assert cell.outputs[0].text == "0.8\n"


def test_nbval_compares_so(tmp_path, pytestconfig):
    """All is in vain if nbval calls something else: a notebook is run, alone, as the book is."""
    # As pytest knows it: the module's name is that of every conftest.py.
    ours = pytestconfig.pluginmanager.get_plugin(str(ROOT / "conftest.py"))
    assert IPyNbCell.compare_outputs is ours.compare_outputs
    written = {
        "passes.ipynb": ("0.81", "36"),
        "fails.ipynb": ("0.83", "35"),
    }
    for name, printed in written.items():
        content = book(*printed)
        content.cells[0].source = "print('p2 0.80')"
        content.cells[1].source = "print(36)"
        content.cells[0].outputs = [stream(f"p2 {printed[0]}\n")]
        content.cells[1].metadata[regression.METADATA] = {}
        nbformat.write(content, tmp_path / name)
    # A notebook outside of the repository does not find its conftest.py by itself.
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "--nbval", "-q", str(tmp_path)]
    command += ["--nbval-current-env", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "2 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert "text 1: 0.83 became 0.80, more than 0.01 away (…p2 0.83…)" in done.stdout
    assert "text 1: 35 became 36" in done.stdout
