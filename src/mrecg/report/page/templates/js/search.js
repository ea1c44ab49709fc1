/**
 * For searches and grids: every configuration as a line over the settings that vary, and what each explains.
 */

const MOST_SEARCH_LINES = 300;
const TIME_UNITS = new Map([[1, "s"], [60, "min"], [3600, "h"]]);
/** Of one axis beside others, px. */
const AXIS_ROOM = 104;
const SHARE_TICKS = [0, 25, 50, 75, 100];
const EFFECTS_NOTE = "Share of the variance that lies between the means of bins of a setting (its main effect, corrected for the number of bins), over all completed runs of the network, whatever the filter leaves. What settings do only together is in no bar. Settings that were varied together share what they explain, and a search looks most often where it was good: the shares describe these runs.";

function buildSearch() {
  const lines = new Chart({ title: "Settings and results", height: (width) => searchHeight(width), draw: drawLines });
  const effects = [0, 1].map((i) => new Chart({ title: "What explains the spread", height: () => effectsHeight(), draw: (width) => drawEffects(i, width) }));
  const note = h("p", { class: "basis" }, EFFECTS_NOTE);
  const halves = h("div", { class: "halves" }, effects.map((chart) => chart.element));
  fill(byId("search-body"), h("div", { class: "panel" }, h("div", { class: "row" }, networkPicker()), lines.element), h("div", { class: "panel" }, halves, note));
  const update = () => {
    const search = currentSearch();
    showSection("search", Boolean(search));
    if (search) effects.forEach((chart, i) => chart.rename(`What explains the spread of ${search.effects[i].title}`));
    [lines, ...effects].forEach((chart) => chart.refresh());
  };
  watch(["place", "theme", ...FILTER_KEYS], update);
  update();
}

/** Of the network that is looked at; null where its runs are no search. */
function currentSearch() {
  const [network] = split(currentPlace());
  return doc.searches.find((search) => search.network === network) ?? null;
}

function searchHeight(width) {
  const axes = (currentSearch()?.settings.length ?? 0) + 2;
  return stacked(axes, width) ? 30 + 78 * axes : 400;
}

/** Whether axes lie below each other: side by side they would have no room for their ticks. */
function stacked(axes, width) {
  return width < AXIS_ROOM * axes;
}

/** @returns {Axis[]} settings, then what was reached and what it took */
function searchAxes(search, shown) {
  const [reached] = search.effects;
  const settings = search.settings.map(({ title, names }, i) => ({ title, names, of: (c) => search.lines[c.id]?.[i] ?? null }));
  const results = [
    reached.outcome === "top1"
      ? { title: "top-1", of: (c) => c.top1.mean, write: (value) => percent(value), tick: (value) => `${exact(100 * value)}${THIN}%`, rising: true }
      : { title: "error into head", of: (c) => c.head.mean, write: short, tick: exact, rising: false },
    { title: "time", of: (c) => c.seconds.mean, write: seconds, tick: (value, unit) => `${exact(value / unit)}${THIN}${TIME_UNITS.get(unit)}`, unit: timeUnit, rising: false },
  ];
  return [...settings, ...results.map((axis) => ({ ...axis, names: [], result: true }))].map((axis) => scaled(axis, shown));
}

/** The unit that `seconds` writes a time in. */
function timeUnit(most) {
  return most >= 5400 ? 3600 : most >= 180 ? 60 : 1;
}

function drawLines(width) {
  const search = currentSearch();
  if (!search) return { missing: "These runs are no search." };
  const all = visibleConfigurations().filter((c) => search.lines[c.id]);
  const axes = searchAxes(search, all);
  const reached = axes.at(-2);
  // The worst first, so that the good ones lie on top.
  const ranked = all.filter((c) => isNumber(reached.of(c))).sort((a, b) => (reached.rising ? 1 : -1) * (reached.of(a) - reached.of(b)));
  if (!ranked.length) return { missing: "Nothing here was evaluated." };
  const drawn = ranked.length <= MOST_SEARCH_LINES ? ranked : Array.from({ length: MOST_SEARCH_LINES }, (_, i) => ranked[Math.round((i * (ranked.length - 1)) / (MOST_SEARCH_LINES - 1))]);
  const best = ranked.at(-1);
  const turned = stacked(axes.length, width);
  const shades = sequence();
  const shadeOf = (c) => Math.round((reached.rising ? reached.at(reached.of(c)) : 1 - reached.at(reached.of(c))) * (shades.length - 1));
  const groups = [...groupBy(drawn.filter((c) => c !== best), shadeOf)].sort(([a], [b]) => a - b);
  return {
    data: [...groups.map(([shade, members]) => lineTrace(members, axes, turned, { color: shades[shade], width: 1.6 })), lineTrace([best], axes, turned, { color: shades[shadeOf(best)], width: 4 })],
    layout: axesLayout(axes, turned, width, shades),
    summary: searchWords(search, axes, ranked, drawn),
    numbers: () => ({
      columns: [{ title: "Configuration" }, { title: "Bits" }, ...axes.map(({ title }) => ({ title, number: true }))],
      rows: [...ranked].reverse().map((c) => [{ text: c.label }, { text: c.bits }, ...axes.map((axis) => ({ text: said(axis, c) }))]),
    }),
    hover: ([point]) => {
      const c = all.find((one) => one.id === point.customdata);
      return c ? [h("p", { class: "tip-title" }, `${c.label}, ${c.bits}`), ...axes.map((axis) => tipRow(axis.title, said(axis, c)))] : null;
    },
  };
}

/** Shades of one hue, of the least to the best. */
function sequence() {
  return colours().slice(-12);
}

function said(axis, configuration) {
  const value = axis.of(configuration);
  if (!isNumber(value)) return NONE;
  return axis.names.length ? axis.names[value] : axis.result ? axis.write(value) : exact(value);
}

/** Lines of one shade are one trace: with one each, hundreds would be slow. */
function lineTrace(members, axes, turned, line) {
  const points = members.flatMap((c) => [...axes.map((axis, i) => ({ along: i, at: isNumber(axis.of(c)) ? axis.at(axis.of(c)) : null, id: c.id })), { along: null, at: null, id: null }]);
  const [along, at] = [points.map((p) => p.along), points.map((p) => p.at)];
  return { type: "scatter", mode: "lines+markers", x: turned ? at : along, y: turned ? along : at, customdata: points.map((p) => p.id), connectgaps: false, hoverinfo: "none", line, marker: { color: line.color, size: line.width > 2 ? 8 : 5 } };
}

function axesLayout(axes, turned, width, shades) {
  const bare = { showgrid: false, showline: false, showticklabels: false, ticklen: 0, fixedrange: true };
  const [across, along] = [{ ...bare, range: [-0.04, 1.04] }, { ...bare, range: turned ? [axes.length - 0.4, -0.5] : [-0.42, axes.length - 0.7] }];
  const place = (i, at, more) => ({ ...(turned ? { x: at, y: i } : { x: i, y: at }), showarrow: false, ...more });
  const letters = turned ? 40 : Math.floor((width / axes.length - 8) / 7);
  const name = (axis, i) => place(i, turned ? 0 : 1, { text: `<b>${plain(clipped(axis.title, letters))}</b>`, font: { size: 12, color: ink("ink") }, bgcolor: faded(ink("card"), 0.8), borderpad: 0, ...(turned ? { xanchor: "left", yanchor: "bottom", yshift: 9, xshift: -2 } : { yanchor: "bottom", yshift: 12 }) });
  const tick = (i) => ({ at, text }) => place(i, at, { text: plain(clipped(text, 12)), font: { size: 11, color: ink("soft") }, bgcolor: faded(ink("card"), 0.8), borderpad: 0, ...(turned ? { yanchor: "top", yshift: -8 } : { xanchor: "right", xshift: -8 }) });
  const rule = (i, from, to, line) => ({ type: "line", layer: "below", line, ...(turned ? { x0: from, x1: to, y0: i, y1: i } : { x0: i, x1: i, y0: from, y1: to }) });
  const reached = axes.length - 2;
  const key = shades.map((color, k) => {
    const [from, to] = [k / shades.length, (k + 1) / shades.length];
    return rule(reached, ...(axes[reached].rising ? [from, to] : [1 - to, 1 - from]), { color, width: 9 });
  });
  return {
    hovermode: "closest", margin: { l: 8, r: 8, t: turned ? 8 : 34, b: 8 }, xaxis: turned ? across : along, yaxis: turned ? along : across,
    shapes: [...axes.map((_, i) => rule(i, 0, 1, { color: ink("line"), width: 1.4 })), ...key],
    annotations: axes.flatMap((axis, i) => [name(axis, i), ...(turned ? thinned(axis.ticks, width) : axis.ticks).map(tick(i))]),
  };
}

/** Ticks that do not touch each other. */
function thinned(ticks, width) {
  const kept = [];
  for (const one of ticks) {
    const last = kept.at(-1);
    if (!last || (one.at - last.at) * (width - 30) > 3.4 * (one.text.length + last.text.length) + 8) kept.push(one);
  }
  return kept;
}

function searchWords(search, axes, ranked, drawn) {
  const [best, reached] = [ranked.at(-1), axes.at(-2)];
  const settings = axes.filter((axis) => !axis.result);
  const top = ranked.slice(-Math.max(2, Math.round(ranked.length / 4)));
  const where = settings.filter((axis) => !axis.names.length).map((axis) => {
    const values = top.map(axis.of).filter(isNumber);
    const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => exact(value, Number.isInteger(value) ? 6 : 2));
    return values.length ? `${axis.title} ${low}${high === low ? "" : ` to ${high}`}` : null;
  }).filter(Boolean);
  const outside = ranked.filter((c) => reached.of(c) < reached.low || reached.of(c) > reached.high).length;
  return [
    `${count(ranked.length, "configuration")}${drawn.length < ranked.length ? `, of which ${drawn.length} from the worst to the best are drawn` : ""}. The more ${reached.rising ? "accurate" : "exact"}, the stronger the colour; the thick line is the best one: ${said(reached, best)} with ${settings.map((axis) => `${axis.title} ${said(axis, best)}`).join(", ")}.`,
    `The best ${top.length} have ${where.join(", ")}.`,
    outside ? `${count(outside, "configuration")} beyond the end of the axis of ${reached.title} ${outside === 1 ? "stands" : "stand"} at its end.` : "",
  ].join(" ").trim();
}

function effectsHeight() {
  return 56 + 34 * (currentSearch()?.settings.length ?? 2);
}

/** Settings with what they explain, in the order of what they explain of the first result. */
function effectsOf(search, i) {
  const [first] = search.effects;
  const rows = search.settings.map((setting, k) => ({ ...setting, effect: search.effects[i].of[k], order: first.of[k]?.share ?? -1 }));
  return rows.sort((a, b) => b.order - a.order);
}

function drawEffects(i, width) {
  const search = currentSearch();
  if (!search) return { missing: "These runs are no search." };
  const { title } = search.effects[i];
  const rows = effectsOf(search, i);
  const known = rows.filter(({ effect }) => effect);
  if (!known.length) return { missing: `It is the same in all runs, or too few have ${title === "time" ? "it" : "one"}.` };
  const share = ({ effect }) => (effect ? 100 * effect.share : null);
  const clear = known.filter(({ effect }) => !effect.chance);
  const letters = width < 450 ? 14 : 26;
  return {
    data: [{
      type: "bar", orientation: "h", y: rows.map((_, k) => k), x: rows.map(share), width: 0.56, hoverinfo: "none", cliponaxis: false,
      marker: { color: rows.map(({ effect }) => (effect?.chance ? faded(ink("bar"), 0.35) : ink("accent"))), line: { width: rows.map(({ effect }) => (effect?.chance ? 1.2 : 0)), color: ink("bar") } },
    }],
    layout: {
      hovermode: "closest", margin: { l: 8, r: 12, t: 4, b: 8 },
      xaxis: { range: [0, 118], tickvals: SHARE_TICKS, ticktext: SHARE_TICKS.map((value) => `${value}${THIN}%`), title: `Share of the variance of ${title}` },
      yaxis: { tickmode: "array", tickvals: rows.map((_, k) => k), ticktext: rows.map((row) => plain(clipped(row.title, letters))), range: [rows.length - 0.5, -0.5], showgrid: false, ticklen: 0, tickfont: { size: 12, color: ink("ink") } },
      annotations: rows.map((row, k) => ({ x: share(row) ?? 0, y: k, xanchor: "left", xshift: 6, showarrow: false, text: effectText(row), font: { size: 11.5, color: ink(row.effect && !row.effect.chance ? "ink" : "soft") } })),
    },
    summary: effectsWords(search, title, known, clear),
    numbers: () => ({
      columns: [{ title: "Setting" }, { title: "Share", number: true }, { title: "More than chance" }],
      rows: rows.map(({ key, effect }) => [{ text: key }, { text: effect ? percent(effect.share, 1) : NONE }, { text: effect ? (effect.chance ? "no" : "yes") : NONE }]),
    }),
    hover: ([point]) => [h("p", { class: "tip-title" }, rows[point.y].key), tipRow(`Share of the variance of ${title}`, effectText(rows[point.y]))],
  };
}

function effectText({ effect }) {
  if (!effect) return "not known";
  return effect.chance ? `${percent(effect.share, 0)}, may be chance` : percent(effect.share, 0);
}

function effectsWords(search, title, known, clear) {
  const most = [...clear].sort((a, b) => b.effect.share - a.effect.share);
  const list = most.map((row) => `${row.title} ${percent(row.effect.share, 0)}`).join(", ");
  const rest = known.filter(({ effect }) => effect.chance).map((row) => row.title);
  const runs = count(search.runs, "run");
  return [
    most.length ? `What each setting alone explains of the variance of ${title} over ${runs}: ${list}.` : `Over ${runs} no setting alone explains more of the variance of ${title} than chance may.`,
    rest.length && most.length ? `May be chance: ${rest.join(", ")}.` : "",
  ].join(" ").trim();
}

panels.search = buildSearch;
