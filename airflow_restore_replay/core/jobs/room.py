"""The disk space that a node or a restored server needs: the one place that adds it up."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.values import Table

#: a copy of the primary grows by the writes of the cycle, and a load packs pages less densely than they were
_GROWTH = 1.2
#: the file of an InnoDB table has at least so many bytes, of which a server's statistics count one page
#: (measured: 64 KiB on MariaDB 10.11, 112 KiB on MySQL 9.7)
_SMALLEST_FILE_BYTES = 112 * 2**10


def bytes_of_full(flavor: Flavor, tables: Sequence[Table]) -> int:
    """Return what a node needs for a full copy of the primary.

    :param tables: all tables of the primary.
    """
    data_bytes = sum(table.data_bytes + _SMALLEST_FILE_BYTES for table in tables)
    return bytes_of_servers(flavor, int(data_bytes * _GROWTH))


def bytes_of_servers(flavor: Flavor, files_bytes: int, *, servers: int = 1) -> int:
    """Return what servers need on their data: they add redo log, undo and temporary files.

    :param files_bytes: the data of all of them.
    """
    return files_bytes + servers * flavor.empty_node_bytes
