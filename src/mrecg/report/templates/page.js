"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Sorting: numbers by value, everything else by text; empty cells stay last in both directions.
  for (const button of all(".sortable thead button")) {
    button.addEventListener("click", () => {
      const head = button.closest("th"), table = head.closest("table"), body = table.tBodies[0];
      const before = head.getAttribute("aria-sort");
      const up = before ? before === "descending" : !head.classList.contains("n");
      for (const other of all("th", table.tHead)) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.cells[head.cellIndex].dataset.sort;
      const order = (a, b) => {
        const x = value(a), y = value(b);
        if (x === "" || y === "") return (x === "") - (y === "");
        const less = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
        return up ? less : -less;
      };
      body.append(...[...body.rows].sort(order));
    });
  }

  // Legends: a click hides a configuration in all figures of its panel, pointing at it dims the others.
  for (const panel of all(".panel")) {
    for (const button of all(".legend button", panel)) {
      const mine = () => all(`[data-s="${button.dataset.t}"]`, panel);
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") === "false";
        button.setAttribute("aria-pressed", on);
        for (const series of mine()) series.classList.toggle("off", !on);
      });
      button.addEventListener("pointerenter", () => {
        if (button.getAttribute("aria-pressed") === "false") return;
        panel.classList.add("focus");
        for (const series of mine()) series.classList.add("hot");
      });
      button.addEventListener("pointerleave", () => {
        panel.classList.remove("focus");
        for (const series of mine()) series.classList.remove("hot");
      });
    }
    for (const figure of all("figure.plot", panel)) {
      for (const button of all(".scale button", figure)) {
        button.addEventListener("click", () => {
          for (const other of all(".scale button", figure)) other.setAttribute("aria-pressed", other === button);
          for (const variant of all(".variant", figure)) variant.hidden = variant.dataset.scale !== button.dataset.scale;
        });
      }
    }
  }

  // Tooltip: the unit under the pointer, and every visible configuration's value there, largest first.
  const tip = document.getElementById("tip");
  const node = (tag, text, name) => {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    if (name) made.className = name;
    return made;
  };
  for (const figure of all("figure.plot")) {
    const source = figure.querySelector("script.data");
    if (!source) continue;
    const data = JSON.parse(source.textContent);
    const panel = figure.closest(".panel");
    for (const chart of all("svg.hoverable", figure)) {
      const cursor = chart.querySelector(".cursor");
      let at = -1;
      const hide = () => { tip.hidden = true; at = -1; cursor.setAttribute("x1", -9); cursor.setAttribute("x2", -9); };
      const show = (unit, x, y) => {
        at = unit;
        cursor.setAttribute("x1", data.x[unit]);
        cursor.setAttribute("x2", data.x[unit]);
        const shown = data.series
          .filter((s) => panel.querySelector(`[data-t="${s.id}"]`).getAttribute("aria-pressed") === "true")
          .sort((a, b) => b.values[unit] - a.values[unit]);
        tip.replaceChildren(node("b", data.units[unit]), ...shown.map((s) => {
          const row = node("div");
          row.append(node("i", "", `c${s.colour}`), node("span", s.label), node("span", s.texts[unit]));
          return row;
        }));
        tip.hidden = false;
        const box = tip.getBoundingClientRect();
        tip.style.left = `${Math.max(8, x + 16 + box.width > innerWidth - 8 ? x - 16 - box.width : x + 16)}px`;
        tip.style.top = `${Math.max(8, Math.min(y - box.height / 2, innerHeight - box.height - 8))}px`;
      };
      const scale = () => chart.getBoundingClientRect().width / chart.viewBox.baseVal.width;
      chart.addEventListener("pointermove", (event) => {
        const x = (event.clientX - chart.getBoundingClientRect().left) / scale();
        const near = data.x.reduce((best, v, i) => Math.abs(v - x) < Math.abs(data.x[best] - x) ? i : best, 0);
        show(near, event.clientX, event.clientY);
      });
      chart.addEventListener("pointerleave", hide);
      chart.addEventListener("blur", hide);
      chart.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (event.key === "Escape") hide();
        if (!step) return;
        event.preventDefault();
        const next = Math.min(data.x.length - 1, Math.max(0, at + step));
        const box = chart.getBoundingClientRect();
        show(next, box.left + data.x[next] * scale(), box.top + box.height / 3);
      });
    }
  }
})();
