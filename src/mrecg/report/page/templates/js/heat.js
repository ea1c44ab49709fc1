/**
 * For sweeps: what became of the error after each unit, a row for each configuration that has a block-wise one.
 */

const LEAST_ROWS = 3;
const MOST_HEAT_ROWS = 24;

/** Configurations of the place that merge, fewest merges first; of many the most accurate. */
function heatRows() {
  const left = visibleByConfiguration();
  const found = ofPlace(currentPlace()).filter((c) => c.baseline && left.has(c.baseline));
  const best = [...found].sort((a, b) => (b.top1.mean ?? 0) - (a.top1.mean ?? 0)).slice(0, MOST_HEAT_ROWS);
  return best.sort((a, b) => a.method.localeCompare(b.method) || a.merges.mean - b.merges.mean);
}

function heatHeight() {
  return 96 + 24 * Math.max(heatRows().length, LEAST_ROWS);
}

function heatValues(configuration) {
  const sides = compared(visibleByConfiguration().get(configuration.baseline), configuration.runs);
  return changes(...sides.map((runs) => unitMeans(runs, "errors")));
}

/** Its label, less what all rows have in common. */
function rowName({ label }, rows) {
  const start = rows.map((c) => c.label.split(", ")[0]);
  return new Set(start).size === 1 && label !== start[0] ? label.slice(start[0].length + 2) : label;
}

function drawHeat(width) {
  const rows = heatRows();
  if (!rows.length) return { missing: "Nothing here has a block-wise counterpart." };
  const network = networkById.get(rows[0].network);
  const values = rows.map(heatValues);
  const known = values.flat().filter(isNumber).map(Math.abs).sort((a, b) => a - b);
  // One unit that is far off would leave all others pale.
  const most = Math.max(10, known[Math.floor(0.95 * (known.length - 1))] ?? 10);
  const letters = width < 600 ? 14 : 34;
  const ends = rows.flatMap((c, y) => commonGroups(c.runs).groups.filter((group) => group.length > 1).map((group) => ({ x: group.at(-1), y })));
  return {
    data: [
      {
        type: "heatmap", z: values, x: network.units.map((_, i) => i), y: rows.map((_, i) => i), zmin: -most, zmax: most, xgap: 1, ygap: 2, hoverinfo: "none",
        colorscale: [[0, ink("good")], [0.5, ink("card")], [1, ink("bad")]],
        colorbar: { thickness: 9, outlinewidth: 0, ticksuffix: " %", nticks: 5, tickfont: { size: 10.5, color: ink("soft") } },
      },
      { type: "scatter", mode: "markers", x: ends.map(({ x }) => x), y: ends.map(({ y }) => y), hoverinfo: "skip", marker: { symbol: "circle-open", size: 7, color: ink("ink"), line: { width: 1.4 } } },
    ],
    layout: {
      hovermode: "closest", margin: { l: 8, r: 8, t: 8, b: 8 },
      xaxis: { ...unitAxis(network, width), title: unitAxisTitle(network), range: [-0.5, network.units.length - 0.5], showline: false },
      yaxis: { tickmode: "array", tickvals: rows.map((_, i) => i), ticktext: rows.map((c) => plain(clipped(rowName(c, rows), letters))), autorange: "reversed", showgrid: false, ticklen: 0 },
    },
    summary: `Relative error of ${count(rows.length, "configuration")} after each unit, against the block-wise run of the same settings. Rings: ends of merges.`,
    numbers: () => ({
      columns: [{ title: "Unit" }, ...rows.map((c) => ({ title: c.label, number: true }))],
      rows: network.units.map((unit, i) => [{ text: unit.name }, ...values.map((row) => ({ text: isNumber(row[i]) ? `${signed(row[i], 1)}${THIN}%` : NONE }))]),
    }),
    hover: ([point]) => (network.units[point.x] && rows[point.y] ? [h("p", { class: "tip-title" }, network.units[point.x].name), tipRow(rows[point.y].label, `${signed(values[point.y][point.x], 1)} %`)] : null),
  };
}
