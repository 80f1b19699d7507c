"""The tester is tested on a real backup: its data is harmed in every way, and the repository is only read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from airflow_restore_replay.cli.exit_codes import Exit
from airflow_restore_replay.cli.main import cli
from airflow_restore_replay.core.config.encryption_keys import read_keys
from airflow_restore_replay.core.jobs.checks import CheckResult
from airflow_restore_replay.core.jobs.checks.same_data import SameDataCheck
from airflow_restore_replay.core.recovery.selftest import INJECTIONS, NOT_HERE, SelftestReport, selftest
from airflow_restore_replay.core.recovery.selftest.data_faults import DATA
from airflow_restore_replay.core.repository.format.records import Proof
from tests.e2e.conftest import Seeded
from tests.support.flavors import Kit, on_both
from tests.support.keys import NEW
from tests.support.rig import SECRETS, Rig, processes_in


def written(root: Path) -> dict[str, tuple[int, int, int]]:
    """Return every file below *root* with the facts that change when it is written to."""
    stats = {path: path.lstat() for path in root.rglob("*")}
    return {str(path): (s.st_ino, s.st_mtime_ns, s.st_ctime_ns) for path, s in stats.items()}


@on_both
def test_every_fault_is_found_and_nothing_else(rig: Rig, backup_id: str, kit: Kit, tmp_path: Path) -> None:
    config, workdir = tmp_path / "clusters.yaml", tmp_path / "copies"
    config.write_text(yaml.safe_dump({"clusters": {"orders": rig.section()}}))
    workdir.mkdir()
    before = written(rig.repository_dir)
    arguments = ["selftest", "--json", "--config", str(config), "--workdir", str(workdir)]
    ran = CliRunner().invoke(cli, arguments)
    assert written(rig.repository_dir) == before, "the repository is only read"
    assert list(workdir.iterdir()) == []
    assert processes_in(workdir) == []
    assert ran.exit_code == Exit.OK, ran.output
    report = msgspec.json.decode(ran.stdout)
    assert (report["ok"], report["control"], report["backup_id"]) == (True, {}, backup_id)
    tried = report["tried"]
    assert len(tried) == len(INJECTIONS) + len(DATA) + len(NOT_HERE)
    assert [t["row"] for t in tried if t["row"][0] == "D" and t["left_out"]] == ["D6", "D7", "D8"]
    found = {t["fault"]: t["found_by"] for t in tried}
    for fault in ("one value of one row changed", "one row missing", "one row too many"):
        assert found[fault] == {"same_data": "DataMismatch"}
    for fault in ("a table lost", "a view altered", "a routine lost", "a trigger lost", "a privilege lost"):
        assert found[fault] == {"definitions": "DataMismatch"}
    assert found["server at another position than the manifest's"] == {"position": "PositionMismatch"}
    assert found["one page of a table corrupt"] == {"cold_pages": "TableCheckFailed"}
    assert found["system tablespace corrupt, the server does not start"] == {"start": "ServerStartFailed"}
    assert found["backup of a newer release than the server's"] == {"restore": "ReleaseRefused"}


def run(rig: Rig, workdir: Path) -> SelftestReport:
    repository = rig.repository(write=False)
    manifest = repository.catalog().healthy()[-1].manifest
    keys = read_keys(rig.cluster().repository.encryption)
    return selftest(repository, manifest, keys, cluster=rig.cluster(), workdir=workdir)


def test_an_encrypted_backup_that_its_run_has_proven(seeded: Seeded, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(NEW)
    encrypted = {"encryption": {"key": {"file": str(tmp_path / "key")}}}
    rig = Rig(seeded.primary, tmp_path, overrides={"repository": encrypted}, secrets=(*SECRETS, NEW))
    backup_id = rig.full(prove="restored")
    assert rig.catalog().backup(backup_id).proof is Proof.RESTORED
    report = run(rig, tmp_path)
    assert report.ok, report
    found = {t.row: t.found_by for t in report.tried}
    assert found["S16"] == {"key check": "KeyRefused"}
    assert found["D2"] == {"start": "ServerStartFailed"}


def test_a_comparison_that_has_gone_blind_is_noticed(
    rig: Rig, backup_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check of definitions still finds whole tables."""
    blind = CheckResult(name="same_data", passed=True, observed="", expected="")
    monkeypatch.setattr(SameDataCheck, "run", lambda self, ctx, box: blind)
    report = run(rig, tmp_path)
    assert not report.ok
    assert report.control == {}
    assert {t.fault for t in report.tried if not t.found_by and not t.left_out} == {
        "one value of one row changed",
        "one row missing",
        "one row too many",
        "nine of ten rows missing",
    }


def test_a_backup_that_does_not_restore_is_no_clean_control(rig: Rig, backup_id: str, tmp_path: Path) -> None:
    rig.flip_byte(rig.chunk_of(backup_id, "shop/orders.ibd"))
    report = run(rig, tmp_path)
    assert not report.ok
    assert report.control["restore of all of it"] == "ChunkCorrupt"
