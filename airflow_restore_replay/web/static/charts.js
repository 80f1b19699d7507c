// Charts as SVG. Each has its message in words; the table of backups below has the numbers.

import { h, s } from "./dom.js";
import { bytes, duration, time } from "./format.js";
import { to } from "./parts.js";

const WIDTH = 1000;
const LANES = 4;
const MARKS = { healthy: "rr-mark-ok", quarantined: "rr-mark-critical", stranded: "rr-mark-warning" };

const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

function scale(times) {
  const first = Math.min(...times);
  const span = Math.max(...times) - first || 1;
  return (iso) => 24 + ((new Date(iso) - first) / span) * (WIDTH - 48);
}

function axis(x, y, first, last) {
  return [
    s("text", { x: "24", y: String(y), class: "rr-axis" }, time(first)),
    s(
      "text",
      { x: String(WIDTH - 24), y: String(y), class: "rr-axis", "text-anchor": "end" },
      `${time(last)} UTC`,
    ),
  ];
}

function drawing(height, label, ...children) {
  return h(
    "div",
    { class: "rr-scroll", tabindex: "0", role: "group", "aria-label": label },
    s(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${height}`, class: "rr-svg", role: "img", "aria-label": label },
      children,
    ),
  );
}

function legend(entries) {
  const shape = (kind) =>
    s(
      "svg",
      { viewBox: "0 0 12 12", class: "rr-key", "aria-hidden": "true" },
      kind.startsWith("rr-mark")
        ? mark(6, 6, kind, 5)
        : s("rect", { x: "0", y: "3", width: "12", height: "6", class: kind }),
    );
  return h(
    "ul",
    { class: "rr-legend" },
    entries.map(([kind, text]) => h("li", {}, shape(kind), text)),
  );
}

function mark(x, y, kind, size, title) {
  const label = title && s("title", {}, title);
  if (kind === "rr-mark-critical") {
    const arms = `M${x - size} ${y - size} L${x + size} ${y + size} M${x + size} ${y - size} L${x - size} ${y + size}`;
    return s("path", { d: arms, class: kind }, label);
  }
  if (kind === "rr-mark-warning")
    return s(
      "path",
      { d: `M${x} ${y - size} L${x + size} ${y + size} L${x - size} ${y + size} Z`, class: kind },
      label,
    );
  return s("circle", { cx: String(x), cy: String(y), r: String(size - 0.5), class: kind }, label);
}

/** Draw backups along time, each lineage on a lane of its own, with a line from base to backup. */
export function timeline(state, cluster) {
  const { backups, logs } = state;
  const times = backups.map((backup) => new Date(backup.goal_read_at).getTime());
  for (const iso of [logs?.begin, logs?.end, state.at]) if (iso) times.push(new Date(iso).getTime());
  const x = scale(times);
  const size = backups.length > 200 ? 3 : backups.length > 60 ? 4.5 : 6;
  const places = new Map();
  let lineage = -1;
  for (const backup of backups) {
    const base = places.get(backup.base);
    if (!base) lineage += 1;
    const lane = base ? base.lane : lineage % LANES;
    places.set(backup.backup_id, { lane, x: x(backup.goal_read_at), y: 22 + lane * 24, base });
  }
  const lines = [...places.values()]
    .filter((p) => p.base)
    .map((p) =>
      s("line", {
        x1: String(p.base.x),
        y1: String(p.base.y),
        x2: String(p.x),
        y2: String(p.y),
        class: "rr-lineage",
      }),
    );
  const marks = backups.map((backup) => {
    const place = places.get(backup.backup_id);
    const restored = backup.state === "healthy" && backup.proof === "restored";
    const kind = backup.state === "healthy" && !restored ? "rr-mark-unproven" : MARKS[backup.state];
    const title = `${backup.backup_id}: ${backup.state}, ${backup.proof.replace("_", " ")}, as of ${time(backup.goal_read_at)} UTC${backup.why ? `. ${backup.why}` : ""}`;
    // For the mouse; the table below has the same as links.
    const open = () => location.assign(to(cluster, backup.backup_id));
    return s("g", { class: "rr-pick", onclick: open }, mark(place.x, place.y, kind, size, title));
  });
  const bar = 22 + LANES * 24;
  const rect = (from, until, kind, title) =>
    s(
      "rect",
      {
        x: String(x(from)),
        y: String(bar),
        width: String(Math.max(2, x(until) - x(from))),
        height: "10",
        class: kind,
      },
      s("title", {}, title),
    );
  const archive = [
    logs?.begin &&
      logs.end &&
      rect(logs.begin, logs.end, "rr-window", `Archive from ${time(logs.begin)} to ${time(logs.end)} UTC`),
    (logs?.holes ?? []).map(([from, until]) =>
      rect(from, until, "rr-gap", `Cannot be restored: ${time(from)} to ${time(until)} UTC`),
    ),
    (logs?.gaps ?? [])
      .filter((gap) => new Date(gap.at) >= Math.min(...times))
      .map((gap) =>
        s(
          "path",
          {
            d: `M${x(gap.at) - 4} ${bar - 3} L${x(gap.at) + 4} ${bar + 13} M${x(gap.at) + 4} ${bar - 3} L${x(gap.at) - 4} ${bar + 13}`,
            class: "rr-mark-critical",
          },
          s("title", {}, `Gap: ${gap.lacking}`),
        ),
      ),
  ];
  const bad = backups.filter((backup) => backup.state !== "healthy").length;
  const proven = backups.filter((backup) => backup.proof === "restored").length;
  const label = `${count(backups.length, "backup")} in ${count(lineage + 1, "lineage")}; ${proven} proven by a restore, ${bad} quarantined or stranded.`;
  return h(
    "div",
    {},
    h("p", {}, label),
    drawing(
      bar + 36,
      label,
      lines,
      archive,
      s("g", { class: backups.length > 200 ? "rr-dense" : null }, marks),
      axis(
        x,
        bar + 30,
        new Date(Math.min(...times)).toISOString(),
        new Date(Math.max(...times)).toISOString(),
      ),
    ),
    legend([
      ["rr-mark-ok", "restored"],
      ["rr-mark-unproven", "not restored yet"],
      ["rr-mark-critical", "quarantined, or a gap"],
      ["rr-mark-warning", "stranded"],
      ["rr-window", "window of the archive"],
      ["rr-gap", "cannot be restored"],
    ]),
  );
}

/** Draw how long the last drills took. */
export function restoreTrend(state) {
  const { restores, rto } = state;
  if (!restores.length)
    return h(
      "p",
      { class: "rr-muted" },
      "No drill was recorded yet. A drill restores for practice, and measures.",
    );
  const most = Math.max(...restores.map((r) => r.seconds), rto.target_s ?? 0) || 1;
  const step = (WIDTH - 48) / restores.length;
  const y = (seconds) => 170 - (seconds / most) * 150;
  const bars = restores.map((r, number) =>
    s(
      "rect",
      {
        x: String(24 + number * step + step * 0.1),
        y: String(y(r.seconds)),
        width: String(step * 0.8),
        height: String(170 - y(r.seconds)),
        class: "rr-bar-fill",
      },
      s("title", {}, `${time(r.at)} UTC: ${duration(r.seconds)}`),
    ),
  );
  const target =
    rto.target_s &&
    s("line", {
      x1: "24",
      x2: String(WIDTH - 24),
      y1: String(y(rto.target_s)),
      y2: String(y(rto.target_s)),
      class: "rr-target",
    });
  const last = restores[restores.length - 1];
  const label = `The last of ${count(restores.length, "drill")} took ${duration(last.seconds)}${rto.target_s ? `, target ${duration(rto.target_s)}` : ""}.`;
  return h(
    "div",
    {},
    h("p", {}, label),
    drawing(205, label, bars, target, axis(null, 196, restores[0].at, last.at)),
    rto.target_s &&
      legend([
        ["rr-bar-fill", "took"],
        ["rr-target-key", "target"],
      ]),
  );
}

/** Draw the size of the database, and what each backup stored. */
export function sizeTrend(state) {
  const usual = state.backups.filter((backup) => !backup.as_of);
  if (usual.length < 2) return h("p", { class: "rr-muted" }, "Two backups are needed to draw a line.");
  const x = scale(usual.map((backup) => new Date(backup.goal_read_at).getTime()));
  const most = Math.max(...usual.map((backup) => Math.max(backup.logical_bytes, backup.stored_bytes))) || 1;
  const y = (value) => 170 - (value / most) * 150;
  const line = (name, kind) =>
    s("polyline", {
      points: usual.map((backup) => `${x(backup.goal_read_at)},${y(backup[name])}`).join(" "),
      class: kind,
    });
  const [first, last] = [usual[0], usual[usual.length - 1]];
  const label = `From ${bytes(first.logical_bytes)} to ${bytes(last.logical_bytes)}; the newest backup stored ${bytes(last.stored_bytes)}.`;
  return h(
    "div",
    {},
    h("p", {}, label),
    drawing(
      205,
      label,
      line("logical_bytes", "rr-line"),
      line("stored_bytes", "rr-line rr-line-second"),
      axis(null, 196, first.goal_read_at, last.goal_read_at),
    ),
    legend([
      ["rr-line-key", "database"],
      ["rr-line-second-key", "stored by the backup"],
    ]),
  );
}
