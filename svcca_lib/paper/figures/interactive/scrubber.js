(() => {
  const d = $data;
  const root = document.getElementById("$ident");
  const canvas = root.querySelector("[data-ours]"), other = root.querySelector("[data-theirs]");
  const slider = root.querySelector("input"), now = root.querySelector("output");
  const readout = root.querySelector("[data-readout]"), link = root.querySelector("[data-link]");
  const play = root.querySelector("[data-play]");
  const L = d.labels.length, margin = 52, cell = Math.max(6, Math.floor(480 / L));
  const side = L * cell, whole = side + margin + 4, scale = window.devicePixelRatio || 1;
  const channel = (hex, i) => parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  const colour = v => {
    const x = Math.min(1, Math.max(0, v)) * (d.colours.length - 1);
    const i = Math.min(d.colours.length - 2, Math.floor(x)), f = x - i;
    const mix = k => Math.round(
      (1 - f) * channel(d.colours[i], k) + f * channel(d.colours[i + 1], k));
    return "rgb(" + mix(0) + "," + mix(1) + "," + mix(2) + ")";
  };
  root.querySelector("[data-scale]").style.background =
    "linear-gradient(90deg,#" + d.colours.join(",#") + ")";
  const time = t => +(100 * t).toFixed(1);
  let at = null;  // the cell that is read: [row, column]

  const paint = (surface, values) => {
    const pen = surface.getContext("2d");
    if (surface.width !== whole * scale) surface.width = surface.height = whole * scale;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, whole, whole);
    values.forEach((v, i) => {
      pen.fillStyle = colour(v / 1000);
      pen.fillRect(margin + i % L * cell, (L - 1 - Math.floor(i / L)) * cell, cell, cell);
    });
    if (at) {
      const x = margin + at[1] * cell, y = (L - 1 - at[0]) * cell;
      pen.lineWidth = 2;
      for (const [colour, inset] of [["#000", 1], ["#fff", 2.5]]) {
        pen.strokeStyle = colour;
        pen.strokeRect(x + inset, y + inset, cell - 2 * inset, cell - 2 * inset);
      }
    }
    pen.fillStyle = getComputedStyle(root).color;
    // Names are as large as the text of the page allows, however small the matrix is shown.
    const size = Math.min(15, Math.max(11, 11 * whole / (surface.clientWidth || whole)));
    pen.font = size + "px sans-serif";
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (const [i, name] of d.ticks) {
      pen.fillText(name, margin - 4, (L - 0.5 - i) * cell);
      pen.save();
      pen.translate(margin + (i + 0.5) * cell, side + 4);
      pen.rotate(-Math.PI / 2);
      pen.fillText(name, 0, 0);
      pen.restore();
    }
  };

  const draw = () => {
    const t = Number(slider.value), values = d.values[t], percent = time(d.fractions[t]) + " %";
    paint(canvas, values);
    let own = 0;
    for (let i = 0; i < L; i++) own += values[i * L + i] / 1000 / L;
    const words = percent + " of training, mean similarity of layers to their own end "
      + own.toFixed(2);
    now.textContent = percent + " of training";
    slider.setAttribute("aria-valuetext", now.textContent);
    canvas.setAttribute("aria-label", d.title + ": " + words);
    let theirs = null;
    if (other) {
      const far = ([fraction]) => Math.abs(fraction - d.fractions[t]);
      theirs = d.theirs.reduce((a, b) => far(b) < far(a) ? b : a);
      paint(other, theirs[1]);
      const when = "The paper's, at " + time(theirs[0]) + " %";
      root.querySelector("[data-when]").textContent = when;
      other.setAttribute("aria-label", when);
    }
    if (at) {
      const [row, column] = at, i = row * L + column;
      readout.textContent = d.labels[row] + " at " + percent + ", " + d.labels[column]
        + " at the end: " + (values[i] / 1000).toFixed(3)
        + (theirs ? "; the paper's at " + time(theirs[0]) + " %: "
          + (theirs[1][i] / 1000).toFixed(2) : "");
    }
    link.href = "?$ident=" + [time(d.fractions[t]), ...(at || [])].join("-") + "#$ident";
  };

  for (const surface of [canvas, other]) {
    surface?.addEventListener("mousemove", event => {
      const box = surface.getBoundingClientRect(), k = whole / box.width;
      const column = Math.floor(((event.clientX - box.left) * k - margin) / cell);
      const row = L - 1 - Math.floor((event.clientY - box.top) * k / cell);
      if (column < 0 || column >= L || row < 0 || row >= L) return;
      at = [row, column];
      draw();
    });
  }
  const moves = {ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
  canvas.addEventListener("keydown", event => {
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    const inside = i => Math.min(L - 1, Math.max(0, i));
    at = at ? [inside(at[0] + move[0]), inside(at[1] + move[1])] : [0, 0];
    draw();
  });

  let clock = null;  // while it plays
  const playing = on => {
    clearInterval(clock);
    clock = on ? setInterval(step, 700) : null;
    play.textContent = on ? "Pause" : "Play";
    now.setAttribute("aria-live", on ? "off" : "polite");
  };
  const step = () => {
    slider.value = Number(slider.value) + 1;
    draw();
    if (slider.value === slider.max) playing(false);
  };
  play.addEventListener("click", () => {
    if (!clock && slider.value === slider.max) slider.value = 0;
    playing(!clock);
    draw();
  });
  slider.addEventListener("input", () => { playing(false); draw(); });

  // A link to a view names its time in percent and, where one is read, the cell: "35-3-7".
  const view = new URLSearchParams(location.search).get("$ident") ?? "";
  const [percent, row, column] = view.split("-");
  const found = d.fractions.findIndex(fraction => String(time(fraction)) === percent);
  if (found >= 0) slider.value = found;
  if (row < L && column < L) at = [Number(row), Number(column)];
  const page = {attributes: true, attributeFilter: ["data-theme"]};
  new MutationObserver(draw).observe(document.documentElement, page);
  window.addEventListener("resize", draw);
  draw();
})();
