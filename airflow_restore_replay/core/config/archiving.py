"""The section ``archive`` of a cluster: how its binary logs are archived, and for how long they are kept."""

from __future__ import annotations

import os
from typing import Annotated

from msgspec import Meta

from airflow_restore_replay.core.config.strict import Strict
from airflow_restore_replay.core.config.units import ByteCount, Seconds

_SHORTEST_S, _LONGEST_S = 1.0, 3600.0
#: room for what arrives while the store is slow
_LEAST_SPOOL_BYTES = 64 * 2**20


class Archiving(Strict, frozen=True, kw_only=True):
    """The archive of the primary's binary logs.

    :param keep: how far back every moment can be restored: pruning keeps the backups and the logs that this needs.
        Without it, pruning deletes no archived log.
    :param interval: what arrived is stored at least this often.
    :param host, port: of a replica to read the binary log from; by default, of the primary.
    :param spool: directory for what is not yet stored; by default ``spool`` below ``node.workdir``.
    :param spool_limit: most bytes there; the archiver stops reading when it is full.
    :param server_id: that the archiver registers with, which no other server has; by default one of the ids of nodes.
    """

    keep: Seconds | None = None
    interval: Seconds = Seconds("10s")
    host: str | None = None
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    spool: str | None = None
    spool_limit: ByteCount = ByteCount("4GiB")
    server_id: Annotated[int, Meta(ge=1, le=2**32 - 1)] | None = None

    def __post_init__(self) -> None:
        if not _SHORTEST_S <= self.interval <= _LONGEST_S:
            raise ValueError(f"interval must be between 1s and 1h, it is {self.interval:g} s")
        if self.spool is not None and not os.path.isabs(self.spool):
            raise ValueError(f"spool must be an absolute path, got {self.spool!r}")
        if self.spool_limit < _LEAST_SPOOL_BYTES:
            raise ValueError(f"spool_limit must be at least 64MiB, it is {self.spool_limit} bytes")
