"""The one place that starts an S3 server (moto, over real HTTP)."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from airflow_restore_replay.core.sections import RepositorySpec
from airflow_restore_replay.core.store_options import StoreOptions
from airflow_restore_replay.core.units import decode_unit
from tests.support.mariadb import free_port

CREDENTIALS = {"access_key_id": "AKIATESTKEY0001", "secret_access_key": "s3-secret-71fe"}
_START_TIMEOUT_S = 60
#: moto wants a signature to be there, and does not check it
_ANYBODY = (
    "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)


class S3Server:
    """A moto server on a free port; a context manager.

    :param tls: certificate and key: speak HTTPS only.
    """

    def __init__(self, *, tls: tuple[Path, Path] | None = None) -> None:
        self.port = free_port()
        self._tls = tls
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        argv += ["-c", str(tls[0]), "-k", str(tls[1])] if tls else []
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()

    def new_bucket(self) -> str:
        """:returns: the name of a new, empty bucket."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.raw("PUT", f"/{name}")
        return name

    def raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Talk to the server past every client: tests damage objects with it."""
        return self._ask(method, path, body)[1]

    def headers(self, path: str) -> dict[str, str]:
        """:returns: what the server says about an object, by lower-case names."""
        return {name.lower(): value for name, value in self._ask("HEAD", path, None)[0].getheaders()}

    def boto(self, service: str) -> Any:
        """:returns: a boto3 client of one of the server's services, for what only administrators do."""
        import boto3

        keys = {f"aws_{name}": value for name, value in CREDENTIALS.items()}
        return boto3.client(service, endpoint_url=self.endpoint, region_name="us-east-1", **keys)

    def demand_rights(self) -> None:
        """From now on, refuse what no IAM policy allows, and unknown keys."""
        self.raw("POST", "/moto-api/reset-auth", b"0")

    def user(self, name: str, policy: dict[str, Any]) -> dict[str, str]:
        """:returns: credentials of a new user with *policy*."""
        iam = self.boto("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[http.client.HTTPResponse, bytes]:
        kind = http.client.HTTPConnection
        options: dict[str, Any] = {"timeout": 30}
        if self._tls:
            kind, options["context"] = http.client.HTTPSConnection, ssl._create_unverified_context()
        connection = kind("127.0.0.1", self.port, **options)
        try:
            connection.request(method, path, body, {"Authorization": _ANYBODY})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise OSError(f"{method} {path}: {answer.status} {data[:200]!r}")
        return answer, data

    def spec(self, bucket: str, *, endpoint: str | None = None, **options: Any) -> RepositorySpec:
        """:returns: a repository in *bucket*, reached through *endpoint*; *options* as in the cluster file."""
        own = {"endpoint": endpoint or self.endpoint, "region": "us-east-1"}
        return RepositorySpec(
            url=f"s3://{bucket}/orders",
            options=msgspec.convert({**own, **options}, StoreOptions, dec_hook=decode_unit),
        )

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> S3Server:
        return self

    def __exit__(self, kind: type | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                self.raw("GET", "/moto-api/")
                return
            except OSError as exc:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"moto did not start on port {self.port}: {exc}") from exc
                time.sleep(0.1)
