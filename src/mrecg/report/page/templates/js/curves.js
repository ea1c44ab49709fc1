/**
 * Loss curves of every group of units: small charts that are drawn when seen, and a large one in a dialog.
 */

const CURVES = {
  reconstruction: "Reconstruction", rounding: "Rounding", prediction: "Prediction", total: "Total", beta: "Beta",
};

/** Largest value of a panel over its least one, at the least: a change of two per cent shall not look like a fall. */
const LEAST_RATIO = 1.5;

const curvePanel = { curves: null, charts: new Map(), grid: null, words: null, table: null };

function buildCurves() {
  const body = byId("curves-body");
  const smooth = smoothing();
  const method = picker("Method", "optimiser", () => curveMethods().map((key) => [key, doc.methods[key]]), currentMethod);
  const controls = h("div", { class: "row" }, placePicker(), method, h("span", { class: "controls" },
    segments("Curve", "curve", Object.entries(CURVES)), segments("Scale of the curves", "axis", [["linear", "Linear"], ["log", "Log"]]), smooth));
  Object.assign(curvePanel, { grid: h("div", { class: "grid" }), words: h("p", { class: "summary" }) });
  const numbers = h("div", { class: "numbers" });
  curvePanel.table = h("details", { class: "data", ontoggle: () => tabulateCurves() }, h("summary", {}, "Numbers"), numbers);
  const fold = h("details", { class: "panel fold", ontoggle: () => curvePanel.charts.forEach((chart) => chart.refresh()) }, h("summary", {}, "Loss curves"), controls, legend("Configurations shown"), curvePanel.words, curvePanel.grid, curvePanel.table);
  curvePanel.count = fold.querySelector("summary");
  fill(body, fold);
  const redraw = () => {
    curvePanel.charts.forEach((chart) => chart.refresh());
    tabulateCurves();
    if (enlarged.dialog?.open) enlarged.chart.refresh();
  };
  watch(["shown", "place", "optimiser", "pair", ...FILTER_KEYS], () => {
    method.update();
    layCurves();
  });
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

/** Methods of the configurations shown. */
function curveMethods() {
  return [...new Set(shownConfigurations().map((configuration) => configuration.method))];
}

/** The method whose curves are drawn: losses of two are measured in different ways. */
function currentMethod() {
  const found = curveMethods();
  const compared = configurationById.get(currentComparison()?.id)?.method;
  return [state.optimiser, compared].find((method) => found.includes(method)) ?? found[0] ?? "";
}

/** What ends at each unit, alone or merged with units before it, with whoever has it. */
function curveGroups() {
  const found = new Map();
  for (const configuration of shownConfigurations().filter(({ method }) => method === currentMethod())) {
    for (const run of configuration.runs) {
      for (const curve of curvePanel.curves[run.id] ?? []) {
        const key = `${curve.group.at(-1)}|${curve.stage}`;
        if (!found.has(key)) found.set(key, { last: curve.group.at(-1), stage: curve.stage, groups: new Map(), lines: new Map() });
        const { lines, groups } = found.get(key);
        groups.set(curve.group.join("."), curve.group);
        if (!lines.has(configuration.id)) lines.set(configuration.id, { configuration, curves: [] });
        lines.get(configuration.id).curves.push(curve);
      }
    }
  }
  return [...found.values()].sort((a, b) => a.last - b.last || a.stage.localeCompare(b.stage));
}

/** The unit at the end, and what is merged with it. */
function curveTitle({ last, stage, groups }, network) {
  const merged = [...groups.values()].filter((group) => group.length > 1).sort((a, b) => a.length - b.length);
  const also = merged.map((group) => groupName(group.map((i) => network.units[i].short)));
  const names = also.length > 2 ? `${also.slice(0, 2).join(", ")}, …` : also.join(", ");
  return `${network.units[last].name}${also.length ? ` (${names})` : ""}${stage ? `, ${stage}` : ""}`;
}

/** One small chart a group; those that stay are kept. */
function layCurves() {
  if (!curvePanel.curves) return;
  const place = currentPlace();
  const groups = place ? curveGroups() : [];
  const network = networkById.get(split(place)[0]);
  const left = new Map(curvePanel.charts);
  const elements = groups.map((one) => {
    const title = curveTitle(one, network);
    const key = `${place}|${one.last}|${one.stage}`;
    let chart = left.get(key);
    if (!chart) {
      chart = new Chart({ title, height: 158, small: true, draw: (width) => drawCurve(chart.group, width, true), open: () => enlarge(key) });
      curvePanel.charts.set(key, chart);
    }
    left.delete(key);
    chart.group = one;
    chart.rename(title);
    return chart.element;
  });
  for (const [key, chart] of left) {
    chart.discard();
    curvePanel.charts.delete(key);
  }
  fill(curvePanel.grid, elements);
  curvePanel.charts.forEach((chart) => chart.refresh());
  curvePanel.count.textContent = groups.length ? `Loss curves: ${count(groups.length, "panel")}` : "No loss curves";
  curvePanel.words.textContent = groups.length
    ? `A panel for each unit at which a group ends, in network order; in parentheses what is merged with it. ${groups.some(({ lines }) => [...lines.values()].some(({ configuration }) => configuration.dropped)) ? "The losses of this method are measured while part of the activations is not quantized, so the loss that a group inherits cannot be drawn beside them." : "Thin and dotted: the loss with the group itself in full precision, which it inherits from the units before; what lies below that line makes up for their errors."}`
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
    if (key === "reconstruction" && !configuration.dropped && isNumber(floor) && floor > 0) {
      data.push({ x: [0, known[0].step.at(-1)], y: [floor, floor], mode: "lines", type: "scatter", line: { color: colour, width: 0.8, dash: "1px,3px" }, hoverinfo: "skip" });
    }
  }
  if (!data.length) return { missing: `No ${CURVES[key].toLowerCase()} here` };
  const log = state.axis !== "linear" && key !== "beta" && data.some((trace) => trace.y.some((v) => v > 0));
  const above = data.flatMap((trace) => trace.y).filter((value) => value > 0);
  const ends = leastRange(above);
  const ticks = small ? { tickfont: { size: 10 }, automargin: false } : {};
  return {
    data,
    layout: {
      margin: small ? { l: 48, r: 6, t: 4, b: 22 } : { l: 8, r: 12, t: 8, b: 8 },
      xaxis: { ...ticks, title: small ? "" : "Step", nticks: small ? 4 : 8, showgrid: false, showline: true },
      yaxis: { ...ticks, title: small ? "" : CURVES[key], ...(log ? { ...logTicks(...ends, small ? 4 : 7), range: ends.map((value, i) => Math.log10(value) + (i ? 0.02 : -0.02)) } : { rangemode: "tozero", nticks: small ? 4 : 7 }) },
    },
    summary: small ? "" : curveWords(one, key),
    numbers: () => curveNumbers([one], key),
    hover: (points) => [h("p", { class: "tip-title" }, `Step ${Math.round(points[0].x)}`), ...points.filter((p) => p.data.meta).map((p) => tipRow(configurationById.get(p.data.meta).label, short(p.y), swatch(configurationById.get(p.data.meta))))],
  };
}

/** The ends of some values, moved apart where they are close. */
function leastRange(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const more = Math.sqrt(Math.max(1, LEAST_RATIO / (high / low)));
  return [low / more, high * more];
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
      return [{ text: groupName(curves[0].group.map((i) => network.units[i].name)) + (one.stage ? `, ${one.stage}` : "") }, { text: configuration.label }, { text: String(curves.length) }, { text: short(first) }, { text: short(last) }, { text: short(floor) }];
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
