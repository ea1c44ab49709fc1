/**
 * The weights of each unit at the ends of their grids: how many stand there, and how many were clipped.
 */

const LEAST_BAND = 20;

function buildRanges() {
  const chart = new Chart({ title: "Weights at the ends", height: 280, draw: drawRanges });
  const key = h("ul", { class: "key", "aria-label": "Parts of a bar" }, h("li", {}, h("i", { class: "patch bad" }), "clipped"), h("li", {}, h("i", { class: "patch bar" }), "at an end, not clipped"));
  fill(byId("ranges-body"), h("div", { class: "panel" }, key, chart.element));
  const update = () => {
    const side = rangesSide();
    showSection("ranges", Boolean(side));
    if (side) chart.rename(`Weights at the ends, ${side.name}`);
    chart.refresh();
  };
  watch(["pair", "theme", ...FILTER_KEYS], update);
  update();
}

/** The run that is looked at: of a comparison the merged one; the first seed stands for all. */
function rangesSide() {
  const shown = currentComparison() ?? (doc.comparisons.length ? null : doc.alone);
  if (!shown) return null;
  const run = shownRuns(shown).after[0];
  return run?.ranges.some(Boolean) ? { run, name: shown.after_name ?? configurationById.get(shown.id).label } : null;
}

function drawRanges(width) {
  const side = rangesSide();
  if (!side) return { missing: "Not measured in these runs." };
  const network = networkById.get(side.run.of.network);
  const units = side.run.ranges.map((found, i) => (found ? { ...found, i, name: network.units[i].name } : null)).filter(Boolean);
  const highest = 100 * Math.max(...units.map((unit) => unit.at_ends), 0.01);
  // What was clipped and then learned may have left the end.
  const clipped = (unit) => Math.min(unit.clipped, unit.at_ends);
  const bar = (colour, share) => ({ type: "bar", x: units.map(({ i }) => i), y: units.map((unit) => 100 * share(unit)), width: 0.7, hoverinfo: "none", marker: { color: ink(colour) } });
  const most = units.reduce((best, unit) => (unit.clipped > best.clipped ? unit : best));
  const bits = (unit) => unit.bits.join("+");
  const labelled = bandOf(network, width) >= LEAST_BAND;
  return {
    data: [bar("bad", clipped), bar("bar", (unit) => unit.at_ends - clipped(unit))],
    layout: {
      barmode: "stack", hovermode: "closest", margin: { l: 8, r: 8, t: 8, b: 8 },
      xaxis: { ...unitAxis(network, width), title: unitAxisTitle(network) }, yaxis: { title: "Weights (%)", range: [0, highest * 1.12] },
      annotations: labelled ? units.map((unit) => ({ x: unit.i, y: 100 * unit.at_ends, text: bits(unit), yanchor: "bottom", showarrow: false, font: { size: 11, color: ink("soft") } })) : [],
    },
    summary: `${labelled ? "Above the bars: bits. " : ""}Fewer bits mean fewer values, and more weights at the two ends. Most are clipped in ${most.name}: ${percent(most.clipped, 1)} of its weights, with ${bits(most)} bits.`,
    numbers: () => ({
      columns: [{ title: "Unit" }, { title: "Bits", number: true }, { title: "At the ends", number: true }, { title: "Clipped", number: true }],
      rows: units.map((unit) => [{ text: unit.name }, { text: bits(unit) }, { text: percent(unit.at_ends) }, { text: percent(unit.clipped) }]),
    }),
    hover: ([point]) => {
      const unit = units.find(({ i }) => i === point.x);
      return [h("p", { class: "tip-title" }, unit.name), tipRow("Bits", bits(unit)), tipRow("At the ends", percent(unit.at_ends)), tipRow("Clipped", percent(unit.clipped))];
    },
  };
}

panels.ranges = buildRanges;
