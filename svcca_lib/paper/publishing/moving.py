"""Figures that a reader can move, on the pages: drawn by today's scripts, beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from svcca_lib.paper.chapter.outputs import read_notebook
from svcca_lib.paper.experiments.published import PERCENTS, figure_4
from svcca_lib.paper.figures.interactive.frame import stored
from svcca_lib.paper.figures.interactive.renewed import Theirs, redrawn, renewed

DYNAMICS, ON_TOP = "04-dynamics", "scrub-convnet"  # the figure on top of the first page
# The paper's networks of Figure 4, by the figures of ours that they stand beside.
PAPERS = {"scrub-convnet": "conv", "scrub-resnet": "res"}


def theirs() -> Theirs:
    """Return the paper's Figure 4 for each figure that it stands beside."""
    return {
        ident: {percent / 100: figure_4(name, percent)[1] for percent in PERCENTS}
        for ident, name in PAPERS.items()
    }


def renew(notebook: Mapping[str, Any]) -> None:
    """Draw the figures that a reader can move anew in a notebook's outputs."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            shown = "".join(output.get("data", {}).get("text/html", ""))
            if "svcca-" in shown:
                output["data"]["text/html"] = renewed(shown, theirs())


def on_top(notebooks: Mapping[str, Path]) -> str:
    """Return the figure on top of the first page as Markdown; nothing where no notebook has it."""
    if DYNAMICS not in notebooks:
        return ""
    for cell in read_notebook(notebooks[DYNAMICS]).cells:
        for output in cell.get("outputs", ()):
            for figure in stored("".join(output.get("data", {}).get("text/html", ""))):
                if figure.ident == ON_TOP:
                    shown = redrawn(figure, theirs()[ON_TOP], ident=f"front-{ON_TOP}")
                    return (
                        f"```{{raw}} html\n{shown}\n```\n\nEach cell compares a layer during "
                        "training with a layer at the end: move through time, and see which "
                        f"layers have found their final form. [Chapter 4]({DYNAMICS}.ipynb) says "
                        "how to read it."
                    )
    return ""
