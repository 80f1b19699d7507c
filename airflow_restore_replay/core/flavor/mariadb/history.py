"""Check that a MariaDB primary's history continues that of a backup.

A server that was rewound (a restored primary, a lost end of the binary log) assigns the same GTIDs again. Its server id
is part of them, so a transaction in another one's place is seen, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.flavor import history
from airflow_restore_replay.core.flavor.mariadb import binlog
from airflow_restore_replay.core.flavor.mariadb.connect import connect
from airflow_restore_replay.core.flavor.mariadb.gtid import Gtid, MariaDbPosition
from airflow_restore_replay.core.flavor.mariadb.identity import identity
from airflow_restore_replay.core.flavor.mariadb.snapshot import primary_position
from airflow_restore_replay.core.flavor.values import NODE_SERVER_IDS, Endpoint, EventStamp, Position


class _Log(history.Log[Gtid, list[Gtid]]):
    flavor = binlog.LOG

    def is_before(self, gtid: Gtid, file: str) -> bool:
        return self.seq_before(file, gtid.domain) >= gtid.seq

    def seq_before(self, file: str, domain: int) -> int:
        return max((gtid.seq for gtid in self.before(file) if gtid.domain == domain), default=0)


def last_events(primary: Endpoint, position: Position, hints: Sequence[EventStamp] = ()) -> list[EventStamp]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.last_events`."""
    with contextlib.closing(connect(primary)) as conn:
        return _Log(primary, conn, identity(conn).uid).stamps(MariaDbPosition.parse(str(position)), hints)


def check_history(primary: Endpoint, position: Position, recorded: Sequence[EventStamp]) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.check_history`."""
    base = MariaDbPosition.parse(str(position))
    stamps = {stamp.gtid: stamp for stamp in recorded}
    with contextlib.closing(connect(primary)) as conn:
        who = identity(conn)
        has = primary_position(conn)
        log = _Log(primary, conn, who.uid)
        for gtid in base:
            if not has.has(gtid):
                beyond = (
                    f"the primary's last transaction of domain {gtid.domain} is {has.domain(gtid.domain)}"
                )
                raise _foreign(gtid, who.server_id, f"The backup has {gtid}; {beyond}.")
            _check_transaction(log, gtid, stamps.get(str(gtid)), who.server_id)
        _check_kept(log, base)


def _check_transaction(log: _Log, gtid: Gtid, stamp: EventStamp | None, server_id: int) -> None:
    if log.file_of(gtid) is None:
        _check_before_files(log, gtid, server_id)
        return
    group = log.group(gtid, stamp)
    if group is None:
        raise _foreign(gtid, server_id, f"The backup has {gtid}, which the primary's binary log lacks.")
    if group.gtid != gtid:
        raise _foreign(gtid, server_id, f"The backup has {gtid}; the primary has {group.gtid} in its place.")
    if stamp is not None:
        log.check_same(group, stamp)


def _check_before_files(log: _Log, gtid: Gtid, server_id: int) -> None:
    """Check a transaction that was purged itself, which is allowed if all transactions after it are available."""
    oldest = log.files[0]
    if log.seq_before(oldest, gtid.domain) > gtid.seq:
        raise log.purged(f"{gtid} of the backup and what follows it")
    if gtid not in log.before(oldest):
        raise _foreign(gtid, server_id, f"The backup has {gtid}, which the primary's binary log never had.")


def _check_kept(log: _Log, position: MariaDbPosition) -> None:
    """Raise unless the files contain all transactions of each domain that the backup does not have."""
    known = {gtid.domain for gtid in position}
    for gtid in log.before(log.files[0]) if log.files else []:
        if gtid.domain not in known:
            raise log.purged(f"The first transactions of domain {gtid.domain}")


def _foreign(gtid: Gtid, server_id: int, observed: str) -> RestoreReplayError:
    return history.foreign(
        observed,
        str(gtid),
        by_node=gtid.server_id in NODE_SERVER_IDS,
        by_primary=gtid.server_id == server_id,
        writer=gtid.server_id,
    )
