"""Check that a primary's history continues that of a backup.

A MariaDB server that was rewound (a restored primary, a lost end of the binary log) assigns the same GTIDs again. If
only containment were checked, a node would replay onto rows of another history. The record of the last event of each
domain decides instead.
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
from airflow_restore_replay.core.flavor.mariadb import binlog
from airflow_restore_replay.core.flavor.mariadb.connect import connect
from airflow_restore_replay.core.flavor.mariadb.gtid import Gtid, MariaDbPosition
from airflow_restore_replay.core.flavor.mariadb.identity import identity
from airflow_restore_replay.core.flavor.mariadb.snapshot import primary_position
from airflow_restore_replay.core.flavor.values import NODE_SERVER_IDS, Conn, Endpoint, EventStamp


@dataclass
class _Log:
    """The primary's binary log, with a cache of lookups."""

    primary: Endpoint
    conn: Conn
    files: list[str]
    _lists: dict[str, list[Gtid]] = field(default_factory=dict)

    def before(self, file: str) -> list[Gtid]:
        """Return the last transaction of each domain and server before *file* begins."""
        if file not in self._lists:
            self._lists[file] = binlog.gtid_list(self.conn, file)
        return self._lists[file]

    def seq_before(self, file: str, domain: int) -> int:
        return max((gtid.seq for gtid in self.before(file) if gtid.domain == domain), default=0)

    def file_of(self, domain: int, seq: int) -> str | None:
        """Return the only file that can contain the transaction; None if it is older than all files."""
        low, high = 0, len(self.files)
        while low < high:
            middle = (low + high) // 2
            if self.seq_before(self.files[middle], domain) < seq:
                low = middle + 1
            else:
                high = middle
        return self.files[low - 1] if low else None

    def group(self, gtid: Gtid, hint: EventStamp | None, uid: str) -> binlog.Group | None:
        """Return the group with *gtid*'s domain and number, whichever server wrote it; None if it is in no file."""
        file = self.file_of(gtid.domain, gtid.seq)
        if file is None:
            return None
        if hint and hint.primary_uid == uid and hint.file == file and hint.offset:
            found = binlog.at(self.primary, file, hint.offset)
            if found and found.gtid == gtid:
                return found
        return binlog.find(self.primary, file, gtid.domain, gtid.seq)


def last_events(
    primary: Endpoint, position: MariaDbPosition, hints: Sequence[EventStamp] = ()
) -> list[EventStamp]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.last_events`."""
    by_domain = {stamp.domain: stamp for stamp in hints}
    stamps = []
    with contextlib.closing(connect(primary)) as conn:
        uid = identity(conn).uid
        log = _Log(primary, conn, binlog.files(conn))
        for gtid in position:
            if log.file_of(gtid.domain, gtid.seq) is None:
                continue
            group = log.group(gtid, by_domain.get(str(gtid.domain)), uid)
            if group is None or group.gtid != gtid:
                other = f"; {group.gtid} is there instead" if group else ""
                raise HistoryDiverged(f"The primary's binary log covers {gtid}, but does not have it{other}.")
            stamps.append(_stamp(group, uid))
    return stamps


def _stamp(group: binlog.Group, uid: str) -> EventStamp:
    return EventStamp(
        domain=str(group.gtid.domain),
        gtid=str(group.gtid),
        timestamp_s=group.timestamp_s,
        digest=group.digest,
        primary_uid=uid,
        file=group.file,
        offset=group.offset,
    )


def check_history(primary: Endpoint, position: MariaDbPosition, recorded: Sequence[EventStamp]) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.check_history`."""
    stamps = {stamp.gtid: stamp for stamp in recorded}
    with contextlib.closing(connect(primary)) as conn:
        who = identity(conn)
        has = primary_position(conn)
        log = _Log(primary, conn, binlog.files(conn))
        for gtid in position:
            if has.seq(gtid.domain) < gtid.seq:
                beyond = (
                    f"the primary's last transaction of domain {gtid.domain} is {has.domain(gtid.domain)}"
                )
                raise _foreign(gtid, who.server_id, f"The backup has {gtid}; {beyond}.")
            _check_transaction(log, gtid, stamps.get(str(gtid)), who.uid, who.server_id)
        _check_kept(log, position)


def _check_transaction(log: _Log, gtid: Gtid, stamp: EventStamp | None, uid: str, server_id: int) -> None:
    if log.file_of(gtid.domain, gtid.seq) is None:
        _check_before_files(log, gtid, server_id)
        return
    group = log.group(gtid, stamp, uid)
    if group is None:
        raise _foreign(gtid, server_id, f"The backup has {gtid}, which the primary's binary log lacks.")
    if group.gtid != gtid:
        raise _foreign(gtid, server_id, f"The backup has {gtid}; the primary has {group.gtid} in its place.")
    if stamp is None:
        return
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


def _check_before_files(log: _Log, gtid: Gtid, server_id: int) -> None:
    """Check a transaction that was purged itself, which is allowed if all transactions after it are available."""
    oldest = log.files[0]
    if log.seq_before(oldest, gtid.domain) > gtid.seq:
        raise _purged(f"{gtid} of the backup and what follows it", oldest)
    if gtid not in log.before(oldest):
        raise _foreign(gtid, server_id, f"The backup has {gtid}, which the primary's binary log never had.")


def _check_kept(log: _Log, position: MariaDbPosition) -> None:
    """Raise unless the files contain all transactions of each domain that the backup does not have."""
    known = {gtid.domain for gtid in position}
    for gtid in log.before(log.files[0]) if log.files else []:
        if gtid.domain not in known:
            raise _purged(f"The first transactions of domain {gtid.domain}", log.files[0])


def _purged(what: str, oldest: str) -> BinlogPurged:
    return BinlogPurged(
        f"{what} are no longer in the primary's binary logs, which begin with {oldest}.",
        hint="Raise binlog_expire_logs_seconds (or expire_logs_days) above the time between two cycles.",
    )


def _foreign(gtid: Gtid, server_id: int, observed: str) -> RestoreReplayError:
    """Return the error for a transaction that the primary lacks, by the server that wrote it."""
    evidence = {"gtid": str(gtid)}
    if gtid.server_id in NODE_SERVER_IDS:
        return ErrantFromNode(f"{observed} It was written on a replay node.", evidence=evidence)
    if gtid.server_id == server_id:
        return HistoryDiverged(f"{observed} The primary wrote it once and was rewound.", evidence=evidence)
    return ErrantFromFormerPrimary(
        f"{observed} Server {gtid.server_id} wrote it; the backup may be its only copy.",
        hint="Look for what a failover lost before removing this backup.",
        evidence=evidence,
    )
