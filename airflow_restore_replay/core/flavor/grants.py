"""Privileges of an account, as ``SHOW GRANTS`` prints them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from airflow_restore_replay.core.flavor.quoting import literal, unquoted

_REVOKED = re.compile(r"REVOKE (.+?) ON (`(?:[^`]|``)+`)\.\* FROM ", re.IGNORECASE | re.DOTALL)


def account(user: str, host: str) -> str:
    """Return the account quoted for a statement."""
    return f"{literal(user)}@{literal(host)}"


def granted_everywhere(lines: Iterable[str]) -> set[str]:
    """Return the privileges that are granted ``ON *.*``, in upper case, as they are printed.

    :param lines: lines of ``SHOW GRANTS``.
    """
    found: set[str] = set()
    for line in lines:
        match = re.match(r"GRANT (.+?) ON \*\.\* TO ", line, re.IGNORECASE)
        if match:
            found.update(part.strip().upper() for part in match[1].split(","))
    return found


def revoked_in_schemas(lines: Iterable[str]) -> Mapping[str, set[str]]:
    """Return what partial revokes take from privileges that are granted ``ON *.*``: schema → privileges.

    :param lines: lines of ``SHOW GRANTS``.
    """
    found: dict[str, set[str]] = {}
    for line in lines:
        if match := _REVOKED.match(line):
            names = {part.strip().upper() for part in match[1].split(",")}
            found.setdefault(unquoted(match[2]), set()).update(names)
    return found
