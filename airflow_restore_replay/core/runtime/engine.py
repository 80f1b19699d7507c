"""A Docker engine: the connection to it, and the classification of its errors."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from airflow_restore_replay.core.config.sections import NodeSpec
from airflow_restore_replay.core.errors import (
    ConfigInvalid,
    EngineFailed,
    HostKeyRefused,
    NodeDenied,
    NodeUnreachable,
    PreflightFailed,
    RestoreReplayError,
)
from airflow_restore_replay.core.runtime.base import NO_ACCESS, NodeAccess
from airflow_restore_replay.core.runtime.remote import retry_unreachable

try:
    import docker
    import requests
    from docker.errors import APIError, DockerException, NotFound
except ImportError as missing:
    raise PreflightFailed(
        "node.runtime docker needs the package docker, which is not installed here.",
        hint="Install it on workers and triggerers: pip install 'airflow-restore-replay[docker]'",
    ) from missing

__all__ = ["APIError", "Engine", "NotFound"]

_TIMEOUT_S = 60
_DENIED = (401, 403)
_CONFLICT = 409
#: too many requests, or a proxy before the engine that does not reach it
_UNAVAILABLE = (429, 502, 503, 504)


class Engine:
    """One engine; the connection is made at its first use.

    :param spec: ``engine`` is its address, and ``tls_…`` the client certificate. Without ``engine``, ``DOCKER_HOST``
        and the related variables apply, as for Docker's own client.
    :param access: the account of a registry to pull images from.
    """

    def __init__(self, spec: NodeSpec, access: NodeAccess = NO_ACCESS) -> None:
        self.url = spec.engine or ""
        self._spec = spec
        self._access = access

    @cached_property
    def client(self) -> Any:
        """Return Docker's low-level client.

        :raises NodeUnreachable: no engine answers.
        :raises ConfigInvalid: secrets would cross the network without verified TLS.
        """
        given = {"base_url": self.url, "tls": tls_config(self._spec)}
        options = given if self.url else docker.utils.kwargs_from_env()
        if not self._spec.engine_insecure:
            _refuse_readable(self.url or os.environ.get("DOCKER_HOST", ""), options.get("tls"))
        with self.failures():
            # Request the API version explicitly, because the SDK would use the environment's CA and proxies for that.
            spoken = _client(docker.constants.MINIMUM_DOCKER_API_VERSION, options).version(api_version=False)
            return _client(spoken["ApiVersion"], options)

    @cached_property
    def name(self) -> str:
        """Return the engine's own name, which is that of its host."""
        return retry_unreachable(self._named)

    def _named(self) -> str:
        with self.failures():
            return str(self.client.info()["Name"])

    def pull(self, repository: str, tag: str) -> None:
        """Make the engine pull an image, with the registry's account if there is one.

        :raises APIError: the engine cannot pull it.
        """
        if self._access.user:
            self.client.login(self._access.user, self._access.password, registry=self._access.registry)
        self.client.pull(repository, tag=tag)

    @contextmanager
    def failures(self, place: str = "", *, conflicts_end: bool = False) -> Iterator[None]:
        """Convert the client's exceptions to this package's errors, except NotFound, which the caller handles.

        :param conflicts_end: whether a conflict ends by itself, so that the request is retried as if the engine had
            been unreachable.
        """
        where = place or f"the Docker engine {self.url or 'of this host'}"
        try:
            yield
        except (NotFound, RestoreReplayError):
            raise
        except APIError as exc:
            raise _answered(exc.status_code, conflicts_end)(
                f"{where} refused: {exc.explanation or exc}."
            ) from exc
        except (DockerException, requests.RequestException, OSError, EOFError) as exc:
            raise NodeUnreachable(f"{where} does not answer: {exc}.", hint=_hint(self.url)) from exc
        except Exception as exc:
            if type(exc).__module__.partition(".")[0] != "paramiko":
                raise
            raise _of_ssh(where, exc) from exc


def _client(version: str, options: dict[str, Any]) -> Any:
    client = docker.APIClient(version=version, timeout=_TIMEOUT_S, **options)
    # Otherwise REQUESTS_CA_BUNDLE takes precedence over the CA that is configured for this engine.
    client.trust_env = False
    return client


def _refuse_readable(url: str, tls: Any) -> None:
    """Raise if the engine is on another host and not reached by SSH or verified TLS.

    A job's passwords and keys pass through the engine, and whoever talks to it is root on its host.

    :param tls: Docker's ``TLSConfig``, if there is one.
    """
    scheme, has_scheme, _ = url.partition("://")
    address = url if has_scheme else f"tcp://{url}"
    local = not url or url.startswith("/") or (has_scheme and scheme not in ("tcp", "http", "https"))
    if local or (tls and tls.verify) or _is_loopback(urlsplit(address).hostname or "127.0.0.1"):
        return
    raise ConfigInvalid(
        f"The Docker engine {url} would get passwords and keys without verified TLS.",
        hint="Set node.tls_ca, tls_cert and tls_key, or use ssh://. On a network of your own: node.engine_insecure: "
        "true.",
    )


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def tls_config(spec: NodeSpec) -> Any:
    """Return the TLS settings for Docker's client; False without a client certificate."""
    if not spec.tls_cert:
        return False
    return docker.tls.TLSConfig(ca_cert=spec.tls_ca, client_cert=(spec.tls_cert, spec.tls_key), verify=True)


def _answered(status: int, conflicts_end: bool) -> type[RestoreReplayError]:
    """Return the class of error for a request that the engine answered with *status*."""
    if status in _DENIED:
        return NodeDenied
    if status in _UNAVAILABLE or (status == _CONFLICT and conflicts_end):
        return NodeUnreachable
    return EngineFailed


def _hint(url: str) -> str:
    return "" if url else "Set node.engine if the engine is not this host's own."


def _of_ssh(where: str, exc: Exception) -> RestoreReplayError:
    """Convert the failure of an SSH connection to one of this package's errors."""
    if "known_hosts" in str(exc) or type(exc).__name__ == "BadHostKeyException":
        return HostKeyRefused(
            f"{where}: {exc}.", hint="Compare the host's key and add it to ~/.ssh/known_hosts."
        )
    if type(exc).__name__.endswith("AuthenticationException"):
        return NodeDenied(f"{where}: {exc}.")
    return NodeUnreachable(f"{where} does not answer: {exc}.")
