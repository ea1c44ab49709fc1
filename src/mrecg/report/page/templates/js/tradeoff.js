/**
 * Accuracy against time and size, with the Pareto front.
 */

const COSTS = [
  { key: "seconds", title: "Accuracy against time", axis: "Seconds of all stages", write: seconds },
  { key: "size", title: "Accuracy against size", axis: "Size of the weights (MB)", write: bytes, scale: 1e-6 },
];

const TRADEOFF_HEIGHT = 380;
const MOST_POINTS = 250;

function buildTradeoff() {
  const panels = COSTS.map((cost) => new Chart({ title: cost.title, height: TRADEOFF_HEIGHT, draw: (width) => drawTradeoff(cost, width) }));
  fill(byId("tradeoff-body"), h("div", { class: "panel" }, h("div", { class: "row" }, networkPicker()), h("div", { class: "halves" }, panels.map((panel) => panel.element))));
  const update = () => panels.forEach((panel, i) => {
    panel.element.hidden = i > 0 && !costVaries(COSTS[i]);
    if (!panel.element.hidden) panel.refresh();
  });
  watch(["place", "theme", ...FILTER_KEYS], update);
  update();
}

/** Whether the configurations differ in a cost; the size is the same wherever the bits are. */
function costVaries({ key }) {
  const [network] = split(currentPlace());
  return new Set(visibleConfigurations().filter((c) => c.network === network).map((c) => c[key].mean)).size > 1;
}

/** Points that no other one beats in both: cheaper and at least as accurate. */
function front(points) {
  const kept = [];
  for (const point of [...points].sort((a, b) => a.x - b.x || b.y - a.y)) {
    if (!kept.length || point.y > kept.at(-1).y) kept.push(point);
  }
  return kept;
}

function drawTradeoff({ key, title, axis, write, scale = 1 }, width) {
  const [network] = split(currentPlace());
  const points = visibleConfigurations()
    .filter((c) => c.network === network && isNumber(c.top1.mean) && isNumber(c[key].mean))
    .map((c) => ({ c, x: c[key].mean * scale, y: 100 * c.top1.mean }));
  if (!points.length) return { missing: "These runs were not evaluated, or did not record it." };
  if (points.length < 2) return { missing: `One configuration alone: ${percent(points[0].c.top1.mean)} at ${write(points[0].c[key].mean)}.` };
  if (new Set(points.map((p) => p.x)).size === 1) {
    return { missing: `All configurations here are equal in this: ${write(points[0].c[key].mean)}.` };
  }
  const best = front(points);
  const onFront = new Set(best);
  const drawn = points.length <= MOST_POINTS ? points : [...points].sort((a, b) => onFront.has(b) - onFront.has(a) || b.y - a.y).slice(0, MOST_POINTS);
  const [xs, full] = [points.map((p) => p.x), 100 * points[0].c.fp.mean];
  const bitsVary = new Set(points.map((p) => p.c.bits)).size > 1;
  const name = ({ c }) => `${bitsVary ? `${c.bits} · ` : ""}${c.label}`;
  const log = Math.max(...xs) / Math.min(...xs) > 20;
  const at = (value) => (log ? Math.log10(value) : value);
  const reach = at(Math.max(...xs)) - at(Math.min(...xs)) || Math.abs(at(xs[0])) * 0.2 || 1;
  const extent = usualRange(points.flatMap((p) => [100 * p.c.top1.low, 100 * p.c.top1.high]), true);
  const outside = points.filter((p) => p.y < extent[0]);
  const fullShown = isNumber(full) && full - extent[1] < extent[1] - extent[0];
  if (fullShown) extent[1] = Math.max(extent[1], full + 0.06 * (extent[1] - extent[0]));
  const range = [at(Math.min(...xs)) - 0.1 * reach, at(Math.max(...xs)) + 0.12 * reach];
  return {
    data: [
      { type: "scatter", mode: "lines", x: best.map((p) => p.x), y: best.map((p) => p.y), line: { color: ink("soft"), width: 1.4, dash: "dot", shape: "hv" }, hoverinfo: "skip" },
      ...drawn.map((p) => ({
        type: "scatter", mode: "markers", x: [p.x], y: [p.y], hoverinfo: "none", meta: p.c.id,
        marker: { size: 11, symbol: p.c.marker, color: colourOf(p.c), line: { width: 1.6, color: colourOf(p.c) } },
        error_y: { type: "data", symmetric: false, array: [100 * p.c.top1.high - p.y || null], arrayminus: [p.y - 100 * p.c.top1.low || null], visible: p.c.top1.n > 1, color: colourOf(p.c), thickness: 1.2, width: 3 },
      })),
    ],
    layout: {
      hovermode: "closest", margin: { l: 8, r: 16, t: 14, b: 8 },
      xaxis: { title: axis, type: log ? "log" : "linear", range, showline: true },
      yaxis: { title: "Top-1 (%)", range: extent },
      annotations: pointLabels(namedPoints(points, best).filter((p) => !outside.includes(p)), name, at, range, extent, width),
      shapes: fullShown ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: full, y1: full, line: { color: ink("soft"), width: 1, dash: "dash" }, label: { text: "full precision", textposition: best.at(-1).x > (xs.reduce((sum, x) => sum + x, 0) / xs.length) ? "start" : "end", yanchor: "bottom", font: { size: 11, color: ink("soft") } } }] : [],
    },
    summary: `${points.length} configurations${drawn.length < points.length ? `, of which the front and the most accurate are drawn, ${drawn.length} in all` : ""}; the front runs over ${best.slice(0, 4).map((p) => `${name(p)} (${percent(p.y / 100)}, ${write(p.c[key].mean)})`).join(", ")}${best.length > 4 ? ` and ${best.length - 4} more` : ""}.${outside.length ? ` Below the window: ${outside.map((p) => `${name(p)} (${percent(p.y / 100)})`).join(", ")}.` : ""}`,
    numbers: () => ({
      columns: [{ title: "Configuration" }, { title: "Bits" }, { title: "Top-1", number: true }, { title: key === "size" ? "Size" : "Time", number: true }, { title: "On the front" }],
      rows: points.map((p) => [{ text: p.c.label }, { text: p.c.bits }, { text: percent(p.y / 100) }, { text: write(p.c[key].mean) }, { text: onFront.has(p) ? "yes" : "" }]),
    }),
    hover: ([point]) => {
      const c = visibleConfigurations().find((one) => one.id === point.data.meta);
      return c ? [h("p", { class: "tip-title" }, `${c.label}, ${c.bits}`), tipRow("Top-1", percent(c.top1.mean)), tipRow("Time", seconds(c.seconds.mean)), tipRow("Size", bytes(c.size.mean)), tipRow("Runs", String(c.runs.length))] : null;
    },
  };
}

const FEW_POINTS = 8;

/** Points that are named, the last ones first: of few all, else those of the front. */
function namedPoints(points, best) {
  return points.length > FEW_POINTS ? best : [...points.filter((p) => !best.includes(p)), ...best];
}

/**
 * Names at points, as many as have room; above and to the left of a front there is nothing.
 * @param {number[]} across ends of the abscissa, as Plotly has them
 * @param {number[]} up ends of the ordinate
 */
function pointLabels(points, name, at, across, up, width) {
  const place = (value, [low, high], size) => ((value - low) / (high - low)) * size;
  const kept = [];
  for (const p of [...points].reverse()) {
    const text = clipped(name(p), width < 450 ? 24 : 44);
    const [x, y, wide] = [place(at(p.x), across, width - 70), place(p.y, up, TRADEOFF_HEIGHT - 70), 6.4 * text.length];
    const right = x > wide;
    const box = { left: right ? x - wide : x, right: right ? x : x + wide, y };
    const free = kept.every((o) => o.box.left > box.right || o.box.right < box.left || Math.abs(o.box.y - y) > 18);
    if (free && kept.length < FEW_POINTS) kept.push({ p, text, right, box });
  }
  return kept.map(({ p, text, right }) => ({
    x: at(p.x), y: p.y, text: plain(text), showarrow: false, yshift: 16, xanchor: right ? "right" : "left",
    xshift: right ? 4 : -4, font: { size: 11.5, color: ink("ink") }, bgcolor: faded(ink("card"), 0.75),
  }));
}

panels.tradeoff = buildTradeoff;
