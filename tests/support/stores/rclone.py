"""rclone's S3 server: a store that takes no notice of ``If-None-Match``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.stores.s3 import CREDENTIALS, S3Store


class Rclone(S3Store):
    def _start(self) -> subprocess.Popen[bytes]:
        (self.root / "data").mkdir()
        # Not as an argument: everybody sees those. A list of one pair, so the pair's comma is quoted.
        pair = '"{access_key_id},{secret_access_key}"'.format(**CREDENTIALS)
        program = Path(sys.executable).with_name("rclone")
        return self._run(
            program,
            *("serve", "s3", "--addr", f"127.0.0.1:{self.port}", self.root / "data"),
            RCLONE_AUTH_KEY=pair,
            RCLONE_CONFIG=str(self.root / "rclone.conf"),
        )
