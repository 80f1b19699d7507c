// One backup.

import { releaseBackupButton } from "./actions.js";
import { clean, h } from "./dom.js";
import { amount, bytes, duration, time } from "./format.js";
import { badge, fact, loading, notice, outcomeBadge, proofBadge, run, stateBadge, to } from "./parts.js";

export function backupView(cluster, id, data, view, change) {
  const head = (...more) =>
    h(
      "header",
      { class: "rr-head" },
      h(
        "nav",
        { "aria-label": "Breadcrumb" },
        h("a", { href: to() }, "Backups"),
        " / ",
        h("a", { href: to(cluster) }, cluster),
        " / ",
      ),
      h("h1", { tabindex: "-1" }, h("code", {}, id)),
      more,
    );
  if (!data) return h("div", {}, head(), loading("Reading the backup's records…"));
  const { manifest, verdicts } = data;
  return h(
    "div",
    {},
    head(stateBadge(data.state), proofBadge(data.proof)),
    data.against.length > 0 && h("div", { class: "rr-actions" }, releaseBackupButton(cluster, data, change)),
    h("div", { class: "rr-grid rr-grid-wide" }, facts(cluster, manifest), sizes(manifest.sizes)),
    restore(data, change),
    checks(manifest.checks ?? []),
    verdictList(verdicts),
    h(
      "section",
      { class: "rr-card" },
      h("h2", {}, "What it lacks"),
      data.lacks.length
        ? h(
            "ul",
            { class: "rr-list" },
            data.lacks.map((item) => h("li", {}, badge("warning", item.what), " ", item.why)),
          )
        : h("p", {}, "Its manifest notes nothing."),
    ),
    files(data),
    h("details", { class: "rr-card" }, h("summary", {}, "Manifest as JSON"), json(manifest, "Manifest")),
  );
}

const json = (value, label) =>
  h(
    "pre",
    { class: "rr-json", tabindex: "0", role: "region", "aria-label": label },
    clean(JSON.stringify(value, null, 2)),
  );

function facts(cluster, manifest) {
  const { base } = manifest;
  return h(
    "section",
    { class: "rr-card" },
    h("h2", {}, "Manifest"),
    h(
      "dl",
      {},
      fact(
        "Data as of",
        `${time(manifest.goal_read_at, { seconds: true })} UTC`,
        manifest.as_of && [" ", badge("neutral", "a past time")],
      ),
      fact("Made", `${time(manifest.created_at, { seconds: true })} UTC`),
      fact("Position", h("code", {}, manifest.position)),
      fact(
        "Base",
        base.backup_id
          ? h("a", { href: to(cluster, base.backup_id) }, h("code", {}, base.backup_id))
          : `fresh full: ${base.method || base.kind}`,
      ),
      fact("Depth of its lineage", amount(manifest.lineage_depth ?? 0)),
      fact("Server", `${manifest.flavor} ${manifest.server_release}`),
      fact(
        "Run",
        run(
          manifest.run,
          manifest.run.split("/")[0] === `restore_replay_${cluster}` ? `restore_replay_${cluster}` : null,
        ),
      ),
      fact("Key", manifest.key_id ? h("code", {}, manifest.key_id) : "not encrypted"),
    ),
  );
}

function sizes(found) {
  return h(
    "section",
    { class: "rr-card" },
    h("h2", {}, "Size"),
    h(
      "dl",
      {},
      fact("Database", `${bytes(found.total_bytes)} in ${amount(found.files)} files`),
      fact("New", `${bytes(found.new_bytes)} in ${amount(found.new_chunks)} chunks`),
      fact("Changed pages", bytes(found.delta_page_bytes ?? 0)),
      fact("Reused", bytes(found.reused_bytes)),
      fact("Zero", bytes(found.zero_bytes)),
      fact("Stored, compressed", bytes(found.stored_bytes)),
    ),
  );
}

function restore(data, change) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(data.restore);
      change({ told: "The command is copied." });
    } catch {
      change({ told: "The browser does not allow to copy. Select the command." });
    }
  };
  return h(
    "section",
    { class: "rr-card" },
    h("h2", {}, "Restore"),
    h(
      "p",
      {},
      "Run this where the cluster file is; the directory must be empty. A restore needs neither Airflow nor the primary.",
    ),
    h(
      "div",
      { class: "rr-command" },
      h("code", { tabindex: "0" }, data.restore),
      h("button", { type: "button", class: "rr-button", onclick: copy }, "Copy"),
    ),
  );
}

function table(caption, columns, rows) {
  return h(
    "div",
    { class: "rr-scroll", tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table",
      { class: "rr-table" },
      h("caption", { class: "rr-hidden" }, caption),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map((name) => h("th", { scope: "col" }, name)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map(([first, ...cells]) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, first),
            cells.map((cell) => h("td", {}, cell)),
          ),
        ),
      ),
    ),
  );
}

function checks(list) {
  const text = (check) =>
    [check.observed, check.unfinished]
      .filter((part) => part !== undefined && part !== "")
      .map((part) => (typeof part === "string" ? part : JSON.stringify(part)))
      .join("; ");
  const seconds = (check) => (typeof check.seconds === "number" ? duration(check.seconds) : "");
  return h(
    "section",
    { class: "rr-card" },
    h("h2", {}, "Checks that it passed"),
    list.length
      ? table(
          "Checks",
          ["Check", "Took", "Observed"],
          list.map((check) => [String(check.name ?? ""), seconds(check), text(check)]),
        )
      : h("p", {}, "Its manifest names none."),
  );
}

function verdictList(verdicts) {
  const one = (verdict) => {
    const { failure } = verdict;
    const evidence = failure?.evidence && Object.keys(failure.evidence).length > 0;
    return h(
      "li",
      { class: `rr-verdict ${verdict.withdrawn ? "rr-withdrawn" : ""}`, "data-key": verdict.verdict_id },
      h(
        "div",
        {},
        outcomeBadge(verdict.outcome),
        verdict.withdrawn && [" ", badge("neutral", "withdrawn")],
        " ",
        h("code", {}, verdict.verdict_id),
        ` at ${time(verdict.at, { seconds: true })} UTC `,
        [verdict.attempt, verdict.step].filter(Boolean).join("."),
        verdict.by && ` by ${verdict.by}`,
      ),
      (failure?.message || verdict.reason) && h("p", {}, failure?.message ?? verdict.reason),
      failure && verdict.reason && h("p", {}, verdict.reason),
      failure?.hint && h("p", { class: "rr-muted" }, failure.hint),
      evidence && h("details", {}, h("summary", {}, "Evidence"), json(failure.evidence, "Evidence")),
    );
  };
  return h(
    "section",
    { class: "rr-card" },
    h("h2", {}, "Verdicts"),
    verdicts.length
      ? h("ol", { class: "rr-list" }, [...verdicts].reverse().map(one))
      : h("p", {}, "No verdict is about it yet: no cycle or drill has restored it."),
  );
}

function files(data) {
  const rows = (list, name) =>
    list.map((item) => [h("code", {}, item[name] || "(top level)"), bytes(item.size_bytes)]);
  return h(
    "section",
    { class: "rr-card" },
    h("h2", {}, "Files by size"),
    data.files_error && notice("critical", data.files_error.message, data.files_error.hint),
    data.databases.length > 0 &&
      table("Directories by size", ["Directory", "Size"], rows(data.databases, "name")),
    data.files.length > 0 &&
      h(
        "details",
        {},
        h(
          "summary",
          {},
          data.files.length < data.manifest.sizes.files
            ? `The ${data.files.length} largest files`
            : "All files",
        ),
        table("Files by size", ["File", "Size"], rows(data.files, "path")),
      ),
  );
}
