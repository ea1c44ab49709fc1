/**
 * The first screen: who wins, where, why and at what price. Words and numbers were made with the document.
 */

function buildResult() {
  const pick = picker("Compare", "pair", () => comparisons().map((c) => [c.id, c.title, placeTitle(configurationById.get(c.id).place)]), () => currentComparison()?.id ?? "");
  const means = h("p", { class: "means" }, h("abbr", { title: "Mixed REConstruction Granularity" }, "MRECG"), ": neighbouring units are optimised jointly, the others one by one");
  const row = h("div", { class: "row" }, pick, h("p", { class: "pair" }, ""), means);
  const cards = h("div", { class: "cards" });
  const chart = new Chart({ title: "Error along the network", height: pairHeight, draw: drawPair, quiet: true });
  const key = h("ul", { class: "key", "aria-label": "Lines and bars" });
  chart.caption.querySelector(".controls").replaceWith(key);  // which stays on paper
  const ledger = h("div", { class: "ledger" });
  const figure = h("div", { class: "panel first" }, chart.element, ledger);
  fill(byId("result-body"), missingRun(), row, cards, figure);
  const update = () => {
    pick.update();
    const shown = currentComparison() ?? (doc.comparisons.length ? null : doc.alone);
    [row, cards, figure].forEach((part) => { part.hidden = !shown; });
    if (!shown) return;
    const [words, about] = document.querySelectorAll("#result .said");
    if (shown.parts) {
      words.textContent = shown.parts[0];
      about.textContent = shown.parts[1];
    }
    const name = row.querySelector(".pair");
    name.textContent = shown.parts || shown.several ? configurationText(shown) : "";
    name.classList.toggle("on-paper", !pick.hidden);
    means.hidden = !shown.merges?.length && !shownRuns(shown).after.some(mergedPairs);
    fill(cards, shown.cards.map(card));
    fill(key, pairKey(shown));
    fill(ledger, mergeLedger(shown));
    chart.refresh();
  };
  watch(["pair", "theme", ...FILTER_KEYS], update);
  update();
}

/** Comparisons of which the filter leaves both sides. */
function comparisons() {
  const left = visibleByConfiguration();
  return doc.comparisons.filter((c) => left.has(c.id) && left.has(c.baseline));
}

/** The chosen comparison; else the first one of the document, or of the place that is looked at. */
function currentComparison() {
  const found = comparisons();
  const here = (c) => state.place && configurationById.get(c.id).place === state.place;
  return found.find((c) => c.id === state.pair) ?? found.find(here) ?? found[0] ?? null;
}

/** The runs of both sides; without a comparison those of the best configuration. */
function shownRuns(shown) {
  const of = (ids) => ids.map((id) => runById.get(id));
  if (shown.before) return { before: of(shown.before), after: of(shown.after) };
  return { before: [], after: [...runById.values()].filter((run) => run.configuration === shown.id) };
}

function configurationText(shown) {
  const { label, place } = configurationById.get(shown.id);
  return shown.title ?? `${label}, ${placeTitle(place)}`;
}

/** Keeps a unit beside its number. */
function unbroken(text) {
  return text.replaceAll(/(\d) (?=%|×|(s|min|h|d)\b)/g, "$1\u00a0");
}

function card({ title, value, unit, values, note, verdict, tone }) {
  return h(
    "div",
    { class: `card ${tone}` },
    h("p", { class: "card-title" }, title, verdict ? h("span", { class: "verdict" }, verdict) : null),
    h("p", { class: "card-value" }, unbroken(value), unit ? h("small", {}, THIN, unit) : null),
    values ? h("p", { class: "card-values" }, unbroken(values)) : null,
    h("p", { class: "card-note" }, unbroken(note)),
  );
}

/** The command that makes the run that is missing. */
function missingRun() {
  if (!doc.missing) return null;
  const line = command(doc.missing.command, "the command of the missing run");
  return h("div", {}, h("p", { class: "basis" }, "This command makes the missing run:"), line);
}

/** What each merge gained at its end, and what it cost. */
function mergeLedger({ merges, schedule }) {
  if (!merges?.length) return [];
  const entry = ({ name, change, better, cost }) => h(
    "li",
    { class: better ? "better" : "worse" },
    h("b", {}, name), h("span", { class: "gain" }, change ?? NONE), cost ? h("span", { class: "price" }, cost) : null,
  );
  const priced = merges.some(({ cost }) => cost);
  return [
    h("h3", {}, "Merges", h("small", {}, `error at the end of each against one by one${priced ? ", and extra seconds of optimisation" : ""}${schedule ? `; ${schedule}` : ""}`)),
    h("ol", {}, merges.map(entry)),
  ];
}

panels.result = buildResult;
