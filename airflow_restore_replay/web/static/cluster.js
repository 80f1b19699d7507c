// One cluster.

import { actionButtons, holdButton } from "./actions.js";
import { h } from "./dom.js";
import { amount, between, bytes, duration, time } from "./format.js";
import {
  badge,
  findings,
  freshness,
  loading,
  notice,
  progress,
  proofBadge,
  run,
  stateBadge,
  to,
} from "./parts.js";
import { restoreTrend, sizeTrend, timeline } from "./charts.js";
import { facts } from "./facts.js";

const PAGE = 50;

export function clusterView(name, data, view, change) {
  const head = (...more) =>
    h(
      "header",
      { class: "rr-head" },
      h("nav", { "aria-label": "Breadcrumb" }, h("a", { href: to() }, "Backups"), " / "),
      h("h1", { tabindex: "-1" }, name),
      more,
    );
  if (!data) return h("div", {}, head(), loading("Reading the cluster's records…"));
  const { state } = data;
  const now = view.now(data.now);
  if (!state)
    return h(
      "div",
      {},
      head(),
      data.problem
        ? notice("critical", data.problem.message, data.problem.hint)
        : loading("Reading the cluster's records…"),
    );
  const reading = data.refreshing && !state.complete && !state.error;
  return h(
    "div",
    {},
    head(badge(state.severity), freshness(between(state.at, now), data.refreshing)),
    actionButtons(name, data, change),
    state.error && notice("critical", state.error.message, state.error.hint),
    findings(state.findings.filter((finding) => !["unreadable", "held"].includes(finding.code))),
    state.holds.map((hold) =>
      notice(
        "critical",
        `On hold since ${time(hold.at)} UTC.`,
        hold.reason,
        " ",
        holdButton(name, data, hold, change),
      ),
    ),
    runningPanel(state, data, now),
    !state.error && facts(state, data, now),
    !state.error &&
      (state.backups.length
        ? history(name, state, reading, view, change)
        : notice("neutral", "There is no backup yet.", "The first cycle makes one.")),
  );
}

function runningPanel(state, data, now) {
  const { running } = state;
  const queued = data.dag?.runs.filter((r) => running?.run !== `${data.dag.dag_id}/${r.run_id}`) ?? [];
  if (!running && !queued.length) return null;
  const waiting = queued
    .slice(0, 5)
    .map((r) =>
      h("li", {}, badge("neutral", r.state), " ", run(`${data.dag.dag_id}/${r.run_id}`, data.dag.dag_id)),
    );
  if (!running)
    return h(
      "section",
      { class: "rr-card", "aria-label": "Runs under way" },
      h("h2", {}, "Under way"),
      h("ul", {}, waiting),
    );
  const { share, left, step } = progress(running, now);
  const rate = running.rate_per_s
    ? `${running.unit === "bytes" ? bytes(running.rate_per_s) : `${amount(Math.round(running.rate_per_s))} ${running.unit}`} a second`
    : null;
  return h(
    "section",
    { class: "rr-card", "aria-label": "Running cycle" },
    h("h2", {}, running.live ? "A cycle is running" : "A cycle died"),
    h("p", {}, run(running.run, data.dag?.dag_id), `, since ${time(running.since)} UTC`),
    running.live
      ? h(
          "div",
          { class: "rr-running" },
          h("strong", {}, step),
          running.phase && h("span", {}, running.phase),
          share !== null &&
            h("progress", {
              max: "100",
              value: String(Math.floor(share * 100)),
              "aria-label": `Progress of ${step}`,
            }),
          share !== null && h("span", {}, `${Math.floor(share * 100)}%`),
          rate && h("span", {}, rate),
          left !== null && h("span", {}, `about ${duration(left)} left`),
          running.told_at &&
            h("span", { class: "rr-muted" }, `told ${duration(between(running.told_at, now))} ago`),
        )
      : h(
          "p",
          {},
          "It neither renewed nor released its lease, which expired at ",
          time(running.expires_at, { seconds: true }),
          " UTC. The next cycle takes over.",
        ),
    waiting.length > 0 && h("ul", {}, waiting),
  );
}

function history(name, state, reading, view, change) {
  const newest = [...state.backups].reverse();
  const shown = newest.slice(0, view.pages * PAGE);
  const columns = ["Backup", "State", "Proof", "Data as of", "Base", "Size", "Stored"];
  return h(
    "div",
    {},
    h(
      "section",
      { class: "rr-card" },
      h("h2", {}, "Timeline"),
      timeline(state, name),
      reading && loading("Older backups are being read…"),
    ),
    h(
      "div",
      { class: "rr-grid rr-grid-wide" },
      h("section", { class: "rr-card" }, h("h2", {}, "Time that restores took"), restoreTrend(state)),
      h("section", { class: "rr-card" }, h("h2", {}, "Size"), sizeTrend(state)),
    ),
    h(
      "section",
      { class: "rr-card" },
      h("h2", {}, `Backups (${amount(state.backups.length)}${state.complete ? "" : " read so far"})`),
      h(
        "table",
        { class: "rr-table rr-cards", role: "table" },
        h("caption", { class: "rr-hidden" }, "Backups, the newest first"),
        h(
          "thead",
          { role: "rowgroup" },
          h(
            "tr",
            { role: "row" },
            columns.map((column) => h("th", { scope: "col", role: "columnheader" }, column)),
          ),
        ),
        h(
          "tbody",
          { role: "rowgroup" },
          shown.map((backup) => backupRow(name, backup, columns)),
        ),
      ),
      shown.length < newest.length &&
        h(
          "button",
          { type: "button", class: "rr-button", onclick: () => change({ pages: view.pages + 2 }) },
          `Show more (${amount(newest.length - shown.length)} left)`,
        ),
    ),
  );
}

function backupRow(name, backup, columns) {
  const label = (number) => h("span", { class: "rr-label", "aria-hidden": "true" }, columns[number]);
  const cell = (number, ...content) => h("td", { role: "cell" }, label(number), h("div", {}, content));
  const seeded = backup.lineage_depth === 0;
  return h(
    "tr",
    { role: "row", "data-key": backup.backup_id },
    h(
      "th",
      { scope: "row", role: "rowheader" },
      h("a", { href: to(name, backup.backup_id) }, h("code", {}, backup.backup_id)),
    ),
    cell(1, stateBadge(backup.state), backup.why && h("div", { class: "rr-small rr-why" }, backup.why)),
    cell(2, proofBadge(backup.proof)),
    cell(3, `${time(backup.goal_read_at)} UTC`, backup.as_of && [" ", badge("neutral", "past time")]),
    cell(
      4,
      seeded
        ? badge("neutral", `fresh full: ${backup.base}`)
        : h(
            "span",
            {},
            h("code", {}, backup.base),
            h("span", { class: "rr-muted" }, ` ${backup.lineage_depth} deep`),
          ),
    ),
    cell(5, bytes(backup.logical_bytes)),
    cell(6, bytes(backup.stored_bytes)),
  );
}
