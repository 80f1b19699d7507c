"""Decide what a failure means for the standing of backups, given what earlier failures found.

A replay finds more than defects of its base: an event that no node can replay, rows that were written without the
binary log, a state of the primary. Such a cause meets each backup that is used, so the second backup that it meets
clears the first. One cause never costs the standing of more than one backup.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import msgspec

from airflow_restore_replay.core.decisions.attempts import FULL, PROVE
from airflow_restore_replay.core.errors import (
    Blame,
    CauseRemains,
    NotReplayable,
    RestoreReplayError,
    SourceDrift,
)
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.repository.catalog import Catalog
from airflow_restore_replay.core.repository.format.records import Manifest, Outcome, Verdict

#: The damage is in what the store has of the backup. Each backup that needs it is damaged, whoever did it.
_STORED = frozenset({"ManifestCorrupt", "ChunkMissing", "ChunkCorrupt", "PathEscapes", "PositionMismatch"})
#: how a replay shows that the primary's binary log lacks changes
_DRIFT = ("DataMismatch", "ReplayConflict")
#: key of the evidence of a failure that was judged: its causes
_CAUSES = "causes"
# Numbers that stand alone, ids, digests and directories vary from node to node; names of files and tables do not.
_VARYING = re.compile(
    r"\d{8}T\d{6}Z-\w+|0x[0-9a-f]+|[0-9a-f]{16,}|/(?:[^\s/]+/)+(?=[^\s/]+/)|(?<![\w.])\d+(?![\w.]*\w)", re.I
)


@dataclass(frozen=True)
class Judgement:
    """What is recorded about a failed attempt.

    :param failure: the failure, with the blame that fits the history.
    :param withdraw: verdicts that no longer count, because the failure shows that they blamed the wrong party.
    """

    failure: Failure
    withdraw: tuple[Verdict, ...] = ()


def judge(catalog: Catalog, failure: Failure, *, run: str, attempt: str, base_id: str) -> Judgement:
    """Judge the failure of an attempt by the verdicts about other backups.

    - A fresh full that fails as a base did clears the base.
    - Evidence against a base stands if it has a cause that no other backup and no fresh full had.
    - Otherwise the cause is outside the backups. What was said against others for it is withdrawn, and the base is only
      stranded, so that a fresh full follows.
    - If not even a fresh full has helped, the run names the cause and fails, once.
    - The proof of a new backup strands nothing.

    :param base_id: the backup that the attempt restored; empty for a fresh full.
    """
    found = causes(failure)
    if attempt == FULL:
        alike = [v for v in _quarantines(catalog) if v.run == run and _alike(v, failure)]
        return Judgement(failure, _unique(*alike, *_cleared(catalog, found, "")))
    if failure.blame is not Blame.BACKUP or not found:
        return Judgement(failure)
    before = differed_before(catalog, base_id, failure.tables) if failure.code in _DRIFT else []
    seen = frozenset[str]().union(*(causes(v.failure) for v in _others(catalog, base_id) if v.failure))
    cleared = _cleared(catalog, found, base_id)
    if not before and not found <= seen:
        return Judgement(failure, _unique(*cleared))
    standing = {v.verdict_id for v in _quarantines(catalog)}
    withdraw = _unique(*cleared, *(v for v in before if v.verdict_id in standing))
    error = _elsewhere(catalog, failure, base_id, before, named=attempt == PROVE)
    return Judgement(_with_causes(Failure.of(error), found), withdraw)


def causes(failure: Failure) -> frozenset[str]:
    """Return the causes that *failure* may have: the event, or the objects and what is wrong with each.

    Two failures with the same cause show the same thing. The result is empty if the damage is in the store.
    """
    if recorded := failure.evidence.get(_CAUSES):
        return frozenset(map(str, recorded))
    if failure.code in _STORED:
        return frozenset()
    return frozenset(_causes(failure))


def _causes(failure: Failure) -> Iterator[str]:
    evidence = failure.evidence
    if "error" in evidence and "position" in evidence:
        # What the server had executed before differs from base to base.
        yield f"error {evidence['error']} at {str(evidence['position']).partition(' after ')[0]}"
    elif failure.code == "DataMismatch" and failure.tables:
        yield from map(_difference, evidence.get("differences", []))
        yield from (f"{name} is missing" for name in evidence.get("missing_tables", []))
        yield from (f"{name} is too much" for name in evidence.get("added_tables", []))
    elif failure.code == "TableCheckFailed" and isinstance(evidence.get("tables"), dict):
        yield from (f"{name}: {_constant(str(why))}" for name, why in evidence["tables"].items())
    elif "assertion" in evidence:
        yield f"assertion {evidence['assertion']}"
    elif "gtid" in evidence:
        yield f"{failure.code} {evidence['gtid']}"
    else:
        yield f"{failure.code}: {_constant(failure.message)}"


def _difference(of_table: dict[str, object]) -> str:
    """Return what differs, without the bounds of the range, which depend on the pace of the comparison."""
    rows = {kind: of_table[kind] for kind in ("changed", "missing", "added") if kind in of_table}
    how = rows or ("rows" if "rows_primary" in of_table else of_table.get("key_range", ""))
    return f"{of_table['table']}: {how}"


def _constant(text: str) -> str:
    return _VARYING.sub("#", text)


def differed_before(catalog: Catalog, base_id: str, tables: Collection[str]) -> list[Verdict]:
    """Return quarantines over any of *tables* that led to the fresh full at the root of *base_id*'s lineage.

    If the same tables differ again, the primary is at fault, because a fresh full inherits no drift from an earlier
    backup.
    """
    root = _root(catalog, base_id)
    bad = [v for v in catalog.attempts(root.run) if v.outcome is Outcome.QUARANTINED] if root else []
    return [v for v in bad if v.failure and v.failure.tables & set(tables)]


def _root(catalog: Catalog, base_id: str) -> Manifest | None:
    """Return the fresh full of *base_id*'s lineage; None if it was pruned."""
    manifests = {m.backup_id: m for m in catalog.manifests}
    root = manifests.get(base_id)
    while root is not None and root.base.kind == "backup":
        root = manifests.get(root.base.backup_id)
    return root


def _quarantines(catalog: Catalog) -> list[Verdict]:
    """Return the verdicts of replays that stand against backups."""
    withdrawn = {i for v in catalog.verdicts for i in v.withdraws}
    return [
        v
        for v in catalog.verdicts
        if v.outcome is Outcome.QUARANTINED and v.failure and v.verdict_id not in withdrawn
    ]


def _alike(verdict: Verdict, failure: Failure) -> bool:
    return verdict.failure is not None and verdict.failure.fingerprint == failure.fingerprint


def _about(verdict: Verdict) -> str:
    """Return the backup that the attempt restored; empty for a fresh full."""
    return verdict.backup_id or str(verdict.measured.get("base", ""))


def _others(catalog: Catalog, backup_id: str) -> list[Verdict]:
    """Return the failures of replays from other backups than *backup_id*, and of fresh fulls, withdrawn or not."""
    return [v for v in catalog.verdicts if v.failure and v.attempt and _about(v) != backup_id]


def _cleared(catalog: Catalog, found: frozenset[str], base_id: str) -> list[Verdict]:
    """Return the quarantines of other backups each of whose causes another backup had, too, the new failure included.

    :param found: causes of the new failure.
    :param base_id: the backup that it is about.
    """
    cleared = []
    for verdict in _quarantines(catalog):
        own = causes(verdict.failure) if verdict.failure else frozenset()
        if not own & found or verdict.backup_id == base_id:
            continue
        others = [v.failure for v in _others(catalog, verdict.backup_id) if v.failure]
        if own <= found.union(*map(causes, others)):
            cleared.append(verdict)
    return cleared


def _elsewhere(
    catalog: Catalog, failure: Failure, base_id: str, before: list[Verdict], *, named: bool
) -> RestoreReplayError:
    """Return the error for a cause that is not in the backup.

    :param named: name the cause, whether a fresh full was made for it or not.
    """
    found = causes(failure)
    alike = [v for v in _others(catalog, base_id) if v.failure and causes(v.failure) & found] + before
    root = _root(catalog, base_id)
    # A fresh full has nothing of an earlier backup.
    in_vain = [v for v in alike if root and (v.run == root.run or v.at < root.created_at)]
    first = (in_vain or alike)[0]
    about = f"backup {_about(first)}" if _about(first) else "a fresh full"
    earlier = [v for v in catalog.verdicts if _names(v, failure, before)]
    if not named and (earlier or not in_vain):
        known = f" Run {earlier[-1].run} named the cause." if earlier else ""
        return NotReplayable(
            f"The cause is not in the backup, because {about} failed for it, too.{known} {failure.message}",
            hint=failure.hint,
            evidence=failure.evidence,
        )
    if failure.code in _DRIFT and in_vain:
        return _drift(failure, first, about)
    return CauseRemains(
        f"The cause is in none of the backups, because {about} failed for it, too: {failure.message}",
        evidence=failure.evidence,
    )


def _names(verdict: Verdict, failure: Failure, before: list[Verdict]) -> bool:
    """Return whether *verdict* has named the cause of *failure* already."""
    known = verdict.failure
    if known is None or known.code not in ("SourceDrift", "CauseRemains"):
        return False
    later = all(verdict.at >= v.at for v in before)
    return bool(causes(known) & causes(failure)) or bool(later and known.tables & failure.tables)


def _drift(failure: Failure, first: Verdict, about: str) -> SourceDrift:
    both = failure.tables & first.failure.tables if first.failure else failure.tables
    named = ", ".join(sorted(both or failure.tables))
    return SourceDrift(
        f"The primary's binary log lacks changes to {named}: it differed in {about}, a fresh full replaced it, and now "
        f"it differs again. {failure.message}",
        hint="Find what writes to it with sql_log_bin=0, or by statements that are not deterministic "
        "(binlog_format=ROW avoids these), or list it in validate.exclude. The next cycle takes a fresh full.",
        evidence=failure.evidence,
    )


def _with_causes(failure: Failure, found: frozenset[str]) -> Failure:
    return msgspec.structs.replace(failure, evidence={**failure.evidence, _CAUSES: sorted(found)})


def _unique(*verdicts: Verdict) -> tuple[Verdict, ...]:
    return tuple({v.verdict_id: v for v in verdicts}.values())
