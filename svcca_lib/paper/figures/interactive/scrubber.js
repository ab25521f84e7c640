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
