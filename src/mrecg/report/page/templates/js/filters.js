/**
 * The filter: checkboxes for what the runs differ in. Nothing checked in a row means all of it.
 */

function buildFilters() {
  const form = byId("filters");
  const rows = FACETS.map((facet) => facetRow(facet)).filter(Boolean);
  const status = h("p", { class: "status", role: "status" });
  const clear = h("button", { type: "button", class: "link", onclick: () => choose(Object.fromEntries(FILTER_KEYS.map((key) => [key, []]))) }, "Clear filter");
  fill(form, rows.map((row) => row.element), h("div", { class: "filter-foot" }, status, clear));
  const update = () => {
    const total = [...runById.values()].filter((run) => run.of).length;
    const left = visibleRuns().length;
    const active = FILTER_KEYS.some((key) => state[key].length);
    status.textContent = active ? `${left} of ${count(total, "run")}` : `All ${count(total, "run")}`;
    clear.hidden = !active;
    byId("filter-count").textContent = active ? `${left} of ${total} runs` : "";
    byId("nothing").hidden = left > 0 || !total;
    rows.forEach((row) => row.update());
  };
  watch(FILTER_KEYS, update);
  update();
  byId("filter-box").hidden = rows.length === 0;
  const wide = matchMedia("(min-width: 1200px)");
  const unfold = () => { byId("filter-box").open = wide.matches; };
  wide.addEventListener("change", unfold);
  unfold();
}

/** One facet; null where all runs agree in it. */
function facetRow({ key, title, of, name }) {
  const runs = [...runById.values()].filter((run) => run.of);
  const values = [...new Set(runs.map(of))];
  if (key === "seed") values.sort((a, b) => Number(a) - Number(b));
  if (values.length < 2) return null;
  const inputs = values.map((value) => h("input", { type: "checkbox", value, onchange: () => choose({ [key]: checked() }) }));
  const checked = () => inputs.filter((input) => input.checked).map((input) => input.value);
  const update = () => inputs.forEach((input) => { input.checked = state[key].includes(input.value); });
  const labels = values.map((value, i) => h("label", { class: "check" }, inputs[i], h("span", {}, name(value))));
  return { element: h("fieldset", { class: "facet" }, h("legend", {}, title), h("div", { class: "checks" }, labels)), update };
}
