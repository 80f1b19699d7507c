"""S3's API: what the servers that speak it share."""

from __future__ import annotations

import hmac
import http.client
import ssl
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from tests.support.stores.base import Store

CREDENTIALS = {"access_key_id": "AKIATESTKEY0001", "secret_access_key": "s3-secret-71fe"}
_REGION = "us-east-1"


def signed(method: str, url: str, body: bytes | None, headers: dict[str, str]) -> dict[str, str]:
    """Sign a request by :data:`CREDENTIALS`, without a client that the demo would have to install.

    :param url: with path and query quoted, as they are sent. :param headers: all of them are signed.
    :returns: *headers* and what the signature needs.

    Source: Amazon S3 API reference, "Authenticating Requests: Using the Authorization Header".
    """
    parts = urlsplit(url)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    own = {"host": parts.netloc, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": stamp}
    all_of_them = {name.lower(): value for name, value in headers.items()} | own
    names = ";".join(sorted(all_of_them))
    lines = "".join(f"{name}:{all_of_them[name]}\n" for name in sorted(all_of_them))
    query = "&".join(sorted(part if "=" in part else f"{part}=" for part in parts.query.split("&") if part))
    canonical = f"{method}\n{parts.path}\n{query}\n{lines}\n{names}\nUNSIGNED-PAYLOAD"
    scope = (stamp[:8], _REGION, "s3", "aws4_request")
    text = "\n".join(("AWS4-HMAC-SHA256", stamp, "/".join(scope), sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{CREDENTIALS['secret_access_key']}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"{CREDENTIALS['access_key_id']}/{'/'.join(scope)}"
    said = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return {**all_of_them, "authorization": said}


class S3Store(Store):
    """A store with S3's API; speaks HTTPS if :attr:`tls` is there."""

    scheme: ClassVar[str] = "s3"
    region: ClassVar[str | None] = _REGION
    credentials = CREDENTIALS
    tls = False

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def _make_bucket(self, name: str) -> None:
        self.raw("PUT", f"/{name}")

    def read(self, path: str) -> bytes:
        return self.raw("GET", f"/{path}")

    def write(self, path: str, data: bytes) -> None:
        self.raw("PUT", f"/{path}", data)

    def remove(self, path: str) -> None:
        self.raw("DELETE", f"/{path}")

    def raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Return the answer of the server.

        :raises OSError: the server answers with an error.
        """
        return self._ask(method, path, body)[1]

    def headers(self, path: str) -> dict[str, str]:
        """Return what the server says about an object, by lower-case names."""
        return {name.lower(): value for name, value in self._ask("HEAD", path, None)[0].getheaders()}

    def boto(self, service: str = "s3") -> Any:
        """Return a boto3 client of one of the server's services, for what only administrators do."""
        import boto3

        keys = {f"aws_{name}": value for name, value in CREDENTIALS.items()}
        return boto3.client(service, endpoint_url=self.endpoint, region_name=_REGION, **keys)

    def _is_up(self) -> bool:
        self.raw("GET", "/")
        return True

    def _tls(self) -> ssl.SSLContext | None:
        return ssl._create_unverified_context() if self.tls else None

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[http.client.HTTPResponse, bytes]:
        target = quote(path, safe="/-_.~")
        return self.request(method, target, body, signed(method, f"{self.endpoint}{target}", body, {}))
