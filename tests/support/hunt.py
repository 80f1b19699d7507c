"""The hunt for wrong verdicts: many cycles under random load, with every check on, over a primary that has no fault.

``python -m tests.support.hunt --cycles 30 --flavor mysql --seed 1`` prints a line for each cycle, and ends with an
error at the first one that blames anybody. A cycle's seed is the hunt's and its number; ``--first`` is the number to
begin with; ``--innodb`` leaves out tables of other engines. ``--load hostile`` adds the statements of
:mod:`tests.support.hostile_load`, compares every third backup with the primary by the servers' own dumps, and has a
replica take over from the primary now and then. ``--load regression`` runs :mod:`tests.support.regression_load`
instead, and compares every backup.
"""

from __future__ import annotations

import argparse
import difflib
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.errors import Blame
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.values import Endpoint
from airflow_restore_replay.core.jobs.checks.run import OPTIONAL
from airflow_restore_replay.core.jobs.protocol import JobState
from airflow_restore_replay.core.repository.format.records import Outcome
from tests.support import hostile_load, regression_load
from tests.support.flavors import KITS
from tests.support.independent import dump_text
from tests.support.mixed_load import BALANCE, MixedLoad
from tests.support.primary import ROOT_PASSWORD, Primary
from tests.support.regression_load import RegressionLoad
from tests.support.rig import Rig
from tests.support.tamper import running

_QUOTED = re.compile(r"`([^`]+)`")
_HUNK = re.compile(r"@@ -(\d+)")
#: what begins a schema's and a table's part of a dump
_HEADINGS = ("USE ", "CREATE TABLE ", ") ENGINE=")
_CANARY = (
    "CREATE TABLE hunt.canary (cluster VARCHAR(63) PRIMARY KEY, token CHAR(32) NOT NULL, written_at DATETIME NOT NULL)",
    "GRANT INSERT, UPDATE ON hunt.canary TO restore_replay",
)
#: reads everything for the comparison by dumps, whatever becomes of root
_DUMPER = "dumper"
_EVERY_CHECK = {
    "checks": list(OPTIONAL),
    "canary": "hunt.canary",
    "assertions": [{"name": "balance", "query": "SELECT SUM(balance) FROM hunt.accounts", "expect": BALANCE}],
}
#: load → what prepares the primary for it
_PREPARE = {"hostile": hostile_load.prepare, "regression": regression_load.prepare}
#: load → every which backup is compared with the primary by dumps
_COMPARED_BY_DUMPS = {"hostile": 3, "regression": 1}


@dataclass(frozen=True)
class Hunted:
    """Outcome of a hunted cycle.

    :param wrong: what the cycle blamed, though nothing was at fault; empty for nothing."""

    seed: str
    how: str
    statements: int
    rows: int
    seconds: float
    wrong: str

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.how}; {self.statements} groups of statements meanwhile, {self.rows} rows "
            f"compared, {self.seconds:.1f} s: {self.wrong or 'nothing blamed'}"
        )


def hunt(
    root: Path,
    flavor: str,
    *,
    seed: int,
    cycles: int,
    first: int = 1,
    innodb: bool = False,
    load: str = "mixed",
) -> Iterator[Hunted]:
    """Run cycles on a primary of the hunt's own.

    :param innodb: no table of another engine; MySQL's CLONE leaves those out, and a dump is the seed then.
    :param load: ``mixed``, ``hostile`` or ``regression``; see the module.
    """
    kit = KITS[flavor]
    primary = kit.start(root / "primary")
    rig = Rig(primary, root)
    try:
        MixedLoad.prepare(primary)
        primary.execute(
            *_CANARY,
            f"CREATE USER {_DUMPER}@'%' IDENTIFIED BY '{ROOT_PASSWORD}'",
            f"GRANT ALL ON *.* TO {_DUMPER}@'%'",
        )
        if innodb:
            primary.execute(*(f"ALTER TABLE hunt.{name} ENGINE=InnoDB" for name in ("files", "cache")))
        if prepare := _PREPARE.get(load):
            prepare(primary)
        every = _COMPARED_BY_DUMPS.get(load, 0)
        for number in range(first, first + cycles):
            takes_over = load == "hostile" and not number % 7
            standby = _standby(rig.primary, root / f"primary-{number}") if takes_over else None
            hunted = _cycle(rig, f"{seed}-{number}", kit.seeds, full=number == first, load=load)
            if standby:
                hunted = replace(hunted, how=hunted.how + _take_over(rig, standby))
            if every and not number % every and not hunted.wrong:
                hunted = replace(hunted, wrong=_silent_difference(rig))
            yield hunted
    finally:
        rig.primary.stop()


def _load_of(kind: str, primary: Primary, seed: str) -> MixedLoad | RegressionLoad:
    number = random.Random(seed).randrange(2**32)
    if kind == "regression":
        return RegressionLoad(primary, number)
    more = hostile_load.kinds(primary, random.Random(f"more {seed}")) if kind == "hostile" else None
    return MixedLoad(primary, number, more=more)


def _standby(primary: Primary, root: Path) -> Primary:
    """Return a replica of *primary*, made from a copy of its files."""
    primary.terminate()
    shutil.copytree(primary.datadir, root / "data")
    (root / "data" / "auto.cnf").unlink(missing_ok=True)
    primary.restart()
    _roll_back_prepared(primary)
    standby = type(primary).start(root, server_id=primary.server_id + 1, options=primary.options)
    _roll_back_prepared(standby, logged=False)
    if primary.flavor == "mariadb":
        standby.execute("SET GLOBAL gtid_slave_pos = @@gtid_current_pos")
    standby.follow(primary)
    return standby


def _take_over(rig: Rig, standby: Primary) -> str:
    """Make *standby* the primary, if it has all that was logged; what was not logged is lost with the old one."""
    first, flavor = rig.primary, get_flavor(standby.flavor)
    with first.connect() as there, standby.connect() as here:
        goal = flavor.primary_position(there)
        deadline = time.monotonic() + 20
        while not (equal := flavor.primary_position(here).contains(goal)) and time.monotonic() < deadline:
            time.sleep(0.2)
    if not equal:  # its applier stopped at what the binary log does not carry
        standby.discard()
        return "; no failover, the replica stopped"
    first.discard()
    standby.promote()
    rig.primary = standby
    return "; failover after it"


def _cycle(rig: Rig, seed: str, seeds: tuple[str, ...], *, full: bool, load: str) -> Hunted:
    dice = random.Random(seed)
    settings: dict[str, Any] = {
        "validate": _EVERY_CHECK
        | {
            "chunk_rows": dice.choice((50, 1000, 20_000)),
            "compare_budget": dice.choice(("10m", "10m", "2s")),
            "check_table": dice.choice(("quick", "medium", "extended")),
        },
        "catch_up": {"appliers": dice.choice((1, 2, 4))},
        "seed": {"method": dice.choice(seeds)},
    }
    full = full or dice.random() < 0.15
    restart = dice.random() < 0.15
    started, verdicts = time.monotonic(), len(rig.verdicts_against())
    said: dict[str, None] = {}

    odd = load != "mixed"

    def watch(step: str, state: JobState | None) -> None:
        if odd:
            # DDL several times a second would end most dumps, which is circumstance and finds nothing.
            running_load.pause_s = 1.5 if step == "full.seed" else 0.1
        if state and state.progress.phase == "refilling the node":
            said[f"{step} filled the node again: {state.progress.detail}"] = None
        if state and state.failure:
            said[f"{step} failed: {state.failure.message}"] = None

    with _load_of(load, rig.primary, seed) as running_load:
        time.sleep(dice.uniform(0.5, 3))
        report = rig.cycle(force_full=full, watch=watch, **settings)
    seeded = report.steps.get("full.seed")
    how = f"fresh full, {seeded['method']}" if seeded else f"{settings['catch_up']['appliers']} appliers"
    if restart:
        _restart(rig.primary)
        how += "; the primary restarted after it"
    against = rig.verdicts_against()[verdicts:]
    # What the binary log does not carry cannot be replayed; then a fresh full follows, and no backup is to blame.
    stranded = [v for v in against if odd and v.outcome is Outcome.STRANDED]
    blamed = [str(v.failure) for v in against if v not in stranded]
    blamed += [f"errors of the load: {running_load.errors}"] if running_load.errors else []
    # A dump that DDL invalidates repeatedly is circumstance: the run fails, and no backup is blamed.
    red = report.failure if report.failure and _innocent(report.failure, odd=odd) else None
    blamed += [str(report.failure)] if report.failure and not red else []
    how += f"; red: {red.message[:200]}" if red else ""
    how += "".join(f"; stranded: {v.failure.message[:200]}" for v in stranded if v.failure)
    how += "".join(f"; {line}" for line in said)
    rows = 0
    if report.published_id:
        rows = int(rig.catalog().backup(report.published_id).manifest.compared["rows"])
    seconds = time.monotonic() - started
    return Hunted(seed, how, running_load.done.total(), rows, seconds, "; ".join(blamed))


def _innocent(failure: Failure, *, odd: bool) -> bool:
    """Return whether the failure blames who is to blame: the host, or a primary that did not log a table of ours."""
    unlogged = odd and failure.blame is Blame.SOURCE and failure.tables
    return failure.blame is Blame.ENVIRONMENT or bool(
        unlogged and all(re.fullmatch(r"odd\.(u\d|t)", name) for name in failure.tables)
    )


def _silent_difference(rig: Rig) -> str:
    """Return in what a backup of the quiet primary differs by the servers' own dumps, and that it does not list."""
    report = rig.cycle()
    if not report.published_id:
        return f"the quiet cycle failed: {report.failure}"
    manifest = rig.catalog().backup(report.published_id).manifest
    listed = str([manifest.notes, [check.get("unfinished") for check in manifest.checks], manifest.compared])
    # The dump below would inherit it.
    rig.primary.execute("SET GLOBAL sql_select_limit = DEFAULT")
    with running(rig.restores(report.published_id), rig) as conn:
        here = Endpoint(socket=str(conn.unix_socket), user=_DUMPER, password=ROOT_PASSWORD)
        # What a MySQL node replays keeps this mode of its own (docs/validation.md).
        ours = re.sub(",?NO_DIR_IN_CREATE", "", dump_text(here, rig.primary, forced=True)).splitlines()
    there = Endpoint(port=rig.primary.port, user=_DUMPER, password=ROOT_PASSWORD)
    theirs = dump_text(there, rig.primary, forced=True).splitlines()
    assert len(theirs) > 100, "the dump of the primary is empty"
    silent = [
        line
        for line in difflib.unified_diff(theirs, ours, "primary", "copy", lineterm="", n=0)
        if not any(name in listed for name in _QUOTED.findall(line))
    ]
    told = [line for line in silent if line[:3] not in ("---", "+++", "@@ ") and "UNLOCK TABLES" not in line]
    return "\n".join(_located(line, theirs) for line in silent[:40]) if told else ""


def _located(line: str, dumped: list[str]) -> str:
    """Add to the head of a group of differences in which schema and table it is."""
    if not (head := _HUNK.match(line)):
        return line
    before = dumped[: int(head[1])]
    found = [next((text for text in reversed(before) if text.startswith(word)), "") for word in _HEADINGS]
    return " ".join([line, *found])


def _restart(primary: Primary) -> None:
    """What was prepared and not committed stays so over a restart, with its locks."""
    primary.restart()
    _roll_back_prepared(primary)


def _roll_back_prepared(primary: Primary, *, logged: bool = True) -> None:
    for _, length, _, name in primary.execute("XA RECOVER"):
        primary.execute(f"SET sql_log_bin = {logged:d}", f"XA ROLLBACK '{str(name)[:length]}'")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=30)
    parser.add_argument("--flavor", choices=sorted(KITS), default="mariadb")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--innodb", action="store_true")
    parser.add_argument("--load", choices=("mixed", "hostile", "regression"), default="mixed")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rr-hunt-") as root:
        for hunted in hunt(Path(root), **vars(asked)):
            sys.stdout.write(f"{asked.flavor}, {hunted}\n")
            sys.stdout.flush()
            if hunted.wrong:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
