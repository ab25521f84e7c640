"""A matrix of layers that a reader can take through training time in the browser.

The result is one piece of HTML: the numbers as JSON, a canvas, a slider and the script that draws.
It loads nothing, so that it works offline, in a notebook and in the built book alike. Mouse and
keyboard do the same: arrow keys move the slider, and, on the matrix, from cell to cell. Its colours
are those of the page, light or dark; where there is none, dark on white.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from string import Template

import numpy as np

_IDENT = re.compile(r"[a-z][a-z0-9-]*")

# Nine samples of viridis: perceptually even, readable with any colour blindness, as in the paper.
VIRIDIS = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")

_PAGE = Template("""\
<figure class="svcca-scrubber" id="$ident" style="margin:1em 0;max-width:34rem;padding:.8em;\
background:var(--pst-color-background,#fff);color:var(--pst-color-text-base,#1a1a1a);\
border:1px solid var(--pst-color-border,#c8c8c8);border-radius:4px">
<figcaption style="font-weight:bold;margin-bottom:.4em">$title</figcaption>
<canvas role="img" tabindex="0" aria-label="$title" \
style="display:block;width:100%;height:auto"></canvas>
<div style="display:flex;gap:.8em;align-items:center;margin-top:.5em;flex-wrap:wrap">
<label for="$ident-time">Training time</label>
<input id="$ident-time" type="range" min="0" max="$last" step="1" value="$last" \
style="flex:1;min-width:10em" aria-describedby="$ident-now">
<output id="$ident-now" for="$ident-time" aria-live="polite" style="min-width:9em"></output>
</div>
<p data-readout aria-live="polite" style="margin:.4em 0 0;min-height:3em;font-size:.9em">Point \
at a cell to read it, or go to the matrix with the tab key and move with the arrow keys.</p>
<noscript>This view needs JavaScript; the figure above shows the same at four times.</noscript>
<script>
(() => {
  const d = $data;
  const root = document.getElementById("$ident");
  const canvas = root.querySelector("canvas"), slider = root.querySelector("input");
  const now = root.querySelector("output"), readout = root.querySelector("[data-readout]");
  const L = d.labels.length, margin = 52, cell = Math.max(6, Math.floor(480 / L));
  const side = L * cell, scale = window.devicePixelRatio || 1;
  canvas.width = (side + margin + 4) * scale;
  canvas.height = (side + margin + 4) * scale;
  const pen = canvas.getContext("2d");
  const value = (t, row, column) => d.values[t][row * L + column] / 1000;
  const channel = (hex, i) => parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  const colour = v => {
    const x = Math.min(1, Math.max(0, v)) * (d.colours.length - 1);
    const i = Math.min(d.colours.length - 2, Math.floor(x)), f = x - i;
    const mix = k => Math.round(
      (1 - f) * channel(d.colours[i], k) + f * channel(d.colours[i + 1], k));
    return "rgb(" + mix(0) + "," + mix(1) + "," + mix(2) + ")";
  };
  let at = null;  // the cell that is read: [row, column]
  const draw = () => {
    const t = Number(slider.value), ink = getComputedStyle(root).color;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, side + margin + 4, side + margin + 4);
    let own = 0;
    for (let row = 0; row < L; row++) {
      own += value(t, row, row) / L;
      for (let column = 0; column < L; column++) {
        pen.fillStyle = colour(value(t, row, column));
        pen.fillRect(margin + column * cell, (L - 1 - row) * cell, cell, cell);
      }
    }
    if (at) {
      const x = margin + at[1] * cell, y = (L - 1 - at[0]) * cell;
      pen.lineWidth = 2;
      for (const [colour, inset] of [["#000", 1], ["#fff", 2.5]]) {
        pen.strokeStyle = colour;
        pen.strokeRect(x + inset, y + inset, cell - 2 * inset, cell - 2 * inset);
      }
      const [row, column] = at, time = +(100 * d.fractions[t]).toFixed(1) + " %";
      readout.textContent = d.labels[row] + " at " + time + ", " + d.labels[column]
        + " at the end: " + value(t, row, column).toFixed(3);
    }
    pen.fillStyle = ink;
    pen.font = "11px sans-serif";
    pen.textBaseline = "middle";
    for (const [i, name] of d.ticks) {
      pen.textAlign = "right";
      pen.fillText(name, margin - 4, (L - 0.5 - i) * cell);
      pen.save();
      pen.translate(margin + (i + 0.5) * cell, side + 4);
      pen.rotate(-Math.PI / 2);
      pen.fillText(name, 0, 0);
      pen.restore();
    }
    const percent = +(100 * d.fractions[t]).toFixed(1) + " % of training";
    const words = percent + ", mean similarity of layers to their own end " + own.toFixed(2);
    now.textContent = percent;
    slider.setAttribute("aria-valuetext", percent);
    canvas.setAttribute("aria-label", d.title + ": " + words);
  };
  canvas.addEventListener("mousemove", event => {
    const box = canvas.getBoundingClientRect(), k = (side + margin + 4) / box.width;
    const column = Math.floor(((event.clientX - box.left) * k - margin) / cell);
    const row = L - 1 - Math.floor((event.clientY - box.top) * k / cell);
    if (column < 0 || column >= L || row < 0 || row >= L) return;
    at = [row, column];
    draw();
  });
  const moves = {ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
  canvas.addEventListener("keydown", event => {
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    const inside = i => Math.min(L - 1, Math.max(0, i));
    at = at ? [inside(at[0] + move[0]), inside(at[1] + move[1])] : [0, 0];
    draw();
  });
  const page = {attributes: true, attributeFilter: ["data-theme"]};
  new MutationObserver(draw).observe(document.documentElement, page);
  slider.addEventListener("input", draw);
  draw();
})();
</script>
</figure>""")


def check_ident(ident: str) -> None:
    """Raise ValueError unless `ident` can name an element of a page and stand in its script."""
    if not _IDENT.fullmatch(ident):
        raise ValueError(f"ident must be lower-case letters, digits and hyphens; got {ident!r}")


def scrubber(
    matrices: np.ndarray,
    fractions: Sequence[float],
    labels: Sequence[str],
    *,
    title: str,
    ident: str,
    ticks: Mapping[int, str] | None = None,
) -> str:
    """Build the HTML of a heat-map with a slider for training time.

    Parameters
    ----------
    matrices : array, shape (t, layers, layers)
        Similarities in [0, 1]; rows, drawn from the bottom up, are layers during training.
    fractions : sequence of float, length t
        Of training.
    labels : sequence of str
        Of the layers, from the input upward.
    title : str
        Caption, and the description for who cannot see the drawing.
    ident : str
        Unique on the page: lower-case letters, digits and hyphens.
    ticks : mapping of int to str, optional
        Labels to draw beside the axes, by position; all layers by default.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not in [0, 1], or `ident` is no such name.
    """
    matrices = np.asarray(matrices, dtype=np.float64)
    expected = (len(fractions), len(labels), len(labels))
    if matrices.shape != expected:
        raise ValueError(f"matrices must have shape {expected}; got {matrices.shape}")
    if not ((matrices >= 0) & (matrices <= 1)).all():
        raise ValueError("matrices must hold similarities in [0, 1]")
    check_ident(ident)
    data = {
        "title": title,
        "fractions": list(fractions),
        "labels": list(labels),
        "ticks": list((ticks or dict(enumerate(labels))).items()),
        "colours": VIRIDIS,
        "values": np.rint(1000 * matrices).astype(int).reshape(len(matrices), -1).tolist(),
    }
    compact = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return _PAGE.substitute(
        ident=ident, title=html.escape(title), last=len(fractions) - 1, data=compact
    )
