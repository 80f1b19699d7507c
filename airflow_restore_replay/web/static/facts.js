// What is known of a cluster, as cards.

import { h } from "./dom.js";
import { amount, between, bytes, duration, time } from "./format.js";
import { nextRun } from "./fleet.js";
import { ageBar, ago, badge, fact, outcomeBadge, proofBadge, run, to } from "./parts.js";

/** Return one card for each subject. */
export function facts(state, data, now) {
  const { fresh, logs, rto, coverage, headroom, amounts, proven, last } = state;
  const age = fresh.age_s === null ? null : fresh.age_s + between(state.at, now);
  const card = (title, ...items) =>
    h("section", { class: "rr-card" }, h("h2", {}, title), h("dl", {}, items));
  return h(
    "div",
    { class: "rr-grid" },
    card(
      "Freshness",
      fact(
        "Newest healthy backup",
        fresh.backup_id ? h("a", { href: to(data.cluster, fresh.backup_id) }, fresh.backup_id) : "none",
      ),
      fact(
        "Age",
        age === null ? "unknown" : ago(age, fresh.goal_read_at),
        ` of ${duration(fresh.max_age_s)}`,
        ageBar(age, fresh.max_age_s),
      ),
      fact("Proof", fresh.proof ? proofBadge(fresh.proof) : "none"),
      fact(
        "Last restore that proved one",
        proven
          ? [ago(between(proven.at, now), proven.at), ` ago, by ${proven.by}`]
          : "never, as far as known",
      ),
    ),
    card(
      "Runs",
      fact(
        "Last",
        last ? [outcomeBadge(last.outcome), " ", ago(between(last.at, now), last.at), " ago"] : "none",
      ),
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
      logs &&
        fact(
          "Archiver",
          logs.archiver ? (logs.archiver.live ? "runs" : badge("warning", "died")) : "does not run",
        ),
      logs &&
        fact(
          "Window",
          logs.begin && logs.end
            ? [
                `${time(logs.begin)} to ${time(logs.end)} UTC`,
                ` (${duration(between(logs.begin, logs.end))})`,
              ]
            : logs.examined
              ? "empty"
              : "…",
        ),
      logs?.gaps.map((gap) => fact("Gap", `${gap.lacking}: ${gap.reason}`)),
      logs?.size_bytes && fact("Size", bytes(logs.size_bytes)),
    ),
    card(
      "Restore",
      fact(
        "Expected to take",
        duration(rto.seconds),
        !rto.with_logs && rto.seconds !== null ? ", without the archived logs" : "",
      ),
      fact(
        "Target",
        rto.target_s
          ? [
              duration(rto.target_s),
              " ",
              rto.meets_target === null
                ? ""
                : rto.meets_target
                  ? badge("ok", "met")
                  : badge("warning", "missed"),
            ]
          : "none",
      ),
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
      fact(
        "Lease",
        state.running
          ? `held by ${state.running.run}, until ${time(state.running.expires_at, { seconds: true })} UTC`
          : "free",
      ),
    ),
    card(
      "Repository",
      fact("Backups", amount(amounts.backups)),
      fact("Newest backup", bytes(amounts.logical)),
      fact("Stored", bytes(amounts.stored)),
      fact("Stored a day", bytes(amounts.stored_a_day)),
      Object.keys(state.unreadable).length > 0 &&
        fact("Unreadable records", Object.keys(state.unreadable).slice(0, 10).join(", ")),
    ),
  );
}

const phases = (map) =>
  Object.entries(map)
    .map(([name, seconds]) => `${name.replace("_", " ")} ${duration(seconds)}`)
    .join(", ") || "unknown";

function coverageText(coverage) {
  if (!coverage) return "unknown";
  if (coverage.never) return `${amount(coverage.never)} tables were never compared completely`;
  return coverage.since
    ? `all rows since ${time(coverage.since)} UTC, in ${amount(coverage.cycles)} cycles`
    : "unknown";
}

function headroomText(headroom, now) {
  if (!headroom || headroom.keep_s === null) return "unknown";
  if (!headroom.until) return "the primary keeps them for ever";
  const left = between(now, headroom.until);
  return left > 0
    ? `the next cycle finds all that it needs for ${duration(left)}`
    : badge("warning", "the primary may have purged what the next cycle needs");
}
