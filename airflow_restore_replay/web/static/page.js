// The Backups page: a component for Airflow's React that gives its element to plain DOM.

import { path, read } from "./api.js";
import { backupView } from "./backup.js";
import { clusterView } from "./cluster.js";
import { clean, h, morph } from "./dom.js";
import { fleetView } from "./fleet.js";
import { loading, notice } from "./parts.js";

const CALM_MS = 15000;
const BUSY_MS = 2500;
const TICK_MS = 5000;

/** Return what the address shows: nothing, a cluster, or a cluster and a backup. */
function place() {
  try {
    return location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).slice(0, 2).map(decodeURIComponent);
  } catch {
    return [];
  }
}

function routeOf([cluster, backup]) {
  if (!cluster) return "fleet";
  return backup ? path("clusters", cluster, "backups", backup) : path("clusters", cluster);
}

class Page {
  constructor(root) {
    this.root = root;
    this.body = h("div", {});
    this.live = h("div", { class: "rr-toast", role: "status" });
    root.append(this.live, this.body);
    this.seen = new Map();
    this.skew = 0;
    this.view = {
      filter: "",
      severity: "",
      pages: 1,
      now: () => new Date(Date.now() + this.skew).toISOString(),
    };
    this.moved = () => this.go(true);
    addEventListener("hashchange", this.moved);
    this.visible = () => document.visibilityState === "visible" && this.load();
    document.addEventListener("visibilitychange", this.visible);
    this.tick = setInterval(() => this.render(), TICK_MS);
    this.go(false);
  }

  stop() {
    removeEventListener("hashchange", this.moved);
    document.removeEventListener("visibilitychange", this.visible);
    clearInterval(this.tick);
    clearTimeout(this.next);
    this.asking?.abort();
    this.leave();
    this.root.replaceChildren();
  }

  /** Close what asks about another view. */
  leave() {
    for (const box of document.querySelectorAll("dialog.rr-dialog")) box.close();
  }

  go(moved) {
    this.at = place();
    this.route = routeOf(this.at);
    this.error = null;
    this.view.pages = 1;
    this.live.replaceChildren();
    this.leave();
    this.load();
    this.render();
    document.title = clean([...this.at].reverse().concat("Backups").join(" - "));
    if (moved) {
      this.root.scrollIntoView?.({ block: "start" });
      this.root.querySelector("h1")?.focus({ preventScroll: true });
    }
  }

  async load() {
    clearTimeout(this.next);
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    const route = this.route;
    try {
      const data = await read(route, asking.signal);
      this.skew = new Date(data.now) - Date.now();
      this.seen.delete(route);
      this.seen.set(route, data);
      if (this.seen.size > 20) this.seen.delete(this.seen.keys().next().value);
      if (route === this.route) this.error = null;
    } catch (error) {
      if (error.name === "AbortError") return;
      if (route === this.route) this.error = error;
    }
    if (asking.signal.aborted) return;
    this.render();
    if (document.visibilityState !== "visible") return;
    const data = this.seen.get(this.route);
    const busy = data?.refreshing || data?.state?.running?.live;
    this.next = setTimeout(() => this.load(), busy && !this.error ? BUSY_MS : CALM_MS);
  }

  change(values) {
    const { told, link, again, ...view } = values;
    Object.assign(this.view, view);
    if (told) this.live.replaceChildren(clean(told), link ? h("a", { href: link }, " Show it") : "");
    if (again) this.load();
    this.render();
  }

  render() {
    const [cluster, backup] = this.at;
    const data = this.seen.get(this.route);
    const change = (values) => this.change(values);
    let content;
    if (this.error && !data) content = this.failed();
    else if (backup) content = backupView(cluster, backup, data, this.view, change);
    else if (cluster) content = clusterView(cluster, data, this.view, change);
    else content = fleetView(data, this.view, change);
    const stale =
      this.error &&
      data &&
      notice("warning", "This is not current.", this.error.message, " ", this.error.hint);
    morph(this.body, h("div", {}, h("div", { "data-key": this.route }, stale, content)));
  }

  failed() {
    const back = h("a", { href: `${location.pathname}#/` }, "All clusters");
    const again = h(
      "button",
      { type: "button", class: "rr-button", onclick: () => this.load() },
      "Try again",
    );
    return h(
      "div",
      {},
      h("header", { class: "rr-head" }, h("h1", { tabindex: "-1" }, "Backups")),
      notice("critical", this.error.message, this.error.hint),
      h("p", { class: "rr-actions" }, again, back),
    );
  }
}

function styled() {
  const href = new URL("page.css", import.meta.url).href;
  const known = [...document.querySelectorAll("link[rel=stylesheet]")].some((link) => link.href === href);
  if (known) return Promise.resolve();
  const link = h("link", { rel: "stylesheet", href });
  const done = new Promise((resolve) => {
    link.addEventListener("load", resolve);
    link.addEventListener("error", resolve);
  });
  document.head.append(link);
  return done;
}

const { createElement, useEffect, useRef } = globalThis.React;

function Backups() {
  const ref = useRef(null);
  useEffect(() => {
    let page = null;
    let gone = false;
    ref.current.append(loading("Loading…"));
    styled().then(() => {
      if (gone) return;
      ref.current.replaceChildren();
      page = new Page(ref.current);
    });
    return () => {
      gone = true;
      page?.stop();
    };
  }, []);
  return createElement("main", { className: "rr rr-page", ref });
}

globalThis.Backups = Backups;
export default Backups;
