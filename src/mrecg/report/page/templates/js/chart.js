/**
 * A chart with what belongs to it: title, controls, a summary in words, its numbers as a table, downloads.
 * It is drawn when it comes near the window and given up when it is far away, so a page may hold hundreds.
 */

/**
 * @typedef {Object} Drawing
 * @property {Object[]} data Plotly traces
 * @property {Object} layout
 * @property {string} summary the chart in a sentence or two
 * @property {function(): {columns: Object[], rows: Object[][]}} [numbers]
 * @property {function(Object[]): (Node[]|null)} [hover] content of the tooltip for the points under the pointer
 * @property {string} [missing] why there is nothing to draw
 */

const charts = new Map();
const DEFAULT_HEIGHT = 360;

class Chart {
  /**
   * @param {Object} options
   * @param {string} options.title
   * @param {function(number): Drawing} options.draw gets the width in px
   * @param {number|function(number): number} [options.height]
   * @param {boolean} [options.small] one of many: no downloads, no numbers, no interaction
   * @param {Node[]} [options.controls]
   * @param {number} [options.least] px below which it scrolls sideways
   * @param {boolean} [options.quiet] whether its summary is for screen readers alone
   */
  constructor({ title, draw, height = DEFAULT_HEIGHT, small = false, controls = [], least = 0, open = null, quiet = false }) {
    Object.assign(this, { title, draw, height, small, visible: false, drawn: false, drawing: null, pending: null });
    this.plot = h("div", { class: "plot", role: "img", "aria-label": title });
    this.plot.style.minHeight = `${this.heightAt(innerWidth)}px`;
    this.words = h("p", { class: quiet ? "summary sr" : "summary" });
    this.empty = h("p", { class: "missing", hidden: true });
    this.scroller = h("div", { class: "scroll-x" }, this.plot);
    if (least) this.plot.style.minWidth = `${least}px`;
    this.caption = h("figcaption", {}, h(small ? "span" : "h3", { class: "chart-title" }, title), h("span", { class: "controls" }, ...controls));
    this.element = h("figure", { class: small ? "chart small" : "chart" }, this.caption, this.scroller, this.empty);
    if (!small) this.element.append(this.words, this.foot());
    if (open) this.addOpener(open);
    charts.set(this.element, this);
    nearness.observe(this.element);
    sizes.observe(this.scroller);
  }

  rename(title) {
    this.title = title;
    this.caption.querySelector(".chart-title").textContent = title;
  }

  heightAt(width) {
    return typeof this.height === "function" ? this.height(width) : this.height;
  }

  foot() {
    const body = h("div", { class: "numbers" });
    this.table = h("details", { class: "data", ontoggle: () => this.tabulate() }, h("summary", {}, "Numbers"), body);
    const save = (format) => () => this.save(format);
    return h(
      "div",
      { class: "foot" },
      this.table,
      h(
        "span",
        { class: "downloads" },
        h("button", { type: "button", class: "link", onclick: save("svg"), "aria-label": `Download “${this.title}” as SVG` }, "SVG"),
        h("button", { type: "button", class: "link", onclick: save("png"), "aria-label": `Download “${this.title}” as PNG` }, "PNG"),
      ),
    );
  }

  addOpener(open) {
    const button = h("button", { type: "button", class: "icon", "aria-label": `Enlarge ${this.title}`, "aria-haspopup": "dialog", title: "Enlarge" }, "⤢");
    this.element.addEventListener("click", open);
    this.element.classList.add("opens");
    this.caption.querySelector(".controls").append(button);
  }

  /** Prepare anew; draw at once where it can be seen. */
  refresh() {
    if (this.small && !this.visible) {
      this.drawn = false;
      return;
    }
    const width = this.plot.clientWidth || this.element.clientWidth || 600;
    this.drawing = this.draw(width);
    const { missing = "", summary = "" } = this.drawing;
    this.empty.hidden = !missing;
    this.empty.textContent = missing;
    this.element.classList.toggle("blank", Boolean(missing));
    this.plot.setAttribute("aria-label", summary ? `${this.title}. ${summary}` : this.title);
    this.words.textContent = summary;
    this.drawn = false;
    if (missing) this.release();
    else if (this.visible) this.paint();
    else whenIdle();
    if (!this.small) this.tabulate();
  }

  /** Hand the drawing to Plotly. */
  paint() {
    if (this.drawn || !window.Plotly) return;
    if (!this.drawing) this.refresh();
    if (!this.drawing || this.drawing.missing || this.drawn) return;
    const width = this.plot.clientWidth;
    if (!width) return;
    const height = this.heightAt(width);
    this.plot.style.minHeight = `${height}px`;
    const layout = dressed({ ...this.drawing.layout, width, height });
    const config = { displayModeBar: false, staticPlot: this.small, showTips: false, doubleClick: "reset", responsive: false };
    this.pending = Plotly.react(this.plot, this.drawing.data, layout, config);
    this.drawn = true;
    this.width = width;
    for (const drawnSvg of this.plot.querySelectorAll("svg")) {
      drawnSvg.setAttribute("aria-hidden", "true");
      drawnSvg.setAttribute("focusable", "false");
    }
    if (!this.wired && this.plot.on && !this.small) this.wire();
  }

  wire() {
    this.wired = true;
    this.plot.on("plotly_hover", ({ points, event }) => {
      const content = this.drawing?.hover?.(points);
      if (content) showTip(content, event);
    });
    this.plot.on("plotly_unhover", hideTip);
  }

  /** Give up the drawing; the room stays, so that nothing jumps. */
  release() {
    if (!this.plot.firstChild || !window.Plotly) return;
    this.drawn = false;
    // At its end a drawing reads once more what a purge takes away.
    Promise.resolve(this.pending).finally(() => {
      if (this.drawn) return; // it came back in the meantime
      Plotly.purge(this.plot);
      this.plot.replaceChildren();
      this.wired = false;
    });
  }

  tabulate() {
    if (!this.table?.open) return;
    const numbers = this.drawing?.numbers?.();
    fill(this.table.querySelector(".numbers"), numbers ? simpleTable(this.title, numbers) : "No numbers.");
  }

  save(format) {
    const name = this.title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
    this.paint();
    if (!this.drawn) return;
    const size = { width: this.width, height: this.heightAt(this.width) };
    const layout = { ...this.plot.layout, paper_bgcolor: ink("card"), plot_bgcolor: ink("card") };
    Plotly.downloadImage({ data: this.plot.data, layout }, { format, filename: name, scale: format === "png" ? 2 : 1, ...size });
  }

  /** Take it off the page. */
  discard() {
    nearness.unobserve(this.element);
    sizes.unobserve(this.scroller);
    charts.delete(this.element);
    this.release();
    this.element.remove();
  }
}

const NEAR = "500px";
/** Charts from which on those out of sight are given up. */
const MANY = 150;
const nearness = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const chart = charts.get(target);
      if (!chart) continue;
      chart.visible = isIntersecting;
      if (isIntersecting) chart.paint();
      else if (chart.small && !printing && charts.size > MANY) chart.release();
    }
  },
  { rootMargin: `${NEAR} 0px` },
);

const sizes = new ResizeObserver((entries) => {
  if (printing) return;
  // In the next frame: to draw in here would change sizes while they are being told.
  requestAnimationFrame(() => {
    for (const { target } of entries) {
      const chart = charts.get(target.parentElement);
      if (chart?.drawn && Math.abs(chart.plot.clientWidth - chart.width) > 2) chart.refresh();
    }
  });
});

const later = window.requestIdleCallback ?? ((act) => setTimeout(act, 50));
let asked = false;

/** Draw what is out of sight when there is nothing else to do: pages are photographed and copied whole. */
function whenIdle() {
  if (asked) return;
  asked = true;
  later(() => {
    asked = false;
    const waits = (chart) => !chart.small && !chart.drawn && chart.plot.clientWidth && !chart.drawing?.missing;
    const next = [...charts.values()].find(waits);
    next?.paint();
    if (next?.drawn) whenIdle();
  });
}

/** Draw every chart anew, for another theme or for paper. @param {boolean} [all] also those out of sight */
function redrawAll(all = false) {
  for (const chart of charts.values()) {
    if (all) chart.visible = true;
    if (chart.drawing || chart.visible) chart.refresh();
  }
}

const tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });

/** Show a tooltip beside the pointer, inside the window. */
function showTip(content, { clientX, clientY }) {
  fill(tip, content);
  if (!tip.isConnected) document.body.append(tip);
  const dialog = document.querySelector("dialog[open]");
  (dialog ?? document.body).append(tip);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = clientX + 18 + width > innerWidth ? clientX - width - 18 : clientX + 18;
  const top = Math.min(Math.max(8, clientY - height / 2), innerHeight - height - 8);
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  tip.style.top = `${Math.max(8, top)}px`;
}

function hideTip() {
  tip.hidden = true;
}

/** A line of a tooltip: what, and how much. */
function tipRow(name, value, mark = null) {
  return h("div", { class: "tip-row" }, mark ?? h("i"), h("span", {}, name), h("b", {}, value));
}
