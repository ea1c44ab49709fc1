/**
 * The ablation: accuracy, error into the head and largest loss against what the runs vary in.
 */

const OUTCOMES = [
  { key: "top1", title: "Top-1 accuracy (%)", scale: 100 },
  { key: "head_error", title: "Error into the head", scale: 1 },
  { key: "loss_peak", title: "Largest loss", scale: 1 },
];

const AGAINST = {
  merges: {
    title: "Merge count", axis: "Merged pairs", of: mergedPairs, numeric: true,
    // Runs without merges are where every planner's line starts.
    line: (run) => [doc.methods[run.of.method], run.of.planner || run.of.granularity, run.of.bits, run.of.options],
  },
  bits: {
    title: "Bits", axis: "", of: (run) => run.of.bits, line: (run) => [doc.methods[run.of.method], run.of.granularity, run.of.planner, run.of.options],
  },
  planner: {
    title: "Planner", axis: "", of: (run) => run.of.planner || run.of.granularity, line: (run) => [doc.methods[run.of.method], run.of.bits, run.of.options],
  },
  method: {
    title: "Method", axis: "", of: (run) => doc.methods[run.of.method], line: (run) => [run.of.granularity, run.of.planner, run.of.bits, run.of.settings],
  },
};

function buildAblation() {
  const tabs = segments("Against", "against", Object.entries(AGAINST).map(([name, { title }]) => [name, title]), currentAgainst);
  const network = networkPicker();
  const key = h("ul", { class: "key", "aria-label": "Lines" });
  const note = h("p", { class: "basis" });
  const panels = OUTCOMES.map((outcome) => new Chart({ title: outcome.title.replace(" (%)", ""), height: 300, draw: (width) => drawAblation(outcome, width) }));
  fill(byId("ablation-body"), h("div", { class: "panel" }, h("div", { class: "row" }, tabs, network), key, note, h("div", { class: "thirds" }, panels.map((panel) => panel.element))));
  const update = () => {
    const open = varying();
    showSection("ablation", open.length > 0);
    if (!open.length) return;
    tabs.update();
    tabs.hidden = open.length < 2;
    Object.keys(AGAINST).forEach((name, i) => { tabs.querySelectorAll("label")[i].hidden = !open.includes(name); });
    const lines = ablationLines();
    fill(key, lines.map((line) => h("li", {}, lineSwatch(line), line.name)));
    note.textContent = lines.note ?? "";
    panels.forEach((panel, i) => {
      panel.rename(`${OUTCOMES[i].title.replace(" (%)", "")} against ${AGAINST[currentAgainst()].title.toLowerCase()}`);
      panel.refresh();
    });
  };
  watch(["against", "place", "theme", ...FILTER_KEYS], update);
  update();
}

/** The choice of a network, where the bits do not matter. */
function networkPicker() {
  const options = () => [...new Set(visiblePlaces().map((place) => split(place)[0]))].map((id) => [visiblePlaces().find((place) => split(place)[0] === id), networkTitle(networkById.get(id))]);
  const current = () => options().find(([place]) => split(place)[0] === split(currentPlace())[0])?.[0] ?? "";
  const element = picker("Network", "place", options, current);
  watch(["place", ...FILTER_KEYS], element.update);
  return element;
}

/** Runs of the network that is looked at. */
function networkRuns() {
  const [network] = split(currentPlace());
  return visibleRuns().filter((run) => run.of.network === network);
}

/** What the runs vary in. */
function varying() {
  const runs = networkRuns();
  return Object.keys(AGAINST).filter((key) => new Set(runs.map(AGAINST[key].of)).size > 1);
}

/** The chosen tab; else the first in which the runs vary. */
function currentAgainst() {
  const found = varying();
  return found.includes(state.against) ? state.against : found[0] ?? "merges";
}

/**
 * Lines: runs that differ in nothing but the abscissa and the seed.
 * @returns {{name: string, points: {x: *, runs: Object[]}[], look: Object}[]}
 */
function ablationLines() {
  const { of, line, numeric } = AGAINST[currentAgainst()];
  const runs = networkRuns();
  const start = (run) => numeric && of(run) === 0;
  const found = [...groupBy(runs.filter((run) => !start(run)), (run) => line(run).join("\n")).values()];
  const bare = numeric ? runs.filter(start) : [];
  const lines = found.map((members) => {
    const same = (run) => ["method", "bits", "options"].every((key) => run.of[key] === members[0].of[key]);
    const own = bare.filter((run) => same(run) && (run.of.granularity === "block" || run.of.planner === members[0].of.planner));
    return { members: [...own, ...members], parts: line(members[0]), look: members[0].of };
  });
  const used = new Set(lines.flatMap(({ members }) => members));
  for (const members of groupBy(bare.filter((run) => !used.has(run)), (run) => line(run).join("\n")).values()) {
    lines.push({ members, parts: line(members[0]), look: members[0].of });
  }
  return told(fewLines(numeric && lines.some(varies) ? lines.filter(varies) : lines), of, numeric);
}

const MOST_LINES = 10;

/** Of many lines those at the bits that are looked at, and of these the most accurate. */
function fewLines(lines) {
  if (lines.length <= MOST_LINES) return lines;
  const [, bits] = split(currentPlace());
  const here = lines.filter(({ look }) => currentAgainst() === "bits" || look.bits === bits);
  const best = ({ members }) => Math.max(...members.map((run) => run.top1 ?? -(run.head_error ?? 0)));
  const left = (here.length ? here : lines).sort((a, b) => best(b) - best(a)).slice(0, MOST_LINES);
  return Object.assign(left, { note: `Shown: ${left.length} of ${lines.length} lines, the most accurate${currentAgainst() === "bits" ? "" : ` at ${bits}`}; the filter leads to the others.` });
}

/** Whether a line has more than one point; beside such lines, others say nothing. */
function varies({ members }) {
  return new Set(members.map(AGAINST[currentAgainst()].of)).size > 1;
}

/** Name lines by what they differ in, and gather their points. */
function told(lines, of, numeric) {
  const differing = lines[0]?.parts.map((_, i) => new Set(lines.map(({ parts }) => parts[i])).size > 1) ?? [];
  const found = lines.map(({ members, parts, look }, index) => ({
    look, index,
    name: parts.filter((part, i) => part && differing[i]).join(" · ") || parts.filter(Boolean).join(" · "),
    points: [...groupBy(members, of)].map(([x, of_]) => ({ x, runs: of_ })).sort((a, b) => (numeric ? a.x - b.x : 0)),
  }));
  return Object.assign(found, { note: lines.note ?? "" });
}

/** Colours by line, since lines here are no configurations. */
function lineColour({ index }) {
  const palette = colours();
  return palette[LINE_ORDER[index % LINE_ORDER.length] % palette.length];
}

const LINE_ORDER = [3, 4, 5, 6, 1, 2, 7, 0, 11, 12, 13, 14, 9, 10, 15, 8];
const LINE_MARKS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "x", "star"];

function lineSwatch(line) {
  return swatch({ colour: LINE_ORDER[line.index % LINE_ORDER.length], dash: "solid", marker: LINE_MARKS[line.index % LINE_MARKS.length] });
}

function drawAblation({ key, title, scale }, width) {
  if (!varying().length) return { missing: "All runs here have the same settings." };
  const { axis, numeric, of } = AGAINST[currentAgainst()];
  const lines = ablationLines();
  const categories = numeric ? [] : [...new Set(networkRuns().map(of))];
  const shift = (i) => (numeric || lines.length < 2 ? 0 : (i / (lines.length - 1) - 0.5) * Math.min(0.5, 0.12 * lines.length));
  const series = lines.map((line) => ({
    line,
    points: line.points
      .map(({ x, runs }) => ({ x, at: (numeric ? x : categories.indexOf(x)) + shift(line.index), ...spread(runs.map((run) => (isNumber(run[key]) ? run[key] * scale : null))) }))
      .filter((point) => point.n),
  })).filter(({ points }) => points.length);
  if (!series.length) return { missing: "Not measured in these runs." };
  const xaxis = numeric
    ? { title: axis, dtick: tickStep(series.flatMap(({ points }) => points.map((p) => p.at))), showgrid: false, showline: true }
    : { tickmode: "array", tickvals: categories.map((_, i) => i), ticktext: categories.map((name) => plain(clipped(name, 14))), tickangle: 7 * categories.reduce((sum, name) => sum + Math.min(name.length, 14) + 2, 0) > width - 60 ? -45 : 0, range: [-0.5, categories.length - 0.5], showgrid: false, showline: true };
  const extent = usualRange(series.flatMap(({ points }) => points.flatMap((p) => [p.low, p.high])), scale === 100);
  return {
    data: series.map(({ line, points }) => ({
      type: "scatter", mode: numeric || currentAgainst() === "bits" ? "lines+markers" : "markers", hoverinfo: "none", meta: line.index,
      x: points.map((p) => p.at), y: points.map((p) => p.mean), customdata: points,
      line: { color: lineColour(line), width: 1.8 }, marker: { color: lineColour(line), size: 8, symbol: LINE_MARKS[line.index % LINE_MARKS.length] },
      error_y: { type: "data", symmetric: false, array: points.map((p) => p.high - p.mean || null), arrayminus: points.map((p) => p.mean - p.low || null), color: lineColour(line), thickness: 1.2, width: 3 },
    })),
    layout: { hovermode: "closest", margin: { l: 8, r: 10, t: 8, b: 8 }, xaxis, yaxis: { title: scale === 100 ? "%" : "", range: extent } },
    summary: ablationWords(series, title, extent),
    numbers: () => ({
      columns: [{ title: "Line" }, { title: AGAINST[currentAgainst()].title, number: numeric }, { title, number: true }, { title: "Least", number: true }, { title: "Largest", number: true }, { title: "Runs", number: true }],
      rows: series.flatMap(({ line, points }) => points.map((p) => [{ text: line.name }, { text: String(p.x) }, { text: short(p.mean) }, { text: short(p.low) }, { text: short(p.high) }, { text: String(p.n) }])),
    }),
    hover: ([point]) => [
      h("p", { class: "tip-title" }, lines[point.data.meta].name),
      tipRow(AGAINST[currentAgainst()].title, String(point.customdata.x)),
      tipRow(title, `${short(point.y)}${RANGE(point.customdata, short) ? ` (${RANGE(point.customdata, short)})` : ""}`),
      tipRow("Runs", String(point.customdata.n)),
    ],
  };
}

function tickStep(values) {
  const span = Math.max(...values) - Math.min(...values);
  return span <= 8 ? 1 : Math.ceil(span / 8);
}

function ablationWords(series, title, [low, high]) {
  const best = series.flatMap(({ line, points }) => points.map((p) => ({ ...p, name: line.name })));
  const rising = title.startsWith("Top-1");
  const top = best.reduce((a, b) => ((rising ? b.mean > a.mean : b.mean < a.mean) ? b : a));
  const placed = (p) => `${short(p.mean)} at ${p.x}${p.name === String(p.x) ? "" : ` (${p.name})`}`;
  const outside = best.filter((p) => p.mean < low || p.mean > high);
  return `${rising ? "Highest" : "Lowest"}: ${placed(top)}.${outside.length ? ` Outside the window: ${outside.map(placed).join(", ")}.` : ""}`;
}

panels.ablation = buildAblation;
