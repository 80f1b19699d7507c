"""The routes of the Backups page, in Airflow's own API server, over repositories on disk."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.api_fastapi.app import create_app, get_auth_manager, purge_cached_app
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi import FastAPI
from fastapi.testclient import TestClient

from airflow_restore_replay.core.errors import StoreFailed
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.fleet.fleet import Fleet
from airflow_restore_replay.core.repository.format.records import BackupState, Outcome
from airflow_restore_replay.plugin import PREFIX
from airflow_restore_replay.web import app as page_app
from airflow_restore_replay.web.reading import Bounded, Refreshed
from tests.support.backups import back_up, make_tree
from tests.support.fleets import Member, make_fleet
from tests.support.hostile_texts import HOSTILE
from tests.support.page_routes import routes

HOUR = timedelta(hours=1)
NO_BACKUP = "20261130T000000Z-00000000"
NAMES = ("billing", "orders", "stock")


@pytest.fixture(scope="module")
def server(metadata_db: None) -> Iterator[FastAPI]:
    """Airflow's API server, with the page mounted as its plugin."""
    purge_cached_app()
    yield create_app(apps="core")
    purge_cached_app()


@pytest.fixture
def fleet(server: FastAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Member]:
    """Three clusters of the file that the page reads anew."""
    monkeypatch.setenv("RESTORE_REPLAY_CONFIG", str(tmp_path / "clusters.yaml"))
    monkeypatch.setattr(mounted(server), "_app", page_app.make_app())
    return make_fleet(tmp_path, NAMES, schedule=None)


def mounted(server: FastAPI) -> Any:
    return next(route.app for route in server.routes if getattr(route, "path", "") == PREFIX)  # type: ignore[attr-defined]


@pytest.fixture
def ask(server: FastAPI) -> Callable[..., Any]:
    """Ask a route as a user of a role; without one as nobody."""

    def asked(path: str, role: str | None = "admin", method: str = "GET", **options: Any) -> Any:
        headers = dict(options.pop("headers", {}))
        if role:
            headers["Authorization"] = f"Bearer {token(role)}"
        return TestClient(server).request(method, f"{PREFIX}{path}", headers=headers, **options)

    return asked


def token(role: str, teams: list[str] | None = None) -> str:
    user = SimpleAuthManagerUser(username=f"the {role}", role=role, teams=teams)
    return str(get_auth_manager().generate_jwt(user))


def test_x48_every_route_asks_for_a_user(fleet: dict[str, Member], ask: Callable[..., Any]) -> None:
    assert len(routes("orders", NO_BACKUP)) >= 4
    for method, path in routes("orders", NO_BACKUP):
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Cookie": "_token=nonsense"}):
            got = ask(path, None, method, json={"hold": "x", "reason": "y"}, headers=headers)
            wanted = 403 if headers else 401  # Airflow's answers to a wrong token, and to none
            assert got.status_code == wanted, (method, path, headers)
            assert "orders" not in got.text
    for path in ("/openapi.json", "/docs", "/redoc", "/api/", "/static/", "/static/../app.py"):
        assert ask(path, None).status_code == 404, path


def test_x48_a_viewer_sees_and_may_not_act(fleet: dict[str, Member], ask: Callable[..., Any]) -> None:
    orders = fleet["orders"]
    made = orders.cycle(HOUR)
    hold = orders.verdict(HOUR, Outcome.HELD, failure=Failure.of(StoreFailed("lost")))
    for method, path in routes("orders", NO_BACKUP):
        path = path.replace(NO_BACKUP, made.backup_id)
        got = ask(path, "viewer", method, json={"hold": hold.verdict_id, "reason": "y"})
        assert got.status_code == (200 if method == "GET" else 403), (method, path, got.text)
    assert orders.repository.catalog().held_by
    assert ask("/api/clusters/orders", "viewer").json()["may"] == {"act": False, "drill": False}
    assert ask("/api/clusters/orders", "user").json()["may"] == {"act": True, "drill": True}


def test_x48_clusters_of_others_do_not_show(
    fleet: dict[str, Member], ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_stock(*, details: Any, **_: Any) -> bool:
        return bool(details.id == "restore_replay_stock")

    monkeypatch.setattr(get_auth_manager(), "is_authorized_dag", only_stock)
    assert [row["cluster"] for row in ask("/api/fleet").json()["clusters"]] == ["stock"]
    assert ask("/api/fleet").json()["configured"] == 3
    for method, path in routes("orders", NO_BACKUP)[1:]:
        body = {"hold": "x", "reason": "y"}
        there, nowhere = (
            ask(p, "user", method, json=body) for p in (path, path.replace("orders", "nowhere"))
        )
        assert (there.status_code, there.text) == (nowhere.status_code, nowhere.text)
        assert there.status_code == 403


def test_x49_a_change_comes_from_airflows_own_pages_only(
    fleet: dict[str, Member], server: FastAPI, ask: Callable[..., Any]
) -> None:
    orders = fleet["orders"]
    hold = orders.verdict(HOUR, Outcome.HELD, failure=Failure.of(StoreFailed("lost")))
    body = {"hold": hold.verdict_id, "reason": "looked at it"}
    path = f"{PREFIX}/api/clusters/orders/release"
    browser = TestClient(server, cookies={"_token": token("user")})
    refused: list[dict[str, str]] = [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver.evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ]
    for headers in refused:
        assert browser.post(path, json=body, headers=headers).status_code == 403, headers
    own = {"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver"}
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        sent = browser.post(
            path, content=b'{"hold": "x", "reason": "y"}', headers={**own, "Content-Type": kind}
        )
        assert sent.status_code == 415, kind
    assert browser.get(path, headers=own).status_code == 405
    assert orders.repository.catalog().held_by
    assert browser.post(path, json=body, headers=own).status_code == 200
    (verdict,) = [v for v in orders.repository.catalog().verdicts if v.outcome is Outcome.WITHDRAWN]
    assert (verdict.by, verdict.reason) == ("the user in Airflow", "looked at it")
    assert not orders.repository.catalog().held_by


def test_a_backup_is_released_once_and_for_a_reason(
    fleet: dict[str, Member], ask: Callable[..., Any]
) -> None:
    orders = fleet["orders"]
    made = orders.cycle(HOUR)
    orders.verdict(HOUR / 2, Outcome.QUARANTINED, backup_id=made.backup_id, reason="doubtful")
    path = "/api/clusters/orders/release"
    bodies: list[Any] = [
        {"backup": made.backup_id, "reason": "  "},
        {"backup": made.backup_id, "hold": "both", "reason": "y"},
        {"reason": "neither"},
        {"backup": made.backup_id},
        {"backup": made.backup_id, "reason": "y" * 1001},
        {"backup": made.backup_id, "reason": "y", "by": "another"},
        [],
    ]
    for body in bodies:
        assert ask(path, "user", "POST", json=body).status_code == 422, body
    assert ask(path, "user", "POST", json={"backup": "../x", "reason": "y"}).status_code == 404
    assert ask(path, "user", "POST", json={"backup": made.backup_id, "reason": "y"}).status_code == 200
    assert orders.repository.catalog().backup(made.backup_id).state is BackupState.HEALTHY
    again = ask(path, "user", "POST", json={"backup": made.backup_id, "reason": "y"})
    assert again.status_code == 404
    assert "neither quarantined nor stranded" in again.json()["detail"]


def test_the_fleet_is_there_at_once_with_the_worst_first(
    fleet: dict[str, Member], ask: Callable[..., Any]
) -> None:
    fleet["orders"].cycle(HOUR)
    fleet["stock"].cycle(40 * HOUR)
    fleet["orders"].archived(HOUR / 60)
    got = ask("/api/fleet").json()
    assert [(row["cluster"], row["severity"]) for row in got["clusters"]] == [
        ("billing", "critical"),
        ("stock", "critical"),
        ("orders", "ok"),
    ]
    assert got["problem"] is None
    assert got["age_s"] >= 0
    orders = got["clusters"][2]
    assert orders["fresh"]["age_s"] == pytest.approx(3600, abs=60)
    assert orders["archive"]["rpo_s"] == pytest.approx(60, abs=30)
    assert orders["dag"] is None


def test_a_dead_store_is_said_and_no_other_waits_for_it(
    fleet: dict[str, Member], ask: Callable[..., Any], tmp_path: Path
) -> None:
    fleet["orders"].cycle(HOUR)
    (tmp_path / "stock").rename(tmp_path / "gone")
    rows = {row["cluster"]: row for row in ask("/api/fleet").json()["clusters"]}
    assert rows["stock"]["severity"] == "critical"
    assert "stock" in rows["stock"]["error"]["message"]
    assert rows["orders"]["severity"] == "ok"
    state = ask("/api/clusters/stock").json()["state"]
    assert state["error"]["message"] == rows["stock"]["error"]["message"]
    backup = ask("/api/clusters/stock/backups/20261130T000000Z-00000000")
    assert (backup.status_code, bool(backup.json()["detail"])) == (502, True)


def read_again(server: FastAPI) -> None:
    reading = mounted(server)._app.state.fleet
    reading.whole.spoil()
    reading.whole.look()
    deadline = time.monotonic() + 60
    while reading.whole.refreshing and time.monotonic() < deadline:
        time.sleep(0.05)


def test_a_wrong_cluster_file_is_said_and_the_last_states_stay(
    fleet: dict[str, Member], ask: Callable[..., Any], server: FastAPI, tmp_path: Path
) -> None:
    ask("/api/fleet")
    (tmp_path / "clusters.yaml").write_text("clusters: [\n")
    read_again(server)
    got = ask("/api/fleet").json()
    assert "is not YAML" in got["problem"]["message"]
    assert len(got["clusters"]) == 3


def test_a_mistake_in_one_cluster_is_said_there_and_hides_no_other(
    fleet: dict[str, Member], ask: Callable[..., Any], server: FastAPI, tmp_path: Path
) -> None:
    ask("/api/fleet")
    file = tmp_path / "clusters.yaml"
    raw = yaml.safe_load(file.read_text())
    raw["clusters"]["stock"]["repozitory"] = {}
    file.write_text(yaml.safe_dump(raw))
    read_again(server)
    got = ask("/api/fleet").json()
    assert got["problem"] is None
    rows = {row["cluster"]: row for row in got["clusters"]}
    assert "repozitory" in rows["stock"]["error"]["message"]
    assert rows["orders"]["error"] is None
    answer = ask("/api/clusters/stock")
    assert answer.status_code == 502
    assert "repozitory" in answer.json()["detail"]
    assert ask("/api/clusters/orders").status_code == 200


def test_no_cluster_file_is_said(
    fleet: dict[str, Member], ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RESTORE_REPLAY_CONFIG")
    got = ask("/api/fleet").json()
    assert "No cluster file is configured" in got["problem"]["message"]
    assert got["clusters"] == []
    assert ask("/api/clusters/orders").status_code == 502


def test_a_backup_shows_all_that_is_known_of_it(
    fleet: dict[str, Member], ask: Callable[..., Any], tmp_path: Path
) -> None:
    orders = fleet["orders"]
    made, files = back_up(orders.repository, make_tree(tmp_path / "tree"))
    orders.verdict(HOUR, Outcome.RESTORED, backup_id=made.backup_id)
    got = ask(f"/api/clusters/orders/backups/{made.backup_id}").json()
    assert (got["state"], got["proof"]) == ("healthy", "restored")
    assert got["manifest"]["position"] == made.position
    assert [verdict["outcome"] for verdict in got["verdicts"]] == ["restored"]
    assert got["files"][0]["path"] == "shop/orders.ibd"
    assert len(got["files"]) == len([f for f in files if not f.directory])
    assert got["databases"][0]["name"] == "shop"
    assert got["restore"] == (
        f"restore-replay restore --cluster orders --backup {made.backup_id} --to /srv/restored"
    )
    assert ask("/api/clusters/orders/backups/20261130T000000Z-00000000").status_code == 404
    assert ask("/api/clusters/orders/backups/..%2Frepository").status_code == 404


def test_what_a_backup_lacks_is_said(fleet: dict[str, Member], ask: Callable[..., Any]) -> None:
    made = fleet["orders"].cycle(
        HOUR,
        notes={"fill": {"left_out": {"shop.cache": "MEMORY"}}, "warnings": ["slow disk"]},
        compared={
            "uncompared": {"shop.log": "no key"},
            "coverage": {"never": ["shop.big"], "never_count": 1},
        },
    )
    got = ask(f"/api/clusters/orders/backups/{made.backup_id}").json()
    assert got["lacks"] == [
        {"what": "left out", "why": "shop.cache: MEMORY"},
        {"what": "warning", "why": "slow disk"},
        {"what": "not compared", "why": "shop.log: no key"},
        {"what": "never compared completely", "why": "shop.big"},
    ]
    assert got["files_error"]["message"], "these records have no files"


def test_x50_hostile_texts_are_data_in_every_answer(
    fleet: dict[str, Member], ask: Callable[..., Any]
) -> None:
    orders = fleet["orders"]
    made = orders.cycle(
        HOUR, run=HOSTILE, checks=[{"name": HOSTILE, "seconds": HOSTILE, "observed": [HOSTILE]}]
    )
    orders.verdict(HOUR, Outcome.QUARANTINED, backup_id=made.backup_id, reason=HOSTILE, by=HOSTILE)
    for path in ("/api/fleet", "/api/clusters/orders", f"/api/clusters/orders/backups/{made.backup_id}"):
        got = ask(path)
        assert got.status_code == 200
        assert got.headers["content-type"] == "application/json"
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["content-security-policy"].startswith("default-src 'none'")
    assert got.json()["verdicts"][-1]["reason"] == HOSTILE


def test_the_pages_files_are_served_and_nothing_else_is_made_of_strings(ask: Callable[..., Any]) -> None:
    folder = Path(page_app.__file__).parent / "static"
    for file in folder.iterdir():
        got = ask(f"/static/{file.name}", None)
        assert got.status_code == 200
        assert got.content == file.read_bytes()
        if file.suffix == ".js":
            assert not re.search(
                r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", file.read_text()
            )
            assert "javascript" in got.headers["content-type"]


def test_a_value_is_computed_once_at_a_time_and_again_when_it_is_old() -> None:
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def compute() -> str:
        begun.release()
        go_on.acquire()
        return "value"

    refreshed = Refreshed(compute, fresh_s=3600)
    assert refreshed.look() is None
    assert refreshed.look() is None
    begun.acquire()
    go_on.release()
    assert refreshed.look(wait_s=60) == "value"
    assert not begun.acquire(blocking=False), "two at once"
    refreshed.spoil()
    assert refreshed.look() == "value", "nobody waits for the next one"
    assert begun.acquire(timeout=60)
    go_on.release()


def test_a_failure_keeps_the_last_value_and_is_told() -> None:
    answers: list[Any] = ["value", StoreFailed("gone")]

    def compute() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    refreshed = Refreshed(compute, fresh_s=0)
    assert refreshed.look(wait_s=60) == "value"
    refreshed.spoil()
    deadline = time.monotonic() + 60
    while refreshed.problem is None and time.monotonic() < deadline:
        assert refreshed.look() == "value"
        time.sleep(0.01)
    assert refreshed.problem is not None
    assert refreshed.problem.message == "gone"


def test_work_that_hangs_holds_no_request() -> None:
    release = threading.Event()
    bounded = Bounded(limit_s=0.05)
    try:
        for _ in range(10):
            with pytest.raises(StoreFailed, match="did not answer"):
                bounded.run(release.wait, "file:///nowhere")
    finally:
        release.set()
    with pytest.raises(TimeoutError, match="its own"):
        Bounded().run(lambda: (_ for _ in ()).throw(TimeoutError("its own")), "")


def test_states_come_as_they_are_known(tmp_path: Path) -> None:
    members = make_fleet(tmp_path, NAMES)
    seen = {state.cluster for state in Fleet([m.cluster for m in members.values()]).each()}
    assert seen == set(NAMES)
