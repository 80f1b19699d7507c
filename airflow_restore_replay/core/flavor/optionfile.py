"""Pass credentials to a server's programs by an option file that only this user can read, never by an argument."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from airflow_restore_replay.core.flavor.private_files import write_private
from airflow_restore_replay.core.flavor.values import Endpoint


@contextlib.contextmanager
def option_file(
    endpoint: Endpoint,
    directory: Path,
    tls: Callable[[Endpoint], Mapping[str, str]],
    *,
    ignored_tables: Sequence[str] = (),
    session: str = "",
) -> Iterator[Path]:
    """Write an option file for *endpoint*, and delete it at the end of the context.

    :param tls: returns the programs' options for TLS.
    :param ignored_tables: tables that a dump leaves out, as ``schema.name``; too many for a command line.
    :param session: a statement that MariaDB's programs execute when they have connected, without braces in it.
    :returns: path of the file.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"client-{secrets.token_hex(8)}.cnf"
    try:
        ignored = "".join(f"ignore-table={_quoted(name)}\n" for name in ignored_tables)
        write_private(path, f"{_content(endpoint, tls(endpoint), session)}[mysqldump]\n{ignored}")
        yield path
    finally:
        path.unlink(missing_ok=True)


def client_options(endpoint: Endpoint) -> str:
    """Return an option file for the programs of a person on this host."""
    return _content(endpoint, {}, "")


def _content(endpoint: Endpoint, tls: Mapping[str, str], session: str) -> str:
    settings = {"user": endpoint.user, "password": endpoint.password}
    if endpoint.socket:
        settings |= {"socket": endpoint.socket, "protocol": "socket"}
    else:
        settings |= {"host": endpoint.host, "port": str(endpoint.port), "protocol": "tcp"}
    if session:
        # MariaDB Connector/C takes a host with "=" for a connection string, which may have an initial statement. There
        # is no other way to give mariadb-dump one. Hosts are names and addresses (core/config/sections.py).
        settings["host"] = f"host={endpoint.host};init-command={{{session}}}"
    settings |= tls
    return "[client]\n" + "".join(f"{name}={_quoted(text)}\n" for name, text in settings.items())


def _quoted(text: str) -> str:
    """Return *text* in quotes: within them ``#`` starts no comment, and programs decode backslash sequences.

    Source: MySQL manual, "Using Option Files"; MariaDB documentation, "Configuring MariaDB with Option Files".
    """
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return f'"{text}"'
