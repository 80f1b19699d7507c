"""What seeding needs of a flavor: dumping over the SQL port, the same pipe for every server."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from airflow_restore_replay.core.errors import RestoreReplayError, UnsupportedTables
from airflow_restore_replay.core.flavor.base import Flavor, NodeServer
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, Position


class Hold(Protocol):
    """What is kept still on the primary while a dump is made."""

    def seen(self, block: bytes) -> None:
        """Called with the dump's output as it comes: what needs to be still only until the dump's snapshot is
        open can be let go then."""
        ...

    def position(self, tail: bytes) -> Position:
        """:param tail: the end of the dump.
        :returns: the dump's exact position.
        :raises SeedFailed: nobody can tell.
        """
        ...


class DumpTools(Protocol):
    """A flavor's programs for a logical seed."""

    def data_bytes(self, primary: Conn) -> int:
        """:returns: the estimated size of all tables."""
        ...

    def prepared(self, primary: Conn) -> int:
        """:returns: how many XA transactions are prepared; -1 when the account may not see them."""
        ...

    def hold(self, primary: Endpoint) -> AbstractContextManager[Hold]:
        """Keep the primary still as far as one position has to describe all tables of a dump."""
        ...

    def prepare(self, server: NodeServer, primary: Conn) -> None:
        """Make on the running node what the dump takes for granted."""
        ...

    def commands(
        self, server: NodeServer, primary: Endpoint, secrets_dir: Path
    ) -> AbstractContextManager[tuple[list[str], list[str]]]:
        """:returns: argv of the dump and of its load; their option files are gone afterwards."""
        ...

    def trailer(self, server: NodeServer, position: Position) -> bytes:
        """:returns: SQL at the end of the load: the position, and the agent's account, which the load replaced."""
        ...

    def finish(self, server: NodeServer, hold: Hold) -> dict[str, Any]:
        """Carry over what is not in the dump, once that is loaded.

        :returns: notes for the manifest.
        """
        ...

    def dump_error(self, status: int, stderr: str) -> RestoreReplayError: ...

    def load_error(self, status: int, stderr: str) -> RestoreReplayError: ...


def refuse_unsupported(flavor: Flavor, primary: Conn) -> None:
    """:raises UnsupportedTables: naming them."""
    found = flavor.unsupported_tables(primary)
    if found:
        named = "; ".join(f"{name} ({why})" for name, why in list(found.items())[:20])
        raise UnsupportedTables(f"{len(found)} tables cannot be carried: {named}.")
