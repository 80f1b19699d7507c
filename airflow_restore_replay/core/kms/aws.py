"""AWS KMS, by boto3, which only a host that reads keys needs: a worker, or one with the command line."""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_restore_replay.core.config.kms_sources import AwsKmsKey, refuse_plain
from airflow_restore_replay.core.errors import ConfigInvalid, KeyRefused, KeySourceFailed
from airflow_restore_replay.core.kms import TIMEOUT_S, Access, NotUnwrapped

_NOT_DECRYPTED = ("InvalidCiphertextException", "IncorrectKeyException")
#: codes with a status below 500 that a retry may help
_PASSING = (
    "Throttling",
    "RequestLimit",
    "LimitExceeded",
    "KeyUnavailable",
    "DependencyTimeout",
    "RequestTimeout",
)
#: names of a connection's credentials → arguments of boto3
_ARGUMENTS = {
    "access_key_id": "aws_access_key_id",
    "secret_access_key": "aws_secret_access_key",
    "session_token": "aws_session_token",
}
_quiet = threading.Lock()


class AwsKms:
    """A key of AWS KMS; see :class:`~airflow_restore_replay.core.kms.Kms`."""

    kind = "aws_kms"

    def __init__(self, key: AwsKmsKey, access: Access) -> None:
        try:
            import boto3  # noqa: F401
        except ImportError:
            raise ConfigInvalid(
                f"The key {key} of AWS KMS needs boto3, which is not installed.",
                hint="pip install 'airflow-restore-replay[aws]'",
            ) from None
        self.name = key.key
        self._key, self._access = key, access
        self._endpoint = key.endpoint or access.get("endpoint", "")
        if self._endpoint:
            try:
                refuse_plain(self._endpoint, f"the endpoint of connection {key.connection}")
            except ValueError as exc:
                raise ConfigInvalid(f"Key {key}: {exc}.") from None

    def __repr__(self) -> str:
        return f"AwsKms({self.name})"

    def may_have_wrapped(self, name: str) -> bool:
        # An alias may be of any key, which KMS tells.
        return not self.name.startswith("arn:") or ":key/" not in self.name or name == self.name

    def wrap(self, key: bytes, about: Mapping[str, str]) -> tuple[str, str]:
        answer = self._ask("encrypt", Plaintext=key, EncryptionContext=dict(about))
        return base64.b64encode(answer["CiphertextBlob"]).decode(), str(answer["KeyId"])

    def unwrap(self, wrapped: str, about: Mapping[str, str]) -> bytes:
        try:
            blob = base64.b64decode(wrapped, validate=True)
        except (binascii.Error, ValueError):
            raise NotUnwrapped("it is no base64") from None
        if not blob:
            raise NotUnwrapped("it is empty")
        return bytes(self._ask("decrypt", CiphertextBlob=blob, EncryptionContext=dict(about))["Plaintext"])

    def _ask(self, action: str, **parameters: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

        try:
            with _no_debug_logs():
                answer: dict[str, Any] = getattr(self._client(), action)(KeyId=self._key.key, **parameters)
                return answer
        except NoRegionError:
            raise ConfigInvalid(
                f"The region of the key {self.name} of AWS KMS is not known.",
                hint="Give repository.encryption.key.aws_kms.region.",
            ) from None
        except ClientError as exc:
            raise self._failed(action, exc.response) from None
        except BotoCoreError as exc:
            raise KeySourceFailed(f"AWS KMS cannot be asked about the key {self.name}: {exc}.") from None
        except Exception as exc:
            # The text of an unknown exception may quote what was sent.
            raise KeySourceFailed(
                f"AWS KMS cannot be asked about the key {self.name} ({type(exc).__name__})."
            ) from None

    def _client(self) -> Any:
        access = self._access
        given = {theirs: access[ours] for ours, theirs in _ARGUMENTS.items() if access.get(ours)}
        if access.get("role_arn"):
            given = self._assumed(given)
        return self._service("kms", self._endpoint, given)

    def _assumed(self, given: dict[str, str]) -> dict[str, str]:
        """Return credentials of the connection's role."""
        access = self._access
        parameters: dict[str, Any] = {
            "RoleArn": access["role_arn"],
            "RoleSessionName": access.get("role_session_name", "restore-replay"),
        }
        if access.get("external_id"):
            parameters["ExternalId"] = access["external_id"]
        answer = self._service("sts", access.get("sts_endpoint"), given).assume_role(**parameters)
        found = answer["Credentials"]
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        return dict(zip(_ARGUMENTS.values(), (found[name] for name in names), strict=True))

    def _service(self, service: str, endpoint: str | None, given: Mapping[str, str]) -> Any:
        import boto3
        from botocore.config import Config

        parts = self._key.key.split(":")
        region = self._key.region or (parts[3] if len(parts) > 5 else "") or self._access.get("region")
        config = Config(
            connect_timeout=TIMEOUT_S / 2,
            read_timeout=TIMEOUT_S,
            retries={"total_max_attempts": 3, "mode": "standard"},
        )
        # A session of its own: boto3's default one is not safe with threads.
        return boto3.session.Session().client(
            service,
            region_name=region or None,
            endpoint_url=endpoint or None,
            verify=self._key.ca_file or self._access.get("ca_file"),
            config=config,
            **given,
        )

    def _failed(self, action: str, response: Mapping[str, Any]) -> Exception:
        code = str(response.get("Error", {}).get("Code", ""))
        message = " ".join(str(response.get("Error", {}).get("Message", "")).split())[:300].rstrip(".")
        said = f"{code}: {message}"
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if action == "decrypt" and code in _NOT_DECRYPTED:
            return NotUnwrapped(f"AWS KMS says {said}")
        text = f"AWS KMS did not {action} with the key {self.name}: {said}"
        if 400 <= status < 500 and status != 429 and not code.startswith(_PASSING):
            return KeyRefused(
                f"{text}.",
                hint="The key must exist and be enabled, and the credentials must be valid, with the right "
                f"kms:{action.title()}.",
            )
        return KeySourceFailed(f"{text}.")


@contextlib.contextmanager
def _no_debug_logs() -> Iterator[None]:
    """Log nothing of level DEBUG meanwhile: botocore would log requests and answers, with the key in them."""
    with _quiet:
        before = logging.root.manager.disable
        logging.disable(max(before, logging.DEBUG))
        try:
            yield
        finally:
            logging.disable(before)
