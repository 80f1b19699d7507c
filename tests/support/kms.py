"""Key management services for tests: OpenBao, and moto behind a gate that heeds the states of keys."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, Protocol

from tests.support.proxy import FaultyProxy
from tests.support.service import Service
from tests.support.stores.moto import Moto
from tests.support.stores.s3 import CREDENTIALS

_ROOT = "root-token-5c1d"


class Keys(Protocol):
    """What both services let a test do.

    :ivar kind: of the source in the cluster file. :ivar variables: of the environment, for who may use all keys.
    """

    kind: str
    variables: dict[str, str]

    def new_key(self) -> str: ...

    def source(self, key: str, **options: Any) -> dict[str, Any]: ...

    def denied(self) -> dict[str, str]:
        """Return variables of somebody who may use no key."""

    def disable(self, key: str) -> None: ...

    def rotate(self, key: str) -> None: ...


class OpenBao(Service):
    """A server with a transit engine, over TLS, which keeps everything in memory."""

    kind = "vault"

    def __init__(self) -> None:
        self.variables = {"VAULT_TOKEN": _ROOT}
        super().__init__()

    def _start(self) -> subprocess.Popen[bytes]:
        (self.root / "tls").mkdir()
        program = Path(sys.executable).with_name("bao")
        argv = ["server", "-dev", "-dev-tls", f"-dev-tls-cert-dir={self.root}/tls", "-dev-no-store-token"]
        argv += [f"-dev-listen-address=127.0.0.1:{self.port}", f"-dev-root-token-id={_ROOT}"]
        return self._run(program, *argv)

    def _is_up(self) -> bool:
        self.ask("POST", "sys/mounts/transit", {"type": "transit"})
        return True

    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))

    @property
    def ca_file(self) -> Path:
        return self.root / "tls" / "vault-ca.pem"

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def new_key(self) -> str:
        name = f"orders-{uuid.uuid4().hex[:8]}"
        self.ask("POST", f"transit/keys/{name}", {})
        return name

    def source(self, key: str, **options: Any) -> dict[str, Any]:
        return {"vault": {"key": key, "address": self.address, "ca_file": str(self.ca_file), **options}}

    def token(self, *paths: str) -> str:
        """Return a token that may update *paths* and nothing else."""
        name = f"policy-{uuid.uuid4().hex[:8]}"
        rules = "\n".join(f'path "{path}" {{ capabilities = ["update"] }}' for path in paths)
        self.ask(
            "PUT", f"sys/policies/acl/{name}", {"policy": rules or 'path "none" { capabilities = ["deny"] }'}
        )
        made = self.ask("POST", "auth/token/create", {"policies": [name], "no_default_policy": True})
        return str(made["auth"]["client_token"])

    def denied(self) -> dict[str, str]:
        return {"VAULT_TOKEN": self.token()}

    def disable(self, key: str) -> None:
        self.ask("POST", f"transit/keys/{key}/config", {"deletion_allowed": True})
        self.ask("DELETE", f"transit/keys/{key}")

    def rotate(self, key: str) -> None:
        self.ask("POST", f"transit/keys/{key}/rotate", {})

    def retire_old_versions(self, key: str) -> None:
        """Let the service decrypt by the newest version of the key only."""
        newest = self.ask("GET", f"transit/keys/{key}")["data"]["latest_version"]
        self.ask("POST", f"transit/keys/{key}/config", {"min_decryption_version": newest})

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the server's answer.

        :raises OSError: the server answers with an error.
        """
        content = None if body is None else json.dumps(body)
        data = self.request(method, f"/v1/{path}", content, {"X-Vault-Token": _ROOT})[1]
        return json.loads(data) if data else {}


class MotoKms(FaultyProxy):
    """moto's KMS. It has states of keys and decrypts in any; this gate refuses then, as Amazon's does."""

    kind = "aws_kms"

    def __init__(self, server: Moto) -> None:
        import boto3

        self._moto = server
        admin = server.user(f"admin-{uuid.uuid4().hex[:8]}", _policy("kms:*"))
        keys = {f"aws_{name}": value for name, value in admin.items()}
        self._kms = boto3.client("kms", endpoint_url=server.endpoint, region_name="us-east-1", **keys)
        self.variables = {f"AWS_{name.upper()}": value for name, value in CREDENTIALS.items()}
        super().__init__(server.port)

    def new_key(self) -> str:
        return str(self._kms.create_key()["KeyMetadata"]["Arn"])

    def source(self, key: str, **options: Any) -> dict[str, Any]:
        return {"aws_kms": {"key": key, "endpoint": self.endpoint, "region": "us-east-1", **options}}

    def user(self, name: str, *actions: str) -> dict[str, str]:
        """Return variables of a user who may do *actions*; from now on the server checks rights."""
        self._moto.raw("POST", "/moto-api/reset-auth", b"inf")
        user = self._moto.user(f"{name}-{uuid.uuid4().hex[:8]}", _policy(*actions))
        self._moto.demand_rights()
        return {f"AWS_{key.upper()}": value for key, value in user.items()}

    def denied(self) -> dict[str, str]:
        return self.user("stranger")

    def demand_no_rights(self) -> None:
        """Let everybody do everything again."""
        self._moto.raw("POST", "/moto-api/reset-auth", b"inf")

    def disable(self, key: str) -> None:
        self._kms.disable_key(KeyId=key.rpartition("/")[2])  # moto knows no ARN here

    def rotate(self, key: str) -> None:
        self._kms.enable_key_rotation(KeyId=key.rpartition("/")[2])

    def refuse(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes] | None:
        if headers.get("x-amz-target", "") not in ("TrentService.Decrypt", "TrentService.Encrypt"):
            return None
        key = json.loads(body)["KeyId"]
        if self._kms.describe_key(KeyId=key)["KeyMetadata"]["Enabled"]:
            return None
        answer = {"__type": "DisabledException", "message": f"{key} is disabled."}
        return 400, json.dumps(answer).encode()


def _policy(*actions: str) -> dict[str, Any]:
    """Return a policy that allows *actions*, or forbids everything without them."""
    effect = {"Effect": "Allow", "Action": list(actions)} if actions else {"Effect": "Deny", "Action": "*"}
    return {"Version": "2012-10-17", "Statement": [effect | {"Resource": "*"}]}
