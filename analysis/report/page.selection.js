// The trials that the user selects on the axes of the parallel coordinates, or with the fields below them. page.js has
// the names that are used here.

let selected = null;  // the ids of the selected trials; null while all trials are shown

function decodePositions(dimensions) {
  return Object.fromEntries(dimensions.map((dimension) => [dimension.name, decoded(dimension.values)]));
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

function isLogarithmic({ ticktext }) {
  return Boolean(ticktext) && !ticktext.every(Boolean);
}

function rangesOf({ constraintrange: range }) {
  return !range || !range.length ? [] : Array.isArray(range[0]) ? range : [range];
}

function inRange(value, range) {
  const ranges = rangesOf({ constraintrange: range });
  return !ranges.length || ranges.some(([low, high]) => value >= low && value <= high);
}

function selectedRows(dimensions) {
  return Array.from(trials.keys()).filter((row) =>
    dimensions.every(({ name, constraintrange }) => inRange(positions[name][row], constraintrange)));
}

function readSelection() {
  // From the axes, which may have moved; returns the rows of the selected trials.
  const rows = selectedRows((drawn.parallel ? drawn.parallel : plots.parallel).data[0].dimensions);
  selected = rows.length === trials.length ? null : new Set(rows.map((row) => trials[row].id));
  return rows;
}

function selectionText(rows) {
  if (!selected) {
    const count = trials.length < total ? `The best ${trials.length} of ${total}` : `All ${rows.length}`;
    return `${count} trials. Drag along an axis to select trials; drag the name of an axis to move the axis.`;
  }
  const text = `${rows.length} of ${trials.length} trials selected`;
  if (!rows.length) return text;
  const values = rows.map((row) => trials[row].result).sort((a, b) => a - b), best = trials[rows[rows.length - 1]];
  const middle = values.length / 2;
  const median = values.length % 2 ? values[middle - 0.5] : (values[middle - 1] + values[middle]) / 2;
  return `${text}: median ${format(median)}, best ${format(best.result)} (${best.id}). The charts and the table of ` +
    "trials show them.";
}

function axes() {
  return drawn.parallel.data[0].dimensions;
}

function showSelection() {
  const box = document.getElementById("selection"), rows = readSelection();
  const state = box.querySelector(".state") || element("div", null, box, "state");
  const hadFocus = state.contains(document.activeElement);
  box.dataset.count = rows.length;
  const text = state.querySelector("p") || element("p", null, state);
  text.setAttribute("role", "status");  // read aloud when it changes
  if (text.textContent !== selectionText(rows)) text.textContent = selectionText(rows);
  const chips = state.querySelector(".chips") || element("div", null, state, "chips");
  chips.replaceChildren();
  axes().forEach((dimension) => { if (rangesOf(dimension).length) rangeButton(dimension, chips); });
  if (selected) button("Show all", chips, clearSelection);
  showRangeForm(box);
  if (hadFocus) (chips.querySelector("button") || box.querySelector("summary")).focus({ preventScroll: true });
  showTrials(rows);
  showPill(rows);
}

function rangeButton(dimension, parent) {
  const text = `${nameOf(dimension)} ${rangeText(dimension)}`;
  const chip = button(`${text} ×`, parent, () => restrict(dimension.name, null));
  chip.setAttribute("aria-label", `Remove the range: ${text}`);
}

function rangeText(dimension) {
  const labels = levels(dimension), ranges = rangesOf(dimension);
  if (labels) return labels.filter((label, i) => inRange(i, ranges)).join(", ") || "none";
  const number = (value) => Number((isLogarithmic(dimension) ? 10 ** value : value).toPrecision(3));
  return ranges.map(([low, high]) => `${number(low)} to ${number(high)}`).join(", ");
}

function nameOf({ name }) {
  return name.replaceAll("_", " ");
}

function restrict(name, range) {
  const axis = axes().findIndex((dimension) => dimension.name === name);
  Plotly.restyle(drawn.parallel, { [`dimensions[${axis}].constraintrange`]: range ? [range] : null }, [0]);
}

function clearSelection() {
  const update = {};
  axes().forEach((_, i) => { update[`dimensions[${i}].constraintrange`] = null; });
  Plotly.restyle(drawn.parallel, update, [0]);
}

function linkedTrace(trace) {
  // Points of other trials are pale, lines of other trials are left out. `runs`: how many points each trial has.
  if (!selected) return trace;
  const runs = trace.meta && trace.meta.runs;
  if (runs) {
    const kept = runs.flatMap(([id, count]) => Array(count).fill(selected.has(id)));
    return { ...trace, y: Array.from(decoded(trace.y), (value, i) => kept[i] ? value : null) };
  }
  if (!trace.ids) return trace;
  const points = trace.ids.flatMap((id, i) => selected.has(id) ? [i] : []);
  return { ...trace, selectedpoints: points, unselected: { marker: { opacity: 0.06 } } };
}

function showPill(rows) {
  // Further down the page, where the axes cannot be seen, it says that trials are left out.
  let pill = document.getElementById("pill");
  if (!selected) return pill && pill.remove();
  if (!pill) pill = element("div", null, document.body);
  pill.id = "pill";
  pill.setAttribute("role", "region");
  pill.setAttribute("aria-label", "Selected trials");
  pill.replaceChildren();
  element("span", `${rows.length} of ${trials.length} trials`, pill);
  button("Clear", pill, clearSelection).setAttribute("aria-label", "Clear the selection of trials");
}

function showRangeForm(box) {
  // What can be dragged can be chosen here as well: with the keyboard, on a phone, or exactly.
  const wanted = JSON.stringify(axes().map((dimension) => [dimension.name, levels(dimension)]).sort());
  if (box.dataset.axes === wanted) return;
  const before = box.querySelector(".by-values"), chosen = before && before.querySelector("select").value;
  if (before) before.remove();
  box.dataset.axes = wanted;
  const fold = element("details", null, box, "by-values");
  fold.open = Boolean(before && before.open);
  element("summary", "Select by values", fold);
  const form = element("form", null, fold, "choices");
  const axis = field("Axis", form, axes().map((dimension) => [dimension.name, nameOf(dimension)]));
  if (axes().some(({ name }) => name === chosen)) axis.value = chosen;
  const ends = element("span", null, form, "choices"), current = () => axes().find(({ name }) => name === axis.value);
  axis.addEventListener("change", () => endFields(current(), ends));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    restrict(axis.value, typedRange(current(), ends));
  });
  element("button", "Select", form);
  endFields(current(), ends);
}

function endFields(dimension, parent) {
  parent.replaceChildren();
  const labels = levels(dimension), values = positions[dimension.name], ranges = rangesOf(dimension);
  const lowest = values.reduce((a, b) => Math.min(a, b)), highest = values.reduce((a, b) => Math.max(a, b));
  const ends = ranges.length ? [ranges[0][0], ranges[ranges.length - 1][1]] : [lowest, highest];
  ends.forEach((end, i) => {
    const name = i ? "to" : "from";
    if (labels) {
      const choice = field(name, parent, labels.map((label, place) => [place, label]));
      choice.value = String(Math.min(Math.max(i ? Math.floor(end + 0.2) : Math.ceil(end - 0.2), 0), labels.length - 1));
      return;
    }
    const number = isLogarithmic(dimension) ? 10 ** end : end, box = element("label", `${name} `, parent);
    const input = element("input", null, box);
    Object.assign(input, { type: "number", step: "any", required: true, value: Number(number.toPrecision(4)) });
  });
}

function typedRange(dimension, parent) {
  const ends = [...parent.querySelectorAll("select, input")].map((input) => Number(input.value)).sort((a, b) => a - b);
  if (levels(dimension)) return [ends[0] - 0.4, ends[1] + 0.4];
  if (!isLogarithmic(dimension)) return ends.map((end, i) => end * (1 + (i ? 1 : -1) * Math.sign(end) * 1e-6));
  return ends.map((end, i) => Math.log10(Math.max(end, 1e-300)) + (i ? 1e-6 : -1e-6));
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !selected || event.target.closest("input, select, details.save[open]")) return;
  clearSelection();
});
