/**
 * Elements and numbers as text. Data reach the page through textContent and setAttribute only, never as markup.
 */

/** What draws each section but the headline, by its name; each file adds its own, in the order of the page. */
const panels = {};

const NONE = "–";
const THIN = "\u202f";

/**
 * Make an element.
 * @param {string} tag
 * @param {Object<string, *>} [attributes] "on..." are listeners; false and null are left out, true is empty.
 * @param {...(Node|string|number|null|undefined|Array)} children
 * @returns {HTMLElement}
 */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  dress(element, attributes);
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return element;
}

/** Make an SVG element; see `h`. */
function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  dress(element, attributes);
  element.append(...children);
  return element;
}

function dress(element, attributes) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
}

/** Replace what an element holds. */
function fill(element, ...children) {
  element.replaceChildren(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return element;
}

/** @param {string} id */
function byId(id) {
  return document.getElementById(id);
}

/** Escape a name for Plotly, whose text takes a few tags and entities. */
function plain(text) {
  return String(text)
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replace(/\s+/g, " ");
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/** Digits after the point, with a real minus. */
function fixed(value, digits) {
  return isNumber(value) ? value.toFixed(digits).replace("-", "−") : NONE;
}

/** Three significant digits, thousands in groups. */
function short(value) {
  if (!isNumber(value)) return NONE;
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) {
    const [mantissa, exponent] = value.toExponential(1).split("e");
    return `${mantissa}·10${[...String(Number(exponent))].map((c) => SUPERSCRIPTS[c]).join("")}`.replace("-", "−");
  }
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits }).replace("-", "−");
}

const SUPERSCRIPTS = {
  0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹", "-": "⁻",
};

function percent(fraction, digits = 2) {
  return isNumber(fraction) ? `${fixed(100 * fraction, digits)}${THIN}%` : NONE;
}

/** A change with its sign. */
function signed(value, digits) {
  if (!isNumber(value)) return NONE;
  const text = fixed(value, digits);
  return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

function seconds(value) {
  if (!isNumber(value)) return NONE;
  if (value >= 5400) return `${fixed(value / 3600, 1)}${THIN}h`;
  if (value >= 180) return `${fixed(value / 60, 1)}${THIN}min`;
  return `${fixed(value, value < 10 ? 1 : 0)}${THIN}s`;
}

function bytes(value) {
  if (!isNumber(value)) return NONE;
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (value >= size) return `${fixed(value / size, value >= 100 * size ? 0 : 2)}${THIN}${unit}`;
  }
  return `${value}${THIN}B`;
}

function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** Cut the middle out of a long name; both ends tell units apart. */
function clipped(name, letters) {
  const text = String(name).replace(/\s+/g, " ");
  if (text.length <= letters) return text;
  const tail = Math.ceil((letters - 1) * 0.6);
  return `${text.slice(0, letters - 1 - tail)}…${text.slice(-tail)}`;
}

/** Name a group without repeating the path that its units share: features.3+4. */
function groupName(names) {
  if (names.length === 1) return names[0];
  const cut = names.map((name) => name.lastIndexOf("."));
  const parents = new Set(names.map((name, i) => name.slice(0, cut[i] + 1)));
  const rest = parents.size === 1 ? names.map((name, i) => name.slice(cut[i] + 1)) : names;
  const inner = rest.length > 4 ? [rest[0], "…", rest.at(-1)] : rest;
  return parents.size === 1 ? `${[...parents][0]}${inner.join("+")}` : inner.join("+");
}
