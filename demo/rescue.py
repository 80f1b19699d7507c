"""The end: a table is dropped, the primary is killed and its data removed, and the table comes back to its last row."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from demo.proof import RestoredServer
from demo.screen import say
from demo.shop import Shop
from demo.workspace import Workspace, run_tool

_TABLE = "load.t"


def rescue(space: Workspace, shop: Shop, cluster: str) -> None:
    """Lose a table and then the primary, and restore to just before the table was dropped.

    :raises SystemExit: the restored table is not what it was.
    """
    config = _cluster_file(space, shop, cluster)
    committed = shop.load.stop() if shop.load else 0
    shop.load = None
    before = shop.primary.execute(f"CHECKSUM TABLE {_TABLE}", f"SELECT COUNT(*), MAX(id) FROM {_TABLE}")[0]
    checksum = shop.primary.execute(f"CHECKSUM TABLE {_TABLE}")[0][1]
    shop.primary.execute(f"DROP TABLE {_TABLE}", "CREATE TABLE shop.after_the_drop (id INT PRIMARY KEY)")
    say(f"  DROP TABLE {_TABLE}: {before[0]:,} rows are gone, after {committed:,} transactions.", "yellow")
    run_tool("restore-replay", "archive", "--config", config, "--cluster", cluster)
    shop.primary.kill()
    shutil.rmtree(shop.primary.datadir)
    say(f"  The primary is killed, and {shop.primary.datadir} removed.", "yellow")
    (found,) = _find(config, cluster)
    say(f"  restore-replay find: {found['statements'][0]}, {found['gtid']}")
    target = space.root / "rescued"
    words = shlex.split(found["restore"].replace("DIR", shlex.quote(str(target))))
    say(f"  {shlex.join(words)}", "dim")
    run_tool(*words)
    _compare(shop, target, before, checksum)


def _cluster_file(space: Workspace, shop: Shop, cluster: str) -> Path:
    """Write the same cluster for the command line, which resolves no Airflow connections."""
    known = yaml.safe_load(space.cluster_file.read_text())["clusters"][cluster]
    account = shop.primary.endpoint("restore_replay")
    password = space.secret_file("primary.password", account.password)
    address = {"host": account.host, "port": account.port, "user": account.user}
    known["primary"] = address | {"password_file": str(password)}
    path = space.root / "by-hand.yaml"
    path.write_text(yaml.safe_dump({"clusters": {cluster: known}}, sort_keys=False))
    return path


def _find(config: Path, cluster: str) -> list[dict[str, Any]]:
    done = run_tool(
        *("restore-replay", "find", "--config", config, "--cluster", cluster),
        *("--table", _TABLE, "--statement", "drop table", "--json"),
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)["found"]
    return found


def _compare(shop: Shop, target: Path, before: tuple[Any, ...], checksum: int) -> None:
    server = RestoredServer(target, shop.stock)
    try:
        (counted,) = server.query(f"SELECT COUNT(*) AS n, MAX(id) AS last FROM {_TABLE}")
        (summed,) = server.query(f"CHECKSUM TABLE {_TABLE}")
    finally:
        server.stop()
    found = (int(counted["n"]), int(counted["last"]), int(summed["Checksum"]))
    expected = (int(before[0]), int(before[1]), int(checksum))
    if found != expected:
        sys.exit(f"The restored table has {found} (rows, last id, checksum), the dropped one had {expected}.")
    say(
        f"  {_TABLE} is back to its last row: {found[0]:,} rows, last id {found[1]:,}, same checksum.",
        "bold green",
    )
