"""SeaweedFS: the S3 store of the tests and the demo. It supports conditional requests and checks signatures."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.support.primary import free_port
from tests.support.stores.s3 import CREDENTIALS, S3Store


class SeaweedFs(S3Store):
    """Master, volume server, filer and S3 gateway in one process, on loopback only.

    :param tls: certificate and key: speak HTTPS only.
    """

    def __init__(self, *, tls: tuple[Path, Path] | None = None) -> None:
        self._files = tls
        self.tls = tls is not None
        self._grpc: list[int] = []
        super().__init__()

    def stop(self) -> None:
        super().stop()
        for port in self._grpc:
            for part in ("master", "volume", "filer", "s3"):
                # It makes them in spite of its options for sockets.
                with suppress(FileNotFoundError):
                    Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock").unlink()

    def _start(self) -> subprocess.Popen[bytes]:
        keys = {"accessKey": CREDENTIALS["access_key_id"], "secretKey": CREDENTIALS["secret_access_key"]}
        administrator = {"name": "tests", "credentials": [keys], "actions": ["Admin"]}
        (self.root / "s3.json").write_text(json.dumps({"identities": [administrator]}))
        options = {
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "dir": self.root,
            "filer.localSocket": self.root / "filer.sock",
            "s3.localSocket": self.root / "s3.sock",
            "s3.config": "s3.json",
            "s3.port": self.port,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            # It would send statistics to its makers.
            "master.telemetry": "false",
            # Alone, it need not look for others.
            "master.peers": "none",
            # Each bucket has volumes of its own.
            "master.volumeSizeLimitMB": 1024,
            "volume.max": 10_000,
            # A nearly full disk of the tests' machine is no reason to refuse.
            "volume.minFreeSpace": "100MiB",
        }
        ports = [free_port() for _ in range(7)]
        self._grpc = ports[3:]
        names = ("master.port", "volume.port", "filer.port")
        options |= dict(zip((*names, *(f"{n}.grpc" for n in (*names, "s3.port"))), ports, strict=True))
        if self._files:
            options |= {"s3.cert.file": self._files[0], "s3.key.file": self._files[1]}
        argv = [f"-{name}={value}" for name, value in options.items()]
        weed = Path(sys.executable).with_name("weed")
        return self._run(weed, "server", "-filer", "-s3", *argv, WEED_MASTER_VOLUME_GROWTH_COPY_1="1")
