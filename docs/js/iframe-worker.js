/**
 * Browsers start no worker in a page that is opened from its file; the site's search then runs in a hidden frame.
 * Under another protocol nothing is changed.
 */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const script = `${new URL(url, location)}`;
      window.workerMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const load = (name) => new Promise((done, failed) => {
        const own = this.frame.contentDocument.createElement("script");
        Object.assign(own, { src: `${new URL(name, script)}`, onload: done, onerror: failed });
        this.frame.contentDocument.head.append(own);
      });
      this.frame = document.createElement("iframe");
      Object.assign(this.frame, { hidden: true, srcdoc: "<!doctype html><title>Search</title>" });
      this.frame.addEventListener("load", async () => {
        if (this.frame.contentDocument.title !== "Search") return; // the empty document that it begins with
        const scope = this.frame.contentWindow;
        scope.postMessage = (data) => window.workerMessage(data);
        scope.importScripts = (...names) => names.reduce((before, name) => before.then(() => load(name)), Promise.resolve());
        await load(script);
        const waiting = this.waiting;
        this.waiting = null;
        for (const data of waiting) this.postMessage(data);
      });
      document.addEventListener("DOMContentLoaded", () => document.body.append(this.frame), { once: true });
      if (document.body) document.body.append(this.frame);
    }

    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
