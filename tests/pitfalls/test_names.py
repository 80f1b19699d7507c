"""Whole cycles on a primary whose every name is hostile."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_restore_replay.core.flavor.quoting import identifier
from airflow_restore_replay.core.recovery.restore import event_statements
from tests.support.copies import primary_of
from tests.support.names import HOSTILE, changes, statements
from tests.support.rig import Rig
from tests.support.tamper import running
from tests.support.unpacked import without


@pytest.mark.parametrize("flavor", ["mariadb", "mysql"])
def test_hostile_names_are_seeded_replayed_compared_and_named_by_restore(flavor: str, tmp_path: Path) -> None:
    if without(flavor):
        pytest.skip(f"RR_WITHOUT={flavor}")
    primary = primary_of(flavor, tmp_path / "primary")
    try:
        rig = Rig(primary, tmp_path)
        primary.execute(*statements())
        rig.full()
        primary.execute(*changes())
        newest = rig.published(rig.cycle())
        manifest = rig.repository(write=False).load_manifest(newest)
        # Two tables in each schema, and two whose joined names would be the same.
        assert manifest.compared["tables"] == 2 * len(HOSTILE) + 2
        assert rig.verdicts_against() == []
        hints = [statement.removesuffix(";") for statement in event_statements(manifest.event_states)]
        assert len(hints) == len(HOSTILE)
        with running(rig.restores(newest), rig) as conn, conn.cursor() as cursor:
            for statement in hints:
                cursor.execute(statement)
            cursor.execute("SELECT COUNT(*) FROM information_schema.EVENTS WHERE STATUS = 'ENABLED'")
            assert cursor.fetchall()[0][0] >= len(HOSTILE)
            for place, schema in enumerate(HOSTILE):
                table = identifier(HOSTILE[(place + 1) % len(HOSTILE)])
                cursor.execute(f"SELECT COUNT(*) FROM {identifier(schema)}.{table}")
                assert cursor.fetchall() == ((3,),)
    finally:
        primary.discard()
