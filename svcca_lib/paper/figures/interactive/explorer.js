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
