"""How long a primary keeps its binary logs, by its own settings."""

from __future__ import annotations

import msgspec

from airflow_restore_replay.core.flavor.sql import rows
from airflow_restore_replay.core.flavor.values import Conn

_NAMES = (
    "binlog_expire_logs_seconds",
    "binlog_expire_logs_auto_purge",
    "expire_logs_days",
    "max_binlog_total_size",
)
_DAY_S = 86400.0


class KeptLogs(msgspec.Struct, frozen=True, kw_only=True):
    """How long binary logs are kept.

    :param keep_s: seconds since the newest event of a file; 0 is for ever, None is unknown.
    :param by_size: the server purges by size, too.
    """

    keep_s: float | None = None
    by_size: bool = False


def kept_logs(primary: Conn) -> KeptLogs:
    """Read it from the variables of any flavor.

    Source: MariaDB knowledge base, "Replication and Binary Log System Variables"; MySQL manual, "Binary Logging Options
    and Variables".
    """
    names = ", ".join(f"'{name}'" for name in _NAMES)
    found = {
        str(name).lower(): str(value)
        for name, value in rows(primary, f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
    }
    by_size = _number(found.get("max_binlog_total_size")) not in (None, 0.0)
    if found.get("binlog_expire_logs_auto_purge", "ON").upper() in ("OFF", "0"):
        return KeptLogs(keep_s=0.0, by_size=by_size)
    keep_s = _number(found.get("binlog_expire_logs_seconds"))
    days = _number(found.get("expire_logs_days"))
    if days and not keep_s:  # MySQL obeys the one that is set; MariaDB sets both
        keep_s = days * _DAY_S
    return KeptLogs(keep_s=keep_s if keep_s is not None else days, by_size=by_size)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
