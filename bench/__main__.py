"""``make bench``: this package against what people use today. ``python -m bench --help``."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from airflow_restore_replay.core.config.units import ByteCount
from bench import (
    archiving,
    catch_up,
    changed,
    first,
    memory,
    moments,
    one_table,
    remote,
    restored,
    seeds,
    simulated,
    small_files,
)
from bench.data import Data
from bench.measure import Caches, say
from bench.rows import Row, merge_into, table
from bench.settings import Bench

#: row ids by the function that measures them together
GROUPS: dict[tuple[str, ...], Callable[[Bench], list[Row]]] = {
    first.IDS: first.rows,
    restored.IDS: restored.rows,
    changed.IDS: changed.rows,
    memory.IDS: memory.rows,
    small_files.IDS: small_files.rows,
    remote.IDS: remote.rows,
    catch_up.IDS: catch_up.rows,
    catch_up.MYSQL_IDS: catch_up.mysql_rows,
    seeds.IDS: seeds.rows,
    simulated.IDS: simulated.rows,
    moments.IDS: moments.rows,
    moments.MYSQL_IDS: moments.mysql_rows,
    archiving.IDS: archiving.rows,
    archiving.MYSQL_IDS: archiving.mysql_rows,
    one_table.IDS: one_table.rows,
}


def chosen(wanted: str) -> list[Callable[[Bench], list[Row]]]:
    """Return what measures the row *wanted* (or all rows whose id begins so); everything when empty."""
    found = [measure for ids, measure in GROUPS.items() if any(row_id.startswith(wanted) for row_id in ids)]
    if not found:
        known = " ".join(row_id for ids in GROUPS for row_id in ids)
        raise SystemExit(f"bench: there is no row {wanted!r}. Rows: {known}")
    return found


def main(argv: list[str]) -> int:
    options = _parse(argv)
    groups = chosen(options.row)
    kept = Path(options.dir) if options.dir else Path(tempfile.mkdtemp(prefix="restore-replay-bench-"))
    kept.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=kept))
    size = int(ByteCount(_with_unit(options.size)))
    bench = Bench(
        Data(kept.absolute(), size), work.absolute(), Caches(), repeat=options.repeat, restic=options.restic
    )
    bench.describe_machine()
    rows: list[Row] = []
    try:
        for measure in groups:
            say(measure.__module__)
            rows += measure(bench)
            merge_into(options.out, rows)
    finally:
        shutil.rmtree(work if options.dir else kept, ignore_errors=True)
        bench.write_details(options.out.with_name("details.json"))
    shown = [row for row in rows if row.id.startswith(options.row)]
    print(table(shown))
    return 0 if all(row.ok for row in shown) else 1


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--size", default="2g", help="of the large data set: 200m, 2g (default)")
    parser.add_argument("--row", default="", help="only the rows whose id begins so")
    parser.add_argument("--repeat", type=int, default=2, help="alternating repetitions, default 2")
    parser.add_argument(
        "--dir", default=os.environ.get("BENCH_DIR", ""), help="keeps the data sets (else temporary)"
    )
    parser.add_argument("--restic", default=os.environ.get("RESTIC") or _restic())
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.json"))
    return parser.parse_args(argv)


def _restic() -> str:
    """Return the newest restic, if ``tools/newest-restic`` could get it; else the installed one."""
    newest = Path(__file__).parents[1] / ".bench" / "restic"
    return str(newest) if newest.exists() else "restic"


def _with_unit(text: str) -> str:
    """Return ``2GB`` for ``2g``."""
    return f"{text[:-1]}{text[-1].upper()}B" if text[-1:].lower() in tuple("kmgt") else text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
