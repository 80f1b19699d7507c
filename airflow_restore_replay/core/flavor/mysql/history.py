"""Check that a primary's history continues that of a backup.

Each server numbers its own transactions. One that was rewound (a restored primary, a lost end of the binary log)
continues numbering from the restored position and so assigns the same GTIDs again. If only containment were checked,
a node would replay onto rows of another history. The record of the last transaction of each source decides instead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from airflow_restore_replay.core.errors import (
    BinlogPurged,
    ErrantFromFormerPrimary,
    ErrantFromNode,
    HistoryDiverged,
    RestoreReplayError,
)
from airflow_restore_replay.core.flavor.mysql import binlog
from airflow_restore_replay.core.flavor.mysql.connect import connect
from airflow_restore_replay.core.flavor.mysql.gtid import Gtid, MySqlPosition
from airflow_restore_replay.core.flavor.mysql.identity import NODE_UUID_PREFIX, identity
from airflow_restore_replay.core.flavor.mysql.snapshot import primary_position
from airflow_restore_replay.core.flavor.sql import value
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, EventStamp


@dataclass
class Log:
    """The primary's binary log, with a cache of lookups."""

    primary: Endpoint
    conn: Conn
    files: list[str]
    _before: dict[str, MySqlPosition] = field(default_factory=dict)

    def before(self, file: str) -> MySqlPosition:
        """Return all transactions that were logged before *file* begins."""
        if file not in self._before:
            self._before[file] = binlog.before(self.conn, file)
        return self._before[file]

    def file_of(self, gtid: Gtid) -> str | None:
        """Return the only file that can contain the transaction; None if it is older than all files."""
        low, high = 0, len(self.files)
        while low < high:
            middle = (low + high) // 2
            if self.before(self.files[middle]).has(gtid):
                high = middle
            else:
                low = middle + 1
        return self.files[low - 1] if low else None

    def group(self, gtid: Gtid, hint: EventStamp | None, uid: str) -> binlog.Group | None:
        """Return the transaction; None if it is in no file."""
        file = self.file_of(gtid)
        if file is None:
            return None
        if hint and hint.primary_uid == uid and hint.file == file and hint.offset:
            found = binlog.at(self.primary, file, hint.offset)
            if found and found.gtid == gtid:
                return found
        return binlog.find(self.primary, file, gtid)


def last_events(
    primary: Endpoint, position: MySqlPosition, hints: Sequence[EventStamp] = ()
) -> list[EventStamp]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.last_events`."""
    by_source = {stamp.domain: stamp for stamp in hints}
    stamps = []
    with contextlib.closing(connect(primary)) as conn:
        uid = identity(conn).uid
        log = Log(primary, conn, binlog.files(conn))
        for gtid in position.last():
            if log.file_of(gtid) is None:
                continue
            group = log.group(gtid, by_source.get(str(gtid.source)), uid)
            if group is None:
                raise HistoryDiverged(f"The primary's binary log covers {gtid}, but does not have it.")
            stamps.append(_stamp(group, uid))
    return stamps


def _stamp(group: binlog.Group, uid: str) -> EventStamp:
    return EventStamp(
        domain=str(group.gtid.source),
        gtid=str(group.gtid),
        timestamp_s=group.timestamp_s,
        digest=group.digest,
        primary_uid=uid,
        file=group.file,
        offset=group.offset,
    )


def check_history(primary: Endpoint, position: MySqlPosition, recorded: Sequence[EventStamp]) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.check_history`."""
    stamps = {stamp.gtid: stamp for stamp in recorded}
    with contextlib.closing(connect(primary)) as conn:
        uid = identity(conn).uid
        foreign = primary_position(conn).missing(position)
        if foreign:
            raise _foreign(foreign, uid)
        purged = MySqlPosition.parse(str(value(conn, "SELECT @@GLOBAL.gtid_purged")))
        lost = position.missing(purged)
        log = Log(primary, conn, binlog.files(conn))
        if lost:
            oldest = log.files[0] if log.files else "none"
            raise BinlogPurged(
                f"{lost} are no longer in the primary's binary logs, which begin with {oldest}.",
                hint="Raise binlog_expire_logs_seconds above the time between two cycles.",
            )
        for gtid in position.last():
            _check_transaction(log, gtid, stamps.get(str(gtid)), uid)


def _check_transaction(log: Log, gtid: Gtid, stamp: EventStamp | None, uid: str) -> None:
    if stamp is None or log.file_of(gtid) is None:
        return
    group = log.group(gtid, stamp, uid)
    if group is None:
        raise HistoryDiverged(f"The backup has {gtid}, which the primary's binary log lacks.")
    if group.timestamp_s != stamp.timestamp_s:
        raise HistoryDiverged(
            f"The primary wrote another transaction under {gtid}: at {group.timestamp_s}, where the backup's "
            f"was written at {stamp.timestamp_s} (Unix time). It was rewound.",
            evidence={"gtid": str(gtid)},
        )
    # Another server may log the same transaction with different bytes.
    if stamp.primary_uid == uid and group.digest != stamp.digest:
        raise HistoryDiverged(
            f"The primary wrote another transaction under {gtid}: the bytes in its binary log are not those "
            "that were recorded with the backup. It was rewound.",
            evidence={"gtid": str(gtid), "observed": group.digest, "expected": stamp.digest},
        )


def _foreign(missing: MySqlPosition, uid: str) -> RestoreReplayError:
    """Return the error for transactions that the primary lacks, by the server that wrote them."""
    evidence = {"gtid": str(missing)[:1000]}
    observed = f"The backup has {str(missing)[:300]}, which the primary lacks."
    uuids = {source.uuid for source in missing.by_source}
    nodes = {u for u in uuids if u.startswith(NODE_UUID_PREFIX)}
    if nodes:
        return ErrantFromNode(f"{observed} It was written on a replay node.", evidence=evidence)
    if uuids == {uid}:
        return HistoryDiverged(f"{observed} The primary wrote it once and was rewound.", evidence=evidence)
    others = ", ".join(sorted(uuids - {uid}))
    return ErrantFromFormerPrimary(
        f"{observed} Server {others} wrote it; the backup may be its only copy.",
        hint="Look for what a failover lost before removing this backup.",
        evidence=evidence,
    )
