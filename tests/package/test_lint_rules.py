"""The linter's own rules find what they are for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "code",
    [
        "import msgspec\nmsgspec.json.decode(b'1')",
        "import msgspec\nalias = msgspec.json",
        "import msgspec as m\nm.convert(1, int)",
        "from msgspec import json",
        "from msgspec.json import Decoder",
    ],
)
def test_no_other_way_to_a_decoder_passes_the_linter(code: str) -> None:
    root = Path(__file__).parents[2]
    place = ["--stdin-filename", str(root / "airflow_restore_replay" / "core" / "new.py")]
    argv = [sys.executable, "-m", "ruff", "check", "--select", "TID251", *place, "-"]
    done = subprocess.run(argv, cwd=root, input=code, capture_output=True, text=True, check=False)
    assert "Use core.decoding" in done.stdout
