/**
 * Start: what is seen first is made first, everything else when the window has time for it.
 */

async function start() {
  const library = unpack("plotly");
  await loadDocument();
  readAddress();
  applyTheme();
  buildFilters();
  guarded("result", panels.result);
  wireNavigation();
  await painted();  // the result stands while the plotting library, a second's work, starts
  performance.mark("headline");
  await loadPlotly(library);
  for (const chart of charts.values()) if (chart.visible) chart.paint();
  requestAnimationFrame(() => performance.mark("figure"));
  for (const [name, build] of Object.entries(panels)) {
    if (name !== "result") guarded(name, build);
    await idle();
  }
  document.documentElement.dataset.ready = "true";
  if (section) goTo(section, false);
}

/** One panel that fails leaves the others alone, and says so. */
function guarded(name, build) {
  try {
    build();
  } catch (error) {
    fill(byId(`${name}-body`), h("p", { class: "missing", role: "alert" }, `This panel could not be drawn: ${error.message}`));
    console.error(error);
  }
}

/** Until the next frame is on the screen; a window in the background has none, and does not wait. */
function painted() {
  return new Promise((resolve) => {
    requestAnimationFrame(() => setTimeout(resolve, 0));
    setTimeout(resolve, 100);
  });
}

function idle() {
  return new Promise((resolve) => { setTimeout(resolve, 0); });
}

/** Plotly is packed like the data; its hash is in the page's policy, so the browser runs this text and no other. */
async function loadPlotly(text) {
  const script = document.createElement("script");
  script.textContent = await text;
  document.head.append(script);
  if (!window.Plotly) throw new Error("the plotting library did not start");
}

function wireNavigation() {
  for (const link of document.querySelectorAll("nav a[data-section]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      section = link.dataset.section;
      history.pushState(null, "", address());
      goTo(section, true);
    });
  }
  addEventListener("popstate", () => {
    readAddress();
    if (section) goTo(section, false);
  });
  byId("theme").addEventListener("click", () => choose({ theme: isDark() ? "light" : "dark" }));
  watch(["theme"], applyTheme);
  prefersDark.addEventListener("change", () => {
    applyTheme();
    redrawAll();
  });
  const spy = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => markSection(target.id)),
    { rootMargin: "-20% 0px -70% 0px" },
  );
  document.querySelectorAll("main > section").forEach((part) => spy.observe(part));
  addEventListener("beforeprint", () => forPaper(true));
  addEventListener("afterprint", () => forPaper(false));
  addEventListener("scroll", hideTip, { passive: true });
  writeAddress();
}

function markSection(id) {
  for (const link of document.querySelectorAll("nav a[data-section]")) {
    if (link.dataset.section === id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

/** A section that has nothing to show is not there. */
function showSection(id, on) {
  byId(id).hidden = !on;
  document.querySelector(`nav a[data-section="${id}"]`).parentElement.hidden = !on;
}

function goTo(id, focus) {
  const target = byId(id);
  if (!target) return;
  target.scrollIntoView();
  if (focus) target.querySelector("h2").focus({ preventScroll: true });
}

/** Paper is white and narrow: charts are drawn for it, and again for the window afterwards. */
function forPaper(on) {
  printing = on;
  document.documentElement.classList.toggle("printing", on);
  applyTheme();
  redrawAll(on);
}

start().catch((error) => {
  const box = byId("trouble");
  box.hidden = false;
  box.textContent = `This page needs a browser of 2024 or later. ${error.message}`;
  console.error(error);
});
