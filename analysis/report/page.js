// The page's script: the interactive figures, themes, print. page.py puts this file behind the other page.*.js files
// into one function, so that they share their names.

const root = document.documentElement;
const isShort = (value) => Math.abs(value) >= 1e-3 && Math.abs(value) < 1e4;
const format = (value) => (isShort(value) ? value.toFixed(4) : value.toPrecision(4));
const ARRAYS = { f4: Float32Array, f8: Float64Array, i1: Int8Array, i2: Int16Array, i4: Int32Array, u1: Uint8Array };
let plots = {}, positions, trials, parameters, total, metric, unit, exports, drawing = 0;
let taken = false;
const phone = matchMedia("screen and (max-width: 700px)");

function take(newPlots, data) {
  taken = true;
  plots = newPlots;
  ({ trials = [], parameters = [], total = 0, metric = "", unit = "epoch", exports = "" } = data);
  positions = plots.parallel ? decodePositions(plots.parallel.data[0].dimensions) : {};
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0));
}

function decoded(values) {
  // plotly.py writes arrays as base64: {dtype: "f4", bdata: "..."}.
  return values && values.bdata ? new ARRAYS[values.dtype](bytesOf(values.bdata).buffer) : values;
}

async function unpacked(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function element(tag, text, parent, className) {
  const node = document.createElement(tag);
  if (text !== null) node.textContent = text;
  if (className) node.className = className;
  parent.append(node);
  return node;
}

function button(text, parent, action) {
  const node = element("button", text, parent);
  node.type = "button";
  node.addEventListener("click", action);
  return node;
}

function field(label, parent, options) {
  // A choice with a label; options are pairs of a value and a text.
  const select = element("select", null, element("label", `${label} `, parent));
  for (const [value, text] of options) element("option", text, select).value = value;
  return select;
}

function canDraw() {
  // Plotly draws parallel coordinates with WebGL. Without it the static figures stay.
  if (!Object.values(plots).some((plot) => plot.data.some((trace) => trace.type === "parcoords"))) return true;
  const canvas = document.createElement("canvas");
  return Boolean(canvas.getContext("webgl") || canvas.getContext("webgl2"));
}

function lookOf(place, isDark, narrow) {
  return { colour: (name) => getComputedStyle(place).getPropertyValue(name).trim(), dark: isDark, narrow };
}

function paperLook() {
  const place = document.getElementById("paper") || element("span", null, document.body, "paper");
  Object.assign(place, { id: "paper", hidden: true });
  return lookOf(place, false, false);
}

function themed(name, look) {
  const figure = withChoices(name, plots[name]), { colour } = look;
  const ink = colour("--ink"), grid = colour("--grid"), paper = "rgba(0,0,0,0)";
  const layout = { ...stacked(figure.layout, look.narrow), paper_bgcolor: paper, plot_bgcolor: paper, autosize: true };
  // What the user zoomed or hid stays when a figure is drawn again, but not for another pair or budget.
  layout.uirevision = JSON.stringify(chosenOptions[name] || "kept");
  layout.font = { ...layout.font, color: ink, family: "system-ui, sans-serif", size: 13 };
  for (const key of Object.keys(layout).filter((axis) => /^[xy]axis/.test(axis))) {
    layout[key] = { ...layout[key], gridcolor: grid, zerolinecolor: grid, linecolor: grid };
  }
  const parallel = (trace) => ({
    ...trace,
    uirevision: drawing,  // keepSelection does it by the names of the axes; Plotly would go by their numbers
    line: { ...trace.line, colorscale: look.dark ? figure.layout.meta.dark_scale : trace.line.colorscale },
    labelfont: { color: ink, size: 13 }, tickfont: { color: ink, size: 11 }, rangefont: { color: paper },
    unselected: { line: { color: colour("--muted"), opacity: 0.08 } },
  });
  const written = (trace) => {
    if (trace.type === "heatmap") return { ...trace, textfont: { color: ink } };
    if (trace.type !== "contour") return trace;
    return { ...trace, contours: { ...trace.contours, labelfont: { color: ink } }, line: { ...trace.line, color: colour("--muted") } };
  };
  const data = figure.data.map((trace) => trace.type === "parcoords" ? parallel(trace) : linkedTrace(written(trace)));
  return { data, layout };
}

function stacked(layout, narrow) {
  // On a phone the panels of a figure stand below each other; only parallel coordinates stay wide and scroll.
  const copy = structuredClone(layout);
  if (!narrow) return copy;
  const keys = Object.keys(copy).filter((name) => /^xaxis/.test(name));
  const places = keys.map((name) => [name, name.replace("x", "y"), Number(name.slice(5)) || 1]);
  const count = places.length;
  if (copy.legend) Object.assign(copy.legend, { y: 1 + 0.12 / Math.max(count, 1), yanchor: "bottom", font: { size: 11 } });
  if (count < 2) return copy;
  copy.height = 290 * count + 90;
  for (const [x, y, number] of places) {
    const top = 1 - (number - 1) / count;
    copy[x].domain = [0, 1];
    copy[y].showticklabels = true;
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
  element("script", await unpacked(library.textContent), document.head);
}

async function content() {
  // In a report the figures and trials are packed; in a page of `inat serve` they are JSON.
  const [own, data] = ["plots", "data"].map((id) => document.getElementById(id));
  const rest = data ? JSON.parse(data.textContent) : {};
  if (!own || own.type === "application/json") return { plots: own ? JSON.parse(own.textContent) : {}, data: rest };
  const packed = JSON.parse(await unpacked(own.textContent));
  return { plots: packed.plots, data: { ...packed.data, ...rest } };
}

async function start() {
  // A browser that cannot unpack (before 2023) keeps the static figures.
  if (!("DecompressionStream" in window)) return;
  if (!taken) await content().then(({ plots: own, data }) => take(own, data));
  root.classList.add("savable");
  if (!Object.keys(plots).length || !canDraw()) return;
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

const theme = document.getElementById("theme"), system = matchMedia("(prefers-color-scheme: dark)");
function dark() { return root.dataset.theme ? root.dataset.theme === "dark" : system.matches; }
const label = () => { theme.textContent = dark() ? "Light" : "Dark"; };
theme.hidden = false;
theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; label(); redraw(); });
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
let started = start();
started.then(markWide);
window.report = { update };
