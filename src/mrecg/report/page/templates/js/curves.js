/**
 * Loss curves of every group of units: small charts that are drawn when seen, and a large one in a dialog.
 */

const CURVES = {
  reconstruction: "Reconstruction", rounding: "Rounding", prediction: "Prediction", total: "Total", beta: "Beta",
};

const curvePanel = { curves: null, charts: new Map(), grid: null, words: null, table: null };

function buildCurves() {
  const body = byId("curves-body");
  const smooth = smoothing();
  const controls = h("div", { class: "row" }, placePicker(), h("span", { class: "controls" },
    segments("Curve", "curve", Object.entries(CURVES)), segments("Scale of the curves", "axis", [["linear", "Linear"], ["log", "Log"]]), smooth));
  Object.assign(curvePanel, { grid: h("div", { class: "grid" }), words: h("p", { class: "summary" }) });
  const numbers = h("div", { class: "numbers" });
  curvePanel.table = h("details", { class: "data", ontoggle: () => tabulateCurves() }, h("summary", {}, "Numbers"), numbers);
  fill(body, h("div", { class: "panel" }, controls, legend("Configurations shown"), curvePanel.words, curvePanel.grid, curvePanel.table));
  const redraw = () => {
    curvePanel.charts.forEach((chart) => chart.refresh());
    tabulateCurves();
    if (enlarged.dialog?.open) enlarged.chart.refresh();
  };
  watch(["shown", "place", ...FILTER_KEYS], () => layCurves());
  watch(["curve", "axis", "smooth", "theme"], redraw);
  loadCurves().then((found) => {
    curvePanel.curves = found;
    layCurves();
  });
}

function smoothing() {
  const input = h("input", { type: "range", min: "0", max: "0.95", step: "0.05", oninput: () => choose({ smooth: input.value }) });
  const update = () => { input.value = state.smooth; };
  watch(["smooth"], update);
  update();
  return h("label", { class: "slider" }, h("span", {}, "Smoothing"), input);
}

/** Distinct groups of the configurations shown, with whoever has them. */
function curveGroups() {
  const found = new Map();
  for (const configuration of shownConfigurations()) {
    for (const run of configuration.runs) {
      for (const curve of curvePanel.curves[run.id] ?? []) {
        const key = `${curve.group.join(".")}|${curve.stage}`;
        if (!found.has(key)) found.set(key, { group: curve.group, stage: curve.stage, lines: new Map() });
        const { lines } = found.get(key);
        if (!lines.has(configuration.id)) lines.set(configuration.id, { configuration, curves: [] });
        lines.get(configuration.id).curves.push(curve);
      }
    }
  }
  const order = (a, b) => a.group[0] - b.group[0] || a.group.length - b.group.length || a.stage.localeCompare(b.stage);
  return [...found.values()].sort(order);
}

/** One small chart a group; those that stay are kept. */
function layCurves() {
  if (!curvePanel.curves) return;
  const place = currentPlace();
  const groups = place ? curveGroups() : [];
  const network = networkById.get(split(place)[0]);
  const left = new Map(curvePanel.charts);
  const elements = groups.map((one) => {
    const names = one.group.map((i) => network.units[i].name);
    const title = `${groupName(names)}${one.stage ? `, ${one.stage}` : ""}`;
    const key = `${place}|${one.group.join(".")}|${one.stage}`;
    let chart = left.get(key);
    if (!chart) {
      chart = new Chart({ title, height: 158, small: true, draw: (width) => drawCurve(chart.group, width, true), open: () => enlarge(key) });
      curvePanel.charts.set(key, chart);
    }
    left.delete(key);
    chart.group = one;
    return chart.element;
  });
  for (const [key, chart] of left) {
    chart.discard();
    curvePanel.charts.delete(key);
  }
  fill(curvePanel.grid, elements);
  curvePanel.charts.forEach((chart) => chart.refresh());
  curvePanel.words.textContent = groups.length
    ? `${count(groups.length, "group")} of jointly optimised units, in network order. Thin and dotted: the loss with the group itself in full precision, which it inherits from the units before; what lies below that line makes up for their errors.`
    : doc.left_out
      ? "Of these runs the page keeps no curves: of so many it has those of the best configurations and of their block-wise counterparts. A page over fewer folders has them."
      : "These runs have no curves: their method optimises nothing, or none is left by the filter.";
  tabulateCurves();
}

/** Exponential moving average, corrected for its start. */
function smoothed(values, weight) {
  let sum = 0;
  let mass = 0;
  return values.map((value) => {
    if (!isNumber(value)) return null;
    sum = weight * sum + (1 - weight) * value;
    mass = weight * mass + (1 - weight);
    return sum / mass;
  });
}

function drawCurve(one, width, small) {
  const key = CURVES[state.curve] ? state.curve : "reconstruction";
  const weight = Number(state.smooth) || 0;
  const data = [];
  for (const { configuration, curves } of one.lines.values()) {
    const known = curves.filter((curve) => curve[key]?.some(isNumber));
    const colour = colourOf(configuration);
    const line = (curve, values, more) => ({ x: curve.step, y: smoothed(values, weight), mode: "lines", type: "scatter", hoverinfo: "none", line: { color: colour, width: small ? 1.5 : 1.8, dash: configuration.dash }, name: plain(configuration.label), meta: configuration.id, ...more });
    const aligned = known.length > 1 && known.every((curve) => String(curve.step) === String(known[0].step));
    const faint = known.length > 1 ? { opacity: 0.35, hoverinfo: "skip" } : {};
    known.forEach((curve) => data.push(line(curve, curve[key], faint)));
    if (aligned) data.push(line(known[0], known[0].step.map((_, i) => spread(known.map((curve) => curve[key][i])).mean)));
    const floor = spread(known.map((curve) => curve.floor)).mean;
    if (key === "reconstruction" && isNumber(floor) && floor > 0) {
      data.push({ x: [0, known[0].step.at(-1)], y: [floor, floor], mode: "lines", type: "scatter", line: { color: colour, width: 0.8, dash: "1px,3px" }, hoverinfo: "skip" });
    }
  }
  if (!data.length) return { missing: `No ${CURVES[key].toLowerCase()} here` };
  const log = state.axis !== "linear" && key !== "beta" && data.some((trace) => trace.y.some((v) => v > 0));
  const above = data.flatMap((trace) => trace.y).filter((value) => value > 0);
  const ticks = small ? { tickfont: { size: 10 }, automargin: false } : {};
  return {
    data,
    layout: {
      margin: small ? { l: 40, r: 6, t: 4, b: 22 } : { l: 8, r: 12, t: 8, b: 8 },
      xaxis: { ...ticks, title: small ? "" : "Step", nticks: small ? 4 : 8, showgrid: false, showline: true },
      yaxis: { ...ticks, title: small ? "" : CURVES[key], ...(log ? logTicks(Math.min(...above), Math.max(...above), small ? 4 : 7) : { rangemode: "tozero", nticks: small ? 4 : 7 }) },
    },
    summary: small ? "" : curveWords(one, key),
    numbers: () => curveNumbers([one], key),
    hover: (points) => [h("p", { class: "tip-title" }, `Step ${Math.round(points[0].x)}`), ...points.filter((p) => p.data.meta).map((p) => tipRow(configurationById.get(p.data.meta).label, short(p.y), swatch(configurationById.get(p.data.meta))))],
  };
}

function curveEnds(curves, key) {
  const first = spread(curves.map((curve) => curve[key]?.find(isNumber))).mean;
  const last = spread(curves.map((curve) => curve[key]?.findLast(isNumber))).mean;
  return { first, last, floor: spread(curves.map((curve) => curve.floor)).mean };
}

function curveWords(one, key) {
  const said = [...one.lines.values()].map(({ configuration, curves }) => {
    const { first, last, floor } = curveEnds(curves, key);
    return `${configuration.label}: ${short(first)} → ${short(last)}${isNumber(floor) ? `, floor ${short(floor)}` : ""}`;
  });
  return `${CURVES[key]} over the steps, mean over seeds. ${said.join("; ")}.`;
}

function curveNumbers(groups, key) {
  const network = networkById.get(split(currentPlace())[0]);
  return {
    columns: [{ title: "Units" }, { title: "Configuration" }, { title: "Runs", number: true }, { title: "First", number: true }, { title: "Last", number: true }, { title: "Floor", number: true }],
    rows: groups.flatMap((one) => [...one.lines.values()].map(({ configuration, curves }) => {
      const { first, last, floor } = curveEnds(curves, key);
      return [{ text: groupName(one.group.map((i) => network.units[i].name)) + (one.stage ? `, ${one.stage}` : "") }, { text: configuration.label }, { text: String(curves.length) }, { text: short(first) }, { text: short(last) }, { text: short(floor) }];
    })),
  };
}

function tabulateCurves() {
  if (!curvePanel.table?.open || !curvePanel.curves) return;
  fill(curvePanel.table.querySelector(".numbers"), simpleTable("Loss curves", curveNumbers(curveGroups(), state.curve)));
}

const enlarged = { dialog: null, chart: null, key: "" };

/** Show one group large; arrows lead to its neighbours. */
function enlarge(key) {
  enlarged.dialog ??= makeDialog();
  enlarged.key = key;
  showEnlarged();
  if (!enlarged.dialog.open) enlarged.dialog.showModal();
  enlarged.chart.visible = true;
  enlarged.chart.refresh();
}

function makeDialog() {
  enlarged.chart = new Chart({ title: "Loss curve", height: (width) => (width < 600 ? 300 : 440), draw: (width) => drawCurve(curvePanel.charts.get(enlarged.key).group, width, false) });
  const step = (by) => {
    const keys = curvePanel.grid ? [...curvePanel.grid.children].map((element) => [...curvePanel.charts].find(([, chart]) => chart.element === element)[0]) : [];
    enlarged.key = keys[(keys.indexOf(enlarged.key) + by + keys.length) % keys.length];
    showEnlarged();
    enlarged.chart.refresh();
  };
  const button = (text, label, onclick) => h("button", { type: "button", class: "icon", "aria-label": label, onclick }, text);
  const heading = h("h2", { id: "enlarged-title" });
  const bar = h("div", { class: "dialog-bar" }, heading, button("←", "Previous group", () => step(-1)), button("→", "Next group", () => step(1)), button("✕", "Close", () => enlarged.dialog.close()));
  const dialog = h("dialog", { "aria-labelledby": "enlarged-title", onclose: hideTip }, bar, enlarged.chart.element);
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);
  return dialog;
}

function showEnlarged() {
  const { title } = curvePanel.charts.get(enlarged.key);
  enlarged.dialog.querySelector("h2").textContent = title;
  enlarged.chart.rename(title);
}

panels.curves = buildCurves;
