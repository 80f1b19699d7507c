"""A gap closes when files lead across it, but never where the primary was rewound."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from airflow_restore_replay.core.archive.archive import Archive
from airflow_restore_replay.core.archive.logs import streams_of
from airflow_restore_replay.core.archive.pieces import PieceStore
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import LogGap, LogPiece
from tests.support.archives import piece_of
from tests.unit.archive.test_reach import START

MARIADB = get_flavor("mariadb")
LATER = START + timedelta(hours=1)


def gap(before: str, after: str) -> LogGap:
    return LogGap(
        gap_id="g",
        at=LATER,
        cluster="orders",
        run="r",
        lease_epoch=1,
        stream="b",
        number=1,
        before=before,
        after=after,
        lacking="",
        reason="",
    )


def archive(noted: LogGap, *pieces: LogPiece) -> Archive:
    return Archive(cast(PieceStore, None), pieces, streams_of(pieces), (noted,))


def healthy(*backups: tuple[str, datetime]) -> Catalog:
    made = [
        SimpleNamespace(manifest=SimpleNamespace(position=position, created_at=at))
        for position, at in backups
    ]
    return cast(Catalog, SimpleNamespace(healthy=lambda: made))


def piece(stream: str, before: str, after: str) -> LogPiece:
    fields: dict[str, Any] = {"stream": stream, "before": before, "after": after, "transactions": 1}
    return piece_of("orders", "mariadb", 0, 100, **fields)


def test_a_gap_closes_when_another_stream_leads_across_it() -> None:
    noted = gap("0-1-10", "0-1-20")
    assert archive(noted, piece("a", "", "0-1-10"), piece("b", "0-1-20", "0-1-30")).open_gaps(MARIADB) == (
        noted,
    )
    assert archive(noted, piece("a", "", "0-1-10"), piece("c", "0-1-5", "0-1-25")).open_gaps(MARIADB) == ()


def test_a_rewind_never_closes_and_matters_until_a_backup_follows_it() -> None:
    noted = gap("0-1-10", "0-1-4")
    found = archive(noted, piece("a", "", "0-1-10"), piece("b", "0-1-4", "0-1-30"))
    assert found.open_gaps(MARIADB) == (noted,)
    before, after = ("0-1-9", LATER - timedelta(minutes=1)), ("0-1-12", LATER + timedelta(minutes=1))
    assert found.gaps_after(healthy(before), MARIADB) == (noted,)
    assert found.gaps_after(healthy(before, after), MARIADB) == ()
