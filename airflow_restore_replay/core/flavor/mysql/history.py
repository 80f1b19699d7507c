"""Check that a MySQL primary's history continues that of a backup.

Each server numbers its own transactions. One that was rewound (a restored primary, a lost end of the binary log)
continues numbering from the restored position and so assigns the same GTIDs again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cached_property

from airflow_restore_replay.core.errors import HistoryDiverged, RestoreReplayError
from airflow_restore_replay.core.flavor import history
from airflow_restore_replay.core.flavor.mysql import binlog
from airflow_restore_replay.core.flavor.mysql.connect import connect
from airflow_restore_replay.core.flavor.mysql.gtid import Gtid, MySqlPosition
from airflow_restore_replay.core.flavor.mysql.identity import NODE_UUID_PREFIX, identity
from airflow_restore_replay.core.flavor.mysql.snapshot import primary_position
from airflow_restore_replay.core.flavor.sql import value
from airflow_restore_replay.core.flavor.values import Endpoint, EventStamp, Position


class _Log(history.Log[Gtid, MySqlPosition]):
    flavor = binlog.LOG

    @cached_property
    def purged_position(self) -> MySqlPosition:
        return MySqlPosition.parse(str(value(self._conn, "SELECT @@GLOBAL.gtid_purged")))

    def is_before(self, gtid: Gtid, file: str) -> bool:
        # A restored or cloned server has executed transactions that no heading of its files lists.
        return self.purged_position.has(gtid) or self.before(file).has(gtid)


def last_events(primary: Endpoint, position: Position, hints: Sequence[EventStamp] = ()) -> list[EventStamp]:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.last_events`."""
    last = MySqlPosition.parse(str(position)).last()
    with contextlib.closing(connect(primary)) as conn:
        return _Log(primary, conn, identity(conn).uid).stamps(last, hints)


def check_history(primary: Endpoint, position: Position, recorded: Sequence[EventStamp]) -> None:
    """See :meth:`~airflow_restore_replay.core.flavor.base.Flavor.check_history`."""
    base = MySqlPosition.parse(str(position))
    stamps = {stamp.gtid: stamp for stamp in recorded}
    with contextlib.closing(connect(primary)) as conn:
        uid = identity(conn).uid
        lacking = primary_position(conn).missing(base)
        if lacking:
            raise _foreign(lacking, uid)
        log = _Log(primary, conn, uid)
        if lost := base.missing(log.purged_position):
            raise log.purged(str(lost))
        for gtid in base.last():
            stamp = stamps.get(str(gtid))
            if stamp is None or log.file_of(gtid) is None:
                continue
            group = log.group(gtid, stamp)
            if group is None:
                raise HistoryDiverged(f"The backup has {gtid}, which the primary's binary log lacks.")
            log.check_same(group, stamp)


def _foreign(missing: MySqlPosition, uid: str) -> RestoreReplayError:
    uuids = {source.uuid for source in missing.by_source}
    return history.foreign(
        f"The backup has {str(missing)[:300]}, which the primary lacks.",
        str(missing)[:1000],
        by_node=any(uuid.startswith(NODE_UUID_PREFIX) for uuid in uuids),
        by_primary=uuids == {uid},
        writer=", ".join(sorted(uuids - {uid})),
    )
