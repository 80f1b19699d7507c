"""A comparison that shares no code with ours: the server's own dump of both sides, byte by byte."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from airflow_restore_replay.core.flavor.values import Endpoint
from tests.support.primary import Primary

#: replication's own and statistics tables are each server's own business; events and routines are dumped as
#: statements, without the time at which each server was installed
#: the account of the node that runs while it is dumped
_AGENT = "restore_replay_agent"
_OWN = {
    "mariadb": (
        *("gtid_slave_pos", "innodb_index_stats", "innodb_table_stats", "transaction_registry"),
        *("event", "proc"),
        # Statistics and logs, which each server has of its own.
        *("table_stats", "column_stats", "index_stats", "general_log", "slow_log"),
    ),
    "mysql": (
        *("gtid_executed", "innodb_index_stats", "innodb_table_stats", "slave_master_info"),
        *("slave_relay_log_info", "slave_worker_info", "plugin", "component", "server_cost", "engine_cost"),
    ),
}


def dump_text(endpoint: Endpoint, primary: Primary, *, forced: bool = False) -> str:
    """Return everything that a server holds as SQL, with accounts and stored programs.

    It lacks what may differ on a replica (next AUTO_INCREMENT values, event states, comments).

    :param primary: a server of the same flavor and programs.
    :param forced: continue after an object that cannot be dumped, for example a view on a table that is gone.
    """
    flavor = primary.flavor
    with tempfile.TemporaryDirectory() as private:
        options = Path(private) / "client.cnf"
        place = (
            f"socket={endpoint.socket}" if endpoint.socket else f"host={endpoint.host}\nport={endpoint.port}"
        )
        options.write_text(f"[client]\nuser={endpoint.user}\npassword={endpoint.password}\n{place}\n")
        options.chmod(0o600)
        program = primary.program({"mariadb": "mariadb-dump", "mysql": "mysqldump"}[flavor])
        argv = [program, f"--defaults-file={options}", "--all-databases", "--single-transaction"]
        argv += ["--set-gtid-purged=OFF", "--no-tablespaces"] if flavor == "mysql" else []
        argv += [
            "--order-by-primary",
            "--skip-dump-date",
            "--routines",
            "--triggers",
            "--skip-extended-insert",
        ]
        argv += ["--force"] if forced else []
        argv += [f"--ignore-table=mysql.{name}" for name in _OWN[flavor]]
        text = subprocess.run(argv, check=not forced, capture_output=True).stdout.decode(
            "utf-8", "surrogateescape"
        )
    text = re.sub(r" AUTO_INCREMENT=\d+", "", text)
    # A password's hash may hold line ends.
    text = re.sub(rf"INSERT INTO `user` VALUES \('localhost','{_AGENT}'.*?\);\n", "", text, flags=re.DOTALL)
    # MySQL prints a column's character set only if it was spelled out, and a dump spells it out.
    text = re.sub(r" CHARACTER SET \w+(?= COLLATE)", "", text) if flavor == "mysql" else text
    return "\n".join(
        line for line in text.splitlines() if line and not line.startswith("--") and _AGENT not in line
    )
