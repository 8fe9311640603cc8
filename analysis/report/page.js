"use strict";
(() => {
  const root = document.documentElement;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const { trials, total, metric } = document.getElementById("data") ? read("data") : { trials: [] };
  const short = (value) => (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e4 ? value.toFixed(4) : value.toPrecision(4));
  const plots = document.getElementById("plots") ? read("plots") : {};
  const drawn = {};

  function canDrawLines() {
    // Parallel coordinates are drawn by WebGL; without it the picture stays.
    const canvas = document.createElement("canvas");
    return Boolean(canvas.getContext("webgl") || canvas.getContext("webgl2"));
  }

  function themed(figure) {
    const ink = colour("--ink"), grid = colour("--grid"), paper = "rgba(0,0,0,0)";
    const layout = { ...figure.layout, paper_bgcolor: paper, plot_bgcolor: paper, autosize: true };
    layout.font = { ...layout.font, color: ink, family: "system-ui, sans-serif", size: 13 };
    for (const key of Object.keys(layout).filter((name) => /^[xy]axis/.test(name))) {
      layout[key] = { ...layout[key], gridcolor: grid, zerolinecolor: grid, linecolor: grid };
    }
    const data = figure.data.map((trace) => trace.type !== "parcoords" ? trace : {
      ...trace,
      labelfont: { color: ink, size: 13 }, tickfont: { color: ink, size: 11 }, rangefont: { color: paper },
      unselected: { line: { color: colour("--muted"), opacity: 0.08 } },
    });
    return { data, layout };
  }

  function draw() {
    for (const [name, figure] of Object.entries(plots)) {
      const place = document.getElementById("plot-" + name);
      if (name === "parallel" && drawn[name]) keepSelection(figure, place);
      const { data, layout } = themed(figure);
      Plotly.react(place, data, layout, { responsive: true, displayModeBar: false });
      drawn[name] = place;
    }
  }

  function keepSelection(figure, place) {
    figure.data[0].dimensions.forEach((dimension, i) => {
      const shown = place.data[0].dimensions.find((other) => other.name === dimension.name);
      if (shown && shown.constraintrange) figure.data[0].dimensions[i].constraintrange = shown.constraintrange;
      else delete figure.data[0].dimensions[i].constraintrange;
    });
  }

  function passes(value, range) {
    if (!range || !range.length) return true;
    const ranges = Array.isArray(range[0]) ? range : [range];
    return ranges.some(([low, high]) => value >= low && value <= high);
  }

  function selected(place) {
    const dimensions = place._fullData[0].dimensions;
    const chosen = [];
    for (let row = 0; row < place._fullData[0]._length; row++) {
      if (dimensions.every((dimension) => passes(dimension.values[row], dimension.constraintrange))) chosen.push(row);
    }
    return chosen;
  }

  function element(tag, text, parent, className) {
    const made = document.createElement(tag);
    if (text !== null) made.textContent = text;
    if (className) made.className = className;
    parent.append(made);
    return made;
  }

  function showSelection() {
    const box = document.getElementById("selection");
    const rows = selected(drawn.parallel);
    const all = rows.length === trials.length;
    const values = rows.map((row) => trials[row].result).sort((a, b) => a - b);
    const middle = values.length / 2;
    const median = values.length % 2 ? values[middle - 0.5] : (values[middle - 1] + values[middle]) / 2;
    box.replaceChildren();
    box.dataset.count = rows.length;
    const shown = trials.length < total ? `The best ${trials.length} of ${total}` : `All ${rows.length}`;
    element("span", all
      ? `${shown} trials. Drag along an axis to choose some of them; drag an axis by its name to move it.`
      : `${rows.length} of ${trials.length} trials chosen` + (rows.length
        ? `: median ${short(median)}, best ${short(trials[rows[rows.length - 1]].result)}` : ""), box);
    markChosen(rows, all);
    if (all) return;
    element("button", "Show all", box).addEventListener("click", showAll);
    if (!rows.length) return;
    const table = element("table", null, box), head = element("tr", null, element("thead", null, table));
    for (const title of ["trial", "name", metric, "epochs", "state"]) element("th", title, head);
    const body = element("tbody", null, table);
    for (const row of rows.slice(-5).reverse()) {
      const trial = trials[row], line = element("tr", null, body);
      for (const text of [trial.id, trial.name, short(trial.result), trial.epochs, trial.state]) {
        element("td", text, line);
      }
    }
  }

  function showAll() {
    const update = {};
    drawn.parallel.data[0].dimensions.forEach((_, i) => { update[`dimensions[${i}].constraintrange`] = null; });
    Plotly.restyle(drawn.parallel, update, [0]);
  }

  function markChosen(rows, all) {
    if (!drawn.created) return;
    const chosen = new Set(rows.map((row) => trials[row].id));
    const ids = drawn.created.data[0].ids;
    const points = all ? null : Array.from(ids.keys()).filter((i) => chosen.has(ids[i]));
    Plotly.restyle(drawn.created, { selectedpoints: [points], "unselected.marker.opacity": 0.1 }, [0]);
  }

  function start() {
    if (!Object.keys(plots).length || !canDrawLines()) return;
    root.classList.add("plots-drawn");
    draw();
    if (drawn.parallel) {
      drawn.parallel.on("plotly_restyle", showSelection);
      showSelection();
    }
  }

  const button = document.getElementById("theme"), system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; label(); draw(); });
  system.addEventListener("change", () => { label(); draw(); });
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((fold) => { fold.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((fold) => { fold.open = false; }));
  label();
  start();
})();
