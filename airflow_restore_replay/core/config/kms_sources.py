"""Keys of a key management service (KMS), as the cluster file names them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from airflow_restore_replay.core.config.strict import Strict

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: a part of a path in Vault, which needs no quoting in a URL
_PART = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]+")


class VaultKey(Strict, frozen=True, kw_only=True):
    """A key of the transit engine of HashiCorp Vault or OpenBao.

    :param key: name of the key; only one cluster should use it.
    :param address: URL of the server; by default that of *connection*, then the variable ``VAULT_ADDR``.
    :param mount: where the transit engine is mounted.
    :param namespace: of the engine, in a server that has namespaces.
    :param connection: an Airflow connection of type ``vault``, whose password is the token; the command line uses
        *token_file* or *token_env* instead.
    :param token_file: a file that holds only the token, such as the sink of a Vault agent; it is read at each use.
    :param token_env: the variable that holds the token if there is no file.
    :param ca_file: PEM file of certificates to trust besides the system's.
    """

    key: str
    address: str = ""
    mount: str = "transit"
    namespace: str = ""
    connection: str | None = None
    token_file: str | None = None
    token_env: str = "VAULT_TOKEN"
    ca_file: str | None = None

    def __post_init__(self) -> None:
        for name in ("key", "mount", "namespace"):
            value = getattr(self, name)
            parts = [value] if name == "key" else value.split("/")
            if (value or name != "namespace") and not all(map(_PART.fullmatch, parts)):
                raise ValueError(f"{name} {value!r} is no name of Vault's")
        if self.address:
            refuse_plain(self.address, "address")

    @property
    def name(self) -> str:
        """Return the key's name on its server, as wrapped keys have it."""
        return "/".join(filter(None, (self.namespace, self.mount, self.key)))

    def __str__(self) -> str:
        return self.name


class AwsKmsKey(Strict, frozen=True, kw_only=True):
    """A symmetric key of AWS KMS.

    :param key: its ARN, its id, or an alias (``alias/…``); only one cluster should use it.
    :param region: by default that of the ARN, of *connection* or of the environment.
    :param connection: an Airflow connection of the Amazon provider, for the credentials; the command line uses those
        of boto3's own chain: environment, profile, instance or container role.
    :param endpoint: URL of a KMS that is not at Amazon's address, for example of a VPC endpoint.
    :param ca_file: PEM file of certificates to trust instead of botocore's.
    """

    key: str
    region: str = ""
    connection: str | None = None
    endpoint: str = ""
    ca_file: str | None = None

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError("key is empty")
        if self.endpoint:
            refuse_plain(self.endpoint, "endpoint")

    @property
    def name(self) -> str:
        """Return the key's name, as the configuration has it."""
        return self.key

    def __str__(self) -> str:
        return self.name


def refuse_plain(url: str, what: str) -> None:
    """Raise unless *url* is encrypted, or of a server on this host.

    :raises ValueError: it is not, so that everybody on the way could read token and key.
    """
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or not parts.hostname:
        raise ValueError(f"{what} must be a URL with a host, and without a password or a query")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError(f"{what} must begin with https://, or be an http:// URL of this host; got {url!r}")
