/**
 * The plan: units, their capacities, the differences of neighbours, and what is merged for which reason.
 */

function buildPlan() {
  const chart = new Chart({ title: "Capacities, differences and merges", height: 470, draw: drawPlan });
  const which = picker("Plan", "plan", () => visiblePlans().map((plan) => [plan.id, planTitle(plan), planPlace(plan)]), () => currentPlan()?.id ?? "");
  const by = picker("Criterion", "criterion", () => (currentPlan()?.criteria ?? []).map((c, i) => [String(i), `${c.name}, ${c.difference.replace("_", " ")}${i ? "" : " (decides)"}`]), () => String(criterionIndex()));
  const about = h("p", { class: "basis" });
  const reasons = h("div", { class: "reasons" });
  fill(byId("plan-body"), h("div", { class: "panel" }, h("div", { class: "row" }, which, by), about, chart.element, reasons));
  const update = () => {
    which.update();
    by.update();
    const plan = currentPlan();
    about.textContent = plan ? [currentCriterion()?.title, plan.note].filter(Boolean).join(". ") : "";
    chart.refresh();
    fill(reasons, plan ? reasonList(plan) : "");
  };
  watch(["plan", "criterion", "place", "theme", ...FILTER_KEYS], update);
  update();
}

/** Plans of runs that the filter leaves: those that merge, or else the first, for its capacities. */
function visiblePlans() {
  const used = new Set(visibleRuns().map((run) => run.plan).filter(Boolean));
  const left = doc.plans.filter((plan) => used.has(plan.id));
  const merging = left.filter((plan) => plan.merges.length || plan.groups.some((group) => group.length > 1));
  return merging.length ? merging : left.slice(0, 1);
}

function planTitle(plan) {
  const left = visibleByConfiguration();
  const names = plan.configurations.filter((id) => left.has(id)).map((id) => configurationById.get(id).label);
  const merged = plan.groups.reduce((sum, group) => sum + group.length - 1, 0);
  const runs = visibleRuns().filter((run) => run.plan === plan.id);
  const seeds = [...new Set(runs.map((run) => run.seed))];
  const seedText = seeds.length === 1 ? `seed ${seeds[0]}` : `seeds ${seeds.slice(0, 4).join(", ")}${seeds.length > 4 ? ", …" : ""}`;
  return `${names.slice(0, 2).join("; ")}${names.length > 2 ? "; …" : ""} – ${count(merged, "merge")}, ${seedText}`;
}

function planPlace(plan) {
  return placeTitle(configurationById.get(plan.configurations[0]).place);
}

/** The chosen plan; else one of the shaded configuration of the oscillation figure. */
function currentPlan() {
  const plans = visiblePlans();
  const focus = focusedConfiguration();
  const run = focus?.runs.find((one) => one.plan);
  return plans.find((plan) => plan.id === state.plan) ?? plans.find((plan) => plan.id === run?.plan) ?? plans[0] ?? null;
}

function criterionIndex() {
  const criteria = currentPlan()?.criteria ?? [];
  const index = Number(state.criterion);
  return criteria[index] ? index : 0;
}

function currentCriterion() {
  return currentPlan()?.criteria[criterionIndex()] ?? null;
}

const STRIP = [0, 0.07];
const PAIRS = [0.14, 0.46];
const UNITS = [0.58, 1];

function drawPlan(width) {
  const plan = currentPlan();
  if (!plan) return { missing: "None of these runs has a plan." };
  const network = networkById.get(plan.network);
  const criterion = currentCriterion();
  const accent = ink("accent");
  const joined = new Set(plan.groups.flatMap((group) => group.slice(0, -1)));
  const axis = unitAxis(network, width);
  const layout = {
    margin: { l: 8, r: 14, t: 24, b: 8, pad: 0 }, bargap: 0.25, hovermode: "closest",
    xaxis: { ...axis, anchor: "y3", showline: false, ticklen: 2 },
    yaxis3: { domain: STRIP, range: [0, 1], fixedrange: true, showticklabels: false, showgrid: false, showline: false, ticks: "", automargin: false },
    shapes: [...groupShapes(plan.groups, accent), ...stripShapes(network, plan)],
    annotations: [...groupLabels(plan.groups, network, bandOf(network, width)), ...stripTexts(network, bandOf(network, width))],
  };
  const data = [stripPoints(network)];
  if (criterion) {
    const merged = new Set(plan.groups.filter((group) => group.length > 1).flat());
    const [plainBar, own] = [ink("bar"), accent];
    data.push({ type: "bar", x: criterion.capacities.map((_, i) => i), y: criterion.capacities, marker: { color: criterion.capacities.map((_, i) => (merged.has(i) ? own : plainBar)) }, hoverinfo: "none" });
    data.push({
      type: "bar", x: criterion.differences.map((_, i) => i + 0.5), y: criterion.differences, yaxis: "y2", width: 0.45, hoverinfo: "none",
      marker: {
        color: criterion.differences.map((_, i) => (plan.not_comparable[i] ? ink("card") : joined.has(i) ? own : plainBar)),
        line: { width: 1.4, color: criterion.differences.map((_, i) => (joined.has(i) ? own : plainBar)) },
      },
    });
    layout.yaxis = { domain: UNITS, title: capacityTitle(criterion), ...wideRange(criterion.capacities), nticks: 5 };
    layout.yaxis2 = { domain: PAIRS, title: DIFFERENCES[criterion.difference] ?? "Difference", ...wideRange(criterion.differences), nticks: 4 };
  } else {
    layout.yaxis = { domain: UNITS, visible: false };
  }
  return {
    data, layout,
    summary: planWords(plan, network, criterion),
    numbers: () => planNumbers(plan, network, joined),
    hover: ([point]) => planTip(point, plan, network, criterion),
  };
}

const DIFFERENCES = { gain: "Gain by merging", rank: "Rank", rise: "Rise", fall: "Fall", log_ratio: "Log ratio" };

function capacityTitle(criterion) {
  return criterion.short.charAt(0).toUpperCase() + criterion.short.slice(1);
}

/** Logarithmic where values, all above 0, differ by more than a factor of 300. */
function wideRange(values) {
  const numbers = values.filter(isNumber);
  const above = numbers.filter((value) => value > 0);
  const log = numbers.length && numbers.every((value) => value >= 0) && above.length && Math.max(...above) / Math.min(...above) > 300;
  if (!log) return { type: "linear" };
  const [low, high] = [Math.min(...above), Math.max(...above)];
  return { ...logTicks(low / 3, high * 1.4, 4), range: [Math.log10(low) - 0.5, Math.log10(high) + 0.15] };
}

/** Units as a strip: neighbouring stages in two shades, merged units in one piece. */
function stripShapes(network, plan) {
  const box = (x0, x1, more) => ({ type: "rect", xref: "x", yref: "paper", x0, x1, y0: STRIP[0], y1: STRIP[1], ...more });
  const cells = network.units.map((unit, i) => box(i - 0.42, i + 0.42, { fillcolor: ink((unit.stage ?? 0) % 2 ? "cell" : "wash"), line: { width: 1, color: ink("line") } }));
  const hulls = plan.groups.filter((group) => group.length > 1).map((group) => box(group[0] - 0.42, group.at(-1) + 0.42, { fillcolor: "rgba(0,0,0,0)", line: { width: 2, color: ink("accent") } }));
  return [...cells, ...hulls];
}

/** What changes the resolution is marked in the strip. */
function stripTexts(network, band) {
  if (band < 22) return [];
  return network.units
    .map((unit, i) => ({ i, stride: unit.stride }))
    .filter(({ stride }) => stride > 1)
    .map(({ i, stride }) => ({ x: i, y: (STRIP[0] + STRIP[1]) / 2, xref: "x", yref: "paper", yanchor: "middle", text: `÷${stride}`, showarrow: false, font: { size: 10.5, color: ink("soft") } }));
}

/** Unseen points in the strip, so that it answers to the pointer. */
function stripPoints(network) {
  return { type: "scatter", mode: "markers", x: network.units.map((_, i) => i), y: network.units.map(() => 0.5), yaxis: "y3", marker: { size: 18, opacity: 0 }, hoverinfo: "none" };
}

function planWords(plan, network, criterion) {
  const merged = plan.groups.filter((group) => group.length > 1).map((group) => groupName(group.map((i) => network.units[i].name)));
  const what = merged.length ? `Merged: ${merged.join(", ")} (${plan.heading})` : `Nothing is merged (${plan.heading})`;
  const most = criterion ? criterion.differences.indexOf(Math.max(...criterion.differences.map((v) => v ?? -Infinity))) : -1;
  const largest = most >= 0 ? ` The largest difference is between ${network.units[most].name} and ${network.units[most + 1].name}.` : "";
  return `${what}.${largest}${passedOver(plan, network, criterion)} Above: capacity of each unit; below: differences of neighbours, hollow where the two are not comparable; blue: merged; strip: units by stage, ÷ marks a stride.`;
}

/** Pairs that rank before one that is merged, and are not: the plan may not touch them, or held-out images said no. */
function passedOver(plan, network, criterion) {
  if (!criterion || !plan.merges.length) return "";
  const joined = new Set(plan.groups.flatMap((group) => group.slice(0, -1)));
  const least = Math.min(...[...joined].map((i) => criterion.differences[i] ?? Infinity));
  const pairs = criterion.differences.map((value, i) => ({ value, i })).filter(({ value, i }) => value > least && !joined.has(i));
  const names = pairs.sort((a, b) => b.value - a.value).map(({ i }) => groupName([network.units[i].name, network.units[i + 1].name]));
  if (!names.length) return "";
  return ` Ranked before the last of them, but not merged: ${names.slice(0, 3).join(", ")}${names.length > 3 ? ` and ${names.length - 3} more` : ""}.`;
}

function planNumbers(plan, network, joined) {
  const criteria = plan.criteria;
  return {
    columns: [{ title: "Unit" }, ...criteria.flatMap((c) => [{ title: c.name, number: true }, { title: `${c.name}: difference to the next`, number: true }]), { title: "Merged with the next" }, { title: "Not comparable in" }],
    rows: network.units.map((unit, i) => [
      { text: unit.name },
      ...criteria.flatMap((c) => [{ text: short(c.capacities[i]) }, { text: short(c.differences[i]) }]),
      { text: joined.has(i) ? "yes" : "" },
      { text: plan.not_comparable[i] ?? "" },
    ]),
  };
}

function planTip(point, plan, network, criterion) {
  if (Number.isInteger(point.x)) {
    const value = criterion ? tipRow(capacityTitle(criterion), short(criterion.capacities[point.x])) : null;
    return [...unitFacts(network, point.x), value];
  }
  const i = Math.floor(point.x);
  const merge = plan.merges.find(({ left }) => left === i);
  const odd = plan.not_comparable[i];
  return [
    h("p", { class: "tip-title" }, `${network.units[i].name} → ${network.units[i + 1].name}`),
    tipRow("Difference", short(criterion.differences[i])),
    h("p", { class: "tip-note" }, merge ? `Merged: ${merge.reason}` : `Not merged${odd ? `; the two differ in ${odd}` : ""}`),
  ];
}

function reasonList(plan) {
  const network = networkById.get(plan.network);
  if (!plan.merges.length) return [h("p", { class: "missing" }, "Nothing is merged in this plan.")];
  const item = ({ left, reason }) => h("li", {}, h("b", {}, groupName([network.units[left].name, network.units[left + 1].name])), h("span", {}, reason));
  return [h("h3", {}, "Why these merges"), h("ol", {}, plan.merges.map(item))];
}

panels.plan = buildPlan;
