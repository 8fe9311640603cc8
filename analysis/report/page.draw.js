// When each chart is drawn: those in view at once, the others one by one while the browser has nothing else to do, the
// nearest first. Until then a chart shows its static figure. page.js has the names that are used here.

const drawn = {};
let waiting = [], next = 0;
const whenIdle = window.requestIdleCallback ? (action) => requestIdleCallback(action, { timeout: 1000 }) : setTimeout;
const dropIdle = window.cancelIdleCallback || clearTimeout;

function drawOne(name) {
  const place = document.getElementById("plot-" + name);
  if (!place) return;
  const figure = place.closest("figure"), { data, layout } = themed(name, lookOf(root, dark(), phone.matches));
  figure.classList.add("drawn");  // first, so that the place has a width
  try {
    Plotly.react(place, data, layout, { responsive: true, displayModeBar: false });
  } catch (error) {
    figure.classList.remove("drawn");  // the static figure stays
    throw error;
  }
  if (name === "parallel" && drawn[name] !== place) place.on("plotly_restyle", selectionChanged);
  drawn[name] = place;
  showChoices(name);
}

function draw() {
  drawing += 1;
  const place = plots.parallel && document.getElementById("plot-parallel");
  if (place && place.data) keepSelection(plots.parallel, place);
  if (place) drawOne("parallel");
  if (drawn.parallel) readSelection();  // before the others, which show the selected trials
  drawOthers();
  if (drawn.parallel) showSelection();
}

function selectionChanged() {
  showSelection();
  drawOthers();
}

function drawOthers() {
  delete root.dataset.drawn;
  waiting = Object.keys(plots).filter((name) => name !== "parallel");
  const visible = waiting.filter((name) => distance(name) === 0);
  waiting = waiting.filter((name) => !visible.includes(name));
  visible.forEach(drawOne);
  performance.mark("charts in view");
  drawNextWhenIdle();
}

function drawNextWhenIdle() {
  dropIdle(next);
  if (waiting.length) {
    next = whenIdle(drawNext);
    return;
  }
  root.dataset.drawn = "all";
  performance.mark("all charts");
}

function drawNext() {
  waiting.sort((a, b) => distance(a) - distance(b));
  try {
    drawOne(waiting.shift());
  } finally {
    drawNextWhenIdle();
  }
}

function distance(name) {
  // Pixels from the part of the page that is in view.
  const figure = document.getElementById("figure-" + name);
  if (!figure) return Infinity;
  const { top, bottom } = figure.getBoundingClientRect();
  return Math.max(0, top - innerHeight, -bottom);
}

function redraw() {
  if (root.classList.contains("interactive")) draw();
}
