"""The page on choices: what it copies from the chapters is what they print."""

import re

import nbformat
import pytest

from conftest import ROOT

PAGE = (ROOT / "book" / "choices.md").read_text(encoding="utf-8")
# A row of a table or an item of a list is about the chapters that it links.
ENTRIES = [line for line in PAGE.splitlines() if line.startswith(("|", "- "))]


def printed(chapter):
    """Return what a chapter's stored outputs say, in words divided by single spaces."""
    notebook = nbformat.read(ROOT / "book" / chapter, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs]
    return " ".join(" ".join(texts).split())


def copied():
    for entry in ENTRIES:
        chapters = re.findall(r"\((\d\d-[a-z0-9-]+\.ipynb)\)", entry)
        for text in re.findall(r"`([^`]+)`", entry):
            if re.search(r"\d.* ", text):  # numbers in words: no name of an option
                yield pytest.param(chapters, text, id=text)


def test_every_linked_chapter_is_there():
    linked = set(re.findall(r"\((\d\d-[a-z0-9-]+\.ipynb)\)", PAGE))
    assert linked
    assert not [name for name in linked if not (ROOT / "book" / name).is_file()]


@pytest.mark.parametrize(("chapters", "text"), list(copied()))
def test_copied_numbers_are_those_of_the_chapter(chapters, text):
    assert any(text in printed(chapter) for chapter in chapters), f"{text!r} is in none"


def test_there_are_copied_numbers():
    assert len(list(copied())) >= 5
