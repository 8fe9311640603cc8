// The table of trials: the selected ones, the best first.

const FIRST_ROWS = 10, MORE_ROWS = 50;
let rowsShown = FIRST_ROWS;

function showTrials(rows) {
  const box = document.getElementById("linked-trials");
  if (!box) return;
  const count = Math.min(rows.length, rowsShown), hadFocus = box.contains(document.activeElement);
  box.replaceChildren();
  const of = selected ? `${rows.length} selected of ${trials.length}` : `${trials.length}`;
  element("h3", rows.length ? `Trials, the best ${count} of ${of}` : "Trials, none selected", box);
  if (rows.length) trialTable(rows.slice(-count).reverse(), element("div", null, box, "scroll"));
  const left = rows.length - count;
  if (left > 0) {
    const more = button(`Show ${Math.min(left, MORE_ROWS)} more`, box, () => {
      rowsShown += MORE_ROWS;
      showTrials(rows);
    });
    if (hadFocus) more.focus();
  }
  markWide();
}

function trialTable(rows, parent) {
  const table = element("table", null, parent);
  const head = element("tr", null, element("thead", null, table)), body = element("tbody", null, table);
  element("th", "trial", head);
  for (const title of [metric, `${unit}s`]) element("th", title, head, "number");
  for (const title of ["state", ...parameters.map(({ name }) => name.replaceAll("_", " "))]) element("th", title, head);
  for (const row of rows) {
    const { id, name, result, epochs, state } = trials[row], line = element("tr", null, body);
    line.title = name;
    element("td", id, line);
    for (const value of [format(result), epochs]) element("td", value, line, "number");
    for (const value of [state, ...parameters.map(({ labels, codes }) => labels[codes[row]])]) element("td", value, line);
  }
}
