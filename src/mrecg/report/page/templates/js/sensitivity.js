/**
 * What quantizing each unit alone does to the predictions, for the network and the bits that are shown.
 */

const SENSITIVE = [["weights", "bar"], ["activations", "calm"]];
const SMALLEST_HARM = 1e-3;

function buildSensitivity() {
  const chart = new Chart({ title: "Sensitivity", height: 280, draw: drawSensitivity });
  const key = h("ul", { class: "key", "aria-label": "What is quantized" }, SENSITIVE.map(([what, colour]) => h("li", {}, h("i", { class: `patch ${colour}` }), what)));
  fill(byId("sensitivity-body"), h("div", { class: "panel" }, key, chart.element));
  const update = () => {
    const shown = shownSensitivity();
    showSection("sensitivity", Boolean(shown));
    if (shown) chart.rename(`Sensitivity at ${shown.bits}`);
    chart.refresh();
  };
  watch(["pair", "theme", ...FILTER_KEYS], update);
  update();
}

/** That of the shown configuration's bits; else the last of its network. */
function shownSensitivity() {
  const comparison = currentComparison() ?? doc.alone;
  const configuration = comparison ? configurationById.get(comparison.id) : null;
  const own = doc.sensitivities.filter((found) => !configuration || found.network === configuration.network);
  return own.findLast((found) => found.bits === configuration?.bits) ?? own.at(-1) ?? null;
}

function drawSensitivity(width) {
  const found = shownSensitivity();
  if (!found) return { missing: "mrecg sensitivity measures it, in a folder beside the runs." };
  const network = networkById.get(found.network);
  const most = Math.max(...SENSITIVE.flatMap(([what]) => found[what].map((value) => value ?? 0)));
  const divergence = found.measure === "kl";
  const worst = (what) => network.units[found[what].reduce((best, value, i) => ((value ?? -1) > (found[what][best] ?? -1) ? i : best), 0)].name;
  return {
    data: SENSITIVE.map(([what, colour], side) => ({
      type: "bar", name: what, x: network.units.map((_, i) => i + 0.4 * side - 0.2), y: found[what].map((value) => (value > 0 ? value : null)), width: 0.38, hoverinfo: "none", marker: { color: ink(colour) },
    })),
    layout: {
      barmode: "overlay", hovermode: "closest", margin: { l: 8, r: 8, t: 8, b: 8 },
      xaxis: { ...unitAxis(network, width), title: unitAxisTitle(network) },
      yaxis: { title: divergence ? "KL divergence (nats)" : "Relative error of the outputs", type: most > 0 ? "log" : "linear", range: most > 0 ? [Math.log10(most * SMALLEST_HARM), Math.log10(most * 1.6)] : undefined },
    },
    summary: `On ${found.images} held-out calibration images. Most harm: weights of ${worst("weights")}, activations of ${worst("activations")}. Bars below a thousandth of the highest are not drawn.`,
    numbers: () => ({
      columns: [{ title: "Unit" }, { title: "Weights", number: true }, { title: "Activations", number: true }],
      rows: network.units.map((unit, i) => [{ text: unit.name }, { text: short(found.weights[i]) }, { text: short(found.activations[i]) }]),
    }),
    hover: ([point]) => {
      const i = Math.round(point.x);
      return [h("p", { class: "tip-title" }, network.units[i].name), ...SENSITIVE.map(([what]) => tipRow(what, short(found[what][i])))];
    },
  };
}

panels.sensitivity = buildSensitivity;
