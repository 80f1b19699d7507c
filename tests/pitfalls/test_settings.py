"""Pitfalls of settings that people reported, one file a case below ``settings``.

A case has: ``flavor``; ``about``; ``options`` of the primary, and ``install``: those that its data directory is made
with, too; ``environment`` of the primary's process; ``before``: SQL that root runs before a seed; ``after``: SQL to
replicate; ``same``: queries with the same answer on the primary and on the restored copy, which is started with the
option file that the restore wrote. All cases of a flavor share a primary.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_restore_replay.core.recovery.restore import OPTION_FILE
from tests.support.copies import answers
from tests.support.flavors import KITS
from tests.support.primary import Primary
from tests.support.rig import Rig
from tests.support.unpacked import without

CASES: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parent / "settings").glob("*.yaml"))
}


@dataclass(frozen=True)
class Outcome:
    """The answers of a primary and of its restored copy, after a replayed cycle.

    :param bases: what filled the node of each cycle.
    """

    bases: list[str]
    blamed: list[str]
    there: dict[str, Any]
    here: dict[str, Any]


def _cases_of(flavor: str) -> list[dict[str, Any]]:
    return [case for case in CASES.values() if case["flavor"] == flavor]


def _all(cases: list[dict[str, Any]], key: str) -> list[str]:
    return [word for case in cases for word in case.get(key, ())]


@contextlib.contextmanager
def _primary(cases: list[dict[str, Any]], root: Path) -> Iterator[Primary]:
    environment = {name: text for case in cases for name, text in case.get("environment", {}).items()}
    primary = KITS[cases[0]["flavor"]].primary.start(
        root, options=_all(cases, "options"), install=_all(cases, "install"), environment=environment
    )
    try:
        primary.create_backup_account()
        yield primary
    finally:
        primary.discard()


def _outcomes(rig: Rig) -> tuple[list[str], list[str]]:
    bases = [backup.manifest.base.kind for backup in rig.catalog().backups]
    return bases, [verdict.outcome.value for verdict in rig.verdicts_against()]


def _run(cases: list[dict[str, Any]], method: str, root: Path) -> Outcome:
    queries = _all(cases, "same")
    with _primary(cases, root / "primary") as primary:
        primary.execute(*_all(cases, "before"))
        rig = Rig(primary, root, overrides={"seed": {"method": method}})
        rig.full()
        primary.execute(*_all(cases, "after"))
        newest = rig.published(rig.cycle())
        bases, blamed = _outcomes(rig)
        with primary.connect() as conn:
            there = answers(conn, queries)
        target = rig.restores(newest, root / "restored" / "data")
        copy = type(primary).start(root / "restored", defaults=target / OPTION_FILE)
        try:
            with copy.connect() as conn:
                return Outcome(bases, blamed, there, answers(conn, queries))
        finally:
            copy.discard()


@pytest.mark.parametrize(
    ("flavor", "method"),
    [("mariadb", "logical"), ("mariadb", "physical"), ("mysql", "logical"), ("mysql", "clone")],
)
def test_a_node_runs_as_the_primary_does(flavor: str, method: str, tmp_path: Path) -> None:
    if without(flavor):
        pytest.skip(f"RR_WITHOUT={flavor}")
    outcome = _run(_cases_of(flavor), method, tmp_path)
    assert (outcome.bases, outcome.blamed) == (["seed", "backup"], [])
    assert outcome.here == outcome.there


def test_a_base_that_was_created_with_another_setting_is_stranded(tmp_path: Path) -> None:
    primary = KITS["mariadb"].start(tmp_path / "primary")
    try:
        rig = Rig(primary, tmp_path)
        rig.full()
        primary.restart(options=["--lower-case-table-names=1"])
        primary.execute("CREATE TABLE shop.Returns (Id INT PRIMARY KEY)")
        rig.published(rig.cycle())
        assert _outcomes(rig) == (["seed", "seed"], ["stranded"])
        assert "lower_case_table_names" in str(rig.verdicts_against()[0].failure)
        primary.execute("INSERT INTO shop.RETURNS VALUES (1)")
        rig.published(rig.cycle())
        assert _outcomes(rig) == (["seed", "seed", "backup"], ["stranded"])
    finally:
        primary.discard()


def test_a_plugin_that_the_node_lacks_strands_the_base_and_blames_nobody(tmp_path: Path) -> None:
    """The node's programs are in a directory without plugins."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("mariadbd", "mariadb-install-db", "mariadb-dump", "mariadb"):
        (programs / name).symlink_to(str(shutil.which(name, path="/usr/sbin:/usr/bin")))
    primary = KITS["mariadb"].primary.start(tmp_path / "primary", options=["--plugin-load-add=auth_ed25519"])
    try:
        primary.create_backup_account()
        rig = Rig(primary, tmp_path, overrides={"node": {"bindir": str(programs)}})
        rig.full()
        primary.execute("CREATE USER late@'%' IDENTIFIED VIA ed25519 USING PASSWORD('Some-Secret-2')")
        rig.published(rig.cycle())
        assert _outcomes(rig) == (["seed", "seed"], ["stranded"])
        assert "names a plugin" in str(rig.verdicts_against()[0].failure)
        warned = rig.catalog().backups[-1].manifest.notes["warnings"]
        assert "not installed" in warned["plugin auth_ed25519"]
    finally:
        primary.discard()
