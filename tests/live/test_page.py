"""The Backups page in a browser, over a real Airflow: what is seen, done and refused. RR_SCREENSHOTS=1 renews those of
docs/backups-page.md."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from airflow_restore_replay.core.repository.format.records import BackupState, Outcome
from tests.live.conftest import REPO, destroy_nodes, primary_connection
from tests.live.support import until
from tests.support.airflow_stack import AirflowStack
from tests.support.browser import Visitor, chromium
from tests.support.flavors import KITS
from tests.support.hostile_texts import HOSTILE
from tests.support.page_routes import routes
from tests.support.postgres import PostgresServer
from tests.support.rig import Rig
from tests.support.seeding import seeded_copy
from tests.support.showcase import Showcase

CLUSTERS, BACKUPS = 200, 1000
expect.set_options(timeout=90_000)
IMAGES = REPO / "docs" / "images"
#: the DAGs of the clusters whose backups are records only wait for their first run until tomorrow
_DAGS = """\
from datetime import datetime

from airflow_restore_replay.dag import build_configured_dags, build_configured_drill_dags

dags = build_configured_dags({file!r}) | build_configured_drill_dags({file!r})
for dag in dags.values():
    for each in (dag, *dag.tasks):
        each.start_date = datetime.fromisoformat({since!r})
globals().update(dags)
"""


class Place:
    """Airflow, its users, and the clusters."""

    def __init__(self, stack: AirflowStack, rig: Rig, show: Showcase, browser: Browser) -> None:
        self.stack = stack
        self.rig = rig
        self.show = show
        self.browser = browser

    def visitor(self, user: str = "admin", **how: Any) -> Visitor:
        passwords = json.loads((self.stack.home / "passwords.json").read_text())
        return Visitor(self.browser, self.stack.url, user, passwords[user], **how)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with ExitStack() as ends:
        browser = ends.enter_context(chromium())
        root = tmp_path_factory.mktemp("page")
        database = PostgresServer.with_airflow()
        ends.callback(database.stop)
        rig = seeded_copy(KITS["mariadb"], root / "rig", {})
        ends.callback(rig.primary.discard)
        ends.callback(lambda: destroy_nodes(root))
        show = Showcase(root / "fleet", rig, clusters=CLUSTERS, backups=BACKUPS)
        for folder in ("logs", "dags"):
            (root / folder).mkdir()
        (root / "dags" / "all.py").write_text(
            _DAGS.format(file=str(show.dags_file), since=datetime.now(UTC).isoformat())
        )
        stack = AirflowStack(
            root / "airflow",
            dags=root / "dags",
            logs=root / "logs",
            database=database.url,
            settings={"CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,user:user,viewer:viewer"},
            env={"RESTORE_REPLAY_CONFIG": str(show.file), "PYTHONPATH": str(REPO)},
        )
        ends.callback(stack.sweep)
        ends.callback(stack.stop)
        stack.add_connection("orders_primary", primary_connection(rig.primary))
        stack.start()
        stack.wait_for("restore_replay_orders", "restore_drill_orders")
        yield Place(stack, rig, show, browser)


def test_x50_the_page_is_seen_in_light_and_dark_and_on_a_phone(place: Place) -> None:
    """No complaint of axe, nothing wider than its place, no error on the console; hostile texts stay texts (X50)."""
    catalog, ledger = place.show.quarantined.backup_id, place.show.hostile.backup_id
    main = {
        "fleet": (),
        "cluster": ("catalog",),
        "backup": ("catalog", catalog),
        "hostile": ("ledger", ledger),
    }
    others = {
        "running": ("media",),
        "held": ("billing",),
        "unreachable": ("unreachable",),
        "named": ("ledger",),
    }
    for name, how in {"light": {}, "dark": {"theme": "dark"}, "phone": {"width": 390}}.items():
        views = {**main, **others} if name == "light" else main
        visitor = place.visitor(**how)  # type: ignore[arg-type]
        for view, parts in views.items():
            page = visitor.open(*parts)
            if view == "cluster":
                expect(page.get_by_text("Older backups are being read")).to_have_count(0)
                expect(page.get_by_role("heading", name=f"Backups ({BACKUPS:,})")).to_be_visible()
            assert visitor.complaints() == [], (name, view)
            assert visitor.overflow() == [], (name, view)
            photograph(page, f"backups-{view}-{name}")
        assert page.evaluate("() => window.pwned ?? null") is None
        assert (
            page.locator(".rr-page img, .rr-page script, .rr-page svg[onload], .rr-page iframe").count() == 0
        )
        assert visitor.troubles == []
        visitor.close()


def photograph(page: Page, name: str) -> None:
    """Renew a picture of the documents, if wanted."""
    file = IMAGES / f"{name}.png"
    if os.environ.get("RR_SCREENSHOTS") and (file.exists() or os.environ["RR_SCREENSHOTS"] == "all"):
        page.evaluate("() => window.scrollTo(0, 0)")
        page.screenshot(path=file)


def test_x50_what_is_unknown_is_said_and_hostile_texts_are_shown(place: Place) -> None:
    visitor = place.visitor("viewer")
    page = visitor.open()
    row = page.get_by_role("row", name="unreachable")
    expect(row).to_contain_text("There is no repository at")
    expect(page.get_by_role("row")).to_have_count(CLUSTERS + 1)
    visitor.open("unreachable")
    expect(page.get_by_role("alert")).to_be_visible()
    visitor.open("ledger", place.show.hostile.backup_id)
    shown = page.locator(".rr-page").inner_text()
    assert "<img src=x onerror=" in shown
    assert "\\u001b[31m\\u0000" in shown, "a control character is shown as an escape"
    assert not set("\x00\x1b\u202e") & set(shown)
    visitor.open("nowhere")
    expect(page.get_by_role("alert")).to_be_visible()
    visitor.open("catalog", "20200101T000000Z-00000000")
    expect(page.get_by_role("alert")).to_contain_text("no readable backup")
    visitor.close()


def test_the_keyboard_suffices(place: Place) -> None:
    visitor = place.visitor()
    page = visitor.open()
    page.get_by_label("Filter clusters by name").focus()
    page.keyboard.type("catal")
    expect(page.get_by_role("row")).to_have_count(2)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="catalog", level=1)).to_be_focused()
    visitor.settle()
    page.get_by_role("button", name="Run a cycle").focus()
    page.keyboard.press("Enter")
    box = page.get_by_role("dialog")
    expect(box).to_contain_text("Airflow runs restore_replay_catalog now")
    assert visitor.complaints() == []
    assert page.evaluate("() => document.querySelector('dialog').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(box).to_have_count(0)
    expect(page.get_by_role("button", name="Run a cycle")).to_be_focused()
    page.go_back()
    expect(page.get_by_role("heading", name="Backups", level=1)).to_be_visible()
    assert visitor.troubles == []
    visitor.close()


def test_a_cycle_and_a_drill_are_run_by_the_user_who_asks(place: Place) -> None:
    before = len(place.rig.catalog().backups)
    visitor = place.visitor("user")
    page = visitor.open("orders")
    page.get_by_role("button", name="Run a cycle").click()
    page.get_by_role("dialog").get_by_role("button", name="Trigger").click()
    expect(page.get_by_role("status").filter(has_text="was created")).to_be_visible()
    run = place.stack.get("/api/v2/dags/restore_replay_orders/dagRuns")["dag_runs"][0]
    assert (run["triggering_user_name"], run["run_type"]) == ("user", "manual")
    path = f"/api/v2/dags/restore_replay_orders/dagRuns/{run['dag_run_id']}"
    until("the cycle to end", lambda: place.stack.get(path)["state"] in ("success", "failed"), timeout_s=400)
    assert place.stack.get(path)["state"] == "success"
    assert len(place.rig.catalog().backups) == before + 1
    made = place.rig.catalog().backups[-1].backup_id
    expect(page.get_by_role("row", name=made)).to_be_visible()
    page.get_by_role("button", name="Run a drill").click()
    page.get_by_role("dialog").get_by_role("button", name="Trigger").click()
    drills = "/api/v2/dags/restore_drill_orders/dagRuns"
    until("the drill's run", lambda: place.stack.get(drills)["total_entries"] == 1)
    assert visitor.troubles == []
    visitor.close()


def test_a_hold_and_a_backup_are_released_for_a_reason(place: Place) -> None:
    visitor = place.visitor("user")
    page = visitor.open("billing")
    page.get_by_role("button", name="Release…").click()
    box = page.get_by_role("dialog")
    box.get_by_role("button", name="Release").click()
    expect(box).to_be_visible()  # the browser asks for the reason
    box.get_by_label("Reason, kept in the repository for ever").fill("the rows were archived")
    box.get_by_role("button", name="Release").click()
    expect(page.get_by_text("The hold is released.")).to_be_visible()
    expect(page.get_by_role("button", name="Release…")).to_have_count(0)
    billing = place.show.members["billing"].repository.catalog()
    assert [v.reason for v in billing.verdicts if v.outcome is Outcome.WITHDRAWN] == [
        "the rows were archived"
    ]
    backup_id = place.show.hostile.backup_id
    visitor.open("ledger", backup_id)
    page.get_by_role("button", name="Release…").click()
    box.get_by_label("Reason, kept in the repository for ever").fill(HOSTILE.replace("\x00", ""))
    box.get_by_role("button", name="Release").click()
    expect(page.get_by_text("The backup is released.")).to_be_visible()
    ledger = place.show.members["ledger"].repository.catalog()
    assert ledger.backup(backup_id).state is BackupState.HEALTHY
    events = place.stack.get("/api/v2/eventLogs?event=restore_replay_release")["event_logs"]
    assert {(e["owner"], e["dag_id"]) for e in events} == {
        ("user", "restore_replay_billing"),
        ("user", "restore_replay_ledger"),
    }
    assert visitor.troubles == []
    visitor.close()


def test_x48_x49_anonymous_and_viewer_on_every_route(place: Place) -> None:
    """Also of Airflow's, by which the page triggers runs; and a page of another site with the user's cookie."""
    trigger = ("POST", "/api/v2/dags/restore_replay_orders/dagRuns")
    ours = [
        (method, f"/restore-replay{path}") for method, path in routes("orders", "20260101T000000Z-00000000")
    ]
    cookie = viewer_cookie(place)
    for method, path in [*ours, trigger]:
        assert status(place, method, path) == 401, (method, path)
        got = status(place, method, path, {"Cookie": cookie, "Sec-Fetch-Site": "same-origin"})
        assert got == (403 if method == "POST" else 404 if "backups/" in path else 200), (method, path)
    release = next(path for method, path in ours if method == "POST")
    user = viewer_cookie(place, "user")
    assert status(place, "POST", release, {"Cookie": user, "Origin": "https://evil.example"}) == 403
    assert status(place, "POST", release, {"Cookie": user, "Origin": place.stack.url}) == 404
    visitor = place.visitor("viewer")
    page = visitor.open("orders")
    expect(page.get_by_text("You may look.")).to_be_visible()
    assert page.get_by_role("button", name="Run a cycle").count() == 0
    visitor.close()


def viewer_cookie(place: Place, user: str = "viewer") -> str:
    visitor = place.visitor(user)
    found = "; ".join(f"{c['name']}={c['value']}" for c in visitor.context.cookies())
    visitor.close()
    return found


def status(place: Place, method: str, path: str, headers: dict[str, str] | None = None) -> int:
    body = json.dumps(
        {"hold": "none", "reason": "none"} if "restore-replay" in path else {"logical_date": None}
    )
    request = urllib.request.Request(
        place.stack.url + path,
        method=method,
        data=body.encode() if method == "POST" else None,
        headers={"Content-Type": "application/json", **(headers or {})},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=120) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        return exc.code
