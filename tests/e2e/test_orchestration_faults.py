"""Faults O2, O6, O11, O12: killed processes, crashes between steps, our own bugs, a broken node image."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_restore_replay.core.errors import Blame
from airflow_restore_replay.core.jobs.protocol import JobState, JobStatus
from airflow_restore_replay.core.repository.format.records import BackupState, Outcome, Proof
from tests.e2e.conftest import OwnRig
from tests.support.flavors import on_both, on_either
from tests.support.rig import Once, Rig, later


@pytest.fixture
def rig(own_rig: OwnRig) -> Rig:
    """With a primary of the test's own: no other test shall replay what these write."""
    return own_rig()


@pytest.fixture
def backup_id(rig: Rig) -> str:
    return rig.newest


def live_job_pid(rig: Rig) -> int:
    """Return pid of the job that runs on the only node."""
    states = [msgspec.json.decode(p.read_bytes(), type=JobState) for p in rig.workdir.glob("*/jobs/*.json")]
    (running,) = [s for s in states if s.status is JobStatus.RUNNING]
    return running.process.pid


def server_pid(rig: Rig) -> int:
    (state,) = rig.workdir.glob("*/agent/server.json")
    return int(msgspec.json.decode(state.read_bytes())["process"]["pid"])


def kill(pid_of: Callable[[Rig], int], rig: Rig) -> Callable[[], None]:
    return lambda: os.kill(pid_of(rig), signal.SIGKILL)


while_the_server_is_used = pytest.mark.parametrize(
    ("step", "phase"),
    [
        ("replay.catch_up", "catching up"),
        ("replay.validate", ""),
        ("replay.snapshot", "stopping the server"),
    ],
)
SLOW: dict[str, Any] = {"transfer": {"rate_limit": "60MB", "threads": 2}}


@on_both
def test_o2_killed_agent_is_resumed(rig: Rig, backup_id: str) -> None:
    """Once in every job of one cycle."""
    slow_catch_up(rig)
    phases = {"restore": "restoring", "catch_up": "catching up", "validate": "", "snapshot": "copying"}
    killers = [Once(f"replay.{job}", phase, kill(live_job_pid, rig)) for job, phase in phases.items()]

    def watch(step: str, state: JobState | None) -> None:
        for killer in killers:
            killer(step, state)

    report = rig.cycle(watch=watch, **SLOW)
    assert [killer.step for killer in killers if not killer.done] == []
    rig.published(report)
    assert rig.verdicts_against() == []
    assert rig.catalog().backup(backup_id).proof is Proof.RESTORED


def assert_filled_again(rig: Rig, kill_amid_the_restore: Callable[[], None]) -> None:
    """Kill once in a thread, as soon as the restore runs: the retry fetches again, publishes, and blames nothing."""
    killers = []
    watch = Once("replay.restore", "", lambda: killers.append(later(0, kill_amid_the_restore)))
    report = rig.cycle(watch=watch)
    (killer,) = killers
    killer.join()
    rig.published(report)
    assert report.steps["replay.restore"]["fetched_bytes"] > 0
    assert rig.verdicts_against() == []


@on_either
def test_o2_agent_killed_while_the_server_starts(rig: Rig, backup_id: str) -> None:
    """A server may have begun to write: the node is filled again."""

    def kill_when_starting() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            states = [p.read_bytes() for p in rig.workdir.glob("*/node.json")]
            if any(b'"phase":"starting"' in state for state in states):
                os.kill(live_job_pid(rig), signal.SIGKILL)
                return
            time.sleep(0.001)

    assert_filled_again(rig, kill_when_starting)


def test_o2_agent_killed_before_it_noted_the_server(rig: Rig, backup_id: str) -> None:
    """The process was not recorded, and the retry fills the node again: it must be found and ended all the same."""

    def kill_and_forget() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for path in rig.workdir.glob("*/agent/server.json"):
                os.kill(live_job_pid(rig), signal.SIGKILL)
                path.unlink()
                return
            time.sleep(0.001)

    assert_filled_again(rig, kill_and_forget)


@on_either
@while_the_server_is_used
def test_o2_killed_server_is_filled_again(rig: Rig, backup_id: str, step: str, phase: str) -> None:
    slow_catch_up(rig)
    watch = Once(step, phase, kill(server_pid, rig))
    report = rig.cycle(watch=watch)
    assert watch.done
    new_id = rig.published(report)
    assert rig.verdicts_against() == []
    assert rig.catalog().backup(new_id).manifest.base.backup_id == backup_id
    rig.restores(new_id)


@on_either
@while_the_server_is_used
def test_o2_agent_killed_while_it_fills_again(rig: Rig, backup_id: str, step: str, phase: str) -> None:
    """First the server is killed, then the agent during the rebuild: the retry continues."""
    slow_catch_up(rig)
    server, agent = Once(step, phase, kill(server_pid, rig)), Once(step, "restoring", kill(live_job_pid, rig))

    def watch(step: str, state: JobState | None) -> None:
        server(step, state)
        agent(step, state)

    report = rig.cycle(watch=watch, retries=2, **SLOW)
    assert (server.done, agent.done) == (True, True)
    new_id = rig.published(report)
    assert rig.verdicts_against() == []
    assert rig.catalog().backup(new_id).manifest.base.backup_id == backup_id


@on_either
def test_o2_server_that_is_killed_again_and_again_is_the_environment(rig: Rig, backup_id: str) -> None:
    slow_catch_up(rig)

    def kill_always(step: str, state: JobState | None) -> None:
        if step == "replay.catch_up" and state and "catching up" in state.progress.phase:
            try:
                os.kill(server_pid(rig), signal.SIGKILL)
            except (ProcessLookupError, ValueError):
                return

    report = rig.cycle(watch=kill_always, retries=1)
    assert report.failure is not None
    assert (report.failure.code, report.failure.blame) == ("NodeServerCrashed", Blame.ENVIRONMENT)
    assert rig.verdicts_against() == []


def slow_catch_up(rig: Rig) -> None:
    """Give the cycle something to replay that takes seconds."""
    rig.primary.execute(
        "INSERT INTO shop.orders (customer, total) SELECT 'slow', o.id FROM shop.orders o",
        "UPDATE shop.orders SET total = total + 1 WHERE customer = 'slow'",
        "DELETE FROM shop.orders WHERE customer = 'slow'",
    )


def test_o6_killed_before_the_manifest(rig: Rig, backup_id: str) -> None:
    """Killed for good while the node is copied: chunks may be orphans, no half backup is visible."""
    rig.primary.execute("UPDATE shop.orders SET note = REPEAT(SHA2(RAND(), 512), 4)")

    def kill_while_copying(step: str, state: JobState | None) -> None:
        running = state and state.status is JobStatus.RUNNING
        if step == "replay.snapshot" and state and running and "copying" in state.progress.phase:
            os.kill(live_job_pid(rig), signal.SIGKILL)

    report = rig.cycle(watch=kill_while_copying, retries=1, **SLOW)
    assert report.failure is not None
    assert (report.failure.code, report.failure.blame) == ("AgentDied", Blame.ENVIRONMENT)
    assert [b.backup_id for b in rig.catalog().backups] == [backup_id]
    assert rig.catalog().unreadable == {}
    assert rig.verdicts_against() == []
    rig.published(rig.cycle())


def test_o6_killed_between_manifest_and_verdict(rig: Rig, backup_id: str) -> None:
    """Killed once or always: the manifest is the backup, and a retry does not publish a second one."""
    before = set((rig.repository_dir / "manifests").iterdir())

    def kill_after_manifest(step: str, state: JobState | None) -> None:
        if step != "replay.snapshot" or state is None or state.status is not JobStatus.RUNNING:
            return
        deadline = time.monotonic() + 30
        while set((rig.repository_dir / "manifests").iterdir()) == before and time.monotonic() < deadline:
            time.sleep(0.0005)
        try:
            os.kill(live_job_pid(rig), signal.SIGKILL)
        except ValueError:
            return

    report = rig.cycle(watch=kill_after_manifest)
    rig.published(report)
    catalog = rig.catalog()
    assert len(catalog.backups) == 2
    assert catalog.backup(report.published_id).state is BackupState.HEALTHY
    assert rig.verdicts_against() == []


BUG = """
import os, sys
job = os.environ.get("RR_TEST_BUG_IN")
if job and "run" in sys.argv:
    import airflow_restore_replay.core.agent.registry as table
    def broken(ctx):
        raise KeyError("a bug of ours")
    table.JOBS[table.JobName(job)] = broken
"""


@pytest.mark.parametrize("job", ["restore", "catch_up", "validate", "snapshot", "seed"])
def test_o11_our_own_bug_blames_no_backup(
    rig: Rig, backup_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str
) -> None:
    (tmp_path / "bug").mkdir()
    # Python imports it at the start of every process: the bug is in the agent's, not in ours.
    (tmp_path / "bug" / "sitecustomize.py").write_text(
        BUG.replace('"run" in sys.argv', '"run" in getattr(sys, "orig_argv", [])')
    )
    monkeypatch.setenv("RR_TEST_BUG_IN", job)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "bug"))
    report = rig.cycle(force_full=job == "seed", retries=0)
    assert report.failure is not None
    assert (report.failure.code, report.failure.blame) == ("InternalError", Blame.ENVIRONMENT)
    assert "a bug of ours" in report.failure.message
    assert rig.verdicts_against() == []
    assert [b.backup_id for b in rig.catalog().backups] == [backup_id]


BROKEN_IMAGE = """#!/bin/sh
case "$*" in
  *--version*|*--bootstrap*) exec /usr/sbin/mariadbd "$@" ;;
esac
echo "2026-01-01  0:00:00 0 [ERROR] InnoDB: This image was built for another processor" >&2
for word in "$@"; do
  case "$word" in
    --log-error=*) echo "2026-01-01  0:00:00 0 [ERROR] InnoDB: This image was built for another processor" \
      >> "${word#--log-error=}" ;;
  esac
done
exit 1
"""


def test_o12_base_and_fallback_fail_alike(rig: Rig, backup_id: str, tmp_path: Path) -> None:
    """A broken node image: the run is red, and the base's quarantine is taken back."""
    bindir = tmp_path / "image" / "bin"
    bindir.mkdir(parents=True)
    for directory in ("/usr/sbin", "/usr/bin"):
        for program in Path(directory).glob("m*"):
            if program.name.startswith(("maria", "mbstream", "my_print")) and program.name != "mariadbd":
                (bindir / program.name).symlink_to(program)
    (bindir / "mariadbd").write_text(BROKEN_IMAGE)
    (bindir / "mariadbd").chmod(0o755)
    report = rig.cycle(node={"bindir": str(bindir)}, retries=0)
    assert report.failure is not None
    assert (report.failure.code, report.failure.blame) == ("ServerStartFailed", Blame.ENVIRONMENT)
    assert "another processor" in report.failure.message
    catalog = rig.catalog()
    assert catalog.backup(backup_id).state is BackupState.HEALTHY
    assert [v.outcome for v in catalog.verdicts if v.backup_id == backup_id][-2:] == [
        Outcome.QUARANTINED,
        Outcome.WITHDRAWN,
    ]
    healthy = rig.cycle()
    assert healthy.base_id == backup_id
    rig.published(healthy)
