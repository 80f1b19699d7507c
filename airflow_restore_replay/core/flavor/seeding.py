"""Interface of a flavor for logical seeds: a dump over the SQL port, through the same pipe for every server."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from airflow_restore_replay.core.errors import RestoreReplayError, UnsupportedTables
from airflow_restore_replay.core.flavor.carry.objects import Objects
from airflow_restore_replay.core.flavor.carry.reading import Rules
from airflow_restore_replay.core.flavor.node_server import NodeServer
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position


class Hold(Protocol):
    """The locks on the primary while a dump is made."""

    def seen(self, block: bytes) -> bool:
        """Read the next block of the dump's output, and return whether the dump's snapshot is open.

        Locks that are needed only until the dump's snapshot is open can be released then.
        """
        ...

    def position(self, tail: bytes) -> Position:
        """Return the dump's exact position.

        :param tail: the end of the dump.
        :raises SeedFailed: the position is unknown.
        """
        ...


class DumpTools(Protocol):
    """A flavor's programs for a logical seed."""

    def data_bytes(self, primary: Conn) -> int:
        """Return the estimated size of all tables, in bytes."""
        ...

    def prepared(self, primary: Conn) -> int:
        """Return the number of prepared XA transactions; -1 if the account may not see them."""
        ...

    def hold(self, primary: Endpoint) -> AbstractContextManager[Hold]:
        """Lock the primary as far as needed for one position to describe all tables of a dump."""
        ...

    def rules(self, primary: Conn) -> Rules:
        """Return what is carried of the primary's objects."""
        ...

    def prepare(self, server: NodeServer, primary: Conn) -> dict[str, str]:
        """Create on the running node what its tables presuppose.

        :returns: object → why it is not carried.
        """
        ...

    def commands(
        self, server: NodeServer, primary: Endpoint, secrets_dir: Path, objects: Objects
    ) -> AbstractContextManager[tuple[list[str], list[str]]]:
        """Return argv of the dump of all rows and of its load.

        Their option files are deleted at the end of the context.
        """
        ...

    def finish(self, server: NodeServer, node: Conn, hold: Hold, position: Position) -> dict[str, Any]:
        """Set the position, and create the agent's account again: the load replaced the account tables.

        :returns: notes for the manifest.
        """
        ...

    def dump_error(self, status: int, stderr: str) -> RestoreReplayError: ...

    def load_error(self, status: int, stderr: str) -> RestoreReplayError: ...


def refuse_unsupported_tables(found: Mapping[str, str]) -> None:
    """Raise if there are tables that a backup cannot contain.

    :param found: table → why.
    :raises UnsupportedTables: names them with the reason.
    """
    if found:
        listed = "; ".join(f"{name} ({why})" for name, why in sorted(found.items())[:20])
        raise UnsupportedTables(
            f"{len(found)} tables cannot be carried by a backup: {listed}.",
            hint="Convert or drop them on the primary.",
            evidence={"tables": dict(sorted(found.items())[:200])},
        )
