"""docs/first-hour.md as a reader follows it: each block does what the page says, in the order of the page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import OwnRig
from tests.support.flavors import Kit, on_both
from tests.support.primary import ROOT_PASSWORD, Primary
from tests.support.restores import query, stopped

PAGE = Path(__file__).parents[2] / "docs" / "first-hour.md"
BLOCK = re.compile(
    r"(?:<!-- (?P<only>\w+) -->\n)?```(?P<kind>sh|sql|yaml|cron)\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE
)
ROWS = [(1, "first"), (2, "second"), (3, "after the last backup")]
PASSWORD = "choose-your-own"


class Reader:
    """Does what the page says, with names of places and servers of this test.

    :ivar listed: what ``list`` printed, each time.
    """

    def __init__(self, root: Path, primary: Primary) -> None:
        self._root, self._primary = root, primary
        self._found = ""
        self.listed: list[str] = []
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RESTORE_REPLAY_CONFIG": self.here("/etc/restore-replay/clusters.yaml"),
            "HOME": str(root),
        }

    def here(self, text: str) -> str:
        """Return *text* with the places and servers of this test."""
        text = re.sub(r"(?<![\w.])/(etc|srv|var)/", rf"{self._root}/\1/", text)
        text = text.replace("/opt/restore-replay/bin", str(Path(sys.executable).parent))
        text = text.replace("root@db1.example.com", f"root@127.0.0.1:{self._primary.port}")
        text = text.replace("port: 3306", f"port: {self._primary.port}").replace(
            "db1.example.com", "127.0.0.1"
        )
        text = text.replace("flavor: mariadb", f"flavor: {self._primary.flavor}").replace(
            "0-1-51002", self._found
        )
        if self._primary.bindir:
            text = text.replace("node:\n", f"node:\n      bindir: {self._primary.bindir}\n")
        return text

    def read(self, block: re.Match[str]) -> None:
        """Do what a block says."""
        match block["kind"]:
            case "sql":
                for statement in block["text"].rstrip().removesuffix(";").split(";\n"):
                    answer = self._primary.execute(statement)
                    if statement.startswith("SELECT"):
                        assert [tuple(row) for row in answer] == ROWS
            case "yaml":
                Path(self._environment["RESTORE_REPLAY_CONFIG"]).write_text(self.here(block["text"]))
            case "cron":
                (check,) = re.findall(r"root (answer=.*)$", block["text"], re.MULTILINE)
                assert self.call(check) == ""
            case _:
                for line in block["text"].splitlines():
                    self._after(line, self.call(line))

    def _after(self, line: str, printed: str) -> None:
        """Do what the text after a command says."""
        if line == "restore-replay list":
            self.listed.append(printed)
        elif line.endswith("--start"):
            connect, stop, _ = printed.rpartition("by:\n")[2].splitlines()
            rows = query(connect, "SELECT COUNT(*) FROM shop.orders", password=ROOT_PASSWORD)
            assert rows == [["20000"]]
            (pid,) = re.findall(r"process (\d+)", printed)
            stopped(int(pid), stop)
        elif " find " in line:
            (self._found,) = re.findall(r"--before-gtid (\S+)", printed)

    def call(self, line: str) -> str:
        """Run one line of a shell.

        :returns: what it printed.
        """
        asks = ROOT_PASSWORD if "--into" in line else PASSWORD
        done = subprocess.run(
            ["bash", "-c", self.here(line)],
            input=f"{asks}\n",
            env=self._environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout


@on_both
def test_every_step_of_the_page(own_rig: OwnRig, kit: Kit, tmp_path: Path) -> None:
    primary = own_rig().primary
    primary.execute("DROP USER restore_replay")
    reader = Reader(tmp_path / "machine", primary)
    for block in BLOCK.finditer(PAGE.read_text()):
        if block["only"] in (None, kit.flavor):
            reader.read(block)
    first, second = reader.listed
    assert "logical seed" in first
    assert "restored" in second
    assert len(second.splitlines()) > len(first.splitlines())
