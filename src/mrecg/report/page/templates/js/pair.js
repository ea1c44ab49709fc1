/**
 * The figure of the first screen: the errors of a pair with the gain between them, and the change of each unit.
 */

const UPPER = [0.46, 1];
const LOWER = [0, 0.36];

function pairHeight(width) {
  return width < 600 ? 430 : 400;
}

function pairKey(shown) {
  const item = (mark, text) => h("li", {}, mark, text);
  const patch = (colour) => h("i", { class: `patch ${colour}` });
  const merged = shownRuns(shown).after.some(mergedPairs) ? [item(h("i", { class: "patch joint" }), "optimised jointly")] : [];
  if (!shown.before) return merged;
  return [
    item(pairSwatch(false), shown.before_name), item(pairSwatch(true), shown.after_name),
    item(patch("good"), "smaller error"), item(patch("bad"), "larger error"), ...merged,
  ];
}

function pairSwatch(after) {
  const colour = after ? "var(--accent)" : "var(--soft)";
  const line = svg("path", { d: "M1 6H33", stroke: colour, "stroke-width": 2.2, "stroke-dasharray": after ? "" : "6 4" });
  const mark = svg("circle", { cx: 17, cy: 6, r: 3.5, fill: after ? colour : "var(--card)", stroke: colour, "stroke-width": 1.6 });
  return svg("svg", { class: "swatch", viewBox: "0 0 34 12", width: 34, height: 12, "aria-hidden": "true" }, line, mark);
}

/** Mean over runs of a value after each unit. */
function unitMeans(runs, key) {
  return (runs[0]?.[key] ?? []).map((_, i) => spread(runs.map((run) => run[key][i])).mean);
}

/** Change of each unit against the block-wise run, in per cent; null where that has no error. */
function changes(before, after) {
  return after.map((value, i) => (isNumber(value) && before[i] > 0 ? 100 * (value / before[i] - 1) : null));
}

function drawPair(width) {
  const shown = currentComparison() ?? doc.alone;
  if (!shown) return { missing: "No completed run is left by the filter." };
  const network = networkById.get(configurationById.get(shown.id).network);
  const runs = shownRuns(shown);
  const [before, after] = [runs.before, runs.after].map((side) => unitMeans(side, "errors"));
  if (!after.some(isNumber)) return { missing: "No error was measured in these runs." };
  const { groups } = commonGroups(runs.after);
  const change = changes(before, after);
  const pair = before.length > 0;
  const joint = ink("soft");
  const highest = Math.max(...[...before, ...after].filter(isNumber));
  const line = (y, colour, more) => ({ type: "scatter", mode: "lines+markers", x: y.map((_, i) => i), y, hoverinfo: "none", line: { color: colour, width: 2.2, ...more.line }, marker: { color: colour, size: width < 600 ? 5 : 7.5, line: { width: 1.6, color: colour }, ...more.marker } });
  const band = bandOf(network, width);
  const layout = {
    margin: { l: 8, r: 14, t: 24, b: 8, pad: 0 }, bargap: 0.3, hovermode: "x",
    xaxis: { ...unitAxis(network, width), anchor: pair ? "y2" : "y", title: unitAxisTitle(network) },
    yaxis: { domain: pair ? UPPER : [0, 1], title: "Relative error", range: [-0.03 * highest, highest * 1.1], nticks: 5 },
    shapes: groupShapes(groups, joint),
    annotations: groupLabels(groups, network, band),
  };
  const data = [];
  if (pair) {
    const ends = ringed(groups, change);
    const told = labelled(change, groups, band);
    data.push(...between(before, after));
    data.push(line(before, ink("soft"), { line: { dash: "6px,4px" }, marker: { symbol: "circle-open" } }));
    data.push({ type: "bar", x: change.map((_, i) => i), y: change, yaxis: "y2", hoverinfo: "none", marker: { color: change.map((v) => ink(v > 0 ? "bad" : "good")) } });
    data.push({ type: "scatter", mode: "markers", x: ends, y: ends.map((i) => change[i]), yaxis: "y2", hoverinfo: "skip", cliponaxis: false, marker: { symbol: "circle-open", size: 9, color: ink("ink"), line: { width: 1.8 } } });
    layout.yaxis2 = { domain: LOWER, title: "Change (%)", zeroline: true, zerolinecolor: ink("soft"), nticks: 4, ...changeRange(change) };
    layout.annotations.push(...told.map((i) => changeLabel(i, change[i])));
  }
  data.push(line(after, ink("accent"), {}));
  return {
    data, layout,
    summary: pair ? `Error after each unit of ${shown.before_name} and ${shown.after_name}, and its change in per cent. ${shown.parts[1]}` : `Error after each unit of ${configurationById.get(shown.id).label}.`,
    numbers: () => pairNumbers(network, shown, runs),
    hover: (points) => pairTip(Math.round(points[0].x), network, shown, { before, after, change, groups }),
  };
}

/** Areas between two lines: one colour where the second is lower, another where it is higher; cut where they cross. */
function between(before, after) {
  const areas = { good: [[], []], bad: [[], []] };
  for (let i = 0; i + 1 < after.length; i += 1) {
    const [a, b, c, d] = [before[i], after[i], before[i + 1], after[i + 1]];
    if (![a, b, c, d].every(isNumber)) continue;
    const [left, right] = [b - a, d - c];
    const cut = left * right < 0 ? left / (left - right) : null;
    const add = (sign, xs, ys) => {
      const [x, y] = areas[sign < 0 ? "good" : "bad"];
      x.push(...xs, xs[0], null);
      y.push(...ys, ys[0], null);
    };
    if (cut === null) add(left || right, [i, i + 1, i + 1, i], [a, c, d, b]);
    else {
      const [x, y] = [i + cut, a + cut * (c - a)];
      add(left, [i, x, i], [a, y, b]);
      add(right, [x, i + 1, i + 1], [y, c, d]);
    }
  }
  return Object.entries(areas)
    .filter(([, [x]]) => x.length)
    .map(([colour, [x, y]]) => ({ type: "scatter", mode: "lines", x, y, fill: "toself", fillcolor: faded(ink(colour), 0.22), line: { width: 0 }, hoverinfo: "skip" }));
}

/** Units at the ends of merges. */
function ringed(groups, change) {
  return groups.filter((group) => group.length > 1).map((group) => group.at(-1)).filter((i) => isNumber(change[i]));
}

/** Units whose change is written out: ends of merges, the largest harm, and the last unit, where they have room. */
function labelled(change, groups, band) {
  const worst = change.reduce((best, value, i) => (isNumber(value) && value > (change[best] ?? 1) ? i : best), -1);
  const wanted = [change.length - 1, ...(worst >= 0 ? [worst] : []), ...ringed(groups, change).reverse()];
  const kept = [];
  for (const i of wanted) {
    if (isNumber(change[i]) && kept.every((other) => other !== i && Math.abs(other - i) * band > 36)) kept.push(i);
  }
  return kept;
}

function changeLabel(i, value) {
  return {
    x: i, y: value, yref: "y2", text: `${signed(value, 0)} %`, showarrow: false, yshift: value > 0 ? 11 : -13,
    font: { size: 11, color: ink("ink") },
  };
}

/** Room for the labels, and so much that a change of a few per cent looks like one. */
function changeRange(change) {
  const known = change.filter(isNumber);
  const [low, high] = [Math.min(-10, ...known), Math.max(10, ...known)];
  const room = 0.25 * (high - low);
  return { range: [low - room, high + room] };
}

function pairNumbers(network, shown, runs) {
  const sides = shown.before ? [[shown.before_name, runs.before], [shown.after_name, runs.after]] : [[configurationById.get(shown.id).label, runs.after]];
  const columns = sides.map(([name, members]) => ({ name, errors: unitMeans(members, "errors"), losses: unitMeans(members, "losses") }));
  const change = shown.before ? changes(columns[0].errors, columns[1].errors) : [];
  return {
    columns: [{ title: "Unit" }, ...columns.map(({ name }) => ({ title: `${name}, error`, number: true })), ...(shown.before ? [{ title: "Change", number: true }] : []), ...columns.map(({ name }) => ({ title: `${name}, loss`, number: true }))],
    rows: network.units.map((unit, i) => [
      { text: unit.name },
      ...columns.map(({ errors }) => ({ text: short(errors[i]) })),
      ...(shown.before ? [{ text: isNumber(change[i]) ? `${signed(change[i], 1)}${THIN}%` : NONE }] : []),
      ...columns.map(({ losses }) => ({ text: short(losses[i]) })),
    ]),
  };
}

function pairTip(index, network, shown, { before, after, change, groups }) {
  if (!network.units[index]) return null;
  const group = groups.find((members) => members.includes(index)) ?? [index];
  const others = group.filter((i) => i !== index).map((i) => network.units[i].name);
  return [
    ...unitFacts(network, index),
    ...(before.length ? [tipRow(shown.before_name, short(before[index]), pairSwatch(false))] : []),
    tipRow(shown.after_name ?? configurationById.get(shown.id).label, short(after[index]), pairSwatch(true)),
    ...(isNumber(change[index]) ? [tipRow("Change", `${signed(change[index], 1)} %`)] : []),
    others.length ? h("p", { class: "tip-note" }, `jointly with ${others.join(", ")}`) : null,
  ].filter(Boolean);
}
