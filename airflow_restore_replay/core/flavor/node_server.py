"""The interface of a node's server process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from airflow_restore_replay.core.flavor.server_options import CopyPlaces
from airflow_restore_replay.core.flavor.server_record import ServerRecord
from airflow_restore_replay.core.flavor.values import Conn, Endpoint, ServerLayout, Serving


class NodeServer(Protocol):
    """The server process of a replay node.

    Every method may be called from another process than the one that started the server, because the state is in
    the node's directory.
    """

    layout: ServerLayout
    #: names of the server and of its client
    server_program: ClassVar[str]
    client_program: ClassVar[str]

    def command_for(self, serving: Serving, places: CopyPlaces) -> list[str]:
        """Return the command that starts the server on a restored copy, as a person would run it.

        :raises PreflightFailed: the server is not installed.
        """
        ...

    def recorded(self) -> ServerRecord | None:
        """Return what is known of the server that was started last."""
        ...

    def release(self) -> str:
        """Return the installed server's release, for example ``10.11.19``.

        :raises PreflightFailed: the program is not installed; the error names the package.
        """
        ...

    def program(self, name: str) -> str:
        """Return the path of one of the server's programs.

        :raises PreflightFailed: it is not installed; the error names the package.
        """
        ...

    def follow(self, variables: Mapping[str, str]) -> None:
        """Give the server the primary's settings from its next start."""
        ...

    def lacking(self, variables: Mapping[str, str]) -> list[str]:
        """Return the plugins that the primary has loaded and that are not installed here."""
        ...

    def initialize(self) -> None:
        """Create an empty data directory (before a logical seed)."""
        ...

    def start(self, *, replaying: bool) -> None:
        """Start the server on the data directory.

        It listens on a socket only and runs with read_only, the event scheduler off, a server id of its own, no
        autostart of replication and selected plugins. An init file creates the agent's account.

        :param replaying: run without durability, because the data may be lost; False gives full durability.
        :raises ServerStartFailed: it did not start; the evidence has the server's own error lines.
        :raises NodeFull: its log says that the disk is full.
        """
        ...

    def connect(self) -> Conn:
        """Return an autocommit connection as the agent's socket-only account, with utf8mb4 and UTC."""
        ...

    def endpoint(self) -> Endpoint:
        """Return the endpoint that the agent connects to: the socket of the running server."""
        ...

    def alive(self) -> bool: ...

    def await_exit(self, timeout_s: float) -> bool:
        """Return whether the server ends by itself within *timeout_s*."""
        ...

    def log_errors(self) -> list[str]:
        """Return error lines since the last start that blame the data, without lines known to be harmless."""
        ...

    def stop(self) -> None:
        """Restore full durability, drop the agent's account, stop the server cleanly and wait for its exit.

        :raises NodeServerCrashed: the stop was not clean.
        """
        ...

    def kill(self) -> None:
        """Kill the server with SIGKILL and wait for its exit; idempotent."""
        ...
