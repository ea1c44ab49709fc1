/**
 * The document: unpacked from its block, indexed, and summed up over the runs that the filter leaves.
 */

/** @type {Object} what document.py made; see there. */
let doc = null;
const runById = new Map();
const configurationById = new Map();
const networkById = new Map();
const planById = new Map();

/**
 * Decode a data block: base64 of gzip.
 * @param {string} id of the block, less "-data"
 * @returns {Promise<string>}
 */
async function unpack(id) {
  const packed = atob(byId(`${id}-data`).textContent);
  const bytesOf = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i += 1) bytesOf[i] = packed.charCodeAt(i);
  const stream = new Blob([bytesOf]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

/** Read the document and index it. */
async function loadDocument() {
  doc = JSON.parse(await unpack("document"));
  for (const network of doc.networks) networkById.set(network.id, network);
  for (const plan of doc.plans) planById.set(plan.id, plan);
  for (const configuration of doc.configurations) {
    configurationById.set(configuration.id, { ...configuration, place: placeOf(configuration) });
  }
  for (const run of doc.runs) {
    runById.set(run.id, { ...run, of: configurationById.get(run.configuration) ?? null });
  }
}

let curvesPromise = null;

/** Read the curves, once. */
function loadCurves() {
  curvesPromise ??= unpack("curves").then((text) => JSON.parse(text));
  return curvesPromise;
}

/** What shares axes: a network at one pair of bit widths. */
function placeOf(configuration) {
  return `${configuration.network}.${configuration.bits}`;
}

function placeTitle(place) {
  const [network, bits] = split(place);
  return doc.networks.length > 1 ? `${networkTitle(networkById.get(network))}, ${bits}` : bits;
}

/** A network's title, told apart from others of that name (cut into other units) by its number of units. */
function networkTitle(network) {
  const rivals = doc.networks.filter((other) => other.title === network.title);
  return rivals.length > 1 ? `${network.title} (${network.units.length} units)` : network.title;
}

function split(place) {
  const at = place.indexOf(".");
  return [place.slice(0, at), place.slice(at + 1)];
}

const FACETS = [
  { key: "network", title: "Network", of: (run) => run.of.network, name: (id) => networkTitle(networkById.get(id)) },
  { key: "bits", title: "Bits", of: (run) => run.of.bits, name: (value) => value },
  { key: "method", title: "Method", of: (run) => run.of.method, name: (value) => doc.methods[value] },
  { key: "granularity", title: "Granularity", of: (run) => run.of.granularity, name: (value) => (value === "block" ? "block-wise" : value) },
  { key: "planner", title: "Planner", of: (run) => run.of.planner, name: (value) => value || "none" },
  { key: "seed", title: "Seed", of: (run) => String(run.seed), name: (value) => value },
];

/** Completed runs that the filter leaves, in table order. */
function visibleRuns() {
  return cached("runs", () =>
    [...runById.values()].filter(
      (run) => run.of && FACETS.every(({ key, of }) => !state[key].length || state[key].includes(of(run))),
    ),
  );
}

/** Their runs by configuration. @returns {Map<string, Object[]>} */
function visibleByConfiguration() {
  return cached("byConfiguration", () => groupBy(visibleRuns(), (run) => run.of.id));
}

/** Configurations with a run left, with their runs and means. */
function visibleConfigurations() {
  return cached("configurations", () =>
    [...visibleByConfiguration()].map(([id, runs]) => ({ ...configurationById.get(id), runs, ...summary(runs) })),
  );
}

/** Configurations of a place. */
function ofPlace(place) {
  return visibleConfigurations().filter((configuration) => configuration.place === place);
}

/** Places with a run left; the one with most configurations first. */
function visiblePlaces() {
  const places = groupBy(visibleConfigurations(), (configuration) => configuration.place);
  return [...places.keys()];
}

const memory = new Map();

/** Keep what follows from the filter until the filter changes. */
function cached(key, make) {
  if (!memory.has(key)) memory.set(key, make());
  return memory.get(key);
}

function forget() {
  memory.clear();
}

/** @returns {Map<*, Array>} in order of first appearance. */
function groupBy(items, key) {
  const groups = new Map();
  for (const item of items) {
    const name = key(item);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(item);
  }
  return groups;
}

/**
 * Mean, least and largest of the numbers among some values.
 * @returns {{mean: number|null, low: number|null, high: number|null, n: number}}
 */
function spread(values) {
  const numbers = values.filter(isNumber);
  if (!numbers.length) return { mean: null, low: null, high: null, n: 0 };
  const mean = numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
  return { mean, low: Math.min(...numbers), high: Math.max(...numbers), n: numbers.length };
}

/** Pool paired changes of runs: their mean and the standard error of one of them (they share images). */
function pooled(changes) {
  const known = changes.filter((change) => change && isNumber(change.change));
  if (!known.length) return null;
  const paired = known.every((change) => change.paired !== false);
  // Where decisions were kept of some runs only, the larger errors of the others stand for all.
  const errors = known.filter((change) => paired || change.paired === false).map((change) => change.standard_error).filter(isNumber);
  return {
    ...spread(known.map((change) => change.change)),
    error: errors.length ? spread(errors).mean : null,
    paired,
    images: known[0].images,
  };
}

/** Runs of two configurations that compare: those with common seeds, each seed once; all where there is none. */
function compared(before, after) {
  const [old, own] = [before, after].map((runs) => new Map(runs.map((run) => [run.seed, run])));
  const seeds = [...own.keys()].filter((seed) => old.has(seed));
  return [old, own].map((bySeed) => (seeds.length ? seeds : [...bySeed.keys()]).map((seed) => bySeed.get(seed)));
}

/** What is told about some runs of one configuration. */
function summary(runs) {
  const of = (key) => spread(runs.map((run) => run[key]));
  return {
    top1: of("top1"),
    fp: of("fp_top1"),
    head: of("head_error"),
    seconds: of("total_seconds"),
    size: of("size"),
    metrics: Object.fromEntries(doc.metrics.map(({ key }) => [key, of(key)])),
    images: runs[0].images,
    seeds: new Set(runs.map((run) => run.seed)).size,
    standardError: of("standard_error").mean,
    toFp: pooled(runs.map((run) => run.to_fp)),
    toBaseline: pooled(runs.map((run) => run.to_baseline)),
    merges: spread(runs.map(mergedPairs)),
  };
}

/** Pairs of neighbours that a run optimised jointly. */
function mergedPairs(run) {
  return run.groups.reduce((sum, group) => sum + group.length - 1, 0);
}

/** The schedule that most of a configuration's runs have, and how many. */
function commonGroups(runs) {
  const kinds = [...groupBy(runs, (run) => JSON.stringify(run.groups)).values()];
  const most = kinds.reduce((best, members) => (members.length > best.length ? members : best), []);
  return { groups: most[0]?.groups ?? [], runs: most.length };
}

/**
 * The window that shows most values well: one that is far below all others (or above) is left out of it.
 * @param {number[]} values at least one
 * @param {boolean} rising whether large is good
 * @returns {[number, number]}
 */
function usualRange(values, rising) {
  const sorted = [...values].sort((a, b) => (rising ? b - a : a - b));
  const best = sorted[0];
  let last = sorted.length - 1;
  // A few values behind a gap that is wider than all others together: the others are what is looked at.
  for (let i = last; i > Math.max(2, 0.8 * sorted.length - 1); i -= 1) {
    if (Math.abs(sorted[i] - sorted[i - 1]) > 1.5 * Math.abs(sorted[i - 1] - best)) last = i - 1;
  }
  const end = sorted[last] === best ? sorted.at(-1) : sorted[last];
  const [low, high] = rising ? [end, best] : [best, end];
  const room = (high - low || Math.abs(high) * 0.1 || 1) * 0.12;
  return [low - room, high + room];
}
