/**
 * An axis along the units of a network, shared by the charts that have one.
 */

/**
 * @param {Object} network
 * @param {number} width of the chart, px
 * @returns {Object} a Plotly axis
 */
function unitAxis(network, width) {
  const names = network.units.map((unit) => unit.short);
  const band = bandOf(network, width);
  const every = band >= 11 ? 1 : Math.ceil(11 / band);
  const ticks = names.map((_, i) => i).filter((i) => i % every === 0);
  const letters = width < 600 ? 15 : 26;
  const flat = clear(ticks.map((i) => clipped(names[i], letters)), every * band);
  return {
    tickmode: "array",
    tickvals: ticks,
    ticktext: ticks.map((i) => (flat ? inLines(clipped(names[i], letters)).map(plain).join("<br>") : plain(clipped(names[i], letters)))),
    tickangle: flat ? 0 : band < 30 ? -90 : -45,
    range: [-0.6, names.length - 0.4],
    showgrid: false,
    showline: true,
    tickfont: { size: width < 600 ? 10 : 11 },
  };
}

/** A unit that is named by its first and last module takes two lines. */
function inLines(name) {
  return name.split(/(?<=.-)(?=.)/);
}

/** Whether names beside each other do not touch. */
function clear(names, band) {
  const wide = names.map((name) => Math.max(...inLines(name).map((part) => part.length)));
  return wide.every((letters, i) => !i || 3.3 * (letters + wide[i - 1]) + 6 < band);
}

/** What the names at the axis leave out. */
function unitAxisTitle(network) {
  return network.parent ? `Unit (${plain(network.parent)}N)` : "Unit";
}

/** Width of one unit's column, px, about. */
function bandOf(network, width) {
  return (width - 70) / Math.max(network.units.length, 1);
}

/** A band over a group and a bracket above it. */
function groupShapes(groups, colour) {
  return groups
    .filter((group) => group.length > 1)
    .flatMap((group) => {
      const [x0, x1] = [group[0] - 0.42, group.at(-1) + 0.42];
      const place = { type: "rect", xref: "x", yref: "paper", x0, x1, line: { width: 0 } };
      return [
        { ...place, y0: 0, y1: 1, fillcolor: faded(colour, isDark() ? 0.17 : 0.1), layer: "below" },
        { ...place, y0: 1, y1: 1.014, fillcolor: colour },
      ];
    });
}

/** Names of the groups above their brackets, where they fit. */
function groupLabels(groups, network, band) {
  return groups
    .filter((group) => group.length > 1)
    .map((group) => ({ group, text: groupName(group.map((i) => network.units[i].short)) }))
    .filter(({ group, text }) => text.length * 6.2 < (group.length + 0.6) * band)
    .map(({ group, text }) => ({
      x: (group[0] + group.at(-1)) / 2, y: 1.014, xref: "x", yref: "paper", yanchor: "bottom",
      text: plain(text), showarrow: false, font: { size: 11, color: ink("soft") },
    }));
}

/** What a tooltip says of a unit. */
function unitFacts(network, index) {
  const unit = network.units[index];
  const facts = [];
  if (unit.layers?.length) {
    const shown = unit.layers.slice(0, 4).map(layerText);
    if (unit.layers.length > 4) shown.push(`and ${unit.layers.length - 4} more`);
    facts.push(["Layers", shown.join(", ")]);
  }
  if (isNumber(unit.parameters)) facts.push(["Parameters", unit.parameters.toLocaleString("en")]);
  if (isNumber(unit.stride)) facts.push(["Stride", `${unit.stride}${unit.residual ? ", with shortcut" : ""}`]);
  if (isNumber(unit.modcap)) facts.push(["Capacity", `${short(unit.modcap)} (ModCap)`]);
  return [
    h("p", { class: "tip-title" }, unit.name),
    h("dl", {}, facts.map(([key, value]) => [h("dt", {}, key), h("dd", {}, value)])),
  ];
}

function layerText(layer) {
  const kernel = Array.isArray(layer.kernel) && layer.kernel.length ? ` ${layer.kernel.join("×")}` : "";
  return `${layer.kind}${kernel}${layer.stride > 1 ? `/${layer.stride}` : ""}`;
}
