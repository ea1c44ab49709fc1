/**
 * Where the error at the end of each group comes from: inherited, added by its quantization, or repaired.
 */

const SHARES = [
  { key: "inherited", title: "inherited", colour: "bar" },
  { key: "added", title: "added", colour: "bad" },
  { key: "repaired", title: "repaired", colour: "good" },
];

function buildShares() {
  const charts = [0, 1].map((side) => new Chart({ title: "Shares of the error", height: 300, draw: (width) => drawShares(side, width) }));
  const key = h("ul", { class: "key", "aria-label": "Parts of a bar" }, SHARES.map(({ title, colour }) => h("li", {}, h("i", { class: `patch ${colour}` }), title)));
  const halves = h("div", { class: "halves" }, charts.map((chart) => chart.element));
  fill(byId("shares-body"), h("div", { class: "panel" }, key, halves));
  const update = () => {
    const sides = shareSides();
    showSection("shares", sides.length > 0);
    charts.forEach((chart, side) => {
      chart.element.hidden = !sides[side];
      if (!sides[side]) return;
      chart.rename(sides[side].name);
      chart.refresh();
    });
  };
  watch(["pair", "theme", ...FILTER_KEYS], update);
  update();
}

/** The sides of the comparison whose losses in full precision were measured; the first seed stands for all. */
function shareSides() {
  const shown = currentComparison() ?? (doc.comparisons.length ? null : doc.alone);
  if (!shown) return [];
  const { before, after } = shownRuns(shown);
  const name = shown.after_name ?? configurationById.get(shown.id).label;
  return [{ run: before[0], name: shown.before_name }, { run: after[0], name }].filter(({ run }) => run && sharesOf(run).length);
}

/** Of each group the parts of its error, in the relative error of its last unit. */
function sharesOf(run) {
  return run.groups.map((group, i) => {
    const [last, floor] = [group.at(-1), run.floors[i]];
    const [error, loss] = [run.errors[last], run.losses[last]];
    if (!isNumber(floor) || !isNumber(error) || !(loss > 0)) return null;
    const inherited = (floor * error) / loss;
    return { group, error, inherited: Math.min(inherited, error), added: Math.max(0, error - inherited), repaired: Math.max(0, inherited - error) };
  }).filter(Boolean);
}

function drawShares(side, width) {
  const sides = shareSides();
  if (!sides[side]) return { missing: "Not measured in these runs." };
  const { run, name } = sides[side];
  const network = networkById.get(run.of.network);
  const shares = sharesOf(run);
  const highest = Math.max(...sides.flatMap((one) => sharesOf(one.run).map(({ error, repaired }) => error + repaired)));
  const middle = ({ group }) => (group[0] + group.at(-1)) / 2;
  const bars = SHARES.map(({ key, colour }) => ({
    type: "bar", x: shares.map(middle), y: shares.map((one) => one[key]), width: shares.map(({ group }) => group.length - 0.3), hoverinfo: "none", meta: key,
    marker: { color: key === "repaired" ? faded(ink(colour), 0.25) : ink(colour), line: { width: key === "repaired" ? 1.2 : 0, color: ink(colour) } },
  }));
  const total = (key) => shares.reduce((sum, one) => sum + one[key], 0);
  const whole = total("inherited") + total("added");
  const worst = shares.reduce((best, one) => (one.added > best.added ? one : best), shares[0]);
  const named = (one) => groupName(one.group.map((i) => network.units[i].name));
  return {
    data: bars,
    layout: { barmode: "stack", hovermode: "closest", margin: { l: 8, r: 8, t: 8, b: 8 }, xaxis: { ...unitAxis(network, width), title: unitAxisTitle(network) }, yaxis: { title: "Relative error", range: [0, highest * 1.05] } },
    summary: `Of the errors at the ends of its groups ${percent(total("inherited") / whole, 0)} are inherited. Most is added by ${named(worst)} (${short(worst.added)} of ${short(worst.error)}).${total("repaired") > 0.001 ? ` Light bars: errors of earlier units that the optimisation repaired.` : ""}`,
    numbers: () => ({
      columns: [{ title: "Group" }, { title: "Error", number: true }, ...SHARES.map(({ title }) => ({ title, number: true }))],
      rows: shares.map((one) => [{ text: named(one) }, { text: short(one.error) }, ...SHARES.map(({ key }) => ({ text: short(one[key]) }))]),
    }),
    hover: ([point]) => {
      const one = shares.find((share) => middle(share) === point.x);
      return [h("p", { class: "tip-title" }, named(one)), tipRow("Error", short(one.error)), ...SHARES.map(({ key, title }) => tipRow(title, short(one[key])))];
    },
  };
}

panels.shares = buildShares;
