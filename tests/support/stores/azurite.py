"""Azurite: Azure Blob Storage, with conditional requests and checked signatures."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import subprocess
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, urlencode

import pytest

from tests.support.stores.base import Store
from tests.support.unpacked import without

_TOOL = Path(__file__).parents[3] / "tools" / "azurite"
ACCOUNT = "backups"
_KEY = base64.b64encode(b"azure-secret-9c2e").decode()


@functools.cache
def program() -> str:
    """Return the path of azurite-blob, which is fetched if it is not here yet.

    If it is not available, the test fails; only ``RR_WITHOUT=azurite`` makes it a skip.
    """
    if without("azurite"):
        pytest.skip("RR_WITHOUT=azurite")
    done = subprocess.run([str(_TOOL)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"Azurite cannot be had:\n{done.stderr}"
    return done.stdout.strip()


class Azurite(Store):
    """One account; containers are its buckets."""

    scheme: ClassVar[str] = "az"
    credentials = {"account_name": ACCOUNT, "account_key": _KEY}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def _start(self) -> subprocess.Popen[bytes]:
        options = f"--blobHost 127.0.0.1 --blobPort {self.port} --inMemoryPersistence --silent"
        options += " --disableTelemetry --skipApiVersionCheck --disableProductStyleUrl"
        return self._run(program(), *options.split(), AZURITE_ACCOUNTS=f"{ACCOUNT}:{_KEY}")

    def _make_bucket(self, name: str) -> None:
        self._ask("PUT", name, query="restype=container")

    def read(self, path: str) -> bytes:
        return self._ask("GET", path)

    def write(self, path: str, data: bytes) -> None:
        self._ask("PUT", path, data, blob_type="BlockBlob")

    def remove(self, path: str) -> None:
        self._ask("DELETE", path)

    def _ask(
        self, method: str, path: str, body: bytes | None = None, *, query: str = "", blob_type: str = ""
    ) -> bytes:
        target = f"/{ACCOUNT}/{quote(path)}"
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
        headers |= {"x-ms-blob-type": blob_type} if blob_type else {}
        headers["Authorization"] = _authorization(method, target, query, len(body or b""), headers)
        return self.request(method, f"{target}?{query}".rstrip("?"), body, headers)[1]


def _authorization(method: str, target: str, query: str, size_bytes: int, headers: dict[str, str]) -> str:
    """Source: Azure Storage REST API, "Authorize with Shared Key"."""
    canonical = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    resource = f"/{ACCOUNT}{target}" + "".join(
        f"\n{pair.replace('=', ':')}" for pair in query.split("&") if pair
    )
    # No encoding, language, MD5, type, date and none of the five conditions, the range included.
    text = f"{method}\n\n\n{size_bytes or ''}\n\n\n\n\n\n\n\n\n{canonical}{resource}"
    signature = hmac.digest(base64.b64decode(_KEY), text.encode(), hashlib.sha256)
    return f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"


def sas_token(container: str, permissions: str) -> str:
    """Return a token for one container, for an hour.

    Source: Azure Storage REST API, "Create a service SAS".

    :param permissions: letters in Azure's order, for example ``rcwl``: read, create, write, list.
    """
    version = "2021-12-02"
    until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    # Neither start, identifier, address, protocol, snapshot nor scope, and no headers of answers.
    text = f"{permissions}\n\n{until}\n/blob/{ACCOUNT}/{container}\n\n\n\n{version}\nc\n\n\n\n\n\n\n"
    signature = hmac.digest(base64.b64decode(_KEY), text.encode(), hashlib.sha256)
    fields = {"sv": version, "sr": "c", "sp": permissions, "se": until}
    return urlencode({**fields, "sig": base64.b64encode(signature).decode()})
