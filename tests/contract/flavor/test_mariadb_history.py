from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import msgspec
import pytest

from airflow_restore_replay.core.errors import (
    BinlogPurged,
    ErrantFromFormerPrimary,
    ErrantFromNode,
    HistoryDiverged,
)
from airflow_restore_replay.core.flavor.mariadb.flavor import MariaDbFlavor
from airflow_restore_replay.core.flavor.values import Endpoint, EventStamp
from tests.support.mariadb import MariaDbPrimary, WriteLoad


def _write_some(primary: MariaDbPrimary) -> None:
    with WriteLoad(primary) as load:
        load.wait_for(60)
    primary.execute("FLUSH BINARY LOGS", "SET SESSION gtid_domain_id=7", "CREATE TABLE `load`.d7 (i INT)")


def _position(primary: MariaDbPrimary) -> str:
    return str(primary.execute("SELECT @@gtid_binlog_pos")[0][0])


def test_stamps_are_stable_and_hints_only_make_them_cheaper(
    primary: MariaDbPrimary, endpoint: Endpoint, flavor: MariaDbFlavor
) -> None:
    _write_some(primary)
    position = flavor.parse_position(_position(primary))
    stamps = flavor.last_events(endpoint, position)
    assert [stamp.gtid for stamp in stamps] == str(position).split(",")
    _write_some_more(primary)
    primary.restart()
    wrong = [msgspec.structs.replace(stamp, offset=stamp.offset + 11) for stamp in stamps]
    for hints in ([], stamps, wrong):
        assert flavor.last_events(endpoint, position, hints) == stamps
        flavor.check_history(endpoint, position, hints)


def _write_some_more(primary: MariaDbPrimary) -> None:
    with WriteLoad(primary) as load:
        load.wait_for(20)
    primary.execute("SET SESSION gtid_domain_id=7", "CREATE TABLE `load`.more (i INT)")


@pytest.mark.parametrize("change", ["timestamp_s", "digest"])
def test_another_event_under_the_same_gtid_is_another_history(
    primary: MariaDbPrimary, endpoint: Endpoint, flavor: MariaDbFlavor, change: str
) -> None:
    _write_some(primary)
    position = flavor.parse_position(_position(primary))
    stamps = flavor.last_events(endpoint, position)
    other: dict[str, object] = {"timestamp_s": stamps[0].timestamp_s - 1, "digest": "0" * 64}
    forged = [msgspec.structs.replace(stamps[0], **{change: other[change]}), *stamps[1:]]
    with pytest.raises(HistoryDiverged, match="rewound"):
        flavor.check_history(endpoint, position, forged)
    # Only the digest of the same server is comparable.
    elsewhere = [msgspec.structs.replace(stamp, primary_uid="other") for stamp in forged]
    expected = pytest.raises(HistoryDiverged) if change == "timestamp_s" else contextlib.nullcontext()
    with expected:
        flavor.check_history(endpoint, position, elsewhere)


def test_a_rewound_primary_that_reuses_gtids_is_found(
    tmp_path: Path, primary: MariaDbPrimary, endpoint: Endpoint, flavor: MariaDbFlavor
) -> None:
    """R13: the primary's machine is set back, and other rows get the numbers of the lost ones."""
    primary.execute("CREATE DATABASE a", "CREATE TABLE a.t (i INT PRIMARY KEY)")
    primary.restart()
    saved = tmp_path / "saved"
    shutil.copytree(primary.datadir, saved)
    primary.execute(*(f"INSERT INTO a.t VALUES ({n})" for n in range(10)))
    position = flavor.parse_position(_position(primary))
    stamps = flavor.last_events(endpoint, position)
    primary.kill()
    shutil.rmtree(primary.datadir)
    shutil.copytree(saved, primary.datadir)
    primary.restart()
    with pytest.raises(HistoryDiverged, match="rewound"):
        flavor.check_history(endpoint, position, stamps)
    primary.execute(*(f"INSERT INTO a.t VALUES ({n})" for n in range(100, 115)))
    with flavor.connect(endpoint) as conn:
        assert flavor.primary_position(conn).contains(position)
    with pytest.raises(HistoryDiverged, match="rewound"):
        flavor.check_history(endpoint, position, stamps)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-1-999999,7-1-1", HistoryDiverged),
        ("0-5-999999,7-1-1", ErrantFromFormerPrimary),
        ("0-5-10,7-1-1", ErrantFromFormerPrimary),
        ("0-3900000077-999999,7-1-1", ErrantFromNode),
        ("0-3900000077-10,7-1-1", ErrantFromNode),
        ("0-1-10,9-5-1", ErrantFromFormerPrimary),
    ],
)
def test_transactions_that_the_primary_lacks_say_where_they_are_from(
    primary: MariaDbPrimary, endpoint: Endpoint, flavor: MariaDbFlavor, text: str, expected: type[Exception]
) -> None:
    _write_some(primary)
    with pytest.raises(expected):
        flavor.check_history(endpoint, flavor.parse_position(text), [])


def test_purged_logs_matter_only_from_the_position_on(
    primary: MariaDbPrimary, endpoint: Endpoint, flavor: MariaDbFlavor
) -> None:
    primary.execute("CREATE DATABASE a", "CREATE TABLE a.t (i INT PRIMARY KEY)", "INSERT INTO a.t VALUES (1)")
    at_boundary = flavor.parse_position(_position(primary))
    stamps: list[EventStamp] = flavor.last_events(endpoint, at_boundary)
    primary.execute("FLUSH BINARY LOGS", "INSERT INTO a.t VALUES (2)")
    primary.purge_logs()
    flavor.check_history(endpoint, at_boundary, stamps)
    assert flavor.last_events(endpoint, at_boundary) == []
    earlier = flavor.parse_position(f"0-1-{at_boundary.seq(0) - 1}")
    for too_old in (earlier, flavor.parse_position("")):
        with pytest.raises(BinlogPurged, match=r"binlog\.0"):
            flavor.check_history(endpoint, too_old, [])


def test_logs_without_checksums_are_read_alike(
    primary: MariaDbPrimary, endpoint: Endpoint, flavor: MariaDbFlavor
) -> None:
    primary.execute("SET GLOBAL binlog_checksum=NONE", "CREATE DATABASE a", "CREATE TABLE a.t (i INT)")
    position = flavor.parse_position(_position(primary))
    stamps = flavor.last_events(endpoint, position)
    primary.execute("SET GLOBAL binlog_checksum=CRC32", "INSERT INTO a.t VALUES (1)")
    assert flavor.last_events(endpoint, position) == stamps
    later = flavor.parse_position(_position(primary))
    assert [stamp.gtid for stamp in flavor.last_events(endpoint, later)] == [str(later)]
