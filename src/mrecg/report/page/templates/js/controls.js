/**
 * Controls that several panels use; native inputs, so that the keyboard works as everywhere.
 */

let serial = 0;

/** A new id. */
function fresh(prefix) {
  serial += 1;
  return `${prefix}-${serial}`;
}

/**
 * A row of radio buttons bound to a key of the state.
 * @param {string} legend
 * @param {string} key
 * @param {[string, string][]} options value and text
 * @param {function(): string} [current] where "" in the state stands for a value that the page chooses
 */
function segments(legend, key, options, current = () => state[key]) {
  const name = fresh(key);
  const inputs = options.map(([value]) =>
    h("input", { type: "radio", name, value, onchange: () => choose({ [key]: value }) }),
  );
  const update = () => inputs.forEach((input) => { input.checked = input.value === current(); });
  update();
  watch([key], update);
  const labels = options.map(([, text], i) => h("label", {}, inputs[i], h("span", {}, text)));
  const element = h("fieldset", { class: "segments" }, h("legend", { class: "sr" }, legend), labels);
  element.update = update;
  return element;
}

/**
 * A select bound to a key of the state; hidden while there is nothing to choose.
 * @param {string} title
 * @param {string} key
 * @param {function(): [string, string][]} options value and text; a third item names a group
 * @param {function(): string} current
 */
function picker(title, key, options, current) {
  const select = h("select", { onchange: () => choose({ [key]: select.value }) });
  const label = h("label", { class: "picker" }, h("span", {}, title), select);
  label.update = () => {
    const found = options();
    const groups = groupBy(found, (option) => option[2] ?? "");
    const make = ([value, text]) => h("option", { value }, text);
    fill(select, [...groups].map(([name, members]) => (name ? h("optgroup", { label: name }, members.map(make)) : members.map(make))));
    select.value = current();
    label.hidden = found.length < 2;
  };
  label.update();
  return label;
}

/** The choice of network and bit widths. */
function placePicker() {
  const element = picker("Network and bits", "place", () => visiblePlaces().map((place) => [place, placeTitle(place)]), currentPlace);
  watch(["place", ...FILTER_KEYS], element.update);
  return element;
}

const MOST_CHIPS = 24;

/** Chips for the configurations of the place: each shows or hides its line. Of many, those shown and the most accurate. */
function legend(title) {
  const list = h("ul", { class: "legend", "aria-label": title });
  const all = h("button", { type: "button", class: "link", onclick: () => choose({ shown: ofPlace(currentPlace()).map((c) => c.id) }) });
  const few = h("button", { type: "button", class: "link", onclick: () => choose({ shown: [] }) }, "show the usual ones");
  const rest = h("span", {});
  const note = h("p", { class: "legend-note no-print" }, all, few, rest);
  const update = () => {
    const shown = new Set(shownConfigurations().map((configuration) => configuration.id));
    const found = ofPlace(currentPlace());
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.configuration : "";
    const first = [...found].sort((a, b) => shown.has(b.id) - shown.has(a.id) || (b.top1.mean ?? 0) - (a.top1.mean ?? 0)).slice(0, MOST_CHIPS);
    fill(list, (found.length > MOST_CHIPS ? found.filter((c) => first.includes(c)) : found).map((configuration) => chip(configuration, shown)));
    const left = found.length - list.children.length;
    rest.textContent = `${left} more configurations: the filter leads to them`;
    rest.hidden = left === 0;
    all.textContent = `show all ${found.length} configurations`;
    all.hidden = shown.size === found.length || left > 0;
    few.hidden = !state.shown.length;
    note.hidden = all.hidden && few.hidden && rest.hidden;
    // Chips are made anew; whoever stood on one with the keyboard stays there.
    if (focused) [...list.querySelectorAll("button")].find((b) => b.dataset.configuration === focused)?.focus();
  };
  watch(["shown", "place", ...FILTER_KEYS], update);
  update();
  return h("div", { class: "legend-box" }, list, note);
}

function chip(configuration, shown) {
  const on = shown.has(configuration.id);
  const toggle = () => {
    const next = on ? [...shown].filter((id) => id !== configuration.id) : [...shown, configuration.id];
    choose({ shown: next.length ? next : [configuration.id] });
  };
  const attributes = { type: "button", "aria-pressed": String(on), onclick: toggle, "data-configuration": configuration.id };
  return h("li", {}, h("button", attributes, swatch(configuration), configuration.label));
}

/** A configuration with its swatch, as tables show it. */
function named(configuration, text = configuration.label) {
  return h("span", { class: "named" }, swatch(configuration), h("span", {}, text));
}

/** A button that copies a text. */
function copyButton(text, what) {
  const button = h("button", { type: "button", class: "copy", "aria-label": `Copy ${what}` }, "Copy");
  button.addEventListener("click", async () => {
    const done = await copyText(text);
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return button;
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without the permission of the clipboard: what every browser has had for long.
    const area = h("textarea", { class: "sr", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
