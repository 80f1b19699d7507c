"""Shell completion works as docs/cli.md describes it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


@pytest.mark.parametrize(("words", "completed"), [("fresh", "freshness"), ("cycle --as", "--as-of")])
def test_the_documented_line_completes_in_bash(words: str, completed: str) -> None:
    line = re.search(
        r'^eval "\$\(_RESTORE_REPLAY_COMPLETE=bash_source restore-replay\)"$', PAGE.read_text(), re.M
    )
    assert line
    bash = shutil.which("bash")
    assert bash
    typed = ["restore-replay", *words.split()]
    script = (
        f"{line[0]}\nCOMP_WORDS=({' '.join(typed)}); COMP_CWORD={len(typed) - 1}\n"
        '_restore_replay_completion restore-replay; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run([bash, "-c", script], env={"PATH": path}, capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == ([completed], "")
