"""The five-minute tour: cycles through Celery's workers, nodes through the socket proxy, and what that refuses."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from tests.compose.conftest import Tour

DAG = "/api/v2/dags/restore_replay_shop"

#: asks the engine as a worker would who has been taken over; answers each question's status
_ASK = """
import http.client, json, sys
for method, path, body in json.load(sys.stdin):
    connection = http.client.HTTPConnection("socket-proxy", 2375, timeout=20)
    content = None if body is None else body if isinstance(body, str) else json.dumps(body)
    connection.request(method, path, content, {"Content-Type": "application/json"})
    print(connection.getresponse().status)
    connection.close()
"""


def scheduled(tour: Tour) -> str:
    """Return the run that Airflow's scheduler begins with."""
    deadline = time.monotonic() + 180
    while not (runs := tour.api.get(f"{DAG}/dagRuns?order_by=run_after")["dag_runs"]):
        assert time.monotonic() < deadline, "nothing was scheduled"
        time.sleep(1)
    return str(runs[0]["dag_run_id"])


def triggered(tour: Tour) -> str:
    """Return a new run."""
    return str(tour.api.post(f"{DAG}/dagRuns", {"logical_date": None})["dag_run_id"])


def ended(tour: Tour, run_id: str) -> dict[str, dict[str, Any]]:
    """Return the task instances of a run that succeeded, by their ids."""
    deadline = time.monotonic() + 900
    while (state := tour.api.get(f"{DAG}/dagRuns/{run_id}")["state"]) not in ("success", "failed"):
        assert time.monotonic() < deadline, f"{run_id} is still {state}"
        time.sleep(1)
    tasks = tour.api.get(f"{DAG}/dagRuns/{run_id}/taskInstances")["task_instances"]
    found = {task["task_id"]: task for task in tasks}
    assert state == "success", {name: task["state"] for name, task in found.items()}
    return found


def statuses(tour: Tour, *questions: tuple[str, str, Any]) -> list[int]:
    said = tour.compose("exec", "-T", "worker-1", "python", "-c", _ASK, stdin=json.dumps(questions))
    return [int(line) for line in said.split()]


def test_a_backup_is_replayed_into_the_next(tour: Tour) -> None:
    assert "full.seed" in ended(tour, scheduled(tour))
    tasks = ended(tour, triggered(tour))
    done = {name for name, task in tasks.items() if task["state"] == "success"}
    assert {
        "replay.restore_backup",
        "replay.catch_up",
        "replay.validate",
        "replay.snapshot",
        "published",
    } <= done
    assert {tasks[name]["hostname"] for name in done} <= {"worker-1", "worker-2"}
    shown = tour.compose("exec", "-T", "worker-2", "with-secrets", "restore-replay", "--help")
    assert "restore" in shown
    left = tour.engine.client().containers(all=True, filters={"label": "restore-replay.node"})
    volumes = tour.engine.client().volumes(filters={"label": "restore-replay.node"})["Volumes"] or []
    running = tour.api.get(f"{DAG}/dagRuns?state=running")["dag_runs"]
    assert running or (left, volumes) == ([], [])


def test_the_proxy_lets_through_what_nodes_need_and_nothing_else(tour: Tour) -> None:
    allowed = statuses(tour, ("GET", "/version", None), ("GET", "/info", None))
    assert allowed == [200, 200]
    victim = tour.compose("ps", "--quiet", "primary").strip()
    container = {"Image": "restore-replay-node-mysql:9.7", "Cmd": ["sleep", "infinity"]}
    root = {"Binds": ["/:/host"], "Privileged": True}
    refused = [
        ("GET", f"/v1.44/containers/{victim}/json", None),
        ("POST", f"/v1.44/containers/{victim}/exec", {"Cmd": ["id"], "AttachStdout": True}),
        ("POST", f"/v1.44/containers/{victim}/stop", None),
        ("DELETE", f"/v1.44/containers/{victim}?force=1", None),
        ("DELETE", "/v1.44/volumes/restore-replay_primary", None),
        ("POST", "/v1.44/containers/create?name=replay-node-x", {**container, "HostConfig": root}),
        ("POST", "/v1.44/containers/create?name=replay-node-x", container),
        (
            "POST",
            "/v1.44/volumes/create",
            {"Name": "replay-node-x", "DriverOpts": {"device": "/", "o": "bind"}},
        ),
        ("POST", "/v1.44/images/create?fromImage=debian", None),
        ("POST", "/v1.44/build", None),
        ("GET", "/v1.44/containers/replay-node-x/../" + victim + "/json", None),
        ("GET", "/v1.44/events", None),
        ("POST", "/v1.44/containers/replay-node-x/exec", {"Cmd": ["id"], "Privileged": True, "User": "root"}),
        ("POST", "/v1.44/containers/replay-node-x/exec", " " * 40_000),
    ]
    assert statuses(tour, *refused) == [403] * (len(refused) - 1) + [413]


def test_the_engine_shows_no_secret(tour: Tour) -> None:
    text = tour.compose(
        "run",
        "--rm",
        "-T",
        "--no-deps",
        "secrets",
        "cat",
        *(
            f"/run/secrets/tour/{name}"
            for name in ("postgres.password", "redis.conf", "primary.env", "airflow.env")
        ),
    )
    words = {word for line in text.splitlines() for word in _secrets_of(line)}
    assert len(words) > 8
    client = tour.engine.client()
    shown = json.dumps([client.inspect_container(found["Id"]) for found in client.containers(all=True)])
    assert not [word for word in words if word in shown]


def _secrets_of(line: str) -> list[str]:
    """Return what looks made up: 32 letters and digits at least."""
    return re.findall(r"[0-9A-Za-z_-]{32,}", line)
