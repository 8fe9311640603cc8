// Save a chart as PNG or SVG, as it is seen but on white, or its data as CSV. page.js has the names that are used here.

const SAVED_WIDTH = 1000, SAVED_SCALE = 2;  // px at least of an interactive chart; pixels of the file per px

document.addEventListener("click", (event) => {
  const chosen = event.target.closest("[data-save]");
  if (chosen) save(chosen).catch((error) => sayNotSaved(chosen, error));
  for (const menu of document.querySelectorAll("details.save[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && event.target.closest("details.save[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

async function save(chosen) {
  const name = chosen.dataset.figure, kind = chosen.dataset.save;
  const content = kind === "csv" ? await csvOf(name) : kind === "svg" ? await svgOf(name) : await pngOf(name);
  download(content, `${fileStem()}-${name}.${kind}`);
}

function sayNotSaved(chosen, error) {
  console.error(error);
  chosen.textContent = `${chosen.dataset.save.toUpperCase()} not saved`;
}

function fileStem() {
  const title = document.querySelector("h1");
  return ((title && title.textContent) || "study").trim().replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 60);
}

function download(blob, name) {
  const link = document.createElement("a");
  Object.assign(link, { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function titleOf(name) {
  return document.getElementById("figure-" + name).previousElementSibling.textContent;
}

function interactiveSpec(name) {
  const { data, layout } = themed(name, paperLook());
  const width = Math.max(document.getElementById("plot-" + name).clientWidth, SAVED_WIDTH);
  const height = (layout.height || 450) + 40, margin = { ...layout.margin, t: ((layout.margin || {}).t || 40) + 40 };
  const own = layout.title && layout.title.text ? `<br><span style="font-size: 13px">${layout.title.text}</span>` : "";
  const title = { text: `<b>${plain(titleOf(name))}</b>${own}`, x: 0.01, xanchor: "left", y: 1, yref: "container", yanchor: "top", pad: { t: own ? 26 : 12 } };
  return { spec: { data, layout: { ...layout, title, margin, paper_bgcolor: "#fff", autosize: false } }, width, height };
}

function plain(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");  // Plotly reads HTML
}

async function plotlyImage(name, format) {
  const { spec, width, height } = interactiveSpec(name);
  return Plotly.toImage(spec, { format, width, height, scale: format === "png" ? SAVED_SCALE : 1 });
}

function isInteractive(name) {
  return root.classList.contains("interactive") && name in plots;
}

async function svgOf(name) {
  if (!isInteractive(name)) return new Blob([staticSvg(name)], { type: "image/svg+xml" });
  const address = await plotlyImage(name, "svg");
  return new Blob([decodeURIComponent(address.slice(address.indexOf(",") + 1))], { type: "image/svg+xml" });
}

async function pngOf(name) {
  if (isInteractive(name)) {
    const address = await plotlyImage(name, "png");
    return new Blob([bytesOf(address.slice(address.indexOf(",") + 1))], { type: "image/png" });
  }
  const address = URL.createObjectURL(new Blob([staticSvg(name)], { type: "image/svg+xml" }));
  const picture = new Image();
  picture.src = address;
  await picture.decode();
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: SAVED_SCALE * picture.width, height: SAVED_SCALE * picture.height });
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(address);
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
}

function staticSvg(name) {
  // The drawing in the page, with its title above it, and with the colours of paper in place of those of the page.
  const svg = document.querySelector(`#figure-${name} .static svg, #figure-${name} .fallback svg`).cloneNode(true);
  const [x, y, width, height] = svg.getAttribute("viewBox").split(/\s+/).map(Number), room = 26;
  svg.setAttribute("viewBox", `${x} ${y - room} ${width} ${height + room}`);
  Object.assign(svg.style, { background: "#fff" });
  for (const [side, length] of [["width", width], ["height", height + room]]) svg.setAttribute(side, length);
  const title = document.createElementNS("http://www.w3.org/2000/svg", "text");
  for (const [key, value] of Object.entries({ x: x + 6, y: y - 8, "font-size": 13, "font-weight": "bold" })) {
    title.setAttribute(key, value);
  }
  Object.assign(title.style, { fontFamily: "sans-serif", fill: "var(--ink)" });
  title.textContent = titleOf(name);
  svg.append(title);
  const look = paperLook();
  return new XMLSerializer().serializeToString(svg).replace(/var\((--\w+)\)/g, (_, variable) => look.colour(variable));
}

async function csvOf(name) {
  const tables = JSON.parse(await unpacked(exports));
  // Excel reads UTF-8 only after this mark.
  return new Blob(["\ufeff", selectedRecords(tables[name])], { type: "text/csv;charset=utf-8" });
}

function selectedRecords(table) {
  // The records of selected trials; all of them where a table is not about trials.
  if (!selected || !/^trial_id[,\r\n]/.test(table)) return table;
  const records = table.match(/(?:"(?:[^"]|"")*"|[^"\n])+\n?/g) || [];
  return records.filter((record, i) => i === 0 || isSelected(firstCell(record))).join("");
}

function firstCell(record) {
  const quoted = record.match(/^"((?:[^"]|"")*)"/);
  return quoted ? quoted[1].replaceAll('""', '"') : record.match(/^[^,\r\n]*/)[0];
}

function isSelected(cell) {
  return selected.has(cell) || selected.has(cell.replace(/^'/, ""));  // before what a spreadsheet would run as a formula
}
