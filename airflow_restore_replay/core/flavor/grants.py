"""Privileges of an account, as ``SHOW GRANTS`` prints them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from airflow_restore_replay.core.flavor.quoting import literal


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
