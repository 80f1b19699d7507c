"""Pitfalls of cycles that people reported, one file a case below ``nights``.

Each case runs on both flavors. It has: ``about``; ``nights``: SQL that root runs on the primary, and then a cycle.
A night may say: ``full``: take a fresh full, with ``copy_of_files`` by CLONE or by the backup program; ``cluster``:
keys of the cluster's section; ``base``: ``seed`` if a fresh full must follow; ``code``: the failure that is right;
``quarantined`` and ``stranded``: how many backups are so after the cycle; ``listed``: tables that the check
``check_table`` lists; ``left_out``: all objects that the manifest lists. Cases share a primary unless they are
``alone``, so that later ones replay what earlier ones left in the binary log.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_restore_replay.core.cycle.report import CycleReport
from airflow_restore_replay.core.repository.format.records import BackupState, Manifest
from tests.support.flavors import KITS
from tests.support.primary import Primary
from tests.support.rig import Rig, copy_repository
from tests.support.seeding import seeded_copy
from tests.support.unpacked import without

CASES: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parent / "nights").glob("*.yaml"))
}
FLAVORS = ("mariadb", "mysql")
_COPIES = {"mariadb": "physical", "mysql": "clone"}
#: a row that does not fit a page: each column takes 40 bytes there
_WIDE = (
    "CREATE TABLE shop.wide (id INT PRIMARY KEY, "
    + ", ".join(f"c{n} VARCHAR(40) NOT NULL" for n in range(230))
    + ") ROW_FORMAT=COMPACT CHARACTER SET latin1"
)


@pytest.fixture(scope="module", params=FLAVORS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    if without(request.param):
        pytest.skip(f"RR_WITHOUT={request.param}")
    rig = seeded_copy(KITS[request.param], tmp_path_factory.mktemp(f"nights-{request.param}"), {})
    yield rig
    rig.primary.discard()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.get("alone")])
def test_case(shared: Rig, name: str, tmp_path: Path) -> None:
    rig = Rig(shared.primary, tmp_path)
    copy_repository(shared, rig)
    _assert_nights(rig, CASES[name]["nights"])


@pytest.mark.parametrize("flavor", FLAVORS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.get("alone")])
def test_case_with_a_primary_of_its_own(name: str, flavor: str, tmp_path: Path) -> None:
    if without(flavor):
        pytest.skip(f"RR_WITHOUT={flavor}")
    rig = seeded_copy(KITS[flavor], tmp_path, {})
    try:
        _assert_nights(rig, CASES[name]["nights"])
    finally:
        rig.primary.discard()


def _assert_nights(rig: Rig, nights: list[dict[str, Any]]) -> None:
    for number, night in enumerate(nights):
        _write(rig.primary, night.get("sql", ["SELECT 1"]))
        options = dict(night.get("cluster", {}))
        if night.get("copy_of_files"):
            options["seed"] = {"method": _COPIES[rig.primary.flavor]}
        report = rig.cycle(force_full=bool(night.get("full")), retries=0, **options)
        _assert_night(rig, night, report, f"night {number}")


def _assert_night(rig: Rig, night: dict[str, Any], report: CycleReport, which: str) -> None:
    code = report.failure.code if report.failure else None
    assert code == night.get("code"), f"{which}: {report.failure}\n{rig.tail()}"
    catalog = rig.catalog()
    assert catalog.held_by == [], which
    states = [backup.state for backup in catalog.backups]
    assert states.count(BackupState.QUARANTINED) == night.get("quarantined", 0), which
    assert states.count(BackupState.STRANDED) == night.get("stranded", 0), which
    if report.published_id:
        made = catalog.backup(report.published_id).manifest
        fresh = night.get("base") == "seed" or bool(night.get("full"))
        assert made.base.kind == ("seed" if fresh else "backup"), which
        assert _listed(made).issuperset(night.get("listed", ())), which
        left_out = made.notes.get("fill", {}).get("left_out", {})
        assert sorted(left_out) == sorted(night.get("left_out", left_out)), which


def _listed(made: Manifest) -> set[str]:
    (check,) = [check for check in made.checks if check["name"] == "check_table"]
    return {part.split(": as on the primary")[0] for part in check.get("unfinished", "").split("; ")}


def _write(primary: Primary, statements: list[str]) -> None:
    with primary.connect() as conn, conn.cursor() as cursor:
        for statement in statements:
            if statement.startswith("IMPORT "):
                _import(primary, cursor, *statement.split()[1:])
            else:
                cursor.execute(_WIDE if statement == "WIDE" else statement)


def _import(primary: Primary, cursor: Any, schema: str, source: str, target: str) -> None:
    """Import the rows of the table *source* into *target*, whose tablespace is discarded."""
    cursor.execute(f"FLUSH TABLES {schema}.{source} FOR EXPORT")
    for kind in ("ibd", "cfg"):
        directory = primary.datadir / schema
        shutil.copy(directory / f"{source}.{kind}", directory / f"{target}.{kind}")
    cursor.execute("UNLOCK TABLES")
    cursor.execute(f"/* job */ ALTER TABLE {schema}.{target} IMPORT TABLESPACE /* of {source} */")
