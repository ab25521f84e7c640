r"""Similarities that a reader can move: sliders for the datapoints, the neurons and the signal.

The result is one piece of HTML: a grid of numbers, measured beforehand, as JSON, three sliders and
the script that looks the numbers up. It loads nothing, so that it works offline, in a notebook and
in the built book alike; and it is sliders and text, which keys and screen readers reach.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from string import Template

import numpy as np

from svcca_lib.paper.figures.interactive.scrubber import check_ident

# Of the book's figures: told apart with any common colour blindness, and named beside the bar.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#B5589A", "#767676")

_PAGE = Template("""\
<figure class="svcca-explorer" id="$ident" style="margin:1em 0;max-width:38rem;padding:.8em;\
background:var(--pst-color-background,#fff);color:var(--pst-color-text-base,#1a1a1a);\
border:1px solid var(--pst-color-border,#c8c8c8);border-radius:4px">
<figcaption style="font-weight:bold;margin-bottom:.5em">$title</figcaption>
<div style="display:grid;grid-template-columns:minmax(6em,max-content) 1fr 3em;gap:.3em .8em;\
align-items:center">
$sliders
</div>
<div data-bars style="display:grid;grid-template-columns:max-content 1fr 3em;gap:.3em .8em;\
align-items:center;margin-top:.8em" aria-hidden="true"></div>
<p data-words aria-live="polite" style="margin:.6em 0 0;font-size:.9em;min-height:3em"></p>
<noscript>This view needs JavaScript.</noscript>
<script>
(() => {
  const d = $data;
  const root = document.getElementById("$ident");
  const sliders = [...root.querySelectorAll("input")], outputs = root.querySelectorAll("output");
  const bars = root.querySelector("[data-bars]"), words = root.querySelector("[data-words]");
  const rows = d.names.map((name, i) => {
    const label = document.createElement("span"), track = document.createElement("span");
    const bar = document.createElement("span"), number = document.createElement("span");
    label.textContent = name;
    track.style.cssText = "display:block;background:#8883;height:1em";
    bar.style.cssText = "display:block;height:1em;background:" + d.colours[i];
    track.append(bar);
    bars.append(label, track, number);
    return {bar, number};
  });
  const draw = () => {
    const at = sliders.map(slider => Number(slider.value));
    const cell = (at[0] * d.axes[1].values.length + at[1]) * d.axes[2].values.length + at[2];
    const now = d.axes.map((axis, k) => axis.values[at[k]]);
    outputs.forEach((output, k) => { output.textContent = now[k].toLocaleString("en"); });
    sliders.forEach((slider, k) => slider.setAttribute("aria-valuetext", outputs[k].textContent));
    const found = d.names.map((name, i) => d.values[i][cell] / 1000);
    rows.forEach((row, i) => {
      row.bar.style.width = 100 * Math.min(1, Math.max(0, found[i])) + "%";
      row.number.textContent = found[i].toFixed(2);
    });
    words.textContent = d.names.map((name, i) => name + " " + found[i].toFixed(2)).join(", ")
      + (now[0] <= now[1] + 1 ? ". Fewer datapoints than neurons: CCA would be 1." : ".");
  };
  sliders.forEach(slider => slider.addEventListener("input", draw));
  draw();
})();
</script>
</figure>""")

_SLIDER = Template("""\
<label for="$ident">$label</label>
<input id="$ident" type="range" min="0" max="$last" step="1" value="$start" \
style="min-width:0;width:100%">
<output for="$ident" style="text-align:right"></output>""")


def explorer(
    grids: Mapping[str, np.ndarray],
    axes: Mapping[str, Sequence[int]],
    start: Sequence[int],
    *,
    title: str,
    ident: str,
) -> str:
    """Build the HTML of numbers on a grid, with a slider for each of its three axes.

    Parameters
    ----------
    grids : mapping of str to array, shape (a, b, c)
        Name -> numbers from 0 to 1; at most five. The first axis is the number of datapoints, the
        second that of neurons.
    axes : mapping of str to sequence of int
        Label -> values, for each of the three axes.
    start : sequence of three int
        Positions of the sliders at first.
    title : str
    ident : str
        Unique on the page: lower-case letters, digits and hyphens.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If shapes do not fit, a number is not in [0, 1], or `ident` is no such name.
    """
    shape = tuple(len(values) for values in axes.values())
    if len(shape) != 3 or len(start) != 3:
        raise ValueError(f"expected three axes and three starts; got {len(shape)}, {len(start)}")
    for name, grid in grids.items():
        if np.shape(grid) != shape:
            raise ValueError(f"grid {name!r} must have shape {shape}; got {np.shape(grid)}")
        if not ((np.asarray(grid) >= 0) & (np.asarray(grid) <= 1)).all():
            raise ValueError(f"grid {name!r} must hold numbers in [0, 1]")
    check_ident(ident)
    data = {
        "names": list(grids),
        "colours": COLOURS[: len(grids)],
        "axes": [{"values": list(map(int, values))} for values in axes.values()],
        "values": [np.rint(1000 * np.ravel(g)).astype(int).tolist() for g in grids.values()],
    }
    sliders = "\n".join(
        _SLIDER.substitute(
            ident=f"{ident}-{k}", label=html.escape(label), last=len(values) - 1, start=start[k]
        )
        for k, (label, values) in enumerate(axes.items())
    )
    compact = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return _PAGE.substitute(ident=ident, title=html.escape(title), sliders=sliders, data=compact)
