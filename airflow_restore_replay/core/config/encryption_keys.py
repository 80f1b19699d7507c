"""Sources of encryption keys. The cluster file names sources, never keys."""

from __future__ import annotations

import base64
import binascii
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from airflow_restore_replay.core.config.kms_sources import AwsKmsKey, VaultKey
from airflow_restore_replay.core.config.strict import Strict
from airflow_restore_replay.core.errors import ConfigInvalid, KeySourceFailed

KEY_BYTES = 32
COMMAND_TIMEOUT_S = 30.0
_KINDS = ("file", "command", "connection", "env", "vault", "aws_kms")
_HEX = re.compile(r"[0-9A-Fa-f]{64}")


class KeySource(Strict, frozen=True, kw_only=True):
    """The source of one key, which is 32 bytes as 64 hex digits or as base64; exactly one parameter is given.

    :param file: a file that holds only the key.
    :param command: a program with its arguments that prints the key; it is run without a shell.
    :param connection: an Airflow connection: its password, or the encryption key of a repository connection.
    :param env: an environment variable.
    :param vault, aws_kms: a key of a key management service, which unwraps the key that the repository holds.
    """

    file: str | None = None
    command: list[str] | None = None
    connection: str | None = None
    env: str | None = None
    vault: VaultKey | None = None
    aws_kms: AwsKmsKey | None = None

    def __post_init__(self) -> None:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(_KINDS)}; got {' and '.join(given) or 'none'}")
        if not getattr(self, given[0]):
            raise ValueError(f"{given[0]} is empty")

    @property
    def kms(self) -> VaultKey | AwsKmsKey | None:
        """Return the key of a key management service, if the source is one."""
        return self.vault or self.aws_kms

    def __str__(self) -> str:
        kind = next(k for k in _KINDS if getattr(self, k) is not None)
        # Arguments of a command are not shown, because they may contain tokens.
        return f"{kind} {self.command[0] if self.command else getattr(self, kind)}"


class Encryption(Strict, frozen=True, kw_only=True):
    """The keys of an encrypted repository.

    :param key: source of the active key, which encrypts new backups.
    :param previous: sources of earlier keys, to read the backups made before a rotation.
    """

    key: KeySource
    previous: list[KeySource] = []

    @property
    def sources(self) -> list[KeySource]:
        """Return all sources, that of the active key first."""
        return [self.key, *self.previous]


def read_keys(
    encryption: Encryption | None,
    *,
    connection: Callable[[str], str] | None = None,
    unwrap: Callable[[KeySource], str] | None = None,
) -> tuple[str, ...]:
    """Read all keys, which must never be written, logged or shown.

    :param connection: returns the key of an Airflow connection.
    :param unwrap: returns the key of a KMS, which needs the repository.
    :returns: keys as 64 hex digits, the active one first; empty without *encryption*.
    :raises ConfigInvalid: a source is missing, or holds no key.
    :raises KeySourceFailed: a command failed.
    """
    return tuple(
        unwrap(source) if unwrap and source.kms else read_key(source, connection)
        for source in (encryption.sources if encryption else ())
    )


def read_key(source: KeySource, connection: Callable[[str], str] | None = None) -> str:
    """Read one key; see :func:`read_keys`."""
    return parse_key(_text(source, connection), str(source))


def parse_key(text: str, where: str) -> str:
    """Return the key in *text* as 64 hex digits.

    :param where: name of the source for messages, which never quote *text*.
    :raises ConfigInvalid: *text* is not a key.
    """
    text = text.strip()
    if _HEX.fullmatch(text):
        return text.lower()
    try:
        raw = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_BYTES:
        raise ConfigInvalid(
            f"The text in {where} is not an encryption key: it has {len(text)} characters, "
            f"not {2 * KEY_BYTES} hex digits or {KEY_BYTES} bytes as base64.",
            hint="`restore-replay key new FILE` makes a key.",
        )
    return raw.hex()


def _text(source: KeySource, connection: Callable[[str], str] | None) -> str:
    if source.file:
        return _file(source.file)
    if source.command:
        return _output(source.command)
    if source.env:
        if source.env not in os.environ:
            raise ConfigInvalid(
                f"The variable {source.env}, which should hold an encryption key, is not set."
            )
        return os.environ[source.env]
    if source.kms:
        raise ConfigInvalid(f"The key of {source} is in a repository, and none was named.")
    if connection is None:
        raise ConfigInvalid(
            f"The encryption key of {source} can only be resolved by Airflow.",
            hint="For the command line name a file, a command or an env in the cluster file.",
        )
    return connection(str(source.connection))


def _file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError as exc:
        raise ConfigInvalid(f"Cannot read the encryption key from {path}: {exc.strerror}.") from None
    except UnicodeDecodeError:
        # The decoder's own message would quote the key.
        raise ConfigInvalid(f"{path} is not a text file, so it holds no encryption key.") from None


def _output(argv: list[str]) -> str:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise KeySourceFailed(
            f"{argv[0]}, which should print an encryption key, took more than {COMMAND_TIMEOUT_S:.0f} s."
        ) from None
    except OSError as exc:
        raise ConfigInvalid(f"{argv[0]}, which should print an encryption key: {exc.strerror}.") from None
    if done.returncode:
        raise KeySourceFailed(
            f"{argv[0]}, which should print an encryption key, ended with {done.returncode}.",
            hint="Its messages are not shown here, since they might hold the key; run it by hand.",
        )
    try:
        return done.stdout.decode("ascii")
    except UnicodeDecodeError:
        raise ConfigInvalid(f"{argv[0]} did not print text, so it gave no encryption key.") from None
