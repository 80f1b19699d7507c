// Requests to the page's own routes, and to Airflow's public API, as the user of Airflow's UI.

const OWN = new URL("../api/", import.meta.url);

function headers(more) {
  // Airflow 3.1 keeps its token here; later releases have a cookie only.
  const token = globalThis.localStorage?.getItem("token");
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

export class Failed extends Error {
  constructor(status, message, hint) {
    super(message);
    this.status = status;
    this.hint = hint ?? "";
  }
}

async function ask(url, options, signal) {
  let answer;
  try {
    answer = await fetch(url, { credentials: "same-origin", cache: "no-store", signal, ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failed(0, "Airflow's API server does not answer.");
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  if (answer.status === 401) throw new Failed(401, "You are logged out.", "Reload the page to log in.");
  const told = typeof body.detail === "string" ? body.detail : body.detail ? JSON.stringify(body.detail) : "";
  if (answer.status === 403)
    throw new Failed(403, "You may not see or do this.", "It needs rights on the cluster's DAG.");
  throw new Failed(answer.status, told || `Airflow's API server answers ${answer.status}.`, body.hint);
}

export const path = (...parts) => parts.map(encodeURIComponent).join("/");

/** Read one of the page's own routes. */
export function read(route, signal) {
  return ask(new URL(route, OWN), { headers: headers({ Accept: "application/json" }) }, signal);
}

function post(url, body) {
  const options = {
    method: "POST",
    headers: headers({ "Content-Type": "application/json" }),
    body: JSON.stringify(body),
  };
  return ask(url, options);
}

/** Release a hold, or a backup. */
export function release(cluster, body) {
  return post(new URL(`${path("clusters", cluster)}/release`, OWN), body);
}

/** Trigger a run by Airflow's public API, which checks the user's rights and writes its audit log. */
export function trigger(dagId, conf) {
  const note = "Triggered on the Backups page";
  return post(new URL(`api/v2/${path("dags", dagId)}/dagRuns`, document.baseURI), {
    logical_date: null,
    conf,
    note,
  });
}

/** Return the address of a page of Airflow's UI. */
export function airflow(...parts) {
  return new URL(path(...parts), document.baseURI).href;
}
