"""Figures that a reader can move, on the pages: drawn by today's scripts, beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from svcca_lib.paper.chapter.outputs import outputs_of, read_notebook
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
    for output in outputs_of(notebook):
        shown = _html(output)
        if "svcca-" in shown:
            output["data"]["text/html"] = renewed(shown, theirs())


def _html(output: Mapping[str, Any]) -> str:
    return "".join(output.get("data", {}).get("text/html", ""))


def on_top(notebooks: Mapping[str, Path]) -> str:
    """Return the figure on top of the first page as Markdown; nothing where no notebook has it."""
    if DYNAMICS not in notebooks:
        return ""
    outputs = outputs_of(read_notebook(notebooks[DYNAMICS]))
    figures = (figure for output in outputs for figure in stored(_html(output)))
    figure = next((figure for figure in figures if figure.ident == ON_TOP), None)
    if figure is None:
        return ""
    shown = redrawn(figure, theirs()[ON_TOP], ident=f"front-{ON_TOP}")
    return (
        f"```{{raw}} html\n{shown}\n```\n\nEach cell compares a layer during training with a layer "
        "at the end: move through time, and see which layers have found their final form. "
        f"[Chapter 4]({DYNAMICS}.ipynb) says how to read it."
    )
