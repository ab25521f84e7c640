"""Numbers in prose come from the run, or are stated somewhere else and say where.

What was measured is written as a role, {glue:text}`name:.2f`, which takes it from the outputs of
the page. Everything else that looks like a number is listed in ``tests/book/stated/PAGE.toml``
with its source: the paper, a definition, a choice, arithmetic.
"""

import re
import tomllib

import nbformat
import pytest

from svcca_lib.paper.chapter.outputs import name_of
from svcca_lib.paper.publishing import site
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

pytestmark = pytest.mark.book

STATED = ROOT / "tests" / "book" / "stated"
PAGES = [*site.chapters(ROOT), "index", "choices", "running"]

# What holds no number of the prose, in the order in which it is taken out.
SILENT = [
    r"```.*?```",
    r"\$\$.*?\$\$",
    r"\{[\w:-]+\}`[^`]*`",  # roles: glue, citations, references
    r"`[^`]*`",
    r"\$[^$]*\$",
    r"\]\([^)]*\)",
    r"<[^>]*>",
    r"^\([\w-]+\)=$",
    r"https?://\S+",
]
# Numbers that are names.
NAMES = (
    r"(?:Appendix )?(?:Figures?|[Ss]ections?|[Cc]hapters?|Theorems?|Lemmas?|[Ee]quations?|Python|"
    r"Appendix|seeds?|Table|panels?|version|steps?(?= \d+\.)) \(?\d[\d.]*[a-z]?\)?"
    r"(?:(?:, | and | to | or )\d[\d.]*[a-z]?)*"
)
NUMBER = re.compile(r"(?<![\w.-])[-\u2212+]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w-])")


def prose(page):
    """Return the text of a page that a reader reads as text."""
    path = ROOT / "book" / f"{page}.ipynb"
    if path.is_file():
        cells = nbformat.read(path, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    else:
        text = (ROOT / "book" / f"{page}.md").read_text(encoding="utf-8")
    for silent in SILENT:
        text = re.sub(silent, " ", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(rf"{NAMES}|^\d+\. |\b(?:19|20)\d\d\b", " ", text, flags=re.MULTILINE)


def numbers(page):
    return {match.rstrip(",") for match in NUMBER.findall(prose(page))}


def stated(page):
    path = STATED / f"{page}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


@pytest.mark.parametrize("page", PAGES)
def test_every_number_comes_from_the_run_or_says_where_from(page):
    without = sorted(numbers(page) - set(stated(page)))
    assert not without, (
        f"{page}: {without} are neither measured by the page nor stated with a source"
    )


@pytest.mark.parametrize("page", PAGES)
def test_what_is_stated_is_there_and_has_a_source(page):
    assert not sorted(set(stated(page)) - numbers(page)), "stated, but no longer in the prose"
    assert all(isinstance(source, str) and source.strip() for source in stated(page).values())


def test_a_number_is_found_and_a_name_is_not():
    text = "It is 0.48 of 2,000 images, -3.5 points (Figure 4, section 4.2, fc1, ResNet-32), 95 %."
    left = re.sub(NAMES, " ", text)
    assert NUMBER.findall(left) == ["0.48", "2,000", "-3.5", "95"]


@pytest.mark.parametrize("page", site.chapters(ROOT))
def test_every_role_finds_a_number_of_its_page(page):
    notebook = nbformat.read(ROOT / "book" / f"{page}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    asked = set(re.findall(r"\{glue:text\}`([\w-]+)(?::[^`]*)?`", text))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    noted = {name_of(output.get("metadata", {})) for output in outputs}
    assert asked <= noted, f"not noted: {sorted(asked - noted)}"
