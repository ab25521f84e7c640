"""Chapter 8: compression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from svcca_lib.paper.figures.curves import Curve, draw_curve
from svcca_lib.paper.figures.names import name_ticks
from svcca_lib.paper.figures.palette import BLUE, GREY, INK, ORANGE, SKY, VERMILLION
from svcca_lib.paper.figures.strokes import CHANCE, DASHED, FINE, LONG, Style
from svcca_lib.paper.figures.style import drawn, key, label_up, letters, panels

SHARES: tuple[Style, ...] = tuple(
    {"color": colour, "linestyle": dashes, "marker": marker, "markersize": 3, "linewidth": 1.3}
    for colour, dashes, marker in (
        (SKY, FINE, "v"),
        (BLUE, "-", "o"),
        (ORANGE, "-.", "s"),
        (VERMILLION, LONG, "^"),
    )
)
ALL_FIVE: Mapping[str, Style] = {
    "(a), all five layers": {
        "color": VERMILLION,
        "linestyle": DASHED,
        "marker": "s",
        "markersize": 3,
    },
    "(b), all five layers": {"color": BLUE, "marker": "o", "markersize": 3},
    "SVD alone, all five layers": {"color": GREY, "linestyle": FINE},
}
WHOLES: tuple[Style, ...] = (  # the network as it is, on each kind of images
    {"color": INK, "linewidth": 0.8, "linestyle": LONG},
    {"color": INK, "linewidth": 0.8},
)


@drawn
def appendix_figure_5(
    ratios: Sequence[float],
    layers: Sequence[str],
    accuracy: Mapping[str, np.ndarray],
    full: Mapping[str, float],
    chance: float,
    shares: Sequence[float],
) -> Figure:
    """Appendix Figure 5: accuracy while the top layers are compressed one after another.

    `accuracy` is of shape (seeds, layers, ratios), for directions from two networks, from the
    logits, and from the SVD alone, in this order; `ratios` are the directions kept as a share of
    the neurons, and at most four of them, `shares`, are followed layer by layer. `full` is the
    accuracy of the network as it is, by the name of the images.
    """
    figure, axes = panels(1, 3, height=3.2, phone=2.5)
    two, logits, svd = accuracy.values()
    at = [list(ratios).index(share) for share in shares]
    compressed = np.arange(len(layers))
    followed = {f"{s:g} of the directions": style for s, style in zip(shares, SHARES, strict=False)}
    wholes = dict(zip((f"whole network, {name}" for name in full), WHOLES, strict=False))
    titles = "Two networks", "Layer against logits"
    for ax, curves, title in zip(axes[0, :2], (two, logits), titles, strict=True):
        for i, (name, style) in zip(at, followed.items(), strict=True):
            draw_curve(ax, Curve(compressed, curves[:, :, i]), style, name)
        ax.set_title(title)
        name_ticks(ax.xaxis, [f"+ {n}" if i else n for i, n in enumerate(layers)], turn=90)
        ax.set_xlabel("layers compressed")
    lowest, highest = min(c[:, :, at].min() for c in (two, logits)), max(full.values())
    margin = 0.06 * (highest - lowest)
    for ax in axes[0, :2]:
        ax.set_ylim(max(0.0, lowest - margin), highest + margin)
    label_up(axes[0], "test accuracy, no retraining")
    last = axes[0, 2]
    for curves, (name, style) in zip((two, logits, svd), ALL_FIVE.items(), strict=True):
        draw_curve(last, Curve(np.asarray(ratios), curves[:, -1]), style, name)
    last.set_title("All five layers")
    last.set(xscale="log", ylim=(0, 1.06), xlabel="share of the neurons kept")
    ticks = [r for r in (0.02, 0.05, 0.15, 0.45, 1.0) if ratios[0] <= r <= ratios[-1]]
    last.set_xticks(ticks, [f"{r:g}" for r in ticks])
    last.minorticks_off()
    last.axhline(chance, zorder=0, label="guessing", **CHANCE)
    for ax in axes[0]:
        for (name, style), height in zip(wholes.items(), full.values(), strict=True):
            ax.axhline(height, zorder=0, label=name, **style)
        ax.grid(axis="y")
    letters(axes[0])
    key(figure, {**followed, **ALL_FIVE, **wholes, "guessing": CHANCE})
    return figure
