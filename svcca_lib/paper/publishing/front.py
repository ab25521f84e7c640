"""The contents of the book on its first page: a card with a picture a chapter."""

from __future__ import annotations

import io
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from svcca_lib.paper.chapter.claims import KINDS, READING
from svcca_lib.paper.chapter.drawings import png
from svcca_lib.paper.chapter.gathered import LEDGER, Book
from svcca_lib.paper.chapter.outputs import FIGURE_METADATA, outputs_of, read_notebook
from svcca_lib.paper.chapter.scores import tally, worded
from svcca_lib.paper.publishing.results import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CARDS = "chapters.md"  # in the folder of the pages; the first of them includes it
THUMBNAILS = Path("_static", "thumbnails")
WIDTH = 480  # pixels of a thumbnail, sharp at half of it


def write_cards(book: Book, notebooks: Mapping[str, Path], root: Path) -> None:
    """Write the contents of the book as cards, with their pictures, into the pages' folder."""
    folder = root / "book"
    (folder / THUMBNAILS).mkdir(parents=True, exist_ok=True)
    lines = ["::::{grid} 1 2 3 3", ":gutter: 3", ""]
    for name, path in sorted(notebooks.items()):
        title = read_notebook(path).cells[0].source.partition("\n")[0].lstrip("# ")
        picture = THUMBNAILS / f"{name}.png"
        (folder / picture).write_bytes(_thumbnail(_picture(book, path)))
        ledger = book.chapters.get(name)
        claims = book.claims if name == LEDGER else ledger.claims if ledger else ()
        lines += [
            f":::{{grid-item-card}} {int(name[:2])}. {title}",
            f":img-top: {picture.as_posix()}",
            f":img-alt: A picture of chapter {int(name[:2])}",
            f":link: {name}",
            ":link-type: doc",
            "",
            worded(counted(claim for claim in claims if claim.kind != "check")),
            ":::",
        ]
    text = "\n".join([*lines, "::::"])
    (folder / CARDS).write_text(f"{text}\n", encoding="utf-8")


def _picture(book: Book, notebook: Path) -> bytes:
    """Return the first figure of a notebook (PNG); one of all verdicts for a page without any."""
    for output in outputs_of(read_notebook(notebook)):
        if FIGURE_METADATA in output.get("metadata", {}):
            return b64decode(output["data"]["image/png"])
    return png(verdicts(book))


def _thumbnail(image: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(image)) as whole:
        small = whole.convert("RGB")
    ground = Image.new("RGB", (WIDTH, WIDTH * 2 // 3), "white")  # of one shape, on white
    small.thumbnail(ground.size, Image.Resampling.LANCZOS)
    ground.paste(small, ((WIDTH - small.width) // 2, (ground.height - small.height) // 2))
    buffer = io.BytesIO()
    ground.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def verdicts(book: Book) -> Figure:
    """Draw how many claims of each kind hold, fail and are not settled."""
    from matplotlib.figure import Figure

    from svcca_lib.paper.figures.palette import COLOURS, GREY

    figure = Figure(figsize=(4.8, 3.2), dpi=100, layout="constrained")
    axes = figure.subplots()
    counts = {kind: of for kind, of in tally(book.claims).items() if kind != "check"}
    names = [KINDS[kind] for kind in counts]
    left = [0] * len(names)
    colours = dict(zip(READING, (COLOURS[1], GREY, COLOURS[0]), strict=True))
    for verdict in READING:
        widths = [of[verdict] for of in counts.values()]
        bars = axes.barh(names, widths, left=left, color=colours[verdict], label=verdict.marked)
        said = [f"{verdict.mark} {n}" if n else "" for n in widths]
        axes.bar_label(bars, said, label_type="center")
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("claims")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
