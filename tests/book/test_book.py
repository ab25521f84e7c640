"""Guards over what is committed: the notebooks, what they store, and what was published."""

import json
import re
import subprocess
import xml.etree.ElementTree as ET
from itertools import pairwise

import nbformat
import pytest
import yaml

from svcca_lib.paper import profiles
from svcca_lib.paper.chapter.gathered import LEDGER
from svcca_lib.paper.chapter.ledger import Ledger
from svcca_lib.paper.chapter.outputs import CAPTION_METADATA, FIGURE_METADATA, unpacked
from svcca_lib.paper.figures.style import PHONE, SMALLEST, WIDTH
from svcca_lib.paper.publishing import site
from svcca_lib.paper.running import notebooks
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

pytestmark = pytest.mark.book

STORED = [ROOT / "book" / f"{name}.ipynb" for name in site.chapters(ROOT)]
PUBLISHED = sorted((ROOT / "published").glob("*/*.ipynb"))


def named(paths):
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


EXECUTED = named([*STORED, *PUBLISHED])
CHAPTERS = named(STORED)

# Where a home, a temporary folder or a drive begins; a URL's path has a host before it.
ABSOLUTE_PATH = re.compile(
    r"(?<![\w:/.-])/(home|root|Users|tmp|var|mnt|opt|usr|work|workspace|builds?)/|[A-Z]:\\\\"
)


def read(path):
    return nbformat.read(path, as_version=4)


def code(path):
    """Return the code cells, without the parameters that a run injected."""
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    return [c for c in cells if "injected-parameters" not in c.metadata.get("tags", ())]


def sources(cells):
    return [cell.source for cell in cells]


def outputs(path):
    return [output for cell in code(path) for output in cell.outputs]


def test_there_are_chapters():
    assert STORED, "book/ holds no chapter: every test below would test nothing"


def test_contents_list_every_chapter_once():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    parts = contents.get("parts", [contents])
    listed = [entry["file"] for part in parts for entry in part.get("chapters", ())]
    notebooks = [name for name in listed if re.match(r"book/\d\d-", name)]
    assert sorted(notebooks) == [f"book/{path.stem}" for path in STORED]
    assert len(set(listed)) == len(listed)


def test_every_chapter_declares_its_trainings():
    assert {path.stem for path in STORED} <= set(profiles.CHAPTERS)


@pytest.mark.parametrize("path", CHAPTERS)
def test_chapter_takes_the_common_parameters(path):
    known = notebooks.parameters(path)
    common = {"profile": "quick", "seed": 0, "data": "", "out": ""}
    assert common.items() <= known.items()


@pytest.mark.parametrize("path", EXECUTED)
def test_every_cell_has_run_in_order(path):
    """A cell without a count would pass nbval unchecked."""
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


@pytest.mark.parametrize("path", EXECUTED)
def test_no_error_and_no_stderr_is_stored(path):
    wrong = [o for o in outputs(path) if o.output_type == "error" or o.get("name") == "stderr"]
    assert not wrong


@pytest.mark.parametrize("path", EXECUTED)
def test_nothing_of_the_machine_is_stored(path):
    notebook = read(path)
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert "papermill" not in cell.metadata
        assert "execution" not in cell.metadata
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop("image/png", None)
        assert not ABSOLUTE_PATH.search(json.dumps(cell, ensure_ascii=False))


@pytest.mark.parametrize("path", EXECUTED)
def test_every_figure_is_described_and_captioned(path):
    for output in outputs(path):
        if "image/png" in output.get("data", {}):
            shown = output.metadata[FIGURE_METADATA]
            assert shown["alt"].strip()
            assert shown["caption"].strip()


@pytest.mark.parametrize("path", CHAPTERS)
def test_every_figure_is_drawn_for_page_and_phone_with_text_that_can_be_read(path):
    for output in outputs(path):
        if FIGURE_METADATA not in output.get("metadata", {}):
            continue
        files = output.metadata[FIGURE_METADATA]["files"]
        widths = {"svg": WIDTH, "phone.svg": PHONE}
        assert set(files) == {*widths, "csv"}
        for kind, width in widths.items():
            drawing = unpacked(files[kind])
            root = ET.fromstring(drawing)
            assert float(root.get("width").removesuffix("pt")) == 72 * width
            assert root.find("{*}title").text.strip()
            assert [text for text in root.iter("{http://www.w3.org/2000/svg}text") if text.text]
            assert min(map(float, re.findall(r"font-size: ([\d.]+)px", drawing))) >= SMALLEST


@pytest.mark.parametrize("path", EXECUTED)
def test_a_caption_is_there_without_the_book_too(path):
    """Of what is executed with today's code."""
    if site.behind(path.parent).get(path.stem):
        pytest.skip("executed with older code")
    shown = outputs(path)
    for output, after in pairwise([*shown, {}]):
        if FIGURE_METADATA in output.get("metadata", {}):
            figure = output.metadata[FIGURE_METADATA]
            assert after.get("metadata", {}).get(CAPTION_METADATA) == figure["name"]
            assert after["data"]["text/markdown"].startswith("**")


@pytest.mark.parametrize("path", EXECUTED)
def test_notebook_is_small_enough_to_open(path):
    assert path.stat().st_size < 2e6


@pytest.mark.parametrize("path", CHAPTERS)
def test_stored_outputs_are_those_of_the_default_parameters(path):
    tags = [tag for cell in read(path).cells for tag in cell.metadata.get("tags", ())]
    assert "injected-parameters" not in tags
    if path.stem != LEDGER:
        ledger = Ledger.read(path)
        assert (ledger.chapter, ledger.profile, ledger.seed) == (path.stem, "quick", 0)


@pytest.mark.parametrize("path", named(PUBLISHED))
def test_published_chapter_has_the_code_of_the_book(path):
    stored = ROOT / "book" / path.name
    assert stored.is_file(), f"{path.name} is published, but the book has no such chapter"
    older = site.behind(path.parent).get(path.stem)
    if older is None:
        assert sources(code(path)) == sources(code(stored))
    else:
        assert sources(code(path)) != sources(code(stored)), (
            "it is not behind: take it off the list"
        )
        assert older["why"].strip()
    if path.stem != LEDGER:
        assert Ledger.read(path).profile == path.parent.name


@pytest.mark.parametrize("path", named(PUBLISHED))
def test_published_chapter_that_is_behind_has_the_code_of_its_commit(path):
    older = site.behind(path.parent).get(path.stem)
    if older is None:
        pytest.skip("not behind")
    shown = subprocess.run(
        ["git", "-C", ROOT, "show", f"{older['commit']}:book/{path.name}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if shown.returncode:
        pytest.skip("needs the history in git: a full clone")
    then = nbformat.reads(shown.stdout, as_version=4)
    cells = [cell for cell in then.cells if cell.cell_type == "code"]
    assert sources(code(path)) == sources(cells)


def test_absolute_paths_are_recognised():
    found = ["saved /tmp/x", '"/home/me/a"', "C:\\\\Users"]
    assert all(ABSOLUTE_PATH.search(text) for text in found)
    harmless = ["https://arxiv.org/abs/1706.05806", "train/test/work", "1/3", "</em></td>"]
    assert not any(ABSOLUTE_PATH.search(text) for text in harmless)
