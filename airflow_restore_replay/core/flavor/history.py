"""Check that a primary's history continues that of a backup: what is common to all flavors.

A server that was rewound assigns the same GTIDs again. If only containment were checked, a node would replay onto rows
of another history. The record of the last transaction of each domain or source decides instead.
"""

from __future__ import annotations

import bisect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Generic

from airflow_restore_replay.core.errors import (
    BinlogPurged,
    ErrantFromFormerPrimary,
    ErrantFromNode,
    HistoryDiverged,
    RestoreReplayError,
)
from airflow_restore_replay.core.flavor.binlogstream import BinaryLog, G, Group, P, files
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, EventStamp


class Log(ABC, Generic[G, P]):
    """The primary's binary log, with a cache of lookups.

    :param uid: identity of the primary.
    """

    flavor: BinaryLog[G, P]

    def __init__(self, primary: Endpoint, conn: Conn, uid: str) -> None:
        self.files = files(conn)
        self._primary = primary
        self._conn = conn
        self._uid = uid
        self._before: dict[str, P] = {}

    def before(self, file: str) -> P:
        """Return what was logged before *file* begins."""
        if file not in self._before:
            self._before[file] = self.flavor.before(self._conn, file)
        return self._before[file]

    @abstractmethod
    def is_before(self, gtid: G, file: str) -> bool:
        """Return whether the transaction was logged before *file* begins."""

    def file_of(self, gtid: G) -> str | None:
        """Return the only file that can contain the transaction; None if it is older than all files."""
        following = bisect.bisect_left(self.files, True, key=lambda file: self.is_before(gtid, file))
        return self.files[following - 1] if following else None

    def group(self, gtid: G, hint: EventStamp | None) -> Group[G] | None:
        """Return the group at *gtid*'s place, whichever server wrote it; None if it is in no file."""
        file = self.file_of(gtid)
        if file is None:
            return None
        if hint and hint.primary_uid == self._uid and hint.file == file and hint.offset:
            found = self.flavor.at(self._primary, file, hint.offset)
            if found and found.gtid == gtid:
                return found
        return self.flavor.find(self._primary, file, gtid)

    def stamps(self, last: Iterable[G], hints: Sequence[EventStamp]) -> list[EventStamp]:
        """Return the records of *last*, without those that are older than all files.

        :raises HistoryDiverged: the files cover one, but do not contain it.
        """
        by_domain = {stamp.domain: stamp for stamp in hints}
        stamps = []
        for gtid in last:
            if self.file_of(gtid) is None:
                continue
            group = self.group(gtid, by_domain.get(str(gtid.place[0])))
            if group is None or group.gtid != gtid:
                other = f"; {group.gtid} is there instead" if group else ""
                raise HistoryDiverged(f"The primary's binary log covers {gtid}, but does not have it{other}.")
            stamps.append(self._stamp(group))
        return stamps

    def _stamp(self, group: Group[G]) -> EventStamp:
        return EventStamp(
            domain=str(group.gtid.place[0]),
            gtid=str(group.gtid),
            timestamp_s=group.timestamp_s,
            digest=group.digest,
            primary_uid=self._uid,
            file=group.file,
            offset=group.offset,
        )

    def purged(self, what: str) -> BinlogPurged:
        """Return the error for transactions that are in no file any more."""
        oldest = self.files[0] if self.files else "none"
        return BinlogPurged(
            f"{what} are no longer in the primary's binary logs, which begin with {oldest}.",
            hint=f"Raise {self.flavor.keeping} above the time between two cycles.",
        )

    def check_same(self, group: Group[G], stamp: EventStamp) -> None:
        """Check that *group* is the transaction that was recorded with the backup.

        :raises HistoryDiverged: it is another one.
        """
        if group.timestamp_s != stamp.timestamp_s:
            raise HistoryDiverged(
                f"The primary wrote another transaction under {group.gtid}: at {group.timestamp_s}, where the "
                f"backup's was written at {stamp.timestamp_s} (Unix time). It was rewound.",
                evidence={"gtid": str(group.gtid)},
            )
        # Another server may log the same transaction with different bytes.
        if stamp.primary_uid == self._uid and group.digest != stamp.digest:
            raise HistoryDiverged(
                f"The primary wrote another transaction under {group.gtid}: the bytes in its binary log are not "
                "those that were recorded with the backup. It was rewound.",
                evidence={"gtid": str(group.gtid), "observed": group.digest, "expected": stamp.digest},
            )


def foreign(
    observed: str, gtids: str, *, by_node: bool, by_primary: bool, writer: object
) -> RestoreReplayError:
    """Return the error for transactions that the primary lacks, by the server that wrote them."""
    evidence = {"gtid": gtids}
    if by_node:
        return ErrantFromNode(f"{observed} It was written on a replay node.", evidence=evidence)
    if by_primary:
        return HistoryDiverged(f"{observed} The primary wrote it once and was rewound.", evidence=evidence)
    return ErrantFromFormerPrimary(
        f"{observed} Server {writer} wrote it; the backup may be its only copy.",
        hint="Look for what a failover lost before removing this backup.",
        evidence=evidence,
    )
