/**
 * The weights and activations of each unit at the ends of their grids: how many stand there, how many were clipped.
 */

const LEAST_BAND = 20;

function buildRanges() {
  const kinds = [
    { key: "ranges", title: "Weights at the ends", draw: drawWeights, parts: ["clipped", "at an end, not clipped"] },
    { key: "activation_ranges", title: "Activations at the ends", draw: drawActivations, parts: ["clipped: above the top, or (downwards) below the bottom", "at the top, not clipped"] },
  ].map((kind) => ({ ...kind, chart: new Chart({ title: kind.title, height: 280, draw: (width) => drawRanges(kind, width) }) }));
  const panels = kinds.map(({ title, parts, chart }) =>
    h("div", { class: "panel" }, h("ul", { class: "key", "aria-label": `Parts of a bar: ${title}` }, parts.map((part, i) => h("li", {}, h("i", { class: `patch ${i ? "bar" : "bad"}` }), part))), chart.element),
  );
  fill(byId("ranges-body"), panels);
  const update = () => {
    const sides = kinds.map(({ key }) => rangesSide(key));
    showSection("ranges", sides.some(Boolean));
    kinds.forEach(({ title, chart }, i) => {
      panels[i].hidden = !sides[i];
      if (sides[i]) chart.rename(`${title}, ${sides[i].name}`);
      chart.refresh();
    });
  };
  watch(["pair", "theme", ...FILTER_KEYS], update);
  update();
}

/** The run that is looked at, if it has them: of a comparison the merged one; the first seed stands for all. */
function rangesSide(key) {
  const shown = currentComparison() ?? (doc.comparisons.length ? null : doc.alone);
  if (!shown) return null;
  const run = shownRuns(shown).after[0];
  return run?.[key].some(Boolean) ? { run, name: shown.after_name ?? configurationById.get(shown.id).label } : null;
}

function drawRanges(kind, width) {
  const side = rangesSide(kind.key);
  if (!side) return { missing: "Not measured in these runs." };
  const network = networkById.get(side.run.of.network);
  const units = side.run[kind.key].map((found, i) => (found ? { ...found, i, name: network.units[i].name, widths: found.bits.join("+") } : null)).filter(Boolean);
  const labelled = bandOf(network, width) >= LEAST_BAND;
  const { bars, axis, range, above, columns, summary } = kind.draw(units);
  const cells = (unit) => columns.map(([title, value]) => [title, percent(value(unit))]);
  return {
    data: bars.map(([colour, share]) => ({ type: "bar", x: units.map(({ i }) => i), y: units.map((unit) => 100 * share(unit)), width: 0.7, hoverinfo: "none", marker: { color: ink(colour) } })),
    layout: {
      barmode: "relative", hovermode: "closest", margin: { l: 8, r: 8, t: 8, b: 8 },
      xaxis: { ...unitAxis(network, width), title: unitAxisTitle(network) }, yaxis: { title: axis, range },
      annotations: labelled ? units.map((unit) => ({ x: unit.i, y: 100 * above(unit), text: unit.widths, yanchor: "bottom", showarrow: false, font: { size: 11, color: ink("soft") } })) : [],
    },
    summary: `${labelled ? "Above the bars: bits. " : ""}${summary}`,
    numbers: () => ({
      columns: [{ title: "Unit" }, { title: "Bits", number: true }, ...columns.map(([title]) => ({ title, number: true }))],
      rows: units.map((unit) => [{ text: unit.name }, { text: unit.widths }, ...cells(unit).map(([, text]) => ({ text }))]),
    }),
    hover: ([point]) => {
      const unit = units.find(({ i }) => i === point.x);
      return [h("p", { class: "tip-title" }, unit.name), tipRow("Bits", unit.widths), ...cells(unit).map(([title, text]) => tipRow(title, text))];
    },
  };
}

const largest = (units, share) => units.reduce((best, unit) => (share(unit) > share(best) ? unit : best));

function drawWeights(units) {
  // What was clipped and then learned may have left the end.
  const clipped = (unit) => Math.min(unit.clipped, unit.at_ends);
  const most = largest(units, (unit) => unit.clipped);
  return {
    bars: [["bad", clipped], ["bar", (unit) => unit.at_ends - clipped(unit)]],
    axis: "Weights (%)",
    range: [0, 112 * Math.max(...units.map((unit) => unit.at_ends), 0.01)],
    above: (unit) => unit.at_ends,
    columns: [["At the ends", (unit) => unit.at_ends], ["Clipped", (unit) => unit.clipped]],
    summary: `Fewer bits mean fewer values, and more weights at the two ends. Most are clipped in ${most.name}: ${percent(most.clipped, 1)} of its weights, with ${most.widths} bits.`,
  };
}

function drawActivations(units) {
  const clipped = (unit) => unit.clipped_top + unit.clipped_bottom;
  const [most, deepest] = [largest(units, clipped), largest(units, (unit) => unit.clipped_bottom)];
  const unused = units.filter((unit) => unit.at_top === 0);
  const highest = Math.max(...units.map((unit) => unit.at_top), 0.0001);
  return {
    bars: [["bad", (unit) => unit.clipped_top], ["bar", (unit) => Math.max(0, unit.at_top - unit.clipped_top)], ["bad", (unit) => -unit.clipped_bottom]],
    axis: "Activations (%)",
    range: [-112 * Math.max(deepest.clipped_bottom, 0.03 * highest), 112 * highest],
    above: (unit) => unit.at_top,
    columns: [["At the bottom", (unit) => unit.at_bottom], ["At the top", (unit) => unit.at_top], ["Clipped below", (unit) => unit.clipped_bottom], ["Clipped above", (unit) => unit.clipped_top]],
    summary: `On evaluation images. The bottom itself is not drawn: after a ReLU it is zero, where many values are exact. Most are clipped in ${most.name}: ${percent(clipped(most))} of its activations, with ${most.widths} bits.${unused.length ? ` In ${unused.length} of ${units.length} units no value reaches the top: the end of the grid is not used.` : ""}`,
  };
}

panels.ranges = buildRanges;
