"""The eight cases of the design's table, under the scheduler: the run's state, callbacks fired once, nothing left.

Two of them on MySQL, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from airflow_restore_replay.core.repository.format.records import BackupState, Proof
from tests.live.conftest import Live, primary_connection
from tests.live.support import Case, Ended
from tests.support.flavors import KITS
from tests.support.mariadb import MariaDbPrimary
from tests.support.rig import Rig, copy_repository
from tests.support.seeding import seeded_copy
from tests.support.unpacked import without

FULL = {
    f"full.{name}" for name in ("create_node", "seed", "catch_up", "validate", "snapshot", "destroy_node")
}
REPLAY = {
    f"replay.{name}"
    for name in ("create_node", "restore_backup", "catch_up", "validate", "snapshot", "destroy_node")
}
NODE = {"replay.create_node", "replay.destroy_node"}
ALWAYS = {"acquire_lease", "choose_base", "diagnose", "release_lease"}
PUBLISHED = {"published", "prune"}
OK = ALWAYS | REPLAY | PUBLISHED
FELL_BACK = ALWAYS | NODE | FULL | PUBLISHED

Look = Callable[[Case, Ended], None]


def _replayed(case: Case, ended: Ended) -> None:
    base, new = case.rig.catalog().backups
    assert new.manifest.base.backup_id == base.backup_id
    assert base.proof is Proof.RESTORED


def _quarantined(case: Case, ended: Ended) -> None:
    base, new = case.rig.catalog().backups
    assert base.state is BackupState.QUARANTINED
    assert (new.state, new.manifest.base.kind) == (BackupState.HEALTHY, "seed")
    assert ended.tasks["replay.restore_backup"]["try_number"] == 1, "a verdict is not retried"


def _only_quarantined(case: Case, ended: Ended) -> None:
    (base,) = case.rig.catalog().backups
    assert base.state is BackupState.QUARANTINED
    assert ended.tasks["full.seed"]["try_number"] == 3


def _nothing_blamed(case: Case, ended: Ended) -> None:
    (base,) = case.rig.catalog().backups
    assert base.state is BackupState.HEALTHY
    assert case.rig.verdicts_against() == []


def _retried(case: Case, ended: Ended) -> None:
    _nothing_blamed(case, ended)
    assert ended.tasks["replay.restore_backup"]["try_number"] == 3
    assert ended.tasks["diagnose"]["try_number"] == 1
    assert "PrimaryUnreachable" in case.log(ended.run_id, "diagnose")


def _first(case: Case, ended: Ended) -> None:
    (new,) = case.rig.catalog().backups
    assert new.manifest.base.kind == "seed"


def _stranded(case: Case, ended: Ended) -> None:
    base, new = case.rig.catalog().backups
    assert base.state is BackupState.STRANDED
    assert (new.state, new.manifest.base.kind) == (BackupState.HEALTHY, "seed")


@dataclass(frozen=True)
class Outcome:
    """Expected outcome of a run.

    :param failed: tasks, each of which calls its callback once.
    :param left: nodes left on the host."""

    state: str
    success: set[str]
    look: Look
    skipped: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    quarantine: bool = False
    left: int = 0


OUTCOMES = {
    "ok_deferred": Outcome("success", OK, _replayed, FULL | {"quarantine_backup"}),
    "ok_synchronous": Outcome("success", OK, _replayed, FULL | {"quarantine_backup"}),
    "quarantined_deferred": Outcome(
        "success", FELL_BACK | {"quarantine_backup"}, _quarantined, set(), {"replay.restore_backup"}, True
    ),
    "quarantined_synchronous": Outcome(
        "success", FELL_BACK | {"quarantine_backup"}, _quarantined, set(), {"replay.restore_backup"}, True
    ),
    "ok_mysql": Outcome("success", OK, _replayed, FULL | {"quarantine_backup"}),
    "quarantined_mysql": Outcome(
        "success", FELL_BACK | {"quarantine_backup"}, _quarantined, set(), {"replay.restore_backup"}, True
    ),
    "fallback_failed": Outcome(
        "failed",
        ALWAYS | NODE | {"quarantine_backup", "full.create_node", "full.destroy_node"},
        _only_quarantined,
        set(),
        {"replay.restore_backup", "full.seed"},
        True,
    ),
    "environment_in_restore": Outcome(
        "failed", ALWAYS - {"diagnose"} | NODE, _retried, set(), {"replay.restore_backup", "diagnose"}
    ),
    "environment_in_create_node": Outcome(
        "failed", ALWAYS - {"diagnose"}, _nothing_blamed, set(), {"replay.create_node", "diagnose"}
    ),
    "no_base": Outcome("success", ALWAYS | FULL | PUBLISHED, _first, REPLAY | {"quarantine_backup"}),
    "stranded": Outcome(
        "success",
        FELL_BACK | {"replay.restore_backup"},
        _stranded,
        {"quarantine_backup"},
        {"replay.catch_up"},
    ),
    "destroy_fails": Outcome(
        "success",
        OK - {"replay.destroy_node"},
        _replayed,
        FULL | {"quarantine_backup"},
        {"replay.destroy_node"},
        left=1,
    ),
    "publish_fails": Outcome(
        "failed", OK - PUBLISHED, _replayed, FULL | {"quarantine_backup"}, {"published"}
    ),
    "prune_fails": Outcome("failed", OK - {"prune"}, _replayed, FULL | {"quarantine_backup"}, {"prune"}),
}


def add_cases(live: Live) -> None:
    for mode, deferrable in (("deferred", True), ("synchronous", False)):
        live.case(f"ok_{mode}", deferrable=deferrable)
        live.case(f"quarantined_{mode}", deferrable=deferrable)
    live.case("fallback_failed", seed={"method": "physical", "prefix": ["false"]})
    nobody = {"host": "127.0.0.1", "port": 1, "user": "nobody"}
    live.case("environment_in_restore", deferrable=False, primary=nobody)
    live.case("environment_in_create_node", retries=1)
    live.case("no_base", base=False)
    live.case("destroy_fails", spoilt="replay.destroy_node", retries=0)
    live.case("publish_fails", spoilt="published", retries=0)
    live.case("prune_fails", spoilt="prune", retries=0)
    _add_stranded(live)
    if not without("mysql"):
        _add_mysql(live)


def _add_stranded(live: Live) -> None:
    """A cluster whose primary has purged what the base needs."""
    other = MariaDbPrimary.start(live.root / "other")
    live.ends.callback(other.stop)
    other.create_backup_account()
    other.execute("CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY)")
    rig = Rig(other, live.root / "cases" / "stranded")
    rig.full()
    other.execute(
        "INSERT INTO shop.orders VALUES (1)", "INSERT INTO shop.orders VALUES (2)", "FLUSH BINARY LOGS"
    )
    other.purge_logs()
    live.stack.add_connection("other_primary", primary_connection(other))
    live.cases["stranded"] = Case("stranded", rig, live.stack).configure(
        primary={"connection": "other_primary"}
    )


def _add_mysql(live: Live) -> None:
    """Two clusters on a primary of the other flavor."""
    seeded = seeded_copy(KITS["mysql"], live.root / "seeded-mysql", {})
    live.ends.callback(seeded.primary.discard)
    live.stack.add_connection("mysql_primary", primary_connection(seeded.primary))
    for name in ("ok_mysql", "quarantined_mysql"):
        case = Case(name, Rig(seeded.primary, live.root / "cases" / name), live.stack)
        live.cases[name] = case.configure(primary={"connection": "mysql_primary"})
        copy_repository(seeded, case.rig)


@pytest.fixture(scope="module")
def runs(live: Live) -> dict[str, str]:
    """All of them at once: the scheduler has to keep them apart."""
    damaged = ("quarantined_deferred", "quarantined_synchronous", "quarantined_mysql", "fallback_failed")
    for name in [name for name in damaged if name in live.cases]:
        rig = live[name].rig
        (base,) = rig.catalog().backups
        rig.flip_byte(rig.chunk_of(base.backup_id, "shop/orders.ibd"))
    live["environment_in_create_node"].rig.workdir.write_text("not a directory")
    return {name: live[name].trigger() for name in OUTCOMES if name in live.cases}


def _possible(name: str) -> object:
    skip = name.endswith("_mysql") and without("mysql")
    return pytest.param(name, marks=pytest.mark.skipif(skip, reason="RR_WITHOUT=mysql"))


@pytest.mark.parametrize("name", [_possible(name) for name in OUTCOMES])
def test_outcome(live: Live, runs: dict[str, str], name: str) -> None:
    case, expected = live[name], OUTCOMES[name]
    ended = case.wait(runs[name])
    assert ended.state == expected.state, ended.of("failed")
    assert ended.of("failed") == expected.failed
    assert ended.of("success") == expected.success
    assert ended.of("skipped") == expected.skipped
    run_note = "run succeeded" if expected.state == "success" else "run failed"
    assert ended.notes == {
        run_note: 1,
        **{f"task {task_id}": 1 for task_id in expected.failed},
        **({"quarantine quarantine_backup": 1} if expected.quarantine else {}),
    }
    expected.look(case, ended)
    if case.rig.workdir.is_file():
        case.rig.workdir.unlink()
    if expected.left:
        assert len(list(case.rig.workdir.glob("*"))) == expected.left, "the reaper's job"
        assert case.rig.repository(write=False).lease.holder() is None
    else:
        case.rig.assert_nothing_left()
