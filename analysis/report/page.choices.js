// What the user chooses above a chart, such as the budget: each trace says which choice it belongs to. page.js has the
// names that are used here.

const chosenOptions = {};  // by figure and choice, the text of the option, which stays when a study grows

function choicesOf(figure) {
  return (figure.layout.meta && figure.layout.meta.choices) || [];
}

function optionOf(name, choice) {
  const place = choice.options.indexOf((chosenOptions[name] || {})[choice.name]);
  return place >= 0 ? place : choice.start;
}

function withChoices(name, figure) {
  // The traces of the chosen options, and what they say about the axes.
  const choices = choicesOf(figure);
  if (!choices.length) return figure;
  const options = choices.map((choice) => [choice.name, optionOf(name, choice)]);
  const fits = (trace) => options.every(([key, option]) => {
    const own = trace.meta && trace.meta.choice && trace.meta.choice[key];
    return own === undefined || own === option;
  });
  const data = figure.data.filter(fits).map((trace) => ({ ...trace, ...sharedOf(figure, trace), visible: true }));
  const layout = structuredClone(figure.layout);
  for (const trace of data) {
    for (const [key, part] of Object.entries((trace.meta && trace.meta.layout) || {})) {
      layout[key] = Array.isArray(part) ? part : { ...layout[key], ...part };
    }
  }
  return { ...figure, data, layout };
}

function sharedOf(figure, { meta }) {
  // What the panels of one choice have in common, which the page contains once.
  if (!meta || meta.shared === undefined) return {};
  const shared = figure.layout.meta.shared[meta.shared];
  return { ...shared, text: shared.ids.map(plain) };
}

function showChoices(name) {
  const box = document.getElementById("choices-" + name), choices = choicesOf(plots[name]);
  if (!box || !choices.length) return;
  const wanted = JSON.stringify(choices);
  if (box.dataset.choices !== wanted) {
    box.dataset.choices = wanted;
    box.replaceChildren();
    for (const choice of choices) {
      const select = field(choice.label, box, choice.options.map((text) => [text, text]));
      select.addEventListener("change", () => {
        (chosenOptions[name] ||= {})[choice.name] = select.value;
        drawOne(name);
      });
    }
  }
  box.querySelectorAll("select").forEach((select, i) => { select.value = choices[i].options[optionOf(name, choices[i])]; });
}
