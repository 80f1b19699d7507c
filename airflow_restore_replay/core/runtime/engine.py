"""A Docker engine: how it is reached, and what its failures mean here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from airflow_restore_replay.core.errors import (
    ConfigInvalid,
    HostKeyRefused,
    NodeDenied,
    NodeUnreachable,
)
from airflow_restore_replay.core.sections import NodeSpec

_TIMEOUT_S = 60
_DENIED = (401, 403)


class Engine:
    """One engine, connected to when it is first needed.

    :param spec: ``engine`` names it, ``tls_…`` hold our certificate; without an engine, ``DOCKER_HOST`` and its
        companions say which, as for Docker's own client.
    :param connect: makes the client instead: one that is logged in to a registry.
    """

    def __init__(self, spec: NodeSpec, connect: Callable[[], Any] | None = None) -> None:
        self.url = spec.engine or ""
        self._spec = spec
        self._connect = connect or self._plain_client

    @cached_property
    def client(self) -> Any:
        """:returns: Docker's low-level client. :raises NodeUnreachable: no engine answers."""
        with self.failures():
            return self._connect()

    @cached_property
    def name(self) -> str:
        """:returns: the engine's name for itself, its host's."""
        with self.failures():
            return str(self.client.info()["Name"])

    @contextmanager
    def failures(self, place: str = "") -> Iterator[None]:
        """Turn the client's exceptions into ours, :class:`docker.errors.NotFound` excepted."""
        import docker.errors
        import requests

        where = place or f"the Docker engine {self.url or 'of this host'}"
        try:
            yield
        except docker.errors.NotFound:
            raise
        except docker.errors.APIError as exc:
            kind = NodeDenied if exc.status_code in _DENIED else NodeUnreachable
            raise kind(f"{where} refused: {exc.explanation or exc}.") from exc
        except (docker.errors.DockerException, requests.RequestException, OSError, EOFError) as exc:
            raise NodeUnreachable(f"{where} does not answer: {exc}.", hint=_hint(self.url)) from exc
        except Exception as exc:
            raise _of_ssh(where, exc) from exc

    def _plain_client(self) -> Any:
        docker = _sdk()
        given = {"base_url": self.url, "tls": tls_config(self._spec)}
        options = given if self.url else docker.utils.kwargs_from_env()
        return docker.APIClient(version="auto", timeout=_TIMEOUT_S, **options)


def tls_config(spec: NodeSpec) -> Any:
    """:returns: what Docker's client makes of our certificate; False without one."""
    if not spec.tls_cert:
        return False
    return _sdk().tls.TLSConfig(ca_cert=spec.tls_ca, client_cert=(spec.tls_cert, spec.tls_key), verify=True)


def _sdk() -> Any:
    try:
        import docker
    except ImportError as exc:
        raise ConfigInvalid(
            "node.runtime docker needs Docker's Python package, which is not installed.",
            hint="pip install 'airflow-restore-replay[docker]'",
        ) from exc
    return docker


def _hint(url: str) -> str:
    return "" if url else "Set node.engine if the engine is not this host's own."


def _of_ssh(where: str, exc: Exception) -> Exception:
    """:returns: the failure of a connection over SSH as one of ours; any other exception is left as it is."""
    if type(exc).__module__.partition(".")[0] != "paramiko":
        return exc
    if "known_hosts" in str(exc) or type(exc).__name__ == "BadHostKeyException":
        return HostKeyRefused(
            f"{where}: {exc}.", hint="Compare the host's key and add it to ~/.ssh/known_hosts."
        )
    if type(exc).__name__.endswith("AuthenticationException"):
        return NodeDenied(f"{where}: {exc}.")
    return NodeUnreachable(f"{where} does not answer: {exc}.")
