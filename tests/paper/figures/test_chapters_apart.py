"""An edit of one chapter's figures leaves all other chapters as they are."""

from itertools import combinations
from pathlib import Path

from svcca_lib.paper import figures
from svcca_lib.paper.running.imports import chapter_files

ROOM = Path(figures.__file__).parent
BOOK = sorted(Path(__file__).parents[3].glob("book/*.ipynb"))
SHARED = {
    "__init__",
    "curves",
    "dark",
    "explained",
    "frame",
    "heatmaps",
    "names",
    "palette",
    "recurrent",  # characters and words
    "series",
    "strokes",
    "style",
    "tidy",
}


def drawn_with(notebook):
    return {path for path in chapter_files(notebook) if path.is_relative_to(ROOM)}


def test_no_two_chapters_draw_with_one_file_that_is_not_shared():
    own = [{path for path in drawn_with(n) if path.stem not in SHARED} for n in BOOK]
    assert not any(one & other for one, other in combinations(own, 2))


def test_scripts_count_among_the_files_of_the_chapter_that_shows_them():
    [chapter] = [path for path in BOOK if path.stem == "04-dynamics"]
    names = {path.name for path in drawn_with(chapter)}
    assert {"scrubber.py", "scrubber.js", "scrubber.html", "frame.html"} <= names
    assert "explorer.js" not in names
