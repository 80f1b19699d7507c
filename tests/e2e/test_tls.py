"""Whole cycles over TLS: a private CA, a server certificate from it, and an account that REQUIREs X509.

So whatever reaches the primary is encrypted and has shown our certificate: seed program, replication, and our own
connections. What is refused, and why, is in tests/contract/flavor/test_tls.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from airflow_restore_replay.core.jobs.context import default_appliers
from airflow_restore_replay.core.system.cgroups import usable_cores
from tests.support.flavors import Kit, on_both
from tests.support.primary import Primary, WriteLoad
from tests.support.rig import Rig
from tests.support.tls import make_authority


@on_both
def test_a_cycle_with_ca_and_certificate(
    new_primary: Callable[..., Primary], kit: Kit, tmp_path: Path
) -> None:
    own, foreign = make_authority(tmp_path / "own"), make_authority(tmp_path / "foreign")
    files = {"ssl_ca": str(own.ca), "ssl_cert": str(own.client_cert), "ssl_key": str(own.client_key)}
    primary = new_primary(options=own.server_options)
    primary.execute("ALTER USER restore_replay@'%' REQUIRE X509")
    rig = Rig(primary, tmp_path, overrides={"primary": files})

    refused = rig.cycle(retries=0, primary={"ssl_ca": str(foreign.ca)})
    assert refused.failure is not None
    assert refused.failure.code == "PrimaryUnreachable"
    assert refused.failure.blame == "environment"
    assert "certificate verify failed" in refused.failure.message
    assert "primary.ssl_ca" in refused.failure.hint
    assert rig.verdicts_against() == []

    with WriteLoad(primary, threads=1):
        backup_id = rig.full(seed={"method": kit.seeds[1]})
    manifest = rig.catalog().backup(backup_id).manifest
    assert manifest.notes["fill"]["method"] == kit.seeds[1]
    assert manifest.notes["catch_up"]["transactions"] > 0
    assert manifest.notes["catch_up"]["appliers"] == default_appliers(usable_cores())
    assert manifest.compared["tables"] >= 3
