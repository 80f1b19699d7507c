"""What the routes answer, as plain values. What is unknown is None."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

from airflow_restore_replay.compat import redacted
from airflow_restore_replay.core.decoding import plain
from airflow_restore_replay.core.errors import RestoreReplayError
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.fleet.recent import recent_records
from airflow_restore_replay.core.fleet.state import ClusterState
from airflow_restore_replay.core.recovery.measurements import RTO_PHASES
from airflow_restore_replay.core.repository.catalog import Backup
from airflow_restore_replay.core.repository.format.records import BackupState, Manifest
from airflow_restore_replay.core.repository.repository import Repository

#: files and databases that a backup's document lists, largest first
_MOST_FILES = 200
_FINDINGS = 3


def row(name: str, state: ClusterState | None, full: ClusterState | None = None) -> dict[str, Any]:
    """Return one cluster of the fleet.

    :param state: None if it has not been read yet.
    :param full: the state with all records, if they were read lately; only they tell where the window begins.
    """
    if state is None:
        return {"cluster": name, "read": False}
    logs, fresh, last = state.logs, state.fresh, state.last
    window = full.logs if full and full.logs and full.logs.examined else logs
    ends = [end for end in (window and window.end, logs and logs.current_at) if end]
    return {
        "cluster": name,
        "read": True,
        "flavor": state.flavor,
        "at": plain(state.at),
        "severity": state.severity.value,
        "error": error_document(state.error),
        "findings": _findings(state)[:_FINDINGS],
        "fresh": plain(fresh),
        "proven": plain(state.proven),
        "last": last and plain({"at": last.at, "outcome": last.outcome, "run": last.run}),
        "held": len(state.holds),
        "running": plain(state.running),
        "rto": plain(state.rto) | {"meets_target": state.rto.meets_target},
        "archive": logs
        and plain(
            {
                "rpo_s": logs.rpo_s,
                "begin": window and window.begin,
                "end": max(ends, default=None),
                "gaps": len(logs.gaps) + len(logs.holes),
                "whole": state.complete or window is not logs,
                "archiver": logs.archiver is not None and logs.archiver.live,
            }
        ),
        "backups": state.amounts.backups,
    }


def whole(state: ClusterState) -> dict[str, Any]:
    """Return everything of one cluster."""
    found = {name: plain(getattr(state, name)) for name in state.__struct_fields__}
    rto = {"meets_target": state.rto.meets_target}
    return found | {
        "severity": state.severity.value,
        "error": error_document(state.error),
        "findings": _findings(state),
        "rto": found["rto"] | rto,
        "restores": [
            {
                "at": r["at"],
                "seconds": sum(r["phases"].get(n, 0.0) for n in RTO_PHASES),
                "phases": r["phases"],
            }
            for r in found["restores"]
        ],
    }


def error_document(failure: Failure | None) -> dict[str, str] | None:
    """Return an error without the secrets that Airflow masks in logs."""
    if failure is None:
        return None
    return {"code": failure.code, "message": redacted(failure.message), "hint": redacted(failure.hint)}


def _findings(state: ClusterState) -> list[dict[str, str]]:
    return [{"severity": f.severity.value, "code": f.code, "text": redacted(f.text)} for f in state.findings]


def backup_document(repository: Repository, backup_id: str) -> dict[str, Any]:
    """Return one backup: its manifest, the verdicts about it, and its files by size.

    :raises NoSuchBackup: there is no readable backup of that id.
    """
    backup = recent_records(repository, everything=True).catalog.backup(backup_id)
    manifest = backup.manifest
    return {
        "backup_id": backup_id,
        "state": backup.state.value,
        "proof": backup.proof.value,
        "manifest": plain(manifest),
        "verdicts": [
            plain(verdict) | {"withdrawn": verdict.verdict_id in backup.withdrawn}
            for verdict in backup.verdicts
        ],
        "against": [verdict.verdict_id for verdict in backup.against],
        "lacks": _lacks(manifest),
        "restore": _command(backup),
        **_files(repository, manifest),
    }


def _lacks(manifest: Manifest) -> list[dict[str, str]]:
    """Return what is not in the backup, or was not compared, as its manifest notes it."""
    fill = manifest.notes.get("fill")
    noted = fill if isinstance(fill, dict) else {}
    found = [
        {"what": name.replace("_", " "), "why": text}
        for name in ("left_out", "accounts_refused")
        for text in _items(noted.get(name))
    ]
    found += [{"what": "warning", "why": text} for text in _items(manifest.notes.get("warnings"))]
    found += [{"what": "not compared", "why": text} for text in _items(manifest.compared.get("uncompared"))]
    coverage = manifest.compared.get("coverage")
    never = coverage.get("never") if isinstance(coverage, dict) else None
    return found + [{"what": "never compared completely", "why": text} for text in _items(never)]


def _items(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{name}: {why}" for name, why in value.items()]
    if isinstance(value, list):
        return list(map(str, value))
    return [str(value)] if value else []


def _command(backup: Backup) -> str:
    """Return the command that restores the backup."""
    quarantined = ["--quarantined"] if backup.state is BackupState.QUARANTINED else []
    options = ["--cluster", backup.manifest.cluster, "--backup", backup.backup_id, *quarantined]
    return shlex.join(["restore-replay", "restore", *options, "--to", "/srv/restored"])


def _files(repository: Repository, manifest: Manifest) -> dict[str, Any]:
    try:
        entries = [entry for entry in repository.load_entries(manifest) if not entry.directory]
    except RestoreReplayError as exc:
        return {"files": [], "databases": [], "files_error": error_document(Failure.of(exc))}
    databases: Counter[str] = Counter()
    for entry in entries:
        folder, slash, _ = entry.path.partition("/")
        databases[folder if slash else ""] += entry.size_bytes
    largest = sorted(entries, key=lambda entry: (-entry.size_bytes, entry.path))[:_MOST_FILES]
    return {
        "files": [{"path": entry.path, "size_bytes": entry.size_bytes} for entry in largest],
        "databases": [
            {"name": name, "size_bytes": size} for name, size in databases.most_common(_MOST_FILES)
        ],
        "files_error": None,
    }
