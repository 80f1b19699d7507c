"""The agent's own account on a node: on the socket only, created at each start, dropped before the stop.

A restored data directory has the primary's accounts, whose passwords the agent does not know, and
``--skip-grant-tables`` would make replicated account statements fail.
"""

from __future__ import annotations

import hashlib

from airflow_restore_replay.core.flavor.server_process import AGENT

_WHO = f"'{AGENT}'@'localhost'"
DROP = f"DROP USER IF EXISTS {_WHO}"


def create_statements(password: str) -> list[str]:
    """Return statements that create the account, or replace an older one, with a hash instead of the password."""
    # A hash, because a password policy that was restored from the primary must not refuse the account.
    return [
        DROP,
        f"CREATE USER {_WHO} IDENTIFIED VIA mysql_native_password USING '{_native_hash(password)}'",
        f"GRANT ALL PRIVILEGES ON *.* TO {_WHO} WITH GRANT OPTION",
    ]


def _native_hash(password: str) -> str:
    # The scheme of the server's mysql_native_password; the password is made from 24 random bytes.
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()
