"""Fault P5: what is missing is named, with what fixes it, before a cycle starts; and the cycle refuses it, too."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_restore_replay.core.config.units import human_bytes
from airflow_restore_replay.core.flavor import confine
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.jobs.protocol import JobState
from airflow_restore_replay.core.jobs.room import bytes_of_full
from airflow_restore_replay.core.system.files import allocated_bytes
from tests.e2e.conftest import OwnRig
from tests.support.findings import doctor
from tests.support.flavors import KITS, Kit, on_10_5, on_both
from tests.support.mysql import programs
from tests.support.primary import Primary
from tests.support.rig import Rig
from tests.support.unpacked import without


def failing(found: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, finding in found.items() if finding["severity"] == "refused"}


@pytest.mark.parametrize("own", [False, True])
@on_both
def test_nothing_is_missing(rig: Rig, kit: Kit, own: bool) -> None:
    code, found = doctor(rig, seed={"method": kit.seeds[own]})
    assert failing(found) == set()
    assert code == 0
    assert found["primary: log_bin"]["observed"] == "ON"
    assert found["store: repository"]["severity"] == "ok"
    assert found["node: release"]["severity"] == "ok"
    # Tests' primaries sync nothing; that is worth a look, and no more.
    assert found["primary: sync_binlog"]["fix"].startswith("SET")


@pytest.mark.parametrize(
    ("policy", "lacking", "severity"),
    [
        ("prefer", False, "ok"),
        ("require", False, "ok"),
        ("off", False, "note"),
        ("prefer", True, "warning"),
        ("require", True, "refused"),
    ],
)
def test_x10_a_host_that_cannot_confine_is_named(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, policy: str, lacking: bool, severity: str
) -> None:
    """As on Linux before 5.19; a kernel cannot be exchanged in a test."""
    if lacking:
        monkeypatch.setattr(confine, "landlock_version", lambda: 0)
    code, found = doctor(rig, node={"confine": policy})
    finding = found["node: confinement"]
    assert finding["severity"] == severity
    assert bool(finding["fix"]) is (severity != "ok")
    assert finding["error"] == "ConfinementUnavailable"
    assert code == (2 if severity == "refused" else 0)
    # Where nothing confines the node, the primary's functions matter.
    assert ("primary: log_bin_trust_function_creators" in found) is (severity != "ok")


@on_both
def test_s11_the_space_that_is_asked_for_is_what_a_full_takes(own_rig: OwnRig) -> None:
    """Many small tables, of which a server's statistics count one page each."""
    rig = own_rig()
    rig.primary.execute(
        "CREATE DATABASE small", *(f"CREATE TABLE small.t{n} (id INT PRIMARY KEY)" for n in range(200))
    )
    _, found = doctor(rig)
    with get_flavor(rig.primary.flavor).connect(rig.primary.endpoint()) as conn:
        needed = bytes_of_full(get_flavor(rig.primary.flavor), get_flavor(rig.primary.flavor).tables(conn))
    assert found["node: disk space"]["expected"] == f"at least {human_bytes(needed)}"
    taken: list[int] = []

    def measure(step: str, state: JobState | None) -> None:
        taken.append(allocated_bytes(Path(rig.cluster().node.workdir)))

    rig.published(rig.cycle(force_full=True, watch=measure))
    assert needed * 0.5 < max(taken) <= needed


@on_both
def test_each_missing_thing_is_named_with_what_fixes_it(
    new_primary: Callable[..., Primary], tmp_path: Path
) -> None:
    rig = Rig(new_primary(), tmp_path)
    primary = rig.primary
    primary.execute(
        "REVOKE REPLICATION SLAVE, EVENT ON *.* FROM restore_replay@'%'",
        "SET GLOBAL binlog_expire_logs_seconds = 3600",
    )
    code, found = doctor(rig, node={"bindir": str(tmp_path)}, repository={"url": "file:///proc/nowhere"})
    assert code == 2
    assert {"primary: grant REPLICATION SLAVE", "primary: grant EVENT", "store: repository"} <= failing(found)
    assert any(name.startswith("node: program") for name in failing(found))
    assert found["primary: binlog_expire_logs_seconds"]["severity"] == "warning"
    assert "two cycles" in found["primary: binlog_expire_logs_seconds"]["expected"]
    # The statements are exact: run them, and nothing is missing any more.
    for finding in found.values():
        if finding["subject"] == "primary" and finding["severity"] != "ok":
            for statement in finding["fix"].partition("; and ")[0].split(";"):
                if statement.strip():
                    primary.execute(statement)
    code, found = doctor(rig)
    assert (code, failing(found)) == (0, set())
    assert {f["severity"] for f in found.values() if f["subject"] == "primary"} == {"ok"}


@on_10_5
def test_binary_logs_that_are_kept_for_days(new_primary: Callable[..., Primary], tmp_path: Path) -> None:
    rig = Rig(new_primary(), tmp_path)
    rig.primary.execute("SET GLOBAL expire_logs_days = 1")
    _, found = doctor(rig)
    kept = found["primary: expire_logs_days"]
    assert (kept["severity"], kept["expected"]) == ("warning", "0 or at least 3 (two cycles)")
    rig.primary.execute(kept["fix"].partition(";")[0])
    code, found = doctor(rig)
    assert (code, found["primary: expire_logs_days"]["severity"]) == (0, "ok")


@on_both
def test_a_primary_without_a_whole_binary_log_is_refused_by_doctor_and_cycle(
    new_primary: Callable[..., Primary], tmp_path: Path
) -> None:
    rig = Rig(new_primary(options=["--binlog-ignore-db=elsewhere"]), tmp_path)
    report = rig.cycle(retries=0)
    assert report.failure is not None
    assert (report.failure.code, report.failure.blame) == ("SourceFiltered", "source")
    assert "binlog_ignore_db=elsewhere" in report.failure.message
    rig.primary.restart(options=["--skip-log-bin"])
    code, found = doctor(rig)
    assert code == 2
    assert "primary: log_bin" in failing(found)
    assert "log_bin" in found["primary: log_bin"]["fix"]
    report = rig.cycle(retries=0)
    assert report.failure is not None
    assert report.failure.code == "PreflightFailed"
    for text in ("primary log_bin: OFF (expected: ON)", found["primary: log_bin"]["fix"]):
        assert text in str(report.failure.to_exception())
    assert rig.catalog().backups == ()


@on_both
def test_a_cycle_insists_on_all_that_doctor_asks_for_before_it_fills_a_node(
    rig: Rig, backup_id: str, kit: Kit
) -> None:
    """A node without the programs of a seed: none is begun, and nothing is blamed; with a base that is a warning."""
    bindir = rig.root / "bin"
    bindir.mkdir()
    server = {"mariadb": "mariadbd", "mysql": "mysqld"}[kit.flavor]
    (bindir / server).write_text(f'#!/bin/sh\nexec {shutil.which(server, path=rig.primary.bindir)} "$@"\n')
    (bindir / server).chmod(0o755)
    phases: set[str] = set()

    def watch(step: str, state: JobState | None) -> None:
        phases.add(state.progress.phase if state else step)

    elsewhere = [str(Path(rig.primary.bindir).parent)] if rig.primary.bindir else []
    node = {"bindir": str(bindir), "readable": elsewhere}
    code, found = doctor(rig, node=node)
    missing = failing(found)
    assert code == 2
    assert missing
    assert all(name.startswith("node: program ") for name in missing)
    report = rig.cycle(retries=0, watch=watch, node=node, force_full=True)
    assert report.failure is not None
    assert report.failure.code == "PreflightFailed"
    for name in missing:
        finding = found[name]
        told = f"{name.replace(': ', ' ')}: {finding['observed']} (expected: installed)"
        assert told in report.failure.message
        assert finding["fix"] in report.failure.hint
    assert not any("seeding" in phase for phase in phases)
    assert rig.verdicts_against() == []
    assert report.published_id == ""
    replayed_id = rig.published(rig.cycle(node=node))
    replayed = rig.catalog().backup(replayed_id).manifest
    assert replayed.base.backup_id == backup_id
    assert {name.partition(": ")[2] for name in missing} <= set(replayed.notes["warnings"])


@on_both
def test_another_flavor_than_configured(rig: Rig, kit: Kit) -> None:
    other = {"mariadb": "mysql", "mysql": "mariadb"}[kit.flavor]
    code, found = doctor(rig, flavor=other, node={"bindir": programs() if other == "mysql" else None})
    assert code == 2
    assert failing(found) == {"primary: flavor"}
    assert "set the cluster's flavor accordingly" in found["primary: flavor"]["fix"]


@pytest.mark.skipif(without("mysql"), reason="RR_WITHOUT=mysql")
def test_gtids_are_needed_and_how_to_turn_them_on_is_told(tmp_path: Path) -> None:
    primary = KITS["mysql"].start(tmp_path / "primary", options=["--gtid-mode=OFF"])
    try:
        rig = Rig(primary, tmp_path)
        code, found = doctor(rig, seed={"method": "clone"})
        assert code == 2
        assert failing(found) == {"primary: gtid_mode"}
        for statement in found["primary: gtid_mode"]["fix"].partition(" (")[0].split(";"):
            if statement.strip():
                primary.execute(statement)
        primary.execute("SET sql_log_bin=0", "UNINSTALL PLUGIN clone")
        code, found = doctor(rig, seed={"method": "clone"})
        assert failing(found) == {"primary: plugin clone"}
        primary.execute(found["primary: plugin clone"]["fix"])
        assert doctor(rig, seed={"method": "clone"})[0] == 0
    finally:
        primary.stop()


@on_both
def test_who_does_not_answer(rig: Rig) -> None:
    code, found = doctor(rig, primary={"port": 1})
    assert code == 2
    assert failing(found) == {"primary: connection"}
    assert "127.0.0.1:1" in found["primary: connection"]["observed"]
