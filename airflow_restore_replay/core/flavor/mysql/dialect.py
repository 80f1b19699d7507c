"""Names of statements and variables by release: MySQL renamed those of replication between 8.0.22 and 8.4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_restore_replay.core.flavor.values import Endpoint


@dataclass(frozen=True)
class Dialect:
    """Names of replication's statements and variables in one release.

    :param replica: the word in STOP, START, RESET and SHOW … STATUS.
    :param change: the statement that names the primary, and the prefix of its options.
    :param variable: prefix of system variables.
    :param status: prefix of status variables.
    :param binlog_status: the statement that shows a primary's place in its binary log.
    :param reset_executed: the statement that empties ``gtid_executed``.
    """

    replica: str
    change: tuple[str, str]
    variable: str
    status: str
    binlog_status: str
    reset_executed: str

    def change_source(
        self, primary: Endpoint, *, retry_s: int, retry_count: int
    ) -> tuple[str, tuple[Any, ...]]:
        """Return the statement that sets the primary, without credentials, and its arguments."""
        statement, option = self.change
        settings: dict[str, Any] = {
            f"{option}_HOST": primary.host,
            f"{option}_PORT": primary.port,
            f"{option}_CONNECT_RETRY": retry_s,
            f"{option}_RETRY_COUNT": retry_count,
            f"{option}_HEARTBEAT_PERIOD": 5,
            f"{option}_AUTO_POSITION": 1,
            # A primary without TLS is refused (9.7, measured); without a CA nothing is verified.
            f"{option}_SSL": 1,
            f"{option}_SSL_VERIFY_SERVER_CERT": int(bool(primary.ssl_ca)),
        }
        files = {"CA": primary.ssl_ca, "CERT": primary.ssl_cert, "KEY": primary.ssl_key}
        settings |= {f"{option}_SSL_{name}": path for name, path in files.items() if path}
        # Without GET_SOURCE_PUBLIC_KEY: it would give the password to whoever answers without TLS.
        sql = f"{statement} " + ", ".join(f"{name} = %s" for name in settings)
        return sql, tuple(settings.values())


def dialect(release: tuple[int, int, int]) -> Dialect:
    """Return the dialect of *release*.

    Source: MySQL manual, "CHANGE REPLICATION SOURCE TO" (8.0.23), "START REPLICA" (8.0.22), "Replica Server Options"
    (8.0.26), "SHOW BINARY LOG STATUS" and "RESET BINARY LOGS AND GTIDS" (8.2.0).
    """
    new_change = release >= (8, 0, 23)
    new_variables = release >= (8, 0, 26)
    return Dialect(
        replica="REPLICA" if release >= (8, 0, 22) else "SLAVE",
        change=("CHANGE REPLICATION SOURCE TO", "SOURCE") if new_change else ("CHANGE MASTER TO", "MASTER"),
        variable="replica" if new_variables else "slave",
        status="Replica" if new_variables else "Slave",
        binlog_status="SHOW BINARY LOG STATUS" if release >= (8, 2, 0) else "SHOW MASTER STATUS",
        reset_executed="RESET BINARY LOGS AND GTIDS" if release >= (8, 2, 0) else "RESET MASTER",
    )
