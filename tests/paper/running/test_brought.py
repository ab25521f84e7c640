"""Photographs and texts on their way to the one chapter that takes them."""

import nbformat
import pytest

from svcca_lib.paper.running import notebooks
from svcca_lib.paper.running.brought import TEXTS, absolute, named
from svcca_lib.paper.running.plan import book
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

TAKING = """
profile = "quick"
imagenet = ""
"""


def test_the_book_gives_them_to_the_chapter_that_takes_them():
    brought = {"imagenet": "/photos", "texts": "words:/a,/b"}
    given = {job.name: job.parameters for job in book(ROOT, "quick", brought=brought).jobs}
    for parameter, chapter in (("imagenet", "14-imagenet"), ("texts", "15-words")):
        assert {name for name, values in given.items() if parameter in values} == {chapter}
        assert given[chapter][parameter] == brought[parameter]
        assert all(parameter not in job.parameters for job in book(ROOT, "quick").jobs)


def test_texts_go_by_their_whole_paths_and_are_told_by_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = absolute(TEXTS, "words:a.txt,b.txt; words:c.txt,d.txt;")
    there = tmp_path.resolve()
    assert whole == f"words:{there}/a.txt,{there}/b.txt; words:{there}/c.txt,{there}/d.txt"
    assert named(TEXTS, whole) == "words:a.txt,b.txt; words:c.txt,d.txt"
    with pytest.raises(ValueError, match="texts must be such as words:TRAIN,TEST; got 'digits'"):
        absolute(TEXTS, "digits")


@pytest.mark.slow
def test_a_kernel_gets_the_whole_path_and_a_reader_the_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    cells = [
        nbformat.v4.new_code_cell(TAKING, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("from pathlib import Path\nPath(imagenet).is_absolute()"),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "a.ipynb")
    notebooks.execute(tmp_path / "a.ipynb", tmp_path / "b.ipynb", {"imagenet": "photos"})
    executed = nbformat.read(tmp_path / "b.ipynb", as_version=4)
    assert executed.cells[1].source == "# Parameters\nimagenet = 'photos'"
    assert executed.cells[2].outputs[0]["data"]["text/plain"] == "True"
    assert str(tmp_path) not in (tmp_path / "b.ipynb").read_text()
