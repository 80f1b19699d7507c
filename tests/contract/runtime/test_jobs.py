"""Whole cycles on real servers: every job, and faults O2, O3, X1, X3 in them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from airflow_restore_replay.core.errors import JobCancelled
from airflow_restore_replay.core.jobs.protocol import (
    JobName,
    JobState,
    JobStatus,
    NodeHandle,
    RunRef,
    Secrets,
)
from airflow_restore_replay.core.repository.format.records import Proof
from airflow_restore_replay.core.runtime.client import NodeClient
from airflow_restore_replay.core.runtime.nodes import create_node, job_request
from airflow_restore_replay.core.runtime.opening import get_runtime
from tests.contract.runtime.conftest import Seeded
from tests.contract.runtime.kits import RuntimeKit
from tests.support.primary import BACKUP_PASSWORD
from tests.support.process_list import ProcessListWatch
from tests.support.rig import Once, Rig, later

#: long enough to be interrupted
SLOW: dict[str, Any] = {"transfer": {"rate_limit": "20MB", "threads": 2}}
#: for what asks less often, as through an engine on a busy host
SLOWER: dict[str, Any] = {"transfer": {"rate_limit": "8MB", "threads": 2}}
DURING = {
    "replay.restore": "restoring",
    "replay.catch_up": "catching up",
    "replay.validate": "",
    "replay.snapshot": "copying",
}


def something_to_replay(rig: Rig) -> None:
    rig.primary.execute(
        "INSERT INTO shop.orders (customer, total) SELECT 'slow', o.id FROM shop.orders o, "
        "(SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) x WHERE o.id <= 20000",
        "UPDATE shop.orders SET total = total + 1 WHERE customer = 'slow'",
        "DELETE FROM shop.orders WHERE customer = 'slow'",
    )


class AtItsStart:
    """A watcher that acts once, as soon as the step's job runs: some are over before anybody has asked for their state.

    :param act: raises ValueError as long as nothing runs.
    """

    def __init__(self, step: str, act: Callable[[], None]) -> None:
        self.step = step
        self._act = act
        self._thread: threading.Thread | None = None
        self._acted = False

    def __call__(self, step: str, state: JobState | None) -> None:
        if step == self.step and self._thread is None:
            self._thread = later(0, self._keep_trying)

    @property
    def done(self) -> bool:
        if self._thread:
            self._thread.join()
        return self._acted

    def _keep_trying(self) -> None:
        deadline = time.monotonic() + 60
        while not self._acted and time.monotonic() < deadline:
            with contextlib.suppress(ValueError, OSError):
                self._act()
                self._acted = True
            time.sleep(0.002)


def in_each_job(rig: Rig, act: Callable[[], None], *steps: str) -> list[Once]:
    """Return watchers that act once during each of the steps."""
    return [Once(step, DURING[step], act) for step in steps or DURING]


def cycle(rig: Rig, watchers: Sequence[Once | AtItsStart], **options: object) -> str:
    """Return the published id of a slow cycle in which each watcher has acted."""

    def watch(step: str, state: JobState | None) -> None:
        for watcher in watchers:
            watcher(step, state)

    published = rig.published(rig.cycle(watch=watch, **(SLOW | options)))
    assert [watcher.step for watcher in watchers if not watcher.done] == []
    assert rig.verdicts_against() == []
    return published


def test_x1_x3_each_job_of_a_cycle_and_nobody_sees_a_secret(
    rig: Rig, kit: RuntimeKit, seeded: Seeded
) -> None:
    modes: set[str] = set()
    look = AtItsStart("replay.restore", lambda: modes.update(kit.modes(rig)))
    with ProcessListWatch() as watch:
        published = cycle(rig, [look], prove="restored")
    assert watch.looks > 10
    assert watch.leaks == set()
    assert modes == {"0o700"}
    new = rig.catalog().backup(published)
    assert (new.manifest.base.backup_id, new.proof) == (seeded.backup_id, Proof.RESTORED)
    rig.restores(published)


def test_a_lost_connection_loses_nothing(rig: Rig, kit: RuntimeKit) -> None:
    """In every job: each ends in its first attempt, as if nothing had been."""
    attempts: dict[str, int] = {}
    something_to_replay(rig)

    def watch(step: str, state: JobState | None) -> None:
        if state:
            attempts[step] = state.attempt_no
        for breaker in breakers:
            breaker(step, state)

    breakers = in_each_job(rig, lambda: None if kit.break_connection() else None)
    rig.published(rig.cycle(watch=watch, retries=0, **SLOW))
    assert attempts == dict.fromkeys(DURING, 1)


def test_o2_a_killed_job_is_taken_up_again(rig: Rig, kit: RuntimeKit, seeded: Seeded) -> None:
    something_to_replay(rig)
    watchers = in_each_job(
        rig, lambda: kit.kill_job(rig), "replay.restore", "replay.catch_up", "replay.snapshot"
    )
    cycle(rig, [*watchers, AtItsStart("replay.validate", lambda: kit.kill_job(rig))], **SLOWER)
    assert rig.catalog().backup(seeded.backup_id).proof is Proof.RESTORED


def test_o2_a_killed_server_is_filled_again(rig: Rig, kit: RuntimeKit) -> None:
    something_to_replay(rig)
    published = cycle(rig, in_each_job(rig, lambda: kit.kill_server(rig), "replay.catch_up"))
    rig.restores(published)


def test_o3_a_reboot_in_the_midst_is_cleaned_up_by_the_next_run(rig: Rig, kit: RuntimeKit) -> None:
    handle, client = fill(rig)
    something_to_replay(rig)
    begin(rig, client, handle, JobName.CATCH_UP)
    kit.kill_node(rig)
    lease = rig.repository().lease
    if (holder := lease.holder()) is not None:
        lease.release("cli/by-hand", holder.epoch)
    cycle(rig, [])
    assert get_runtime(rig.cluster()).nodes() == []


def test_a_cancelled_job_ends_and_its_node_can_be_used_on(rig: Rig, kit: RuntimeKit) -> None:
    handle, client = fill(rig)
    something_to_replay(rig)
    key = begin(rig, client, handle, JobName.CATCH_UP)
    cancelled = client.cancel(key)
    assert cancelled.status is not JobStatus.RUNNING
    assert client.cancel(key).status is cancelled.status
    if cancelled.failure:  # else it was done already
        with pytest.raises(JobCancelled):
            client.wait(key)
    begin(rig, client, handle, JobName.CATCH_UP)
    assert client.wait(key)["position"]
    client.runtime.destroy(handle)
    client.runtime.destroy(handle)


def fill(rig: Rig) -> tuple[NodeHandle, NodeClient]:
    """Return a node of a run of its own, with the backup restored on it."""
    cluster = rig.cluster()
    repository = rig.repository()
    epoch = repository.lease.acquire("cli/by-hand", 60)
    runtime = get_runtime(cluster)
    run = RunRef(run="cli/by-hand", attempt="replay", lease_epoch=epoch)
    handle = create_node(runtime, cluster, run, key="by-hand")
    client = NodeClient(runtime, handle)
    client.wait(begin(rig, client, handle, JobName.RESTORE, epoch=epoch))
    return handle, client


def begin(rig: Rig, client: NodeClient, handle: NodeHandle, job: JobName, *, epoch: int = 0) -> str:
    """Submit a job; twice, as after a lost answer.

    :returns: its key.
    """
    repository = rig.repository()
    params = {"backup_id": repository.catalog().backups[0].backup_id} if job is JobName.RESTORE else {}
    holder = repository.lease.holder()
    assert holder is not None
    run = RunRef(run="cli/by-hand", attempt="replay", lease_epoch=epoch or holder.epoch)
    request = job_request(
        rig.cluster(),
        run,
        job,
        key=f"by-hand/{job}",
        params=params,
        secrets=Secrets(primary_password=BACKUP_PASSWORD, store=rig.store),
    )
    first = client.submit(request)
    assert client.submit(request).process == first.process
    return request.key
