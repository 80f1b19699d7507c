"""The agent's own account on a node: on the socket only, made at each start, dropped before the stop.

A restored data directory has the primary's accounts, whose passwords we do not know; and
``--skip-grant-tables`` would make replicated account statements fail.
"""

from __future__ import annotations

import hashlib

from airflow_restore_replay.core.flavor.server_process import AGENT

_WHO = f"'{AGENT}'@'localhost'"
DROP = f"DROP USER IF EXISTS {_WHO}"


def create_statements(password: str) -> list[str]:
    """:returns: statements that (re)create the account; they carry a hash, not the password."""
    # Nothing may keep the account from being made: a primary's password policy is not the node's.
    return [
        DROP,
        f"CREATE USER {_WHO} IDENTIFIED VIA mysql_native_password USING '{_native_hash(password)}'",
        f"GRANT ALL PRIVILEGES ON *.* TO {_WHO} WITH GRANT OPTION",
    ]


def _native_hash(password: str) -> str:
    # The server's own scheme, see "mysql_native_password"; the password is 24 random bytes.
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()
