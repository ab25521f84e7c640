"""Chapters 9 and 15: recurrent networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from svcca_lib.paper.figures.curves import Curve, draw_curve, step_axis
from svcca_lib.paper.figures.palette import BLUE, COLOURS, GREY, VERMILLION
from svcca_lib.paper.figures.strokes import CHANCE, DASHED, DOTTED, LONG, SHORT, Style
from svcca_lib.paper.figures.style import drawn, key, letters, panels

SEEDS = ("-", LONG, SHORT, "-.", (0, (7, 1.5, 1, 1.5, 1, 1.5)))  # dashes, for each in turn
MARKERS = "os^Dv*"  # of layers, with `COLOURS`


@drawn
def perplexity(steps: Sequence[int], curves: np.ndarray, unigram: float) -> Figure:
    """Perplexity of a language model on unseen text while it trains, `curves` (seeds, steps).

    `unigram` is that of knowing only how frequent each token is.
    """
    figure, axes = panels(height=2.5, phone=2.4)
    ax = axes[0, 0]
    entries: dict[str, Style] = {}
    for offset, curve in enumerate(curves):
        name = f"LSTM, seed {offset}"
        entries[name] = {"color": BLUE, "linestyle": SEEDS[offset % len(SEEDS)]}
        ax.plot(steps, curve, label=name, **entries[name])
    name = "unigram model"
    entries[name] = {"color": VERMILLION, "linewidth": 1.2, "linestyle": DASHED}
    ax.axhline(unigram, label=name, **entries[name])
    ax.set(yscale="log", ylabel="perplexity on the test text")
    step_axis(ax)
    ax.set_xlim(0, steps[-1])
    ticks = np.outer(10.0 ** np.arange(6), (1, 2, 5)).ravel()
    low, high = curves.min() / 1.2, 1.2 * max(curves.max(), unigram)
    shown = ticks[(low <= ticks) & (ticks <= high)]
    ax.set_yticks(shown, [f"{tick:,.0f}" for tick in shown])
    ax.minorticks_off()
    ax.set_ylim(low, high)
    ax.grid(axis="y")
    key(figure, entries)
    return figure


@drawn
def appendix_figure_6(
    fractions: np.ndarray,
    layers: Sequence[str],
    similarity: np.ndarray,
    share: np.ndarray,
    floor: np.ndarray,
) -> Figure:
    """Appendix Figure 6: SVCCA of the layers of a language model to their own final state.

    All of shape (seeds, fractions, layers): `similarity` to the final state, `share` of the way to
    it, and, as a `floor`, similarity to the final state on other sequences. The first layer, the
    embedding, is drawn in the left panel alone.
    """
    figure, axes = panels(1, 2, height=2.8)
    left, right = axes[0]
    styles: dict[str, Style] = {layers[0]: {"color": GREY, "linestyle": DASHED, "linewidth": 1.2}}
    for i, name in enumerate(layers[1:]):
        i %= len(MARKERS)
        styles[name] = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 3.5}
    for j, (name, style) in enumerate(styles.items()):
        draw_curve(left, Curve(fractions, similarity[:, :, j]), style, name)
        lowest = {**style, "linestyle": DOTTED, "linewidth": 1}
        draw_curve(left, Curve(fractions, floor[:, :, j]), lowest, f"{name}, floor", ranged=False)
        if name != layers[0]:
            draw_curve(right, Curve(fractions, share[:, :, j]), style, name)
    left.set(ylabel="SVCCA to the final state", ylim=(0, 1.03), title="Similarity")
    right.set(ylabel="share of the way covered", ylim=(None, 1.03), title="Progress")
    for ax in (left, right):
        ax.set(xlabel="fraction of training", xlim=(0, 1))
        ax.grid(axis="y")
    letters([left, right])
    key(figure, {**styles, "floor, dotted": CHANCE})
    return figure
