"""Every command of docs/restore-backup.md does what the page says, as it stands but for names of places and servers."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.flavors import on_either
from tests.support.primary import ROOT_PASSWORD, free_port
from tests.support.restores import Restores, query
from tests.support.rig import Rig

PAGE = Path(__file__).parents[2] / "docs" / "restore-backup.md"
COMMANDS = [
    line
    for block in re.findall(r"^```\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
    if line.startswith("restore-replay restore ")
]


@pytest.fixture
def restores(rig: Rig, tmp_path: Path) -> Iterator[Restores]:
    root = tmp_path / "places"
    root.mkdir(mode=0o700)
    made = Restores(rig, root)
    yield made
    made.end()


def test_the_page_has_a_command_for_each_row_of_its_table() -> None:
    options = re.findall(r"`(--[a-z-]+)`", PAGE.read_text().partition("## ")[0])
    assert options
    for option in options:
        assert any(option in command for command in COMMANDS) or option == "--databases", option


@on_either
def test_every_command_of_the_page(rig: Rig, restores: Restores) -> None:
    broken = restores.root / "broken"
    rig.restores(rig.newest, broken)
    shutil.rmtree(broken / "shop")
    for command in COMMANDS:
        text = command.replace("/srv/", f"{restores.root}/").replace("--port 3306", f"--port {free_port()}")
        text = re.sub(r"\w+@db1\.example\.com", f"root@127.0.0.1:{rig.primary.port}", text)
        words = shlex.split(text)[2:]
        stdin = f"{broken}\n" if "--in-place" in words else f"{ROOT_PASSWORD}\n"
        if "--in-place" in words:
            done = restores.call(*words, stdin=stdin)
            assert done.returncode == 0, done.stderr
            continue
        answer = restores.json(*words, stdin=stdin)
        if running := answer.get("running"):
            rows = query(
                running["commands"]["connect"], "SELECT COUNT(*) FROM shop.orders", password=ROOT_PASSWORD
            )
            assert rows == [["20000"]], command
    assert (restores.root / "orders.sql.zst").stat().st_size > 100_000
    assert (
        rig.primary.execute("CHECKSUM TABLE shop.orders_restored")[0][1:]
        == (rig.primary.execute("CHECKSUM TABLE shop.orders")[0][1:])
    )
    assert (broken / "shop" / "orders.ibd").exists()
    rig.primary.execute("DROP TABLE shop.orders_restored")
