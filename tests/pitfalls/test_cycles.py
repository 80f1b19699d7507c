"""Pitfalls of whole cycles that people reported, one file a case below ``cycles``.

A case has: ``flavor``, or ``flavors``; ``about``; ``open``: what is not solved yet; ``options`` of the primary;
``overrides`` of the cluster file; ``steps`` in order, each with one of these keys:

- ``sql``: statements that root runs on the primary, in one session with the settings of ours.
- ``cycle``: ``full`` or ``replay`` publishes; or a map: ``full``; ``seed``: its method; ``fails`` and ``says``: the
  error's class and parts of its message and hint; ``during``: a job, its phase, and the SQL that root runs then;
  ``strands``: what the run says of its base, which it replaces by a fresh full; ``lists``: what the backup lacks.
- ``left_out``: all objects that the notes of the newest backup name as not carried.
- ``doctor``: finding → its severity; ``fix`` runs the statements of all of these.
- ``default_role``: the role that the account's sessions begin with.
- ``same``: queries with the same answer on the primary and in the newest backup, restored.

After each case, no verdict is against any backup, but those that ``strands`` names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_restore_replay.core.flavor.session import SESSION
from tests.support.copies import answers, primary_of
from tests.support.findings import doctor
from tests.support.primary import Primary
from tests.support.rig import Once, Rig
from tests.support.tamper import running
from tests.support.unpacked import without

CASES: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parent / "cycles").glob("*.yaml"))
}
RUNS = [
    pytest.param(name, flavor, marks=[pytest.mark.xfail(reason=case["open"])] if "open" in case else [])
    for name, case in CASES.items()
    for flavor in case.get("flavors") or [case["flavor"]]
]


@pytest.mark.parametrize(("name", "flavor"), RUNS)
def test_case(name: str, flavor: str, tmp_path: Path) -> None:
    if without(flavor):
        pytest.skip(f"RR_WITHOUT={flavor}")
    case = CASES[name]
    primary = primary_of(flavor, tmp_path / "primary", options=case.get("options", ()))
    try:
        run = Run(Rig(primary, tmp_path, case.get("overrides", {})))
        for step in case["steps"]:
            for kind, what in step.items():
                getattr(run, kind)(what)
        assert len(run.rig.verdicts_against()) == run.stranded
    finally:
        primary.discard()


class Run:
    """The steps of a case."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.stranded = 0

    @property
    def primary(self) -> Primary:
        return self.rig.primary

    def sql(self, statements: list[str]) -> None:
        self.primary.execute(SESSION, *statements)

    def cycle(self, what: str | dict[str, Any]) -> None:
        wanted: dict[str, Any] = what if isinstance(what, dict) else {"full": what == "full"}
        options: dict[str, Any] = {"force_full": wanted.get("full", False), "retries": 0}
        if method := wanted.get("seed"):
            options["seed"] = {"method": method}
        if during := wanted.get("during"):
            options["watch"] = Once(during["job"], during["phase"], lambda: self.sql(during["sql"]))
        before = len(self.rig.catalog().backups)
        report = self.rig.cycle(**options)
        if "fails" not in wanted:
            self.rig.published(report)
            strands = wanted.get("strands", [])
            full = wanted.get("full", bool(strands))
            assert any(step.startswith("full.") for step in report.steps) == full, self.rig.verdicts_against()
            self._stranded(strands)
            self._lists(wanted.get("lists", []))
            return
        assert report.failure is not None
        told = str(report.failure.to_exception())
        assert report.failure.code == wanted["fails"], told
        assert [part for part in wanted["says"] if part not in told] == [], told
        assert len(self.rig.catalog().backups) == before

    def _stranded(self, says: list[str]) -> None:
        new = self.rig.verdicts_against()[self.stranded :]
        assert [verdict.outcome.value for verdict in new] == (["stranded"] if says else [])
        for verdict in new:
            assert verdict.failure is not None
            assert verdict.failure.code == "NotReplayable"
            assert [part for part in says if part not in verdict.failure.message] == [], (
                verdict.failure.message
            )
        self.stranded += len(new)

    def _lists(self, wanted: list[str]) -> None:
        checks = self.rig.catalog().backup(self.rig.newest).manifest.checks
        (listed,) = [c.get("unfinished", "") for c in checks if c["name"] == "definitions"]
        assert [part for part in wanted if part not in listed] == [], listed

    def left_out(self, wanted: list[str]) -> None:
        notes = self.rig.catalog().backup(self.rig.newest).manifest.notes
        assert sorted(notes["fill"].get("left_out", {})) == sorted(wanted)

    def doctor(self, wanted: dict[str, Any]) -> None:
        _, found = doctor(self.rig)
        names = [name for name in wanted if name != "fix"]
        assert {name: found[name]["severity"] for name in names} == {name: wanted[name] for name in names}
        if wanted.get("fix"):
            for name in names:
                fix = found[name]["fix"].partition("; and ")[0]
                grants = [text for text in re.split(r";(?: |$)", fix) if text.startswith("GRANT")]
                self.sql(grants or [fix])

    def default_role(self, role: str) -> None:
        word = "FOR" if self.primary.flavor == "mariadb" else "TO"
        self.sql([f"SET DEFAULT ROLE {role} {word} restore_replay@'%'"])

    def same(self, queries: list[str]) -> None:
        with running(self.rig.restores(self.rig.newest), self.rig) as conn, self.primary.connect() as there:
            assert answers(conn, queries) == answers(there, queries)
