"use strict";
(() => {
  const root = document.documentElement;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const isShort = (value) => Math.abs(value) >= 1e-3 && Math.abs(value) < 1e4;
  const format = (value) => (isShort(value) ? value.toFixed(4) : value.toPrecision(4));
  let plots, positions, trials, total, metric, unit, drawing = 0;
  const drawn = {}, phone = matchMedia("screen and (max-width: 700px)");

  function take(newPlots, data) {
    plots = newPlots;
    ({ trials = [], total = 0, metric = "", unit = "epoch" } = data);
    positions = plots.parallel ? decodePositions(plots.parallel.data[0].dimensions) : {};
  }

  function decodePositions(dimensions) {
    // plotly.py writes float32 arrays as base64: {dtype: "f4", bdata: "..."}.
    const decode = ({ bdata }) => new Float32Array(Uint8Array.from(atob(bdata), (byte) => byte.charCodeAt(0)).buffer);
    return Object.fromEntries(dimensions.map((dimension) => [dimension.name, decode(dimension.values)]));
  }

  function canDraw() {
    // Plotly draws parallel coordinates with WebGL. Without it the static figures stay.
    if (!Object.values(plots).some((plot) => plot.data.some((trace) => trace.type === "parcoords"))) return true;
    const canvas = document.createElement("canvas");
    return Boolean(canvas.getContext("webgl") || canvas.getContext("webgl2"));
  }

  function themed(figure) {
    const ink = colour("--ink"), grid = colour("--grid"), paper = "rgba(0,0,0,0)";
    const layout = { ...stacked(figure.layout), paper_bgcolor: paper, plot_bgcolor: paper, autosize: true };
    layout.uirevision = "kept";  // what the user zoomed or hid stays when a figure is drawn again
    layout.font = { ...layout.font, color: ink, family: "system-ui, sans-serif", size: 13 };
    for (const key of Object.keys(layout).filter((name) => /^[xy]axis/.test(name))) {
      layout[key] = { ...layout[key], gridcolor: grid, zerolinecolor: grid, linecolor: grid };
    }
    const data = figure.data.map((trace) => trace.type !== "parcoords" ? trace : {
      ...trace,
      uirevision: drawing,  // keepSelection does it by the names of the axes; Plotly would go by their numbers
      line: { ...trace.line, colorscale: dark() ? figure.layout.meta.dark_scale : trace.line.colorscale },
      labelfont: { color: ink, size: 13 }, tickfont: { color: ink, size: 11 }, rangefont: { color: paper },
      unselected: { line: { color: colour("--muted"), opacity: 0.08 } },
    });
    return { data, layout };
  }

  function stacked(layout) {
    // On a phone the panels of a figure stand below each other; only parallel coordinates stay wide and scroll.
    const copy = structuredClone(layout);
    if (!phone.matches) return copy;
    const keys = Object.keys(copy).filter((name) => /^xaxis/.test(name));
    const places = keys.map((name) => [name, name.replace("x", "y"), Number(name.slice(5)) || 1]);
    const count = places.length;
    if (copy.legend) Object.assign(copy.legend, { y: 1 + 0.12 / Math.max(count, 1), yanchor: "bottom", font: { size: 11 } });
    if (count < 2) return copy;
    copy.height = 290 * count + 90;
    for (const [x, y, number] of places) {
      const top = 1 - (number - 1) / count;
      copy[x].domain = [0, 1];
      if (copy[x].title) copy[x].title.standoff = 4;  // or it would lie on the title of the next panel
      copy[y].domain = [top - 0.72 / count, top];
      const title = (copy.annotations || [])[number - 1];
      if (title) Object.assign(title, { x: 0.5, y: top });
    }
    return copy;
  }

  function markWide() {
    // What is wider than its place says so, and can be scrolled with the keyboard.
    for (const box of document.querySelectorAll(".scroll, figure")) {
      const wide = box.clientWidth > 0 && box.scrollWidth > box.clientWidth + 1;
      box.classList.toggle("wide", wide);
      if (wide) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }

  function draw() {
    drawing += 1;
    for (const [name, figure] of Object.entries(plots)) {
      const place = document.getElementById("plot-" + name);
      if (!place) continue;
      if (name === "parallel" && place.data) keepSelection(figure, place);
      const { data, layout } = themed(figure);
      Plotly.react(place, data, layout, { responsive: true, displayModeBar: false });
      if (name === "parallel" && drawn[name] !== place) place.on("plotly_restyle", showSelection);
      drawn[name] = place;
    }
    if (plots.parallel && drawn.parallel) showSelection();
  }

  function redraw() {
    if (root.classList.contains("interactive")) draw();
  }

  function keepSelection(figure, place) {
    // The ranges that the user chose, and the order into which the user moved the axes.
    const before = place.data[0].dimensions, order = before.map((dimension) => dimension.name);
    const dimensions = figure.data[0].dimensions;
    for (const dimension of dimensions) {
      const known = before.find((other) => other.name === dimension.name);
      const range = known && known.constraintrange && keptRange(known, dimension);
      if (range) dimension.constraintrange = range;
      else delete dimension.constraintrange;
    }
    const newcomers = order.length - 2.5;  // before the epochs and the result
    const rank = ({ name }) => order.includes(name) ? order.indexOf(name) : newcomers;
    dimensions.sort((a, b) => rank(a) - rank(b));
  }

  function keptRange(known, dimension) {
    // Where each label has a place of its own, a new label moves the others: the range follows its labels.
    const before = levels(known), after = levels(dimension);
    if (String(before) === String(after)) return known.constraintrange;
    if (!before || !after) return null;
    const chosen = before.filter((label, i) => inRange(i, known.constraintrange));
    const ranges = after.flatMap((label, i) => chosen.includes(label) ? [[i - 0.4, i + 0.4]] : []);
    return ranges.length ? ranges : null;
  }

  function levels({ ticktext }) {
    // Logarithmic axes have ticks without a label between the others, and linear axes have no ticks of their own.
    return ticktext && ticktext.every(Boolean) ? Array.from(ticktext) : null;
  }

  function inRange(value, range) {
    if (!range || !range.length) return true;
    const ranges = Array.isArray(range[0]) ? range : [range];
    return ranges.some(([low, high]) => value >= low && value <= high);
  }

  function selectedRows(place) {
    const dimensions = place.data[0].dimensions;
    return Array.from(trials.keys()).filter((row) =>
      dimensions.every(({ name, constraintrange }) => inRange(positions[name][row], constraintrange)));
  }

  function element(tag, text, parent, className) {
    const node = document.createElement(tag);
    if (text !== null) node.textContent = text;
    if (className) node.className = className;
    parent.append(node);
    return node;
  }

  function selectionText(rows) {
    if (rows.length === trials.length) {
      const count = trials.length < total ? `The best ${trials.length} of ${total}` : `All ${rows.length}`;
      return `${count} trials. Drag along an axis to select trials; drag the name of an axis to move the axis.`;
    }
    const text = `${rows.length} of ${trials.length} trials selected`;
    if (!rows.length) return text;
    const values = rows.map((row) => trials[row].result).sort((a, b) => a - b);
    const middle = values.length / 2;
    const median = values.length % 2 ? values[middle - 0.5] : (values[middle - 1] + values[middle]) / 2;
    return `${text}: median ${format(median)}, best ${format(trials[rows[rows.length - 1]].result)}`;
  }

  function showSelection() {
    const box = document.getElementById("selection");
    const rows = selectedRows(drawn.parallel);
    const all = rows.length === trials.length;
    box.replaceChildren();
    box.dataset.count = rows.length;
    element("span", selectionText(rows), box);
    highlightSelected(rows, all);
    if (all) return;
    element("button", "Show all", box).addEventListener("click", clearSelection);
    if (rows.length) selectionTable(rows, box);
  }

  function selectionTable(rows, box) {
    const table = element("table", null, element("div", null, box, "scroll"));
    const head = element("tr", null, element("thead", null, table));
    for (const title of ["trial", "name", metric, `${unit}s`, "state"]) element("th", title, head);
    const body = element("tbody", null, table);
    for (const row of rows.slice(-5).reverse()) {
      const trial = trials[row], line = element("tr", null, body);
      for (const text of [trial.id, trial.name, format(trial.result), trial.epochs, trial.state]) {
        element("td", text, line);
      }
    }
  }

  function clearSelection() {
    const update = {};
    drawn.parallel.data[0].dimensions.forEach((_, i) => { update[`dimensions[${i}].constraintrange`] = null; });
    Plotly.restyle(drawn.parallel, update, [0]);
  }

  function highlightSelected(rows, all) {
    if (!drawn.created) return;
    const selected = new Set(rows.map((row) => trials[row].id));
    const ids = drawn.created.data[0].ids;
    const points = all ? null : Array.from(ids.keys()).filter((i) => selected.has(ids[i]));
    Plotly.restyle(drawn.created, { selectedpoints: [points], "unselected.marker.opacity": 0.1 }, [0]);
  }

  async function loadPlotly() {
    if (window.Plotly) return;
    const library = document.getElementById("plotly");
    if (library.dataset.src) {  // in a page of `inat serve`
      const script = document.createElement("script");
      script.src = library.dataset.src;
      await new Promise((resolve, reject) => {
        Object.assign(script, { onload: resolve, onerror: reject });
        document.head.append(script);
      });
      return;
    }
    // The library is packed as gzip in base64, a third of its size. The page's policy allows its text by hash.
    const packed = Uint8Array.from(atob(library.textContent), (byte) => byte.charCodeAt(0));
    const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    element("script", await new Response(unpacked).text(), document.head);
  }

  async function start() {
    // A browser that cannot unpack the library (before 2023) keeps the static figures.
    if (!Object.keys(plots).length || !canDraw() || !("DecompressionStream" in window)) return;
    await loadPlotly();
    root.classList.add("interactive");
    draw();
  }

  async function update(newPlots, data) {
    // A page of `inat serve` has changed its text, and has new figures.
    await started;
    take(newPlots, data);
    if (root.classList.contains("interactive")) draw();
    else await (started = start());
    markWide();
  }

  const button = document.getElementById("theme"), system = matchMedia("(prefers-color-scheme: dark)");
  function dark() { return root.dataset.theme ? root.dataset.theme === "dark" : system.matches; }
  const label = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; label(); redraw(); });
  system.addEventListener("change", () => { label(); redraw(); });
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((fold) => { fold.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((fold) => { fold.open = false; }));
  phone.addEventListener("change", redraw);
  addEventListener("resize", markWide);
  document.addEventListener("toggle", markWide, true);  // an opened table
  label();
  markWide();
  take(document.getElementById("plots") ? read("plots") : {}, document.getElementById("data") ? read("data") : {});
  let started = start();
  started.then(markWide);
  window.report = { update };
})();
