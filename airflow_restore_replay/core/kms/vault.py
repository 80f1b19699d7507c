"""The transit engine of HashiCorp Vault and OpenBao, by its HTTP API."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from airflow_restore_replay.core.config.kms_sources import VaultKey, refuse_plain
from airflow_restore_replay.core.decoding import decode
from airflow_restore_replay.core.errors import ConfigInvalid, KeyRefused, KeySourceFailed
from airflow_restore_replay.core.kms import TIMEOUT_S, Access, NotUnwrapped

_ADDRESS = "VAULT_ADDR"
_TOKEN = re.compile(r"[\x21-\x7e]+")
_MAX_ANSWER_BYTES = 2**20
#: what Vault says, with status 400, about a text that it cannot decrypt
_NOT_DECRYPTED = (
    "invalid ciphertext",
    "message authentication failed",
    "could not decode",
    "unable to decrypt",
)


class _Answer(msgspec.Struct):
    data: dict[str, Any] = {}
    errors: list[str] = []


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, because the token would travel to wherever it leads."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Vault:
    """A key of a transit engine; see :class:`~airflow_restore_replay.core.kms.Kms`."""

    kind = "vault"

    def __init__(self, key: VaultKey, address: str, token: str) -> None:
        self.name = key.name
        self._key, self._address, self._token = key, address.rstrip("/"), token
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if address.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=_context(key.ca_file)))
        else:  # this host: no proxy can reach it, and none may see the token
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    @classmethod
    def of(cls, key: VaultKey, access: Access) -> Vault:
        """Return the key with the token of a connection, or else of file or environment.

        :raises ConfigInvalid: token or address are missing or malformed.
        """
        address = key.address or access.get("address") or os.environ.get(_ADDRESS, "")
        if not address:
            raise ConfigInvalid(
                f"The address of the Vault that has the key {key} is not known.",
                hint=f"Give repository.encryption.key.vault.address, or set {_ADDRESS}.",
            )
        try:
            refuse_plain(address, f"the address of Vault, {address!r},")
        except ValueError as exc:
            raise ConfigInvalid(f"Key {key}: {exc}.") from None
        token, where = _token(key, access)
        if not _TOKEN.fullmatch(token):
            # http.client would quote it.
            raise ConfigInvalid(f"The text in {where} is not a token of Vault's.")
        return cls(key, address, token)

    def __repr__(self) -> str:
        return f"Vault({self.name})"

    def may_have_wrapped(self, name: str) -> bool:
        return name == self.name

    def wrap(self, key: bytes, about: Mapping[str, str]) -> tuple[str, str]:
        body = {"plaintext": base64.b64encode(key).decode(), "associated_data": _about(about)}
        return str(self._ask("encrypt", body, "ciphertext")), self.name

    def unwrap(self, wrapped: str, about: Mapping[str, str]) -> bytes:
        body = {"ciphertext": wrapped, "associated_data": _about(about)}
        try:
            return base64.b64decode(self._ask("decrypt", body, "plaintext"), validate=True)
        except (binascii.Error, ValueError):
            raise NotUnwrapped("Vault's answer is no base64") from None

    def _ask(self, action: str, body: Mapping[str, str], field: str) -> str:
        url = f"{self._address}/v1/{self._key.mount}/{action}/{self._key.key}"
        headers = {
            "X-Vault-Token": self._token,
            "X-Vault-Request": "true",
            "Content-Type": "application/json",
        } | ({"X-Vault-Namespace": self._key.namespace} if self._key.namespace else {})
        request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return str(decode(answer.read(_MAX_ANSWER_BYTES), _Answer).data[field])
        except urllib.error.HTTPError as exc:
            raise self._failed(action, exc.code, _said(exc)) from None
        except OSError as exc:
            why = exc.reason if isinstance(exc, urllib.error.URLError) else exc
            raise KeySourceFailed(f"Vault at {self._address} cannot be reached: {why}.") from None
        except Exception as exc:
            # The text of an exception may quote the answer, which holds the key.
            raise KeySourceFailed(
                f"{self._address} did not answer as Vault does ({type(exc).__name__})."
            ) from None

    def _failed(self, action: str, status: int, said: str) -> Exception:
        if action == "decrypt" and status == 400 and any(text in said for text in _NOT_DECRYPTED):
            return NotUnwrapped(f"Vault says: {said}")
        text = f"Vault at {self._address} did not {action} with the key {self.name}: {status} {said}".rstrip(
            " ."
        )
        # 412: a standby that lags; 429: a quota. A redirect is that of a standby which does not forward.
        if 400 <= status < 500 and status not in (408, 412, 429):
            return KeyRefused(
                f"{text}.",
                hint=f"The token must be valid and may update {self._key.mount}/{action}/{self._key.key}; the key "
                "must exist, and its min_decryption_version permit the version that wrapped the data key.",
            )
        return KeySourceFailed(f"{text}.")


def _token(key: VaultKey, access: Access) -> tuple[str, str]:
    """Return the token and where it comes from."""
    if access.get("token"):
        return access["token"], f"connection {key.connection}"
    if key.token_file:
        try:
            return Path(key.token_file).read_text(encoding="ascii").strip(), key.token_file
        except (OSError, UnicodeDecodeError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "it is not a text file"
            raise ConfigInvalid(f"Cannot read Vault's token from {key.token_file}: {why}.") from None
    if key.token_env not in os.environ:
        raise ConfigInvalid(
            f"The variable {key.token_env}, which should hold a token of Vault's, is not set.",
            hint="Set it, or name a token_file; in Airflow, a connection of type vault will do.",
        )
    return os.environ[key.token_env].strip(), f"the variable {key.token_env}"


def _context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as exc:
            raise ConfigInvalid(f"Cannot read certificates from {ca_file}: {exc.strerror or exc}.") from None
    return context


def _about(about: Mapping[str, str]) -> str:
    text = " ".join(f"{name}={about[name]}" for name in sorted(about))
    return base64.b64encode(text.encode()).decode()


def _said(exc: urllib.error.HTTPError) -> str:
    try:
        return " ".join(": ".join(decode(exc.read(2**16), _Answer).errors).split())[:300]
    except (OSError, msgspec.DecodeError):
        return ""
