"""O1, O10: whatever part of Airflow is killed while a job runs, the job continues and the run succeeds."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import Any

import pytest

from tests.live.conftest import SLOW, Live
from tests.live.support import TASKS, Held, holding, until

#: job → how its task waits. Each way twice; the other half is a sweep.
WAITS = {"restore": "deferred", "catch_up": "synchronous", "validate": "synchronous", "snapshot": "deferred"}
OTHER_WAYS = {"deferred": "synchronous", "synchronous": "deferred"}


def add_cases(live: Live) -> None:
    for job in WAITS:
        for way in OTHER_WAYS:
            live.case(f"killed_in_{job}_{way}", deferrable=way == "deferred", retries=5, **SLOW)


@pytest.mark.parametrize(
    "waits",
    [
        pytest.param(WAITS, id="one_way"),
        pytest.param(
            {job: OTHER_WAYS[way] for job, way in WAITS.items()},
            id="the_other_way",
            marks=pytest.mark.sweep(guards="tasks of the other kind survive the same kills"),
        ),
    ],
)
def test_o1_o10_killed_in_every_task(live: Live, waits: dict[str, str]) -> None:
    """In each of restore, catch-up, validation and snapshot, half of them deferred: the task's process and the
    triggerer are killed, then the scheduler, then all of Airflow, and then its metadata database is restarted."""
    cases = {live[f"killed_in_{job}_{way}"]: job for job, way in waits.items()}
    runs = {case.name: case.trigger() for case in cases}
    with ExitStack() as supervision:
        with holding((case, runs[case.name], job) for case, job in cases.items()) as held:
            for fault in (kill_tasks_and_triggerer, kill_scheduler, kill_everything, restart_database):
                if fault is restart_database:
                    supervision.enter_context(live.stack.supervised())
                fault(live, held)
                for one in held:
                    one.assert_untouched()
        for one in held:
            ended = one.case.wait(one.run_id)
            assert ended.state == "success", (one.case.name, ended.of("failed"))
            assert ended.notes == {"run succeeded": 1}
            assert_published_once(one)


def assert_published_once(held: Held) -> None:
    rig = held.case.rig
    base, new = rig.catalog().backups
    assert new.manifest.base.backup_id == base.backup_id
    assert rig.verdicts_against() == []
    assert held.case.result(held.run_id, "published")["backup_id"] == new.backup_id
    restored = held.case.result(held.run_id, TASKS["restore"])
    assert restored["fetched_bytes"] <= restored["bytes"]
    rig.assert_nothing_left()


def kill_tasks_and_triggerer(live: Live, held: list[Held]) -> None:
    before = {h.case.name: h.ti for h in held}
    ids = {ti["id"] for ti in before.values() if ti["state"] == "running"}
    assert live.stack.kill_tasks(lambda line: any(line == f"airflow worker -- {i}" for i in ids)) == len(ids)
    live.stack.kill("triggerer")
    live.stack.start()
    wait_until_taken_up(held, before)


def kill_scheduler(live: Live, held: list[Held]) -> None:
    """Its executor's workers survive it, and with them tasks that the next scheduler starts again. They also keep
    its database connection open, and the locks; docs/operations.md says what to do about that."""
    before = {h.case.name: h.ti for h in held}
    live.stack.kill("scheduler")
    live.database.disconnect("scheduler")
    live.stack.start()
    wait_until_taken_up([h for h in held if before[h.case.name]["state"] == "running"], before)


def kill_everything(live: Live, held: list[Held]) -> None:
    before = {h.case.name: h.ti for h in held}
    live.stack.kill_all()
    live.stack.start()
    live.stack.wait_for(*live.cases)
    wait_until_taken_up(held, before)


def restart_database(live: Live, held: list[Held]) -> None:
    live.database.restart()
    live.stack.wait_for(*live.cases, restart=True)


def wait_until_taken_up(held: list[Held], before: dict[str, dict[str, Any]]) -> None:
    """Wait until a new try waits for the job, or another triggerer watches it."""

    def taken_up(one: Held) -> bool:
        now, then = one.ti, before[one.case.name]
        again = now["try_number"] > then["try_number"]
        if then["state"] == "deferred":
            again = again or _triggerer(now) not in (None, _triggerer(then))
        return one.waits and again

    for one in held:
        until(f"{one.case.name} to be taken up again", lambda one=one: taken_up(one))  # type: ignore[misc]


def _triggerer(ti: dict[str, Any]) -> Any:
    with suppress(KeyError, TypeError):
        return ti["triggerer_job"]["id"]
    return None
