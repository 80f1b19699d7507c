"""The end: a table is dropped, the primary is killed and its data removed, and the table comes back to its last row."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from demo.archiver import DemoArchiver
from demo.proof import RestoredServer
from demo.screen import say
from demo.shop import Shop
from demo.workspace import Workspace, run_tool

_TABLE = "load.t"


def rescue(space: Workspace, shop: Shop, archiver: DemoArchiver) -> None:
    """Lose a table and then the primary, and restore to just before the table was dropped.

    :raises SystemExit: the restored table is not what it was.
    """
    committed = shop.load.stop() if shop.load else 0
    shop.load = None
    counted, last = shop.primary.execute(f"SELECT COUNT(*), MAX(id) FROM {_TABLE}")[0]
    checksum = shop.primary.execute(f"CHECKSUM TABLE {_TABLE}")[0][1]
    shop.primary.execute(f"DROP TABLE {_TABLE}", "CREATE TABLE shop.after_the_drop (id INT PRIMARY KEY)")
    say(f"  DROP TABLE {_TABLE}: {counted:,} rows are gone, after {committed:,} transactions.", "yellow")
    archiver.stop()
    # What it had not received when it was told to stop.
    run_tool("restore-replay", "archive", "--config", archiver.cluster_file)
    shop.primary.kill()
    shutil.rmtree(shop.primary.datadir)
    say(f"  The primary is killed, and {shop.primary.datadir} removed.", "yellow")
    (found,) = _find(archiver.cluster_file)
    say(f"  restore-replay find: {found['statements'][0]}, {found['gtid']}")
    target = space.root / "rescued"
    words = shlex.split(found["restore"].replace("DIR", shlex.quote(str(target))))
    say(f"  {shlex.join(words)}", "dim")
    run_tool(*words, "--config", archiver.cluster_file)
    _compare(shop, target, (counted, last, checksum))


def _find(config: Path) -> list[dict[str, Any]]:
    done = run_tool(
        *("restore-replay", "find", "--config", config),
        *("--table", _TABLE, "--statement", "drop table", "--json"),
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)["found"]
    return found


def _compare(shop: Shop, target: Path, expected: tuple[int, int, int]) -> None:
    server = RestoredServer(target, shop.stock)
    try:
        (counted,) = server.query(f"SELECT COUNT(*) AS n, MAX(id) AS last FROM {_TABLE}")
        (summed,) = server.query(f"CHECKSUM TABLE {_TABLE}")
    finally:
        server.stop()
    found = (int(counted["n"]), int(counted["last"]), int(summed["Checksum"]))
    if found != expected:
        sys.exit(f"The restored table has {found} (rows, last id, checksum), the dropped one had {expected}.")
    say(
        f"  {_TABLE} is back to its last row: {found[0]:,} rows, last id {found[1]:,}, same checksum.",
        "bold green",
    )
