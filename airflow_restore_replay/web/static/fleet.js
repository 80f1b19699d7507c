// All clusters, the worst first.

import { h } from "./dom.js";
import { between, duration, time } from "./format.js";
import {
  ageBar,
  ago,
  badge,
  freshness,
  loading,
  notice,
  outcomeBadge,
  progress,
  proofBadge,
  to,
} from "./parts.js";

const COLUMNS = [
  "Cluster",
  "State",
  "Age of newest backup",
  "RPO",
  "Proof",
  "Last run",
  "Now",
  "Restore takes",
  "Archive",
  "Next run",
];

export function fleetView(data, view, change) {
  if (!data) return loading("Reading the clusters…");
  const now = view.now(data.now);
  const aged = (row) =>
    row.read && row.fresh.age_s !== null ? row.fresh.age_s + between(row.at, now) : null;
  const severity = (row) => (row.read ? row.severity : "unread");
  const wanted = view.filter.trim().toLowerCase();
  const shown = data.clusters.filter(
    (row) =>
      row.cluster.toLowerCase().includes(wanted) && (!view.severity || severity(row) === view.severity),
  );
  return h(
    "div",
    {},
    h(
      "header",
      { class: "rr-head" },
      h("h1", { tabindex: "-1" }, "Backups"),
      freshness(data.age_s === null ? null : data.age_s + between(data.now, now), data.refreshing),
    ),
    data.problem && notice("critical", data.problem.message, data.problem.hint),
    data.clusters.length ? filters(data, view, change, severity) : nothing(data),
    data.clusters.length > 0 &&
      h(
        "table",
        { class: "rr-table rr-cards", role: "table" },
        h("caption", { class: "rr-hidden" }, "Clusters, the worst first"),
        h(
          "thead",
          { role: "rowgroup" },
          h(
            "tr",
            { role: "row" },
            COLUMNS.map((name) => h("th", { scope: "col", role: "columnheader" }, name)),
          ),
        ),
        h(
          "tbody",
          { role: "rowgroup" },
          shown.map((row) => line(row, aged(row), now)),
        ),
      ),
    data.clusters.length > 0 && !shown.length && h("p", { class: "rr-muted" }, "No cluster matches."),
  );
}

function nothing(data) {
  if (data.refreshing && data.age_s === null) return loading("Reading the clusters…");
  if (data.problem) return null;
  const why = data.configured
    ? "You may read the DAG of none of the configured clusters. Ask for the right to read restore_replay_<cluster>."
    : "The cluster file has no cluster.";
  return notice("neutral", "There is nothing to show.", why);
}

function filters(data, view, change, severity) {
  const count = (kind) => data.clusters.filter((row) => severity(row) === kind).length;
  const kinds = ["critical", "warning", "ok", "unread"].filter(
    (kind) => count(kind) || view.severity === kind,
  );
  const button = (kind) =>
    h(
      "button",
      {
        type: "button",
        class: "rr-chip",
        "aria-pressed": String(view.severity === kind),
        onclick: () => change({ severity: view.severity === kind ? "" : kind }),
      },
      badge(kind),
      ` ${count(kind)}`,
    );
  return h(
    "div",
    { class: "rr-filters" },
    h("div", { class: "rr-chips", role: "group", "aria-label": "Show only" }, kinds.map(button)),
    h("input", {
      type: "search",
      class: "rr-input",
      placeholder: "Filter clusters",
      "aria-label": "Filter clusters by name",
      oninput: (event) => change({ filter: event.target.value }),
    }),
  );
}

function line(row, age, now) {
  const cell = (label, ...content) =>
    h(
      "td",
      { role: "cell" },
      h("span", { class: "rr-label", "aria-hidden": "true" }, label),
      h("div", {}, content),
    );
  const first = row.findings?.[0];
  const name = h(
    "th",
    { scope: "row", role: "rowheader" },
    h("a", { href: to(row.cluster) }, row.cluster),
    h("span", { class: "rr-muted rr-small" }, row.flavor),
  );
  if (!row.read) {
    return h(
      "tr",
      { role: "row", "data-key": row.cluster },
      name,
      cell("State", badge("unread")),
      COLUMNS.slice(2).map((label) => cell(label, "…")),
    );
  }
  if (row.error) {
    const unknown = COLUMNS.slice(2, -1).map((label) =>
      cell(label, h("span", { class: "rr-muted" }, "unknown")),
    );
    const state = cell(
      "State",
      badge(row.severity),
      h("div", { class: "rr-small rr-why" }, row.error.message),
    );
    return h(
      "tr",
      { role: "row", "data-key": row.cluster },
      name,
      state,
      unknown,
      cell("Next run", nextRun(row.dag, now)),
    );
  }
  return h(
    "tr",
    { role: "row", "data-key": row.cluster },
    name,
    cell(
      "State",
      badge(row.severity),
      row.held > 0 && [" ", badge("critical", "on hold")],
      first && h("div", { class: "rr-small rr-why" }, first.text),
    ),
    cell(
      "Age",
      h(
        "span",
        { class: "rr-age" },
        age === null ? "unknown" : ago(age, row.fresh.goal_read_at),
        h("span", { class: "rr-muted" }, ` of ${duration(row.fresh.max_age_s)}`),
      ),
      ageBar(age, row.fresh.max_age_s),
    ),
    cell(
      "RPO",
      row.archive
        ? duration(row.archive.rpo_s === null ? null : row.archive.rpo_s + between(row.at, now))
        : h("span", { class: "rr-muted" }, "no archive"),
    ),
    cell(
      "Proof",
      row.fresh.proof ? proofBadge(row.fresh.proof) : "none",
      row.proven &&
        h(
          "div",
          { class: "rr-small rr-muted" },
          "restored ",
          ago(between(row.proven.at, now), row.proven.at),
          " ago",
        ),
    ),
    cell(
      "Last run",
      row.last
        ? [
            outcomeBadge(row.last.outcome),
            h("div", { class: "rr-small rr-muted" }, ago(between(row.last.at, now), row.last.at), " ago"),
          ]
        : "none",
    ),
    cell("Now", runningCell(row, now)),
    cell(
      "Restore takes",
      duration(row.rto.seconds),
      row.rto.meets_target === false && [" ", badge("warning", "over target")],
    ),
    cell("Archive", archiveCell(row, now)),
    cell("Next run", nextRun(row.dag, now)),
  );
}

function runningCell(row, now) {
  const running = row.running;
  if (!running) return row.dag?.runs.length ? h("span", {}, row.dag.runs[0].state) : "idle";
  if (!running.live) return badge("warning", "died");
  const { share, left, step } = progress(running, now);
  return [
    h("span", {}, step, share === null ? "" : ` ${Math.floor(share * 100)}%`),
    h("div", { class: "rr-small rr-muted" }, left === null ? running.phase : `${duration(left)} left`),
  ];
}

function archiveCell(row, now) {
  const archive = row.archive;
  if (!archive) return h("span", { class: "rr-muted" }, "none");
  const span = archive.begin && archive.end ? duration(between(archive.begin, archive.end)) : null;
  return [
    h(
      "span",
      { title: archive.begin ? `${time(archive.begin)} to ${time(archive.end)} UTC` : null },
      span
        ? `window ${span}${archive.whole ? "" : " or more"}`
        : archive.end
          ? `to ${duration(between(archive.end, now))} ago`
          : "empty",
    ),
    archive.gaps > 0 && h("div", {}, badge("warning", archive.gaps === 1 ? "1 gap" : `${archive.gaps} gaps`)),
  ];
}

export function nextRun(dag, now) {
  if (!dag || dag.gone) return h("span", { class: "rr-muted" }, "no DAG");
  if (dag.paused) return badge("neutral", "paused");
  if (!dag.next_run) return h("span", { class: "rr-muted" }, "not scheduled");
  const left = between(now, dag.next_run);
  return h("span", { title: `${time(dag.next_run)} UTC` }, left > 0 ? `in ${duration(left)}` : "due");
}
