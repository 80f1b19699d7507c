// What a user may do: each action says first what will happen.

import { airflow, release, trigger } from "./api.js";
import { h } from "./dom.js";

function dialog({ title, text, confirm, danger, reason, act, done }) {
  const failed = h("p", { class: "rr-error", role: "alert" });
  const input =
    reason &&
    h("textarea", { class: "rr-input", required: true, maxlength: "1000", rows: "3", id: "rr-reason" });
  const button = h(
    "button",
    { type: "submit", class: `rr-button ${danger ? "rr-danger" : "rr-primary"}` },
    confirm,
  );
  const box = h("dialog", { class: "rr-dialog rr", "aria-labelledby": "rr-dialog-title" });
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    failed.textContent = "";
    try {
      const told = await act(input?.value.trim());
      box.close();
      done(told);
    } catch (error) {
      failed.textContent = [error.message, error.hint].filter(Boolean).join(" ");
      button.disabled = false;
    }
  };
  const form = h(
    "form",
    { method: "dialog", onsubmit: submit },
    h("h2", { id: "rr-dialog-title" }, title),
    text.map((line) => h("p", {}, line)),
    input && h("label", { for: "rr-reason" }, "Reason, kept in the repository for ever"),
    input,
    failed,
    h(
      "div",
      { class: "rr-actions" },
      button,
      h("button", { type: "button", class: "rr-button", onclick: () => box.close() }, "Cancel"),
    ),
  );
  box.append(form);
  box.onclose = () => box.remove();
  document.body.append(box);
  box.showModal();
}

const PAUSED = "The DAG is paused: the run waits until somebody unpauses it.";

function startRun(dag, conf, title, text, done) {
  const act = async () => {
    const made = await trigger(dag.dag_id, conf);
    return {
      told: `Run ${made.dag_run_id} was created.`,
      link: airflow("dags", dag.dag_id, "runs", made.dag_run_id),
    };
  };
  dialog({ title, text: [...text, dag.paused && PAUSED].filter(Boolean), confirm: "Trigger", act, done });
}

export function actionButtons(cluster, data, change) {
  const { dag, drill_dag: drill, may, state } = data;
  const known = dag && !dag.gone;
  const done = (told) => change({ ...told, again: true });
  const id = dag?.dag_id;
  const waits = state?.running?.live
    ? "A cycle is running. The new run waits for its lease, and gives up after the configured time."
    : null;
  const cycle = () =>
    startRun(
      dag,
      {},
      `Run a cycle of ${cluster}?`,
      [
        `Airflow runs ${id} now: it restores the newest backup on a disposable node, replicates what the primary has written since, checks the result, and publishes it as a new backup.`,
        waits,
      ].filter(Boolean),
      done,
    );
  const full = () =>
    startRun(
      dag,
      { force_full: true },
      `Take a fresh full of ${cluster}?`,
      [
        `Airflow runs ${id} now with force_full: it copies the whole primary, which loads it, and begins a new lineage. No earlier backup is changed.`,
        waits,
      ].filter(Boolean),
      done,
    );
  const drilled = () =>
    startRun(
      drill,
      {},
      `Run a drill of ${cluster}?`,
      [
        `Airflow runs ${drill.dag_id} now: it restores to a moment of the archive's window without the primary, checks and measures the result, and throws it away. Damage that it finds quarantines the backup that it is in.`,
      ],
      done,
    );
  if (!known && !(drill && !drill.gone)) {
    return h(
      "p",
      { class: "rr-muted" },
      `Airflow has no DAG restore_replay_${cluster}, so there is nothing to trigger here.`,
    );
  }
  if (!may.act && !may.drill)
    return h(
      "p",
      { class: "rr-muted" },
      "You may look. To act, you need the right to trigger the cluster's DAG.",
    );
  const button = (text, act) => h("button", { type: "button", class: "rr-button", onclick: act }, text);
  return h(
    "div",
    { class: "rr-actions", role: "group", "aria-label": "Actions" },
    known && may.act && [button("Run a cycle", cycle), button("Take a fresh full", full)],
    drill && !drill.gone && may.drill && button("Run a drill", drilled),
  );
}

export function holdButton(cluster, data, hold, change) {
  if (!data.may.act) return null;
  const open = () =>
    dialog({
      title: `Release the hold of ${cluster}?`,
      text: [
        "The primary lost data, or its data is corrupt, says the hold. Release it only when a person has examined the primary: the next cycle then publishes what the primary has now, and pruning may delete backups again.",
      ],
      confirm: "Release",
      danger: true,
      reason: true,
      act: (reason) => release(cluster, { hold: hold.verdict_id, reason }),
      done: () => change({ told: "The hold is released.", again: true }),
    });
  return h("button", { type: "button", class: "rr-button rr-danger", onclick: open }, "Release…");
}

export function releaseBackupButton(cluster, data, change) {
  if (!data.may.act) return null;
  const open = () =>
    dialog({
      title: `Release backup ${data.backup_id}?`,
      text: [
        `The verdicts against it (${data.against.join(", ")}) no longer count: cycles may restore it again and continue it, and a restore may choose it. No record is removed.`,
      ],
      confirm: "Release",
      danger: true,
      reason: true,
      act: (reason) => release(cluster, { backup: data.backup_id, reason }),
      done: () => change({ told: "The backup is released.", again: true }),
    });
  return h("button", { type: "button", class: "rr-button rr-danger", onclick: open }, "Release…");
}
