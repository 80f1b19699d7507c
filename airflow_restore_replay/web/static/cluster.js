// One cluster.

import { actionButtons, holdButton } from "./actions.js";
import { h } from "./dom.js";
import { amount, between, bytes, duration, time } from "./format.js";
import { nextRun } from "./fleet.js";
import { ageBar, ago, badge, fact, findings, freshness, loading, notice, outcomeBadge, progress, proofBadge, run, stateBadge, to } from "./parts.js";
import { restoreTrend, sizeTrend, timeline } from "./charts.js";

const PAGE = 50;

export function clusterView(name, data, view, change) {
  const head = (...more) =>
    h("header", { class: "rr-head" }, h("nav", { "aria-label": "Breadcrumb" }, h("a", { href: to() }, "Backups"), " / "), h("h1", { tabindex: "-1" }, name), more);
  if (!data) return h("div", {}, head(), loading("Reading the cluster's records…"));
  const { state } = data;
  const now = view.now(data.now);
  if (!state) return h("div", {}, head(), data.problem ? notice("critical", data.problem.message, data.problem.hint) : loading("Reading the cluster's records…"));
  const reading = data.refreshing && !state.complete && !state.error;
  return h(
    "div",
    {},
    head(badge(state.severity), freshness(between(state.at, now), data.refreshing)),
    actionButtons(name, data, change),
    state.error && notice("critical", state.error.message, state.error.hint),
    findings(state.findings.filter((finding) => !["unreadable", "held"].includes(finding.code))),
    state.holds.map((hold) => notice("critical", `On hold since ${time(hold.at)} UTC.`, hold.reason, " ", holdButton(name, data, hold, change))),
    runningPanel(state, data, now),
    !state.error && facts(state, data, now),
    !state.error && (state.backups.length ? history(name, state, reading, view, change) : notice("neutral", "There is no backup yet.", "The first cycle makes one.")),
  );
}

function runningPanel(state, data, now) {
  const { running } = state;
  const queued = data.dag?.runs.filter((r) => running?.run !== `${data.dag.dag_id}/${r.run_id}`) ?? [];
  if (!running && !queued.length) return null;
  const waiting = queued.slice(0, 5).map((r) => h("li", {}, badge("neutral", r.state), " ", run(`${data.dag.dag_id}/${r.run_id}`, data.dag.dag_id)));
  if (!running) return h("section", { class: "rr-card", "aria-label": "Runs under way" }, h("h2", {}, "Under way"), h("ul", {}, waiting));
  const { share, left, step } = progress(running, now);
  const rate = running.rate_per_s ? `${running.unit === "bytes" ? bytes(running.rate_per_s) : `${amount(Math.round(running.rate_per_s))} ${running.unit}`} a second` : null;
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
          share !== null && h("progress", { max: "100", value: String(Math.floor(share * 100)), "aria-label": `Progress of ${step}` }),
          share !== null && h("span", {}, `${Math.floor(share * 100)}%`),
          rate && h("span", {}, rate),
          left !== null && h("span", {}, `about ${duration(left)} left`),
          running.told_at && h("span", { class: "rr-muted" }, `told ${duration(between(running.told_at, now))} ago`),
        )
      : h("p", {}, "It neither renewed nor released its lease, which expired at ", time(running.expires_at, { seconds: true }), " UTC. The next cycle takes over."),
    waiting.length > 0 && h("ul", {}, waiting),
  );
}

function facts(state, data, now) {
  const { fresh, logs, rto, coverage, headroom, amounts, proven, last } = state;
  const age = fresh.age_s === null ? null : fresh.age_s + between(state.at, now);
  const card = (title, ...items) => h("section", { class: "rr-card" }, h("h2", {}, title), h("dl", {}, items));
  return h(
    "div",
    { class: "rr-grid" },
    card(
      "Freshness",
      fact("Newest healthy backup", fresh.backup_id ? h("a", { href: to(data.cluster, fresh.backup_id) }, fresh.backup_id) : "none"),
      fact("Age", age === null ? "unknown" : ago(age, fresh.goal_read_at), ` of ${duration(fresh.max_age_s)}`, ageBar(age, fresh.max_age_s)),
      fact("Proof", fresh.proof ? proofBadge(fresh.proof) : "none"),
      fact("Last restore that proved one", proven ? [ago(between(proven.at, now), proven.at), ` ago, by ${proven.by}`] : "never, as far as known"),
    ),
    card(
      "Runs",
      fact("Last", last ? [outcomeBadge(last.outcome), " ", ago(between(last.at, now), last.at), " ago"] : "none"),
      last?.reason && fact("Why", last.reason),
      last?.hint && fact("What to do", last.hint),
      last && fact("Run", run(last.run, data.dag?.dag_id)),
      fact("Next", nextRun(data.dag, now)),
      state.cycle && fact("Last cycle took", phases(state.cycle.phases)),
    ),
    card(
      "Archive of binary logs",
      !logs && fact("State", "there is no archive"),
      logs && fact("RPO", duration(logs.rpo_s === null ? null : logs.rpo_s + between(state.at, now))),
      logs && fact("Archiver", logs.archiver ? (logs.archiver.live ? "runs" : badge("warning", "died")) : "does not run"),
      logs && fact("Window", logs.begin && logs.end ? [`${time(logs.begin)} to ${time(logs.end)} UTC`, ` (${duration(between(logs.begin, logs.end))})`] : logs.examined ? "empty" : "…"),
      logs?.gaps.map((gap) => fact("Gap", `${gap.lacking}: ${gap.reason}`)),
      logs?.size_bytes && fact("Size", bytes(logs.size_bytes)),
    ),
    card(
      "Restore",
      fact("Expected to take", duration(rto.seconds), !rto.with_logs && rto.seconds !== null ? ", without the archived logs" : ""),
      fact("Target", rto.target_s ? [duration(rto.target_s), " ", rto.meets_target === null ? "" : rto.meets_target ? badge("ok", "met") : badge("warning", "missed")] : "none"),
      fact("Drills known", amount(state.restores.length)),
    ),
    card(
      "Coverage of the comparison",
      fact("Compared", coverageText(coverage)),
      coverage && fact("Changed since they were compared", `${amount(coverage.changed)} tables`),
    ),
    card(
      "Binary logs on the primary",
      fact("Headroom", headroomText(headroom, now)),
      headroom?.by_size && fact("Also", "the primary purges by size, which no time foretells"),
      fact("Lease", state.running ? `held by ${state.running.run}, until ${time(state.running.expires_at, { seconds: true })} UTC` : "free"),
    ),
    card(
      "Repository",
      fact("Backups", amount(amounts.backups)),
      fact("Newest backup", bytes(amounts.logical)),
      fact("Stored", bytes(amounts.stored)),
      fact("Stored a day", bytes(amounts.stored_a_day)),
      Object.keys(state.unreadable).length > 0 && fact("Unreadable records", Object.keys(state.unreadable).slice(0, 10).join(", ")),
    ),
  );
}

const phases = (map) => Object.entries(map).map(([name, seconds]) => `${name.replace("_", " ")} ${duration(seconds)}`).join(", ") || "unknown";

function coverageText(coverage) {
  if (!coverage) return "unknown";
  if (coverage.never) return `${amount(coverage.never)} tables were never compared completely`;
  return coverage.since ? `all rows since ${time(coverage.since)} UTC, in ${amount(coverage.cycles)} cycles` : "unknown";
}

function headroomText(headroom, now) {
  if (!headroom || headroom.keep_s === null) return "unknown";
  if (!headroom.until) return "the primary keeps them for ever";
  const left = between(now, headroom.until);
  return left > 0 ? `the next cycle finds all that it needs for ${duration(left)}` : badge("warning", "the primary may have purged what the next cycle needs");
}

function history(name, state, reading, view, change) {
  const newest = [...state.backups].reverse();
  const shown = newest.slice(0, view.pages * PAGE);
  const columns = ["Backup", "State", "Proof", "Data as of", "Base", "Size", "Stored"];
  return h(
    "div",
    {},
    h("section", { class: "rr-card" }, h("h2", {}, "Timeline"), timeline(state, name), reading && loading("Older backups are being read…")),
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
        h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map((column) => h("th", { scope: "col", role: "columnheader" }, column)))),
        h("tbody", { role: "rowgroup" }, shown.map((backup) => backupRow(name, backup, columns))),
      ),
      shown.length < newest.length && h("button", { type: "button", class: "rr-button", onclick: () => change({ pages: view.pages + 2 }) }, `Show more (${amount(newest.length - shown.length)} left)`),
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
    h("th", { scope: "row", role: "rowheader" }, h("a", { href: to(name, backup.backup_id) }, h("code", {}, backup.backup_id))),
    cell(1, stateBadge(backup.state), backup.why && h("div", { class: "rr-small rr-why" }, backup.why)),
    cell(2, proofBadge(backup.proof)),
    cell(3, `${time(backup.goal_read_at)} UTC`, backup.as_of && [" ", badge("neutral", "past time")]),
    cell(4, seeded ? badge("neutral", `fresh full: ${backup.base}`) : h("span", {}, h("code", {}, backup.base), h("span", { class: "rr-muted" }, ` ${backup.lineage_depth} deep`))),
    cell(5, bytes(backup.logical_bytes)),
    cell(6, bytes(backup.stored_bytes)),
  );
}
