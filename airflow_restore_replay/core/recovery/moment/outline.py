"""What a restore to a moment would do, for people: ``--dry-run`` shows it, and every such restore examines it first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.jobs.room import bytes_of_servers
from airflow_restore_replay.core.recovery.forecast import forecast
from airflow_restore_replay.core.recovery.moment import replayed_node
from airflow_restore_replay.core.recovery.moment.plan import Base
from airflow_restore_replay.core.recovery.moment.plan import Plan as Found
from airflow_restore_replay.core.recovery.plan import Plan, never_covered
from airflow_restore_replay.core.recovery.preflight import Needs, examine, free_bytes
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.times import stamp


class OutlinedBase(msgspec.Struct, frozen=True, kw_only=True):
    """A backup, and what is fetched and replayed if the restore begins with it.

    :param read_at: when its position was read from the primary.
    :param size_bytes: that its files occupy; at most these are fetched.
    :param log_pieces, log_bytes: of the archive, to be fetched.
    :param transactions: in these logs; the backup may have some of them.
    """

    backup_id: str
    read_at: datetime
    position: str
    server_release: str
    size_bytes: int
    log_pieces: int
    log_bytes: int
    transactions: int


class MomentPlan(Plan, frozen=True, kw_only=True):
    """A restore to a moment before it begins; its fields about a backup are those of the first base.

    :param position: the goal, at which replay stops.
    :param wanted: the moment as it was asked for.
    :param at: the time that was asked for; empty for a GTID and for all that is archived.
    :param next_gtid, next_stamped: the first transaction that it will not have; empty if it is not known.
    :param bases: the backup that is restored, and those that take its place if it fails, newest first.
    :param damaged: records of the archive that cannot be read, and count as missing.
    """

    wanted: str
    bases: list[OutlinedBase]
    at: str = ""
    next_gtid: str = ""
    next_stamped: str = ""
    damaged: list[str] = []


def replay_bytes(base: Base, flavor: Flavor) -> int:
    """Return the room that replaying needs: logs that are served, fetched meanwhile, and relayed; and two servers."""
    logs_bytes = 3 * min(base.log_bytes, replayed_node.MOST_AHEAD_BYTES)
    return bytes_of_servers(flavor, logs_bytes, servers=2)


def outline(found: Found, catalog: Catalog, needs: Needs, tables: Sequence[str]) -> MomentPlan:
    """Return what is done to carry out a plan; nothing is written.

    :param needs: of the first base.
    :param tables: that are taken from the result; empty for all.
    """
    newest, cut = found.bases[0], found.cut
    manifest = newest.backup.manifest
    return MomentPlan(
        wanted=str(found.wanted),
        at=found.at.isoformat() if found.at else "",
        position=str(found.goal),
        next_gtid=cut.next_gtid,
        next_stamped=stamp(cut.next_stamped) if cut.next_stamped else "",
        bases=[_outlined(base) for base in found.bases],
        damaged=list(found.unreadable),
        backup_id=manifest.backup_id,
        state=newest.backup.state,
        server_release=manifest.server_release,
        target=str(needs.target),
        files=manifest.sizes.files,
        size_bytes=needs.size_bytes,
        disk_bytes=needs.disk_bytes,
        free_bytes=free_bytes(needs.target),
        whole_bytes=needs.size_bytes,
        tables=list(tables),
        expected=forecast(
            catalog,
            needs.size_bytes,
            starting=needs.copy is not None,
            transactions=newest.transactions,
        ),
        not_covered=[*_later(found), *never_covered(manifest, tables)],
        findings=examine(needs),
    )


def _outlined(base: Base) -> OutlinedBase:
    manifest = base.backup.manifest
    return OutlinedBase(
        backup_id=manifest.backup_id,
        read_at=manifest.goal_read_at,
        position=manifest.position,
        server_release=manifest.server_release,
        size_bytes=manifest.sizes.restored_bytes,
        log_pieces=base.log_pieces,
        log_bytes=base.log_bytes,
        transactions=base.transactions,
    )


def _later(found: Found) -> Iterator[str]:
    cut = found.cut
    if cut.next_gtid:
        stamped = f", stamped {stamp(cut.next_stamped)}" if cut.next_stamped else ""
        yield f"Transactions from {cut.next_gtid} on{stamped}."
    else:
        yield f"Transactions after {found.goal}; the archive has none that follows, as far as it was read."
