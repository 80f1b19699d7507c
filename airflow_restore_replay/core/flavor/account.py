"""The agent's own account on a node: on the socket only, created at each start, dropped before the stop.

A restored data directory has the primary's accounts, whose passwords the agent does not know, and
``--skip-grant-tables`` would make replicated account statements fail.
"""

from __future__ import annotations

AGENT = "restore_replay_agent"
_WHO = f"'{AGENT}'@'localhost'"
DROP = f"DROP USER IF EXISTS {_WHO}"


def create_statements(identified: str) -> list[str]:
    """Return statements that create the account, or replace an older one.

    They are in a private file that is deleted when the server has started.

    :param identified: clause of CREATE USER that sets the password.
    """
    return [
        DROP,
        f"CREATE USER {_WHO} IDENTIFIED {identified}",
        f"GRANT ALL PRIVILEGES ON *.* TO {_WHO} WITH GRANT OPTION",
    ]
