/**
 * Decisions: where the quantized network decides otherwise than the full-precision one.
 */

function buildDecisions() {
  const charts = [
    new Chart({ title: "Images by what became of their decision", height: 92, draw: drawFlips }),
    new Chart({ title: "Per-class difference", height: classHeight, draw: drawClasses }),
    new Chart({ title: "Most frequent changes of decision", height: confusionHeight, draw: drawConfusions }),
  ];
  const run = picker("Run", "run", () => decidedRuns().map((r) => [r.id, `${r.of.label}, seed ${r.seed}`, placeTitle(r.of.place)]), () => currentRun()?.id ?? "");
  const missing = h("p", { class: "missing" }, doc.left_out
    ? "Of these runs the page keeps no decisions: of so many it has those of the best configurations and of their block-wise counterparts, as far as these kept them."
    : "None of these runs kept its decisions, image by image. Runs of this version do: repeat one to see which classes and which images change.");
  const key = h("ul", { class: "key", "aria-label": "Parts of the bar" });
  const table = h("div");
  const body = h("div", {}, h("div", { class: "row" }, run), key, charts[0].element, h("div", { class: "halves" }, charts[1].element, charts[2].element), table);
  fill(byId("decisions-body"), h("div", { class: "panel" }, missing, body));
  const order = { at: -1, down: false };
  const update = () => {
    const none = !currentRun();
    missing.hidden = !none;
    body.hidden = none;
    if (none) return;
    run.update();
    charts.forEach((chart) => chart.refresh());
    const { decisions } = currentRun();
    fill(key, FATES.map((fate) => h("li", {}, h("i", { class: `patch ${fate.colour}` }), `${fate.title} ${decisions[fate.key].toLocaleString("en")}`)));
    fill(table, h("h3", { class: "after" }, "All configurations"), flipTable(order));
  };
  watch(["run", "place", "theme", ...FILTER_KEYS], update);
  update();
}

function decidedRuns() {
  return visibleRuns().filter((run) => run.decisions);
}

/** The chosen run; else the first of the configuration that is shaded, or of the place. */
function currentRun() {
  const found = decidedRuns();
  const here = found.filter((run) => run.of.place === currentPlace());
  const focus = focusedConfiguration()?.id;
  return found.find((run) => run.id === state.run) ?? here.find((run) => run.of.id === focus) ?? here[0] ?? found[0] ?? null;
}

const FATES = [
  { key: "both_right", title: "both right", colour: "calm" },
  { key: "only_fp_right", title: "lost", colour: "bad" },
  { key: "only_quantized_right", title: "gained", colour: "good" },
  { key: "both_wrong_same", title: "both wrong, same", colour: "cell" },
  { key: "both_wrong_differ", title: "both wrong, different", colour: "bar" },
];

function drawFlips() {
  const run = currentRun();
  if (!run) return { missing: "No decisions." };
  const { images, ...numbers } = run.decisions;
  const flips = numbers.only_fp_right + numbers.only_quantized_right + numbers.both_wrong_differ;
  const data = FATES.map(({ key, colour }) => {
    const share = (100 * numbers[key]) / images;
    return { type: "bar", orientation: "h", x: [share], y: [0], marker: { color: ink(colour), line: { width: 1, color: ink("card") } }, hoverinfo: "none", meta: key };
  });
  return {
    data,
    layout: {
      barmode: "stack", hovermode: "closest", bargap: 0.25, margin: { l: 8, r: 18, t: 2, b: 30 },
      xaxis: { range: [0, 100], ticksuffix: " %", showgrid: false, automargin: false }, yaxis: { visible: false, fixedrange: true },
    },
    summary: `Of ${images.toLocaleString("en")} images ${flips.toLocaleString("en")} are decided otherwise than in full precision: ${numbers.only_fp_right} lost (only full precision is right), ${numbers.only_quantized_right} gained (only the quantized network is right), ${numbers.both_wrong_differ} wrong in another way. ${numbers.both_right.toLocaleString("en")} stay right, ${numbers.both_wrong_same} stay wrong in the same way.`,
    numbers: () => ({
      columns: [{ title: "Images" }, { title: "Number", number: true }, { title: "Share", number: true }],
      rows: FATES.map(({ key, title }) => [{ text: title }, { text: String(numbers[key]) }, { text: percent(numbers[key] / images) }]),
    }),
    hover: ([point]) => [tipRow(FATES.find(({ key }) => key === point.data.meta).title, `${numbers[point.data.meta].toLocaleString("en")} images (${percent(point.x / 100)})`)],
  };
}

/** Classes, that which lost most first. */
function changedClasses() {
  const run = currentRun();
  const change = (c) => (c.quantized_right - c.fp_right) / c.images;
  return (run?.decisions.classes ?? []).filter((c) => c.images).map((c) => ({ ...c, change: 100 * change(c) })).sort((a, b) => a.change - b.change);
}

function classHeight() {
  return 76 + 22 * Math.max(changedClasses().length, 3);
}

function confusionHeight() {
  return 76 + 22 * Math.max(currentRun()?.decisions.confusions?.length ?? 0, 3);
}

/** Bars to the left and to the right, names beside them. */
function sideways(names, values, more) {
  const place = names.map((_, i) => names.length - 1 - i);
  return {
    data: [{ type: "bar", orientation: "h", x: values, y: place, hoverinfo: "none", ...more.trace }],
    layout: {
      hovermode: "closest", bargap: 0.3, margin: { l: 8, r: 16, t: 4, b: 8 },
      xaxis: { title: more.title, zeroline: true, zerolinecolor: ink("soft"), zerolinewidth: 1, ...more.axis },
      yaxis: { tickmode: "array", tickvals: place, ticktext: names.map((name) => plain(clipped(name, 28))), range: [-0.6, names.length - 0.4], showgrid: false, ticklen: 0 },
    },
  };
}

function drawClasses() {
  const found = changedClasses();
  if (!found.length) return { missing: "No classes." };
  const run = currentRun();
  const values = found.map((c) => c.change);
  const [worst, best] = [found[0], found.at(-1)];
  const listed = run.decisions.class_count > found.length ? ` ${found.length} of ${run.decisions.class_count} classes: those that changed most.` : "";
  const told = (c) => `${c.name} ${signed(c.change, 1)} points (${c.fp_right} → ${c.quantized_right} of ${c.images})`;
  return {
    ...sideways(found.map((c) => c.name), values, { title: "Points of accuracy, quantized less full precision", trace: { marker: { color: values.map((v) => ink(v < 0 ? "bad" : "good")) } } }),
    summary: `Most lost: ${told(worst)}. ${best.change > 0 ? `Most gained: ${told(best)}.` : "No class gained."}${listed}`,
    numbers: () => ({
      columns: [{ title: "Class" }, { title: "Images", number: true }, { title: "Right in FP", number: true }, { title: "Right quantized", number: true }, { title: "Points", number: true }],
      rows: found.map((c) => [{ text: c.name }, { text: String(c.images) }, { text: String(c.fp_right) }, { text: String(c.quantized_right) }, { text: signed(c.change, 1) }]),
    }),
    hover: ([point]) => [tipRow(...told(found[found.length - 1 - point.y]).split(/ (?=[+−\d][^()]* points)/))],
  };
}

function drawConfusions() {
  const found = currentRun()?.decisions.confusions ?? [];
  if (!found.length) return { missing: "No image changes its class." };
  const names = found.map(({ from, to }) => `${clipped(from, 13)} → ${clipped(to, 13)}`);
  const told = ({ from, to, images }) => `${from} → ${to}: ${count(images, "image")}`;
  const images = found.map((c) => c.images);
  // Plotly would mark halves of an image, too.
  const axis = { rangemode: "tozero", tickformat: "d", ...(Math.max(...images) < 10 ? { dtick: 1 } : {}) };
  return {
    ...sideways(names, images, { title: "Images: full precision → quantized", axis, trace: { marker: { color: ink("bar") } } }),
    summary: `Full precision says the first, the quantized network the second. Most frequent: ${found.slice(0, 3).map(told).join("; ")}.`,
    numbers: () => ({
      columns: [{ title: "Full precision" }, { title: "Quantized" }, { title: "Images", number: true }],
      rows: found.map(({ from, to, images }) => [{ text: from }, { text: to }, { text: String(images) }]),
    }),
    hover: ([point]) => [tipRow(told(found[found.length - 1 - point.y]), "")],
  };
}

function flipTable(order) {
  const columns = [{ title: "Configuration" }, { title: "Bits" }, { title: "Runs", number: true }, { title: "Images", number: true }, { title: "Lost", number: true, rising: true }, { title: "Gained", number: true }, { title: "Net", number: true }, { title: "Wrong otherwise", number: true, rising: true }];
  const rows = [...groupBy(decidedRuns(), (run) => run.of.id).values()].map((runs) => {
    const of = (key) => spread(runs.map((run) => run.decisions[key])).mean;
    const number = (value, write = (v) => fixed(v, runs.length > 1 ? 1 : 0)) => ({ text: write(value), sort: value });
    const net = of("only_quantized_right") - of("only_fp_right");
    return [
      { node: named(configurationById.get(runs[0].of.id)), text: runs[0].of.label }, { text: runs[0].of.bits }, number(runs.length, String), number(runs[0].decisions.images, (v) => v.toLocaleString("en")),
      number(of("only_fp_right")), number(of("only_quantized_right")), number(net, (v) => signed(v, runs.length > 1 ? 1 : 0)), number(of("both_wrong_differ")),
    ];
  });
  return sortableTable("Decisions of all configurations", { columns, rows }, order);
}

panels.decisions = buildDecisions;
