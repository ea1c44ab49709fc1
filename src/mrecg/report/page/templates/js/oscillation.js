/**
 * The oscillation figure: the error after every unit along the network.
 */

function buildOscillation() {
  const scales = segments("Scale", "scale", [["linear", "Linear"], ["log", "Log"]], oscillationScale);
  const chart = new Chart({
    title: "Error after every unit",
    height: (width) => (width < 600 ? 420 : 460),
    draw: drawOscillation,
    controls: [
      measuredOnBoth() && segments("Images", "images", [["", "Calibration"], ["evaluation", "Evaluation"]]),
      scales,
      segments("Lines", "lines", [["mean", "Means"], ["runs", "Runs"]]),
    ].filter(Boolean),
  });
  const heat = new Chart({ title: "Change against block-wise, unit by unit", height: heatHeight, draw: drawHeat });
  const focus = picker(
    "Shaded merges",
    "focus",
    () => shownConfigurations().filter((c) => c.merges.high > 0).map((c) => [c.id, c.label]),
    () => focusedConfiguration()?.id ?? "",
  );
  fill(byId("oscillation-body"), h("div", { class: "panel" }, h("div", { class: "row" }, placePicker(), focus), legend("Configurations shown"), chart.element, heat.element));
  const redraw = () => {
    heat.element.hidden = heatRows().length < LEAST_ROWS;
    if (!heat.element.hidden) heat.refresh();
  };
  watch(["place", "theme", ...FILTER_KEYS], redraw);
  watch(["scale", "images", "shown", "focus", "lines", "place", "theme", ...FILTER_KEYS], () => {
    focus.update();
    scales.update();
    chart.refresh();
  });
  chart.refresh();
  redraw();
}

function oscillationScale() {
  return state.scale || "linear";
}

/** Whether a run has measured its units on evaluation images, too. */
function measuredOnBoth() {
  return [...runById.values()].some((run) => run.new_errors.length);
}

/** Of a run the errors on the images that were chosen. */
function errorsOf(run) {
  return state.images === "evaluation" ? run.new_errors : run.errors;
}

/** Mean, least and largest value after each unit. */
function unitSpread(configuration) {
  const units = networkById.get(configuration.network).units.length;
  return Array.from({ length: units }, (_, i) => spread(configuration.runs.map((run) => errorsOf(run)[i])));
}

function drawOscillation(width) {
  const shown = shownConfigurations();
  if (!shown.length) return { missing: "No completed run is left by the filter." };
  const network = networkById.get(shown[0].network);
  const log = oscillationScale() === "log";
  const series = shown.map((configuration) => ({ configuration, values: unitSpread(configuration) }));
  const all = series.flatMap(({ values }) => values.flatMap((v) => [v.low, v.high])).filter((v) => isNumber(v) && (!log || v > 0));
  if (!all.length) return { missing: `No error was measured${state.images ? " on evaluation images" : ""} in these runs.` };
  const focus = focusedConfiguration();
  const common = focus ? commonGroups(focus.runs) : { groups: [], runs: 0 };
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const band = bandOf(network, width);
  const range = log ? [Math.log10(low) - 0.1, Math.log10(high) + 0.12 * Math.log10(high / low) + 0.1] : [Math.min(0, low), high * 1.17];
  return {
    data: series.flatMap((one) => linesOf(one, width)),
    layout: {
      margin: { l: 8, r: 14, t: 26, b: 8, pad: 0 },
      xaxis: { ...unitAxis(network, width), title: unitAxisTitle(network) },
      yaxis: { title: "Relative error", range, ...(log ? logTicks(low, high * 1.2) : { type: "linear" }) },
      shapes: focus ? groupShapes(common.groups, colourOf(focus)) : [],
      annotations: [...spikes(series, network, band, width, range, log), ...(focus ? groupLabels(common.groups, network, band) : [])],
    },
    summary: oscillationWords(series, network, focus, common),
    numbers: () => unitNumbers(series, network),
    hover: (points) => oscillationTip(Math.round(points[0].x), series, network, focus, common),
  };
}

/** Band, mean and, if asked for, every run. */
function linesOf({ configuration, values }, width) {
  const colour = colourOf(configuration);
  const x = values.map((_, i) => i);
  const shared = { x, type: "scatter", hoverinfo: "none" };
  const found = [];
  if (configuration.runs.length > 1 && state.lines !== "runs") {
    const edge = { ...shared, mode: "lines", line: { width: 0, color: colour }, hoverinfo: "skip" };
    found.push({ ...edge, y: values.map((v) => v.low) });
    found.push({ ...edge, y: values.map((v) => v.high), fill: "tonexty", fillcolor: faded(colour, 0.16) });
  }
  if (state.lines === "runs") {
    for (const run of configuration.runs) {
      found.push({ ...shared, y: errorsOf(run), mode: "lines", line: { width: 1, color: colour, dash: configuration.dash }, opacity: 0.55, hoverinfo: "skip" });
    }
  }
  found.push({
    ...shared,
    y: values.map((v) => v.mean),
    mode: "lines+markers",
    line: { width: 2, color: colour, dash: configuration.dash },
    marker: { symbol: configuration.marker, size: width < 600 ? 5 : 7, color: colour, line: { width: 1.4, color: colour } },
  });
  return found;
}

/** Names of the largest value and of a few spikes: units whose error stands above both neighbours'. */
function spikes(series, network, band, width, [low, high], log) {
  const top = network.units.map((_, i) => Math.max(...series.map(({ values }) => values[i].mean ?? -Infinity)));
  const at = (value) => (log ? Math.log10(value) : value);
  const height = (i) => at(top[i]) - at(Math.max(top[i - 1], top[i + 1]));
  const inner = top.map((_, i) => i).filter((i) => i > 0 && i < top.length - 1 && Number.isFinite(top[i]) && height(i) > 0.03 * (high - low));
  const order = [top.indexOf(Math.max(...top)), ...inner.sort((a, b) => height(b) - height(a))];
  const kept = [];
  for (const i of order) {
    const text = `${clipped(network.units[i].name, 22)} ${short(top[i])}`;
    const clear = kept.every((other) => Math.abs(other.i - i) * band > 3.3 * (text.length + other.text.length) + 8 || (other.i !== i && Math.abs(at(top[i]) - at(other.value)) > 0.09 * (high - low)));
    if (clear && Number.isFinite(top[i]) && kept.length < (width < 600 ? 3 : 5)) kept.push({ i, value: top[i], text });
  }
  return kept.map(({ i, value, text }) => ({
    x: i,
    y: log ? Math.log10(value) : value,
    text: plain(text),
    showarrow: true, arrowhead: 0, arrowwidth: 1, arrowcolor: ink("soft"), ax: 0, ay: -20,
    xanchor: i * band > width - 150 ? "right" : i * band < 60 ? "left" : "center",
    font: { size: 11.5, color: colourOf(owner(series, i, value)) }, bgcolor: faded(ink("card"), 0.85), borderpad: 1,
  }));
}

/** Whose value it is. */
function owner(series, i, value) {
  return series.find(({ values }) => values[i].mean === value).configuration;
}

function oscillationWords(series, network, focus, common) {
  const measured = series.filter(({ values }) => values.some(({ n }) => n));
  const said = measured.slice(0, MOST_SHOWN).map(({ configuration, values }) => {
    const means = values.map((v) => v.mean ?? -Infinity);
    const worst = means.indexOf(Math.max(...means));
    return `${configuration.label}: largest ${short(means[worst])} after ${network.units[worst].name}, ${short(means.at(-1))} at the end`;
  });
  const more = measured.length > MOST_SHOWN ? ` and ${measured.length - MOST_SHOWN} more` : "";
  const merged = common.groups.filter((group) => group.length > 1).map((group) => groupName(group.map((i) => network.units[i].name)));
  const how = focus && focus.runs.length > common.runs ? ` (in ${common.runs} of ${focus.runs.length} runs)` : "";
  const shade = merged.length ? ` Shaded: units that ${focus.label} optimises jointly${how}.` : "";
  const several = series.some(({ configuration }) => configuration.runs.length > 1);
  const which = state.images === "evaluation" ? " on evaluation images, from which nothing was learned" : "";
  return `Relative error${which}${several ? ", mean over seeds with their range" : ""}. ${said.join("; ")}${more}.${shade}`;
}

function unitNumbers(series, network) {
  return {
    columns: [{ title: "Unit" }, ...series.map(({ configuration }) => ({ title: configuration.label, number: true }))],
    rows: network.units.map((unit, i) => [
      { text: unit.name },
      ...series.map(({ values }) => ({ text: short(values[i].mean), small: RANGE(values[i], short) })),
    ]),
  };
}

function oscillationTip(index, series, network, focus, common) {
  if (!network.units[index]) return null;
  const group = common.groups.find((members) => members.includes(index)) ?? [index];
  const others = group.filter((i) => i !== index).map((i) => network.units[i].name);
  const rows = [...series]
    .sort((a, b) => (b.values[index].mean ?? 0) - (a.values[index].mean ?? 0))
    .map(({ configuration, values }) => {
      const range = RANGE(values[index], short);
      return tipRow(configuration.label, `${short(values[index].mean)}${range ? ` (${range})` : ""}`, swatch(configuration));
    });
  const joint = focus && others.length ? h("p", { class: "tip-note" }, `${focus.label}: jointly with ${others.join(", ")}`) : null;
  return [...unitFacts(network, index), ...rows, joint];
}

panels.oscillation = buildOscillation;
