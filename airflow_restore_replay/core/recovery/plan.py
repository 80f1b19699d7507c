"""What a restore would do: ``--dry-run`` shows it, and every restore examines it before a byte is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from airflow_restore_replay.core.config.units import human_seconds
from airflow_restore_replay.core.flavor.findings import Finding
from airflow_restore_replay.core.flavor.quoting import joined
from airflow_restore_replay.core.recovery.forecast import Forecast
from airflow_restore_replay.core.recovery.selection import Chosen
from airflow_restore_replay.core.repository.format.records import BackupState, Manifest, utc_now

_NAMES_SHOWN = 20


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A restore before it begins.

    :param files: number of files to restore.
    :param size_bytes: that they occupy; at most these are fetched.
    :param disk_bytes: room that they need, and a server if one is to run.
    :param free_bytes: room that there is, with what the target occupies already.
    :param whole_bytes: that the whole backup would occupy.
    :param tables: that are restored; empty for all.
    :param not_covered: what the restored copy will not have.
    :param findings: what the target and this host are like.
    """

    backup_id: str
    state: BackupState
    position: str
    server_release: str
    target: str
    files: int
    size_bytes: int
    disk_bytes: int
    free_bytes: int
    whole_bytes: int
    tables: list[str] = []
    expected: Forecast = Forecast()
    not_covered: list[str] = []
    findings: list[Finding] = []


def named(chosen: Chosen) -> list[str]:
    """Return the names of chosen tables."""
    return [joined(table.schema, table.name) for table in (*chosen.tables, *chosen.unseen)]


def not_covered(manifest: Manifest, tables: Sequence[str] = ()) -> list[str]:
    """Return what a copy of the backup does not have."""
    age_s = (utc_now() - manifest.goal_read_at).total_seconds()
    later = (
        f"Transactions after {manifest.position or 'the start'}: the position was read from the primary at "
        f"{manifest.goal_read_at:%Y-%m-%dT%H:%M:%SZ}, {human_seconds(age_s)} ago."
    )
    return [later, *never_covered(manifest, tables)]


def never_covered(manifest: Manifest, tables: Sequence[str] = ()) -> Iterator[str]:
    """Yield what no copy of the backup has, whatever is replayed on it."""
    if tables:
        yield "All other tables; foreign keys to them stay, and nothing can be inserted against them."
    fill = manifest.notes.get("fill")
    lacking = fill if isinstance(fill, dict) else {}
    for key, what in (
        ("left_out", "The seed left out"),
        ("accounts_refused", "Accounts that the seed refused"),
    ):
        found = lacking.get(key)
        if isinstance(found, dict) and found:
            listed = [f"{name} ({why})" for name, why in sorted(found.items())[:_NAMES_SHOWN]]
            yield f"{what} {len(found)}: {'; '.join(listed)}."
    yield "Rows of MEMORY tables, the primary's binary logs, and settings of its that are not in restored.cnf."
