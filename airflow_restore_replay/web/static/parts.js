// Parts that all views share.

import { airflow } from "./api.js";
import { h } from "./dom.js";
import { duration, time } from "./format.js";

const WORDS = { critical: "Critical", warning: "Warning", ok: "OK", unread: "Not read yet" };

/** Return the address of a view of this page. Airflow's <base> would send a bare fragment elsewhere. */
export const to = (...parts) => `${location.pathname}#/${parts.map(encodeURIComponent).join("/")}`;

export function badge(kind, text) {
  return h("span", { class: `rr-badge rr-${kind}` }, text ?? WORDS[kind] ?? kind);
}

export const stateBadge = (state) =>
  badge({ healthy: "ok", quarantined: "critical", stranded: "warning" }[state] ?? "unread", state);

export const proofBadge = (proof) =>
  badge(
    { restored: "ok", read_back: "neutral", uploaded: "warning" }[proof] ?? "unread",
    (proof ?? "none").replace("_", " "),
  );

export const outcomeBadge = (outcome) =>
  badge(
    {
      published: "ok",
      restored: "ok",
      failed: "warning",
      stranded: "warning",
      quarantined: "critical",
      held: "critical",
    }[outcome] ?? "neutral",
    outcome,
  );

/** Return an age with the point in time in its title. */
export const ago = (seconds, iso) =>
  h("span", { title: iso ? `${time(iso, { seconds: true })} UTC` : null }, duration(seconds));

/** Return the share of the limit that an age has used, as a bar beside words that say the same. */
export function ageBar(age, limit) {
  const share = age === null || age === undefined ? 1 : Math.min(1, age / limit);
  const kind = share >= 1 ? "critical" : share > 0.8 ? "warning" : "ok";
  const fill = h("span", { class: `rr-fill rr-fill-${kind} rr-w${Math.round(share * 20)}` });
  return h("span", { class: "rr-bar", "aria-hidden": "true" }, fill);
}

export function findings(list) {
  if (!list.length) return null;
  const item = (f) => h("li", { class: `rr-finding rr-edge-${f.severity}` }, badge(f.severity), " ", f.text);
  return h("ul", { class: "rr-findings", "aria-label": "Findings" }, list.map(item));
}

export function notice(kind, title, ...more) {
  return h(
    "div",
    { class: `rr-notice rr-edge-${kind}`, role: kind === "critical" ? "alert" : null },
    h("strong", {}, title),
    " ",
    more,
  );
}

export function loading(text) {
  return h(
    "div",
    { class: "rr-loading", role: "status" },
    h("span", { class: "rr-spinner", "aria-hidden": "true" }),
    text,
  );
}

/** Return a name and its value, for a list of facts. */
export const fact = (name, ...value) => h("div", { class: "rr-fact" }, h("dt", {}, name), h("dd", {}, value));

/** Return a run as a link to Airflow, if it is one of Airflow's. */
export function run(name, dagId) {
  const prefix = `${dagId}/`;
  if (!dagId || !name?.startsWith(prefix)) return h("code", {}, name ?? "unknown");
  return h(
    "a",
    { href: airflow("dags", dagId, "runs", name.slice(prefix.length)) },
    name.slice(prefix.length),
  );
}

/** Return how far a run is, by what it told with its last renewal of the lease. */
export function progress(running, now) {
  const share =
    running.done !== null && running.total && running.done <= running.total
      ? running.done / running.total
      : null;
  const left =
    running.eta_s === null
      ? null
      : Math.max(0, running.eta_s - ((new Date(now) - new Date(running.told_at)) / 1000 || 0));
  return { share, left, step: running.step.split(".").pop() || "running" };
}

export function freshness(age, refreshing) {
  const read = age === null || age === undefined ? "Not read yet" : `Read ${duration(age)} ago`;
  return h("span", { class: "rr-muted rr-read" }, read, refreshing ? ", reading again…" : "");
}
