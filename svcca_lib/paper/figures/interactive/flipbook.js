(() => {
  const d = $data;
  const root = document.getElementById("$ident");
  const slider = root.querySelector("input"), now = root.querySelector("output");
  const drawing = root.querySelector("[data-drawing]"), words = root.querySelector("[data-words]");
  const points = curve => curve.map(
    (height, i) => (1000 * i / (curve.length - 1)).toFixed(1) + "," + height).join(" ");
  const line = attributes => {
    const drawn = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    const all = {fill: "none", "vector-effect": "non-scaling-stroke", ...attributes};
    for (const [name, value] of Object.entries(all)) drawn.setAttribute(name, value);
    return drawing.appendChild(drawn);
  };
  for (const curve of d.behind) {
    line({points: points(curve), stroke: "currentColor", "stroke-opacity": .3, "stroke-width": 6});
  }
  const moving = d.colours.map((colour, i) => line(
    {stroke: colour, "stroke-width": 2, "stroke-dasharray": d.dashes[i]}));
  const draw = () => {
    const step = Number(slider.value);
    moving.forEach((curve, i) => curve.setAttribute("points", points(d.frames[step][i])));
    now.textContent = d.steps[step];
    slider.setAttribute("aria-valuetext", d.steps[step]);
    words.textContent = d.words[step];
  };
  slider.addEventListener("input", draw);
  draw();
})();
