/**
 * Tables: plain ones behind charts, and sortable ones.
 */

/**
 * @typedef {Object} Column
 * @property {string} title
 * @property {boolean} [number] right-aligned; sorted from the largest first
 * @property {boolean} [rising] a number of which less is better: sorted from the least first
 * @property {string} [note] explains the title
 *
 * @typedef {Object} Cell
 * @property {string} text
 * @property {number|string|null} [sort] null stands last
 * @property {string} [small] a second line
 * @property {boolean} [best]
 * @property {Node} [node] instead of the text
 */

const FIRST_ROWS = 60;

/** A table as it stands. @param {{columns: Column[], rows: Cell[][]}} content; the first column names the row */
function simpleTable(title, { columns, rows }) {
  return scroller(`Numbers: ${title}`, h("table", {}, h("caption", { class: "sr" }, title), head(columns), h("tbody", {}, rows.map((row) => line(row, columns)))));
}

/** Wide tables scroll sideways, also by keyboard. */
function scroller(title, table) {
  return h("div", { class: "scroll-x", role: "region", tabindex: "0", "aria-label": title }, table);
}

function head(columns, content = (column) => column.title) {
  return h(
    "thead",
    {},
    h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.number ? "n" : null }, content(column)))),
  );
}

function line(cells, columns) {
  return h(
    "tr",
    {},
    cells.map((cell, i) => {
      const classes = [columns[i].number && "n", cell.best && "best", cell.tone].filter(Boolean).join(" ");
      const body = [cell.node ?? cell.text, cell.small ? h("small", {}, cell.small) : null];
      if (cell.best) body.unshift(h("span", { class: "sr" }, "best: "));
      return h(i ? "td" : "th", { class: classes || null, scope: i ? null : "row" }, body);
    }),
  );
}

/**
 * A table whose headers sort it; of many rows the first are shown until more are asked for.
 * @param {string} title
 * @param {{columns: Column[], rows: Cell[][]}} content
 * @param {{at: number, down: boolean}} [order] kept by the caller over renewals
 * @param {number} [first] rows that are shown at first
 */
function sortableTable(title, { columns, rows }, order = { at: -1, down: false }, first = FIRST_ROWS) {
  const body = h("tbody");
  const buttons = columns.map((column, i) =>
    h("button", { type: "button", title: column.note ?? null, onclick: () => sortBy(i) }, column.title),
  );
  const heads = head(columns, (column) => buttons[columns.indexOf(column)]);
  const more = h("button", { type: "button", class: "more", onclick: () => { shown = rows.length; show(); } });
  let shown = first;
  const sortBy = (i) => {
    const fromTop = Boolean(columns[i].number) && !columns[i].rising;
    Object.assign(order, { down: order.at === i ? !order.down : fromTop, at: i });
    show();
  };
  const show = () => {
    const sorted = order.at < 0 ? rows : [...rows].sort((a, b) => compare(a[order.at], b[order.at], order.down));
    fill(body, sorted.slice(0, shown).map((row) => line(row, columns)));
    more.hidden = rows.length <= shown;
    more.textContent = `Show all ${rows.length} rows`;
    [...heads.querySelectorAll("th")].forEach((cell, i) => {
      if (i === order.at) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
  };
  show();
  const table = h("table", { class: "sortable" }, h("caption", { class: "sr" }, title), heads, body);
  return h("div", { class: "table" }, scroller(title, table), more);
}

function compare(a, b, down) {
  const [left, right] = [a, b].map((cell) => (cell.sort === undefined ? cell.text : cell.sort));
  const empty = (value) => value === null || value === NONE;
  if (empty(left) || empty(right)) return Number(empty(left)) - Number(empty(right));
  const order = isNumber(left) && isNumber(right) ? left - right : String(left).localeCompare(String(right), "en", { numeric: true });
  return down ? -order : order;
}
