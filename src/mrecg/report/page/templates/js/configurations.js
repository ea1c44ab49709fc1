/**
 * All configurations in a table for each network and bit widths, and every run.
 */

function buildConfigurations() {
  const tables = h("div", { class: "tables" });
  const every = h("details", { class: "every", ontoggle: () => update() }, h("summary", {}, "Every run"), h("div"));
  const orders = new Map();
  const update = () => {
    fill(tables, visiblePlaces().map((name) => placeTable(name, orders)));
    if (every.open) fill(every.querySelector("div"), runTable(orders));
  };
  fill(byId("configurations-body"), tables, every);
  watch(FILTER_KEYS, update);
  update();
}

const RANGE = (value, write) => (value.n > 1 && value.low !== value.high ? `${write(value.low)} – ${write(value.high)}` : "");

/** Metrics by worth; others stand after them. Top-1 is first. */
const BY_WORTH = ["head_error", "loss_peak", "regrowth", "total_seconds"];

/** Of many networks and bit widths each table begins with few rows, so that the figures are not far below. */
const MANY_PLACES = 4;
const FEW_ROWS = 8;

function placeTable(place, orders) {
  const found = ofPlace(place);
  if (!orders.has(place)) orders.set(place, { at: 1, down: true });
  const columns = placeColumns(found);
  const [network, bits] = split(place);
  const images = [...new Set(found.map((c) => c.images))].filter(Boolean);
  const sizes = new Set(found.map((c) => c.size.mean));
  const basis = [
    isNumber(found[0].fp.mean) ? `full precision ${percent(found[0].fp.mean)}` : "not evaluated",
    images.length ? `${images.map((n) => n.toLocaleString("en")).join(" or ")} images` : null,
    isNumber(found[0].standardError) ? `standard error of one top-1 about ${fixed(100 * found[0].standardError, 2)} points` : null,
    sizes.size === 1 && isNumber(found[0].size.mean) ? `${bytes(found[0].size.mean)} each` : null,
  ];
  const title = `${networkTitle(networkById.get(network))}, ${bits}`;
  const rows = found.map((c) => columns.map(({ cell }) => cell(c)));
  return h(
    "div",
    { class: "panel" },
    h("h3", {}, title),
    h("p", { class: "basis" }, basis.filter(Boolean).join(" · ")),
    sortableTable(title, { columns, rows }, orders.get(place), visiblePlaces().length > MANY_PLACES ? FEW_ROWS : FIRST_ROWS),
  );
}

/** Columns by worth; those that say the same of all are left out. */
function placeColumns(found) {
  const measured = (key, title, write, { note = "", lower = false, marked = true } = {}) => {
    const values = found.map((c) => c.metrics[key].mean).filter(isNumber);
    const best = marked && values.length > 1 ? (lower ? Math.min(...values) : Math.max(...values)) : null;
    return { title, note, number: true, rising: lower, cell: (c) => spreadCell(c.metrics[key], write, best) };
  };
  const own = doc.metrics.filter((metric) => metric.configurations && metric.key !== "top1");
  const place = ({ key }) => (BY_WORTH.includes(key) ? BY_WORTH.indexOf(key) : BY_WORTH.length);
  const metrics = own.sort((a, b) => place(a) - place(b)).map(({ key, configurations, note, better, format }) =>
    ({ worth: BY_WORTH.includes(key), ...measured(key, configurations, METRIC_FORMATS[format], { note, lower: better === "lower", marked: Boolean(better) }) }));
  const columns = [
    { title: "Configuration", cell: (c) => ({ node: named(c), text: c.label, sort: c.label }) },
    { ...measured("top1", "Top-1", percent, {}), note: "Mean over the seeds; below it the least and the largest" },
    { title: "To block", number: true, note: "Points of top-1 against the block-wise run of the same seed, with the standard error over images", cell: (c) => change(c.toBaseline) },
    ...metrics.filter(({ worth }) => worth),
    { title: "Merges", number: true, note: "Pairs of neighbours that are optimised jointly", cell: (c) => spreadCell(c.merges, (v) => fixed(v, Number.isInteger(v) ? 0 : 1), null) },
    { title: "To full precision", number: true, note: "Points of top-1 against full precision, with the standard error over images", cell: (c) => change(c.toFp) },
    { title: "Seeds", number: true, cell: (c) => ({ text: String(c.seeds), sort: c.seeds }) },
    ...metrics.filter(({ worth }) => !worth),
  ];
  const said = (column) => new Set(found.map((c) => column.cell(c).text));
  return columns.filter((column, i) => i < 2 || (found.length > 1 ? said(column).size > 1 : ![NONE, "1"].includes([...said(column)][0])));
}

function spreadCell(value, write, best) {
  return { text: write(value.mean), sort: value.mean, small: RANGE(value, write), best: best !== null && value.mean === best };
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

panels.configurations = buildConfigurations;
