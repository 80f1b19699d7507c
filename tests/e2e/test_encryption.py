"""Faults S16 and X1 in whole cycles: keys in use, rotated, wrong, lost; and nowhere to be seen."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_restore_replay.core.errors import Blame
from airflow_restore_replay.core.jobs.protocol import JobState
from airflow_restore_replay.core.repository.repository import Repository
from tests.support.keys import NEW, OLD, OTHER, key_id
from tests.support.mariadb import MariaDbPrimary
from tests.support.process_list import ProcessListWatch
from tests.support.rig import SECRETS, Rig, processes_in

NEW_TEXT = base64.b64encode(bytes.fromhex(NEW)).decode()


def encryption(key: dict[str, Any], *previous: dict[str, Any]) -> dict[str, Any]:
    return {"encryption": {"key": key, "previous": list(previous)}}


def test_s16_x1_cycles_under_a_key_that_rotates(
    new_primary: Callable[..., MariaDbPrimary], tmp_path: Path
) -> None:
    rig = Rig(new_primary(), tmp_path, secrets=(*SECRETS, OLD, NEW, NEW_TEXT, OTHER))
    sources: dict[str, dict[str, Any]] = {}
    for name, text in (("old", OLD), ("new", NEW_TEXT), ("other", OTHER)):
        (tmp_path / f"{name}.key").write_text(text)
        sources[name] = {"file": str(tmp_path / f"{name}.key")}
    by_command = {"command": ["cat", str(tmp_path / "new.key")]}

    with ProcessListWatch(rig.secrets) as watch:
        rig.overrides["repository"] = encryption(sources["old"])
        full = rig.full()
        rig.primary.execute("INSERT INTO shop.notes VALUES ('under the first key')")
        second = rig.published(rig.cycle())

        rig.overrides["repository"] = encryption(by_command, sources["old"])
        rotated = rig.published(rig.cycle())
        after = rig.published(rig.cycle())
    assert watch.looks > 50
    assert watch.leaks == set()
    assert len(rig.logs) > 10

    manifests = {m.backup_id: m for m in rig.catalog().manifests}
    assert [manifests[i].key_id for i in (full, second, rotated, after)] == [key_id(OLD)] * 2 + [
        key_id(NEW)
    ] * 2
    assert manifests[rotated].base.backup_id == second
    # Within one backup equal content is reused; nothing crosses keys.
    assert manifests[rotated].sizes.reused_bytes < manifests[rotated].sizes.new_bytes / 100
    before, later = ({str(c) for f in rig.files(i) for c in f.chunks if c} for i in (second, rotated))
    assert before.isdisjoint(later)
    assert manifests[after].sizes.reused_bytes > manifests[after].sizes.new_bytes
    for backup_id in (second, after):
        rig.restores(backup_id)
    stored = [p.read_bytes() for p in rig.repository_dir.rglob("*") if p.is_file()]
    assert not any(b"customer-" in data or data[:4] == b"\x28\xb5\x2f\xfd" for data in stored)

    there = sorted(p for p in rig.repository_dir.rglob("*") if "leases" not in p.parts)
    wrong = rig.cycle(repository=encryption(sources["other"]))
    assert wrong.failure is not None
    assert (wrong.failure.code, wrong.failure.blame) == ("KeyRefused", Blame.ENVIRONMENT)
    lost = rig.cycle(repository=encryption(by_command))
    assert lost.failure is not None
    assert (lost.failure.code, lost.failure.evidence["backups"]) == ("KeyMissing", sorted([full, second]))
    assert wrong.steps == lost.steps == {}
    assert sorted(p for p in rig.repository_dir.rglob("*") if "leases" not in p.parts) == there
    assert rig.verdicts_against() == []


def test_s16_the_node_looks_at_the_keys_itself(
    new_primary: Callable[..., MariaDbPrimary], tmp_path: Path
) -> None:
    """The key is rotated while a cycle runs: its next job is refused on the node, before any work."""
    rig = Rig(new_primary(), tmp_path, secrets=(*SECRETS, OLD, OTHER))
    (tmp_path / "old.key").write_text(OLD)
    (tmp_path / "other.key").write_text(OTHER)
    old, other = ({"file": str(tmp_path / f"{name}.key")} for name in ("old", "other"))
    rig.overrides["repository"] = encryption(old)
    base = rig.full()

    def rotate(step: str, state: JobState | None) -> None:
        if step == "replay.catch_up" and state is None:
            spec = rig.cluster().repository
            Repository.open(spec, cluster="orders", keys=(OTHER, OLD), write=True)

    report = rig.cycle(watch=rotate)
    assert report.failure is not None
    assert report.failure.code == "KeyMissing", rig.tail()
    assert key_id(OTHER) in report.failure.message
    assert (report.failure.blame, report.published_id) == (Blame.ENVIRONMENT, "")
    assert list(report.steps) == ["replay.restore"]
    assert processes_in(rig.workdir) == []
    rig.overrides["repository"] = encryption(other, old)
    assert rig.verdicts_against() == []
    again = rig.cycle()
    assert (again.base_id, rig.published(again)) == (base, again.published_id)
