"""Every command of the restore runbook does what the page says, in the order of the page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec
import yaml
from click.testing import CliRunner

from airflow_restore_replay.cli.main import cli
from airflow_restore_replay.core.flavor.registry import get_flavor
from tests.e2e.conftest import OwnRig
from tests.support.archives import Archivist, logs_of
from tests.support.flavors import Kit, on_both
from tests.support.keys import NEW
from tests.support.primary import BACKUP_PASSWORD
from tests.support.rig import SECRETS, Rig

PAGE = Path(__file__).parents[2] / "docs" / "restore.md"
#: of the page, those of other modules are run by tests of their own
SECTIONS = ("Which way?", "What happened? (find)", "Lost primary", "Lost region", "Without Airflow")


def commands(section: str) -> list[str]:
    text = PAGE.read_text().split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^ *(restore-replay .*)$", text, re.MULTILINE)


@on_both
def test_every_command_of_the_runbook(own_rig: OwnRig, kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(NEW)
    (tmp_path / "password").write_text(BACKUP_PASSWORD)
    encryption = {"encryption": {"key": {"file": str(tmp_path / "key")}}}
    rig = Rig(
        own_rig().primary,
        tmp_path / "encrypted",
        overrides={"repository": encryption},
        secrets=(*SECRETS, NEW),
    )
    rig.full()
    rig.primary.execute("CREATE TABLE shop.lost (id INT)", "INSERT INTO shop.lost VALUES (1), (2)")
    rig.primary.execute("DROP TABLE shop.lost")
    flavor = get_flavor(kit.flavor)
    archivist = Archivist(rig.repository(write=True), flavor)
    for log in logs_of(rig.primary, flavor):
        archivist.add(log)
    section = rig.section()
    section["primary"]["password_file"] = str(tmp_path / "password")
    config = tmp_path / "clusters.yaml"
    config.write_text(yaml.safe_dump({"clusters": {"orders": section}}))
    ran = 0
    for command in [each for name in SECTIONS for each in commands(name)]:
        line = command.replace("/srv/restored", str(tmp_path / "restored"))
        _, *arguments = shlex.split(line)
        result = CliRunner(env={"RESTORE_REPLAY_CONFIG": str(config)}).invoke(cli, arguments)
        assert result.exit_code == 0, (command, result.output)
        ran += 1
        if "--statement drop" in command:
            assert "DROP TABLE" in result.output
            assert "--before-gtid" in result.output
        if arguments[0] == "find" and "--json" in command:
            assert "found" in msgspec.json.decode(result.stdout)
    assert ran >= 9
    assert (tmp_path / "restored" / "shop").is_dir()
