/**
 * What the reader chose. All of it stands in the address behind "#", so that a link leads back to the same view.
 */

/** Values of a new page; lists come from checkboxes, null means "chosen by the page". */
const DEFAULTS = {
  network: [], bits: [], method: [], granularity: [], planner: [], seed: [],
  place: "", pair: "", scale: "", images: "", shown: [], focus: "", lines: "mean",
  plan: "", criterion: "",
  curve: "reconstruction", optimiser: "", axis: "log", smooth: "0",
  against: "", time: "log", run: "", theme: "",
};
const FILTER_KEYS = ["network", "bits", "method", "granularity", "planner", "seed"];

const state = structuredClone(DEFAULTS);
let section = "";
/** @type {{keys: string[], update: function(): void}[]} */
const listeners = [];

/** Call `update` whenever one of these keys changes. */
function watch(keys, update) {
  listeners.push({ keys, update });
}

/**
 * Change what is chosen, write the address, tell whoever watches.
 * @param {Object<string, string|string[]>} changes
 */
function choose(changes) {
  const changed = Object.keys(changes).filter((key) => String(state[key]) !== String(changes[key]));
  if (!changed.length) return;
  Object.assign(state, changes);
  if (changed.some((key) => FILTER_KEYS.includes(key))) forget();
  writeAddress();
  for (const { keys, update } of listeners) {
    if (keys.some((key) => changed.includes(key))) update();
  }
}

/** The address of the present view. @param {string} [where] a section */
function address(where = section) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(state)) {
    if (Array.isArray(value)) value.forEach((item) => query.append(key, item));
    else if (value !== DEFAULTS[key]) query.set(key, value);
  }
  const text = query.toString();
  return `#${where}${text ? `?${text}` : ""}`;
}

function writeAddress() {
  const hash = address();
  history.replaceState(null, "", hash === "#" ? location.href.split("#")[0] : hash);
  for (const link of document.querySelectorAll("nav a[data-section]")) link.href = address(link.dataset.section);
}

/** Take over an address: unknown keys are passed over, an unknown value stands for nothing chosen. */
function readAddress() {
  const [where, query = ""] = location.hash.slice(1).split("?", 2);
  const found = new URLSearchParams(query);
  const next = structuredClone(DEFAULTS);
  for (const key of Object.keys(DEFAULTS)) {
    if (!found.has(key)) continue;
    next[key] = Array.isArray(DEFAULTS[key]) ? found.getAll(key) : found.get(key);
  }
  for (const { key, of } of FACETS) {
    const known = new Set([...runById.values()].filter((run) => run.of).map(of));
    next[key] = next[key].filter((value) => known.has(value));
  }
  section = where;
  choose(next);
}

/** The place that is looked at: the chosen one while the filter leaves it, else that with most configurations. */
function currentPlace() {
  const places = visiblePlaces();
  if (places.includes(state.place)) return state.place;
  const sizes = groupBy(visibleConfigurations(), (configuration) => configuration.place);
  return places.reduce((best, place) => (sizes.get(place).length > (sizes.get(best)?.length ?? 0) ? place : best), "");
}

const MOST_SHOWN = 6;

/** Configurations that are drawn: the chosen ones; else the best that merge, each with its block-wise counterpart. */
function shownConfigurations() {
  const all = ofPlace(currentPlace());
  const chosen = all.filter((configuration) => state.shown.includes(configuration.id));
  if (chosen.length) return chosen;
  if (all.length <= MOST_SHOWN) return all;
  const rank = (configuration) => configuration.top1.mean ?? -(configuration.head.mean ?? 0);
  const sorted = [...all].sort((a, b) => Boolean(b.baseline) - Boolean(a.baseline) || rank(b) - rank(a));
  const keep = new Set();
  for (const best of spreadOut(sorted)) {
    if (keep.size >= MOST_SHOWN) break;
    if (all.some((other) => other.id === best.baseline)) keep.add(best.baseline);
    keep.add(best.id);
  }
  return all.filter((configuration) => keep.has(configuration.id));
}

/** Of a sequence of merge counts the ends and some between them come first. */
function spreadOut(sorted) {
  const merging = sorted.filter((configuration) => configuration.baseline);
  const alike = new Set(merging.map(({ method, planner }) => `${method} ${planner}`)).size === 1;
  if (!alike || new Set(merging.map(({ merge_count: k }) => k)).size < merging.length) return sorted;
  const inOrder = [...merging].sort((a, b) => a.merge_count - b.merge_count);
  const few = Math.min(MOST_SHOWN - 1, inOrder.length);
  const chosen = Array.from({ length: few }, (_, i) => inOrder[Math.round((i * (inOrder.length - 1)) / Math.max(1, few - 1))]);
  return [...new Set([...chosen, ...sorted])];
}

/** The configuration whose merges are shaded: the chosen one, else the best of those that merge. */
function focusedConfiguration() {
  const shown = shownConfigurations();
  const merging = shown.filter((configuration) => configuration.merges.high > 0);
  const best = [...merging].sort((a, b) => (b.top1.mean ?? 0) - (a.top1.mean ?? 0))[0];
  return shown.find((configuration) => configuration.id === state.focus) ?? best ?? null;
}
