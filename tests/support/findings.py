"""What a flavor finds out about a primary, by the name of the examined thing."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml
from click.testing import CliRunner

from airflow_restore_replay.cli.main import cli
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.examination import Wanted
from airflow_restore_replay.core.flavor.findings import Finding, Severity
from airflow_restore_replay.core.flavor.values import Conn
from tests.support.primary import BACKUP_PASSWORD
from tests.support.rig import Rig


def examined(
    flavor: Flavor, primary: Conn, *, seed: str = "logical", confined: bool = True
) -> dict[str, Finding]:
    """:returns: all findings, for a cluster with cycles a day apart."""
    found = flavor.examine_primary(primary, Wanted(seed=seed, keep_s=2 * 86400, confined=confined))
    assert len({finding.name for finding in found}) == len(found)
    assert not any(finding.fix for finding in found if finding.severity is Severity.OK)
    return {finding.name: finding for finding in found}


def refusals(flavor: Flavor, primary: Conn, *, seed: str = "logical") -> dict[str, Finding]:
    """:returns: the findings that refuse a fresh full."""
    found = examined(flavor, primary, seed=seed)
    return {name: finding for name, finding in found.items() if finding.severity is Severity.REFUSED}


def warnings(flavor: Flavor, primary: Conn, *, seed: str = "logical") -> dict[str, Finding]:
    found = examined(flavor, primary, seed=seed)
    return {name: finding for name, finding in found.items() if finding.severity is Severity.WARNING}


def doctor(rig: Rig, **overrides: Any) -> tuple[int, dict[str, dict[str, Any]]]:
    """:returns: exit code and findings by name, from the command line."""
    password = rig.root / "password"
    password.write_text(BACKUP_PASSWORD)
    section = rig.section(**overrides)
    section["primary"]["password_file"] = str(password)
    config = rig.root / "clusters.yaml"
    config.write_text(yaml.safe_dump({"clusters": {"orders": section}}))
    done = CliRunner().invoke(cli, ["doctor", "--config", str(config), "--json"])
    found = msgspec.json.decode(done.stdout)["findings"]
    assert BACKUP_PASSWORD not in done.output
    return done.exit_code, {f"{f['subject']}: {f['name']}": f for f in found}
