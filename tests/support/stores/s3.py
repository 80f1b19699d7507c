"""S3's API, signed by botocore: what the servers that speak it share."""

from __future__ import annotations

import http.client
import ssl
from typing import Any, ClassVar
from urllib.parse import quote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.stores.base import Store

CREDENTIALS = {"access_key_id": "AKIATESTKEY0001", "secret_access_key": "s3-secret-71fe"}
_REGION = "us-east-1"


def signed(method: str, url: str, body: bytes | None, headers: dict[str, str]) -> dict[str, str]:
    """:returns: *headers* and a signature by :data:`CREDENTIALS`. :param url: with its path quoted, as it is sent."""
    request = AWSRequest(method, url, {**headers, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, body or b"")
    keys = Credentials(CREDENTIALS["access_key_id"], CREDENTIALS["secret_access_key"])
    _S3Auth(keys, "s3", _REGION).add_auth(request)
    return dict(request.headers.items())


class _S3Auth(SigV4Auth):  # type: ignore[misc]
    """S3 signs paths as they are sent: they are not quoted once more."""

    def _normalize_url_path(self, path: str) -> str:
        return path

    def payload(self, request: Any) -> str:
        return "UNSIGNED-PAYLOAD"


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
        """:returns: what the server answers. :raises OSError: it is no success."""
        return self._ask(method, path, body)[1]

    def headers(self, path: str) -> dict[str, str]:
        """:returns: what the server says about an object, by lower-case names."""
        return {name.lower(): value for name, value in self._ask("HEAD", path, None)[0].getheaders()}

    def boto(self, service: str = "s3") -> Any:
        """:returns: a boto3 client of one of the server's services, for what only administrators do."""
        import boto3

        keys = {f"aws_{name}": value for name, value in CREDENTIALS.items()}
        return boto3.client(service, endpoint_url=self.endpoint, region_name=_REGION, **keys)

    def _is_up(self) -> bool:
        self.raw("GET", "/")
        return True

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[http.client.HTTPResponse, bytes]:
        kind = http.client.HTTPConnection
        options: dict[str, Any] = {"timeout": 30}
        if self.tls:
            kind, options["context"] = http.client.HTTPSConnection, ssl._create_unverified_context()
        connection = kind("127.0.0.1", self.port, **options)
        target = quote(path, safe="/-_.~")
        try:
            connection.request(method, target, body, signed(method, f"{self.endpoint}{target}", body, {}))
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise OSError(f"{method} {path}: {answer.status} {data[:200]!r}")
        return answer, data
