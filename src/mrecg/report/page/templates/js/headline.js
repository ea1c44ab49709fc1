/**
 * The headline: a comparison in four numbers, and the table of all configurations.
 */

function buildHeadline() {
  const cards = h("div", { class: "cards" });
  const place = h("p", { class: "pair" });
  const pick = picker("Comparison", "pair", () => pairs().map((c) => [c.id, pairTitle(c), placeTitle(c.place)]), () => currentPair()?.id ?? "");
  const tables = h("div", { class: "tables" });
  const every = h("details", { class: "every", ontoggle: () => update() }, h("summary", {}, "Every run"), h("div"));
  const orders = new Map();
  const update = () => {
    pick.update();
    const pair = currentPair();
    fill(cards, pair ? pairCards(pair) : aloneCards());
    fill(place, pair ? [h("b", {}, pair.label), " against ", h("b", {}, configurationById.get(pair.baseline).label), ` · ${networkTitle(networkById.get(pair.network))}, ${pair.bits}`] : "");
    place.hidden = !pair || !pick.hidden;
    fill(tables, visiblePlaces().map((name) => placeTable(name, orders)));
    if (every.open) fill(every.querySelector("div"), runTable(orders));
  };
  fill(byId("headline-body"), h("div", { class: "row" }, place, pick), cards, tables, every);
  watch(["pair", ...FILTER_KEYS], update);
  update();
}

/** Configurations that have a block-wise counterpart left. */
function pairs() {
  const left = visibleByConfiguration();
  return visibleConfigurations().filter((c) => c.baseline && left.has(c.baseline));
}

function pairTitle(configuration) {
  return `${configuration.label} against ${configurationById.get(configuration.baseline).label}`;
}

/** The chosen pair; else that with the highest accuracy in the place with most configurations. */
function currentPair() {
  const found = pairs();
  const here = found.filter((c) => c.place === currentPlace());
  const best = [...(here.length ? here : found)].sort((a, b) => (b.top1.mean ?? 0) - (a.top1.mean ?? 0))[0];
  return found.find((c) => c.id === state.pair) ?? best ?? null;
}

function pairCards(pair) {
  const left = visibleByConfiguration();
  const seeds = new Set(pair.runs.map((run) => run.seed));
  const common = left.get(pair.baseline).filter((run) => seeds.has(run.seed)).map((run) => run.seed);
  const both = (runs) => (common.length ? runs.filter((run) => common.includes(run.seed)) : runs);
  const after = summary(both(pair.runs));
  const before = summary(both(left.get(pair.baseline)));
  const basis = common.length > 1 ? `${common.length} common seeds` : common.length ? "one common seed" : "no common seed";
  const cards = [];
  if (isNumber(after.top1.mean) && isNumber(before.top1.mean)) {
    const error = after.toBaseline?.error;
    const doubt = isNumber(error) ? ` · ±${fixed(100 * error, 2)} ${after.toBaseline.paired ? "paired" : "unpaired"} standard error` : "";
    cards.push(card("Top-1 accuracy", signed(100 * (after.top1.mean - before.top1.mean), 2), "points", `${percent(before.top1.mean)} → ${percent(after.top1.mean)}`, `${basis}, ${count(after.images, "image")}${doubt}`, after.top1.mean - before.top1.mean));
  }
  const relative = (key, title, note, write = short) => {
    const [a, b] = [before[key].mean, after[key].mean];
    if (!isNumber(a) || !isNumber(b)) return;
    cards.push(card(title, a > 0 ? signed((100 * (b - a)) / a, 0) : NONE, "%", `${write(a)} → ${write(b)}`, note, a - b));
  };
  relative("index", "Oscillation index", "of the relative error; 0 where it only rises");
  relative("peak", "Largest error", `after ${worstUnit(both(pair.runs))}`);
  relative("seconds", "Time", "of all stages together", seconds);
  return cards;
}

/** The unit with the largest mean error. */
function worstUnit(runs) {
  const network = networkById.get(runs[0].of.network);
  const means = network.units.map((_, i) => spread(runs.map((run) => run.errors[i])).mean ?? -1);
  return network.units[means.indexOf(Math.max(...means))]?.name ?? NONE;
}

/** Without a comparison: the best configuration by itself. */
function aloneCards() {
  const best = [...visibleConfigurations()].sort((a, b) => (b.top1.mean ?? 0) - (a.top1.mean ?? 0))[0];
  if (!best) return [];
  const cards = [];
  if (isNumber(best.top1.mean)) {
    cards.push(card("Top-1 accuracy", fixed(100 * best.top1.mean, 2), "%", `full precision ${percent(best.fp.mean)}`, doubt(best), 0));
  }
  cards.push(card("Oscillation index", short(best.index.mean), "", best.label, "of the relative error; 0 where it only rises", 0));
  cards.push(card("Largest error", short(best.peak.mean), "", `after ${worstUnit(best.runs)}`, "relative, after one unit", 0));
  if (isNumber(best.size.mean)) {
    cards.push(card("Size", bytes(best.size.mean), "", `${bytes(best.sizeFp.mean)} in full precision`, `${seconds(best.seconds.mean)} for all stages`, 0));
  }
  return cards;
}

function doubt(configuration) {
  const error = configuration.standardError;
  return `${count(configuration.images, "image")}${isNumber(error) ? `, ±${fixed(100 * error, 2)} points` : ""}`;
}

/** @param {number} gain above 0 better, below 0 worse */
function card(title, value, unit, values, note, gain) {
  const tone = gain > 0 ? "better" : gain < 0 ? "worse" : "equal";
  const verdict = gain === 0 ? null : h("span", { class: `verdict ${tone}` }, tone);
  return h(
    "div",
    { class: `card ${tone}` },
    h("p", { class: "card-title" }, title, verdict),
    h("p", { class: "card-value" }, value, unit ? h("small", {}, THIN, unit) : null),
    h("p", { class: "card-values" }, values),
    h("p", { class: "card-note" }, note),
  );
}

const RANGE = (value, write) => (value.n > 1 && value.low !== value.high ? `${write(value.low)} – ${write(value.high)}` : "");

const FIRST_COLUMNS = [
  { title: "Configuration" },
  { title: "Seeds", number: true },
  { title: "Top-1", number: true, note: "Mean over the seeds; below it the least and the largest" },
  { title: "To FP", number: true, note: "Points of top-1 against full precision, with the standard error over images" },
  { title: "To block", number: true, note: "Points of top-1 against the block-wise run of the same seed, with the standard error over images" },
];
/** The metric that the number of merges stands after. */
const BEFORE_MERGES = "regrowth";
/** Equal in nearly all rows of a table, so none is marked as the best. */
const UNMARKED = "size";

/** Of many networks and bit widths each table begins with few rows, so that the figures are not far below. */
const MANY_PLACES = 4;
const FEW_ROWS = 8;

function placeTable(place, orders) {
  const found = ofPlace(place);
  if (!orders.has(place)) orders.set(place, { at: 2, down: true });
  const best = (pick, least) => {
    const values = found.map(pick).filter(isNumber);
    return values.length > 1 ? (least ? Math.min(...values) : Math.max(...values)) : null;
  };
  const top = best((c) => c.top1.mean, false);
  const metrics = doc.metrics.filter((metric) => metric.configurations).map((metric) => {
    const { key, better, configurations: title, note } = metric;
    const marked = better && key !== UNMARKED ? best((c) => c.metrics[key].mean, better === "lower") : null;
    return { key, marked, write: METRIC_FORMATS[metric.format], column: { title, note, number: true, rising: better === "lower" } };
  });
  const withMerges = (make, merges) => metrics.flatMap((metric) => (metric.key === BEFORE_MERGES ? [make(metric), merges] : [make(metric)]));
  const columns = [...FIRST_COLUMNS, ...withMerges(({ column }) => column, { title: "Merges", number: true })];
  const cell = (value, write, bestValue) => ({
    text: write(value.mean), sort: value.mean, small: RANGE(value, write), best: bestValue !== null && value.mean === bestValue,
  });
  const rows = found.map((c) => [
    { node: named(c), text: c.label, sort: c.label },
    { text: String(c.runs.length), sort: c.runs.length },
    cell(c.top1, percent, top),
    change(c.toFp),
    change(c.toBaseline),
    ...withMerges(
      ({ key, write, marked }) => cell(c.metrics[key], write, marked),
      cell(c.merges, (v) => fixed(v, Number.isInteger(v) ? 0 : 1), null),
    ),
  ]);
  const [network, bits] = split(place);
  const images = [...new Set(found.map((c) => c.images))].filter(Boolean);
  const basis = [
    isNumber(found[0].fp.mean) ? `full precision ${percent(found[0].fp.mean)}` : "not evaluated",
    images.length ? `${images.map((n) => n.toLocaleString("en")).join(" or ")} images` : null,
    isNumber(found[0].standardError) ? `standard error of one top-1 about ${fixed(100 * found[0].standardError, 2)} points` : null,
  ];
  const title = `${networkTitle(networkById.get(network))}, ${bits}`;
  return h(
    "div",
    { class: "panel" },
    h("h3", {}, title),
    h("p", { class: "basis" }, basis.filter(Boolean).join(" · ")),
    sortableTable(title, { columns, rows }, orders.get(place), visiblePlaces().length > MANY_PLACES ? FEW_ROWS : FIRST_ROWS),
  );
}

/** Points of top-1 with the standard error. */
function change(pooledChange) {
  if (!pooledChange) return { text: NONE, sort: null };
  const { mean, error, paired } = pooledChange;
  const small = isNumber(error) ? `±${fixed(100 * error, 2)}${paired ? " paired" : ""}` : "";
  return { text: signed(100 * mean, 2), sort: mean, small };
}

/** How a metric of `doc.metrics` is written. */
const METRIC_FORMATS = {
  percent: (v) => percent(v),
  fixed: (v) => fixed(v, 3),
  compact: (v) => short(v),
  seconds: (v) => seconds(v),
  bytes: (v) => bytes(v),
  megabytes: (v) => bytes(isNumber(v) ? v * 1e6 : null),
  count: (v) => (isNumber(v) ? v.toLocaleString("en") : NONE),
};

function runTable(orders) {
  const metrics = doc.metrics.filter((metric) => metric.runs);
  const columns = [
    { title: "Run" }, { title: "Configuration" }, { title: "Bits" }, { title: "Seed", number: true, rising: true },
    ...metrics.map(({ runs, better }) => ({ title: runs, number: true, rising: better === "lower" })),
    { title: "Device" }, { title: "Folder" },
  ];
  const number = (value, write) => ({ text: write(value), sort: value ?? null });
  const rows = visibleRuns().map((run) => [
    { text: run.name }, { text: run.of.label }, { text: run.of.bits }, number(run.seed, String),
    ...metrics.map(({ key, format }) => number(run[key], METRIC_FORMATS[format])), { text: run.device }, { text: run.folder },
  ]);
  if (!orders.has("runs")) orders.set("runs", { at: -1, down: false });
  return sortableTable("Every run", { columns, rows }, orders.get("runs"));
}
