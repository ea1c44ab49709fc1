/**
 * What was run: differences of the configurations, environments, failures and the commands that repeat it all.
 */

function buildProvenance() {
  const failed = doc.runs.filter((run) => !configurationById.has(run.configuration));
  const parts = [
    failed.length ? failedPanel(failed) : null,
    h("div", { class: "panel" }, h("h3", {}, "Commands that repeat these runs"), h("div", { class: "commands" })),
    h("div", { class: "panel" }, h("h3", {}, doc.left_out ? "Where the runs differ whose settings the page keeps" : "Where the runs differ"), h("div", { class: "differences" })),
    folded(`What ${doc.left_out ? "these" : "all"} runs share (${Object.keys(doc.provenance.same).length} settings)`, () => valuesTable("Shared settings", doc.provenance.same)),
    ...doc.provenance.environments.map(({ runs, values }) => folded(`Environment of ${runsText(runs)}`, () => valuesTable("Environment", values))),
    h("div", { class: "panel" }, h("h3", {}, "This page"), command(doc.command, "the command of this page")),
  ];
  const body = fill(byId("provenance-body"), parts);
  const order = { at: -1, down: false };
  const update = () => {
    const left = new Set(visibleRuns().map((run) => run.id));
    fill(body.querySelector(".differences"), differenceTable(left, order));
    fill(body.querySelector(".commands"), commandList(left));
  };
  watch(FILTER_KEYS, update);
  update();
}

/** A closed part whose content is made when it is opened. */
function folded(title, make) {
  const content = h("div");
  const element = h("details", { class: "panel fold" }, h("summary", {}, title), content);
  element.addEventListener("toggle", () => { if (element.open && !content.firstChild) content.append(make()); });
  return element;
}

function failedPanel(failed) {
  const columns = [{ title: "Run" }, { title: "Status" }, { title: "Why" }, { title: "Folder" }];
  const rows = failed.map((run) => [{ text: run.name }, { text: run.status }, { text: run.error || "not recorded" }, { text: run.folder }]);
  return h("div", { class: "panel" }, h("h3", {}, `${count(failed.length, "run")} without a result`), sortableTable("Runs without a result", { columns, rows }));
}

function runsText(ids) {
  if (ids.length === doc.runs.length && ids.length > 1) return "all runs";
  const names = ids.slice(0, 2).map(runText);
  return `${names.join(", ")}${ids.length > 2 ? ` and ${ids.length - 2} more` : ""}`;
}

function runText(id) {
  const run = runById.get(id);
  return run.of ? `${run.of.label}, ${run.of.bits}, seed ${run.seed}` : run.name;
}

function valuesTable(title, values) {
  return simpleTable(title, { columns: [{ title: "Key" }, { title: "Value" }], rows: Object.entries(values).map(([key, value]) => [{ text: key }, { text: String(value) }]) });
}

function differenceTable(left, order) {
  const differing = doc.provenance.different;
  if (!differing.length) return h("p", { class: "missing" }, "In nothing.");
  const columns = [{ title: "Run" }, ...differing.map(({ key }) => ({ title: key }))];
  const rows = doc.runs
    .filter((run) => left.has(run.id) && run.detailed)
    .map((run) => [{ text: runText(run.id) }, ...differing.map(({ values }) => ({ text: values[run.id] ?? NONE }))]);
  return sortableTable("Settings in which the runs differ", { columns, rows }, order);
}

const FIRST_COMMANDS = 5;

/** One command may repeat a whole sweep; those of the filtered runs, the rest on demand. */
function commandList(left) {
  const found = doc.provenance.commands.filter(({ runs }) => runs.some((id) => left.has(id)));
  const item = ({ runs, command: text }) => h("div", {}, h("p", { class: "basis" }, `Repeats ${runsText(runs)}`), command(text, `the command of ${runsText(runs)}`));
  const list = h("div", {}, found.slice(0, FIRST_COMMANDS).map(item));
  if (found.length <= FIRST_COMMANDS) return list;
  const more = h("button", { type: "button", class: "more", onclick: () => { list.append(...found.slice(FIRST_COMMANDS).map(item)); more.remove(); } }, `Show all ${found.length} commands`);
  return [list, more];
}

function command(text, what) {
  return h("div", { class: "command" }, h("pre", { tabindex: "0", "aria-label": what }, h("code", {}, text)), copyButton(text, what));
}

panels.provenance = buildProvenance;
