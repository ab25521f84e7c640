"""Chapter 8: compression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from svcca_lib.paper.figures.curves import Curve, draw_curve
from svcca_lib.paper.figures.palette import BLUE, GREY, ORANGE, SKY, VERMILLION
from svcca_lib.paper.figures.strokes import ASIDE, DASHED, FINE, LEVEL, LONG, Style
from svcca_lib.paper.figures.style import beside, drawn, letters, lines, panels

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
    "(a) two networks": {"color": VERMILLION, "linestyle": DASHED, "marker": "s", "markersize": 3},
    "(b) logits": {"color": BLUE, "marker": "o", "markersize": 3},
    "SVD alone": {"color": GREY, "linestyle": FINE},
}


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
    figure, axes = panels(1, 3, height=3.2)
    two, logits, svd = accuracy.values()
    at = [list(ratios).index(share) for share in shares]
    compressed = np.arange(1, len(layers) + 1)
    followed = dict(zip(shares, SHARES, strict=False))
    titles = "Two networks", "Layer against logits"
    for ax, curves, title in zip(axes[0, :2], (two, logits), titles, strict=True):
        for i, style in zip(at, followed.values(), strict=True):
            draw_curve(ax, Curve(compressed, curves[:, :, i]), style)
        ax.set_title(title)
        ax.set_xticks(compressed, [f"+ {n}" if i else n for i, n in enumerate(layers)])
        ax.set_xlabel("layers compressed")
    lowest, highest = min(c[:, :, at].min() for c in (two, logits)), max(full.values())
    floor = max(0.0, lowest - 0.35 * (highest - lowest))  # room for the legend
    for ax in axes[0, :2]:
        ax.set_ylim(floor, highest + 0.06 * (highest - floor))
        entries = lines({f"{share:g}": style for share, style in followed.items()})
        heading: Style = {"title": "share of directions kept", "title_fontsize": 7.5}
        ax.legend(handles=entries, loc="lower left", ncols=2, **heading)
    axes[0, 0].set_ylabel("test accuracy, no retraining")
    axes[0, 1].tick_params(labelleft=False)
    last = axes[0, 2]
    for curves, style in zip((two, logits, svd), ALL_FIVE.values(), strict=True):
        draw_curve(last, Curve(np.asarray(ratios), curves[:, -1]), style)
    last.set_title("All five layers")
    place = {"loc": "lower right", "bbox_to_anchor": (1, 0.16)}
    last.legend(handles=lines(ALL_FIVE), handlelength=1.5, **place)
    last.set(xscale="log", ylim=(0, 1.06), xlabel="directions kept, share of neurons")
    ticks = [r for r in (0.02, 0.05, 0.1, 0.22, 0.45, 1.0) if ratios[0] <= r <= ratios[-1]]
    last.set_xticks(ticks, [f"{r:g}" for r in ticks])
    last.minorticks_off()
    last.axhline(chance, zorder=0, **LEVEL)
    last.text(ratios[0], chance - 0.01, "guessing", va="top", **ASIDE)
    for ax in axes[0]:
        for name, height in full.items():
            ax.axhline(height, zorder=0, **LEVEL)
            if ax is not last:
                edge = ax.get_yaxis_transform()
                beside(ax, name, (1, height), (2, 0), xycoords=edge, va="center", **ASIDE)
        ax.grid(axis="y")
    letters(axes[0])
    return figure
