/**
 * Light and dark, for the page and for every chart. Colours come from the style sheet and from the document.
 */

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
let printing = false;

function isDark() {
  return !printing && (state.theme ? state.theme === "dark" : prefersDark.matches);
}

/** Set the page's colours; charts are drawn anew by whoever watches "theme". */
function applyTheme() {
  const root = document.documentElement;
  root.dataset.theme = isDark() ? "dark" : "light";
  colours().forEach((colour, i) => root.style.setProperty(`--k${i}`, colour));
  const toggle = byId("theme");
  toggle.setAttribute("aria-pressed", String(isDark()));
}

/** The palette of configurations. @returns {string[]} */
function colours() {
  return isDark() ? doc.palette.dark : doc.palette.light;
}

function colourOf(configuration) {
  const palette = colours();
  return palette[configuration.colour % palette.length];
}

/** The same colour, see-through. @param {string} hex */
function faded(hex, alpha) {
  const parts = [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${parts.join(",")},${alpha})`;
}

/** A colour of the style sheet by its name, which stands there as light-dark(one, other). */
function ink(name) {
  const value = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
  return value.match(/#[0-9a-f]+/g)[isDark() ? 1 : 0];
}

/** What all charts share. @param {Object} layout what differs */
function dressed(layout) {
  const [text, soft, grid, line] = ["ink", "soft", "grid", "line"].map(ink);
  const axis = {
    gridcolor: grid, linecolor: line, tickcolor: line, zeroline: false, automargin: true, ticklen: 4,
    tickfont: { size: 11.5, color: soft }, title: { font: { size: 12, color: soft }, standoff: 8 },
    exponentformat: "power", minexponent: 4, hoverformat: "",
  };
  const found = {
    font: { family: FONT, size: 12, color: text },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 8, r: 12, t: 14, b: 8, pad: 2 },
    showlegend: false, hovermode: "x", hoverdistance: 40, dragmode: COARSE.matches ? false : "zoom",
    ...layout,
  };
  for (const key of Object.keys(found).filter((name) => /^[xy]axis\d*$/.test(name))) {
    const own = found[key];
    const title = typeof own.title === "string" ? { text: own.title } : own.title;
    found[key] = { ...axis, ...own, title: { ...axis.title, ...title }, tickfont: { ...axis.tickfont, ...own.tickfont } };
  }
  return found;
}

/**
 * Ticks of a logarithmic axis with whole numbers beside them: decades, or 1, 2 and 5 where there are few.
 * @param {number} low above 0
 * @param {number} high
 */
function logTicks(low, high, most = 6) {
  const decades = Math.log10(high / low);
  const steps = decades > 2.4 ? [1] : decades > 1.1 ? [1, 3] : [1, 2, 3, 5, 7];
  const every = Math.max(1, Math.ceil(decades / most));
  const values = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e += 1) {
    if (decades <= 2.4 || e % every === 0) values.push(...steps.map((step) => Number(`${step}e${e}`)));
  }
  const inside = values.filter((value) => value >= low * 0.99 && value <= high * 1.01);
  const whole = inside.length > most ? inside.filter((_, i) => i % Math.ceil(inside.length / most) === 0) : inside;
  // Where the range holds no such number, or one alone, its ends are better than nothing.
  const thin = whole.length > 1 ? whole : [low, high].map((value) => Number(value.toPrecision(3)));
  return { type: "log", tickmode: "array", tickvals: thin, ticktext: thin.map(tickText) };
}

function tickText(value) {
  return value >= 1e5 || value < 1e-3 ? short(value).replace(".0", "").replace(/^1·/, "") : String(value);
}

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const COARSE = matchMedia("(pointer: coarse)");

const DASHES = {
  solid: "", dash: "7 4", dot: "2 3", dashdot: "7 3 2 3", longdash: "11 4", longdashdot: "11 3 2 3",
};

/** A piece of a configuration's line with its marker, as legends show it. */
function swatch(configuration) {
  const colour = `var(--k${configuration.colour})`;
  const [shape] = configuration.marker.split("-open");
  const hollow = configuration.marker.endsWith("-open");
  return svg(
    "svg",
    { class: "swatch", viewBox: "0 0 34 12", width: 34, height: 12, "aria-hidden": "true" },
    svg("path", {
      d: "M1 6H33", stroke: colour, "stroke-width": 2, fill: "none", "stroke-dasharray": DASHES[configuration.dash] ?? "",
    }),
    svg("path", {
      d: SHAPES[shape] ?? SHAPES.circle, fill: hollow ? "var(--card)" : colour, stroke: colour, "stroke-width": 1.6,
    }),
  );
}

const SHAPES = {
  circle: "M17 2.5a3.5 3.5 0 1 1 0 7a3.5 3.5 0 1 1 0-7Z",
  square: "M13.8 2.8h6.4v6.4h-6.4Z",
  diamond: "M17 1.6L21.4 6L17 10.4L12.6 6Z",
  "triangle-up": "M17 1.8L21.4 9.4H12.6Z",
  "triangle-down": "M17 10.2L21.4 2.6H12.6Z",
  x: "M13.8 2.8L20.2 9.2M20.2 2.8L13.8 9.2",
  star: "M17 1.2L18.2 4.5L21.8 4.6L18.9 6.8L20 10.2L17 8.2L14 10.2L15.1 6.8L12.2 4.6L15.8 4.5Z",
};
