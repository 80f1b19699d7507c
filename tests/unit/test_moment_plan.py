"""The plan of a restore to the end of the archive, over records made by hand: no log is read for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import msgspec
import pytest

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.logs import streams_of
from airflow_restore_replay.core.archive.pieces import PieceStore
from airflow_restore_replay.core.errors import LogCorrupt, MomentRefused
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.recovery.moment.plan import Plan, plan
from airflow_restore_replay.core.recovery.moment.wanted import Wanted
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import LogPiece, Manifest
from tests.unit.test_cycle_decisions import NOON, manifest
from tests.unit.test_moment_route import pieces_of

#: the backups of test_cycle_decisions are made at noon, minus their age
OLD = msgspec.structs.replace(manifest("old", age_h=48), position="0-1-10")
NEW = msgspec.structs.replace(manifest("new", age_h=24), position="0-1-20")
LATEST = Wanted(kind="latest")


def stamped(pieces: list[LogPiece], **fields: Any) -> list[LogPiece]:
    return [msgspec.structs.replace(piece, **fields) for piece in pieces]


def planned(
    manifests: list[Manifest], pieces: list[LogPiece], wanted: Wanted = LATEST, **options: Any
) -> Plan:
    archive = Archive(cast(PieceStore, None), tuple(pieces), streams_of(pieces), **options)
    catalog = Catalog.of("orders", manifests, [])
    return plan(catalog, archive, get_flavor("mariadb"), wanted, timezone="UTC", now=NOON)


def bases(found: Plan) -> list[tuple[str, list[list[int]]]]:
    return [(b.backup.backup_id, [[log.number for log in leg.logs] for leg in b.legs]) for b in found.bases]


#: hours before noon of each file's first transaction
BEGUN_H = {1: 50, 2: 47, 3: 10}


def begun(pieces: list[LogPiece]) -> list[LogPiece]:
    return [
        msgspec.structs.replace(p, first_at=NOON - timedelta(hours=BEGUN_H[p.number]), last_at=NOON)
        for p in pieces
    ]


ARCHIVED = begun(pieces_of("a", [["0-1-5", "0-1-12"], ["0-1-12", "0-1-25"], ["0-1-25", "0-1-30"]]))


def test_the_newest_base_comes_first_and_older_ones_take_its_place() -> None:
    found = planned([OLD, NEW], ARCHIVED)
    assert str(found.goal) == "0-1-30"
    assert bases(found) == [("new", [[2, 3]]), ("old", [[1, 2, 3]])]


def test_without_an_archive_latest_is_the_newest_backup() -> None:
    assert bases(planned([OLD, NEW], [])) == [("new", [])]


def test_a42_all_that_is_archived_is_never_less_than_all() -> None:
    gap = [p for p in ARCHIVED if p.number != 2]
    with pytest.raises(
        MomentRefused, match="no archived binary logs lead from a healthy backup to the newest"
    ):
        planned([OLD, NEW], gap)
    lost = begun(pieces_of("a", [["0-1-5", "0-1-12", "0-1-25", "0-1-30"]]))
    with pytest.raises(MomentRefused, match=r"pieces are missing of binlog\.000001 from offset 100 on"):
        planned([OLD, NEW], [lost[0], lost[2]])
    with pytest.raises(MomentRefused, match=r"damaged records: logpieces/x\.json"):
        planned([OLD, NEW], gap, unreadable={"logpieces/x.json": "torn"})


def test_nothing_to_restore_from() -> None:
    with pytest.raises(MomentRefused, match="the cluster has no healthy backup"):
        planned([], ARCHIVED)


def test_a45_only_a_later_backup_leads_to_what_followed() -> None:
    late = stamped(
        pieces_of("b", [["", "0-1-15"]]),
        first_at=NOON - timedelta(hours=2),
        last_at=NOON - timedelta(hours=1),
    )
    with pytest.raises(MomentRefused, match="assigned GTIDs of backup .* again"):
        planned([OLD, NEW], [*ARCHIVED, *late])
    after = msgspec.structs.replace(manifest("after", age_h=1.5), position="0-1-8")
    found = planned([OLD, NEW, after], [*ARCHIVED, *late])
    assert (str(found.goal), bases(found)) == ("0-1-15", [("after", [[1]])])


def test_a45_one_piece_that_begins_before_and_ends_beyond_the_backup_is_noticed() -> None:
    late = stamped(
        pieces_of("b", [["", "0-1-90"]]),
        first_at=NOON - timedelta(hours=2),
        last_at=NOON - timedelta(hours=1),
    )
    with pytest.raises(MomentRefused, match="assigned GTIDs of backup .* again"):
        planned([OLD, NEW], late)


def test_a_primary_whose_clock_is_ahead_did_not_assign_them_again() -> None:
    """The backup's own last event is stamped in the future, too."""
    ahead = NOON + timedelta(hours=3)
    pieces = stamped(ARCHIVED, first_at=ahead, last_at=ahead)
    chain = {"domain": "0", "gtid": "0-1-20", "timestamp_s": int(ahead.timestamp()), "digest": ""}
    new = msgspec.convert(msgspec.to_builtins(NEW) | {"chains": [chain | {"primary_uid": ""}]}, Manifest)
    # It gets as far as comparing that event with the log, which these records do not have.
    with pytest.raises(LogCorrupt):
        planned([new], pieces)
