/**
 * Parallel axes: where a value stands on each, and the ticks beside it.
 */

/**
 * @typedef {Object} Axis
 * @property {string} title
 * @property {string[]} names of values that are no numbers
 * @property {function(number, number): string} [tick] writes a value beside the axis, in a unit
 * @property {function(number): number} [unit] of the largest value what the ticks are multiples of
 * @property {function(Object): (number|null)} of reads the value of a configuration
 * @property {boolean} [result] whether it is reached, not set
 * @property {boolean} [rising] of a result: whether large is good
 */

const MOST_TICKS = 6;

/** @param {Axis} axis @param {Object[]} shown configurations @returns {Axis} with `at` (0 to 1) and `ticks` */
function scaled(axis, shown) {
  const values = shown.map(axis.of).filter(isNumber);
  const distinct = [...new Set(values)].sort((a, b) => a - b);
  if (axis.names.length) return placed(axis, 0, axis.names.length - 1, false, axis.names.map((_, i) => i), (i) => axis.names[i]);
  if (!distinct.length) return placed(axis, 0, 1, false, [], String);
  let [low, high] = [distinct[0], distinct.at(-1)];
  if (axis.result) {
    const [from, to] = usualRange(values, axis.rising);
    [low, high] = [Math.max(low, from), Math.min(high, to)];
  }
  const log = !axis.result && low > 0 && high / low > 20;
  const few = distinct.length <= MOST_TICKS || (distinct.length <= 9 && distinct.every(Number.isInteger));
  if (few && !axis.result) return placed(axis, low, high, log, distinct, exact);
  const unit = axis.unit?.(high) ?? 1;
  if (!log) return placed(axis, low, high, false, roundTicks(low / unit, high / unit).map((value) => value * unit), axis.tick ? (value) => axis.tick(value, unit) : exact);
  const { tickvals, ticktext } = logTicks(low, high, MOST_TICKS - 1);
  return placed(axis, low, high, true, tickvals, (value) => ticktext[tickvals.indexOf(value)]);
}

function placed(axis, low, high, log, ticks, text) {
  const of = (value) => (log ? Math.log(value) : value);
  const at = (value) => (high > low ? Math.min(1, Math.max(0, (of(value) - of(low)) / (of(high) - of(low)))) : 0.5);
  const inside = ticks.filter((value) => value >= low && value <= high);
  return { ...axis, low, high, at, ticks: inside.map((value) => ({ at: at(value), text: text(value) })) };
}

/** As it was set. */
function exact(value, digits = 4) {
  return isNumber(value) ? String(Number(value.toPrecision(digits))).replaceAll("-", "−") : NONE;
}

/** Multiples of 1, 2, 2.5 or 5 and a power of ten. */
function roundTicks(low, high) {
  if (!(high > low)) return [low];
  const rough = (high - low) / (MOST_TICKS - 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const from = Math.ceil(low / step - 1e-9);
  const found = Array.from({ length: Math.floor(high / step + 1e-9) - from + 1 }, (_, i) => Number(((from + i) * step).toPrecision(12)));
  return found.length > 1 ? found : [low, high];
}
