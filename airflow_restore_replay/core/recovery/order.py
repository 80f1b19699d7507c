"""What a node's job is asked to restore, as plain values without passwords."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from airflow_restore_replay.core.flavor.values import Endpoint
from airflow_restore_replay.core.recovery.copy_server import CopyRequest
from airflow_restore_replay.core.recovery.moment.wanted import Wanted
from airflow_restore_replay.core.recovery.selection import Selection
from airflow_restore_replay.core.recovery.session import Wish

_INTO, _SOURCE = "into", "source"


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A restore on the host of a node.

    :param target: the data directory to be; empty for one that only the job needs.
    :param backup_id: the backup; empty for a moment.
    :param sql: text of a script that is run on the restored data.

    For the rest see :class:`~airflow_restore_replay.core.recovery.session.Wish`.
    """

    target: str = ""
    backup_id: str = ""
    wanted: Wanted | None = None
    quarantined: bool = False
    dry_run: bool = False
    only: Selection | None = None
    copy: CopyRequest | None = None
    force: bool = False
    in_place: bool = False
    dump: str = ""
    into: Endpoint | None = None
    rename: str | None = None
    sql: str = ""

    @classmethod
    def of(cls, wish: Wish, **how: Any) -> Order:
        """Return the order for *wish*, without its passwords, which :func:`passwords_of` returns."""
        copy = wish.copy
        if copy and copy.source:
            copy = replace(copy, source=_bare(copy.source))
        return cls(
            target=str(wish.target),
            only=wish.only,
            copy=copy,
            force=wish.force,
            in_place=wish.in_place,
            dump=str(wish.dump or ""),
            into=_bare(wish.into),
            rename=wish.rename,
            **how,
        )

    def wish(self, target: Path, passwords: dict[str, str]) -> Wish:
        """Return what is asked for, with the passwords of :func:`passwords_of`."""
        copy = self.copy
        if copy and copy.source:
            source = msgspec.structs.replace(copy.source, password=passwords.get(_SOURCE, ""))
            copy = replace(copy, source=source)
        into = self.into and msgspec.structs.replace(self.into, password=passwords.get(_INTO, ""))
        return Wish(
            target=target,
            only=self.only,
            copy=copy,
            force=self.force,
            in_place=self.in_place,
            dump=Path(self.dump) if self.dump else None,
            into=into,
            rename=self.rename,
        )


def passwords_of(wish: Wish) -> dict[str, str]:
    """Return the passwords of *wish* for other servers, which travel among the secrets of a request."""
    servers = {_INTO: wish.into, _SOURCE: wish.copy.source if wish.copy else None}
    return {name: server.password for name, server in servers.items() if server and server.password}


def _bare(server: Endpoint | None) -> Endpoint | None:
    return server and msgspec.structs.replace(server, password="")
