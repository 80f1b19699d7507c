"""Nodes on another host, over SSH. Needs the extra ``ssh`` (paramiko)."""

from __future__ import annotations

import base64
import contextlib
import getpass
import io
import logging
import shlex
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

from airflow_restore_replay.core.config.sections import NodeSpec
from airflow_restore_replay.core.errors import (
    ConfigInvalid,
    HostKeyRefused,
    NodeDenied,
    NodeUnreachable,
    PreflightFailed,
)
from airflow_restore_replay.core.runtime.base import NodeAccess
from airflow_restore_replay.core.runtime.remote import Completed, Output, RemoteRuntime

try:
    import paramiko
    from paramiko.pkey import UnknownKeyType
except ImportError as missing:
    raise PreflightFailed(
        "node.runtime ssh needs the package paramiko, which is not installed here.",
        hint="Install it on workers and triggerers: pip install 'airflow-restore-replay[ssh]'",
    ) from missing

#: Paramiko would log each new and each lost connection, with tracebacks; this package raises errors for those instead.
_LIBRARY_LOG = f"{__name__}.paramiko"
logging.getLogger(_LIBRARY_LOG).setLevel(logging.CRITICAL)

_CONNECT_TIMEOUT_S = 15.0
#: keeps firewalls from dropping the connection between two status queries
_KEEPALIVE_S = 30
_PIECE_BYTES = 64 * 1024
_CONTINUING = "Jobs that run there continue; the task's retry finds them."
_SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
_KEY_TYPES = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


def ssh_runtime(spec: NodeSpec, access: NodeAccess) -> RemoteRuntime:
    """Return a runtime whose nodes live on ``node.host``.

    :raises ConfigInvalid: ``node.host`` is missing, so only Airflow can resolve the connection.
    """
    if not spec.host:
        raise ConfigInvalid(
            f"node.connection {spec.connection!r} can only be resolved by Airflow.",
            hint="For the command line give node.host, and user and key_file if they are not your own.",
        )
    host = spec.host if spec.port == paramiko.config.SSH_PORT else f"{spec.host}:{spec.port}"
    transport = SshTransport(spec, access)
    return RemoteRuntime("ssh", transport, workdir=spec.workdir, host=host, python=spec.python)


class SshTransport:
    """Transport over one SSH connection, which is kept for the next command and opened again when it was lost.

    :param spec: has the host's address and the paths of key files.
    :param access: credentials that take precedence over those files.
    """

    def __init__(self, spec: NodeSpec, access: NodeAccess) -> None:
        self._host = spec.host or ""
        self._port = spec.port
        self._user = spec.user or getpass.getuser()
        self._key_file = spec.key_file
        self._known_hosts = spec.known_hosts
        self._access = access
        self._client: paramiko.SSHClient | None = None
        self._connecting = threading.Lock()
        self.place = f"host {self._host}"

    def run(self, argv: Sequence[str], payload: bytes, *, timeout_s: float) -> Completed:
        connection = self._connection()
        # Paramiko waits in many places, and not all of them have a timeout; but all end when the connection is closed.
        watchdog = threading.Timer(timeout_s, connection.close)
        watchdog.daemon = True
        watchdog.start()
        started = time.monotonic()
        try:
            done = _execute(connection, shlex.join(argv), payload, Output(self.place))
        except (OSError, EOFError, paramiko.SSHException) as exc:
            connection.close()
            raise self._lost(exc, time.monotonic() - started, timeout_s) from exc
        finally:
            watchdog.cancel()
        if done.exit_code < 0 and not connection.is_active():
            raise self._lost(EOFError(), time.monotonic() - started, timeout_s)
        return done

    def _lost(self, exc: Exception, seconds: float, timeout_s: float) -> NodeUnreachable:
        if seconds >= timeout_s:
            return NodeUnreachable(
                f"The agent on {self.place} did not answer within {timeout_s:g} s.", hint=_CONTINUING
            )
        return NodeUnreachable(
            f"The connection to {self.place} was lost: {str(exc) or type(exc).__name__}.", hint=_CONTINUING
        )

    def _connection(self) -> paramiko.Transport:
        with self._connecting:
            transport = self._client.get_transport() if self._client else None
            if transport is None or not transport.is_active():
                self._client = self._connect()
                transport = self._client.get_transport()
                if transport is None:
                    raise NodeUnreachable(f"The connection to {self.place} was lost at once.")
                transport.set_keepalive(_KEEPALIVE_S)
                # Otherwise the transport's thread keeps the connection open until this process ends.
                weakref.finalize(self, transport.close)
            return transport

    def _connect(self) -> paramiko.SSHClient:
        client = self._trusting()
        key = self._private_key()
        own = key is None and not self._access.password
        try:
            client.connect(
                self._host,
                self._port,
                self._user,
                password=self._access.password or None,
                pkey=key,
                allow_agent=own,
                look_for_keys=own,
                timeout=_CONNECT_TIMEOUT_S,
                banner_timeout=_CONNECT_TIMEOUT_S,
                auth_timeout=_CONNECT_TIMEOUT_S,
            )
        except paramiko.BadHostKeyException as exc:
            raise self._another_key(exc) from exc
        except paramiko.AuthenticationException as exc:
            raise NodeDenied(
                f"{self.place} does not accept {self._user!r}: {exc}",
                hint="Give the connection a key or password that this account has, and check its authorized_keys.",
            ) from exc
        except (OSError, EOFError, paramiko.SSHException) as exc:
            raise self._unreachable(exc) from exc
        return client

    def _trusting(self) -> paramiko.SSHClient:
        """Return a client that trusts the configured host keys only."""
        client = paramiko.SSHClient()
        client.set_log_channel(_LIBRARY_LOG)
        client.set_missing_host_key_policy(_RefuseUnknown(self._host, self._port, self._known_hosts))
        if self._access.host_key:
            key_type, key = _parse_host_key(self._access.host_key)
            client.get_host_keys().add(_known_as(self._host, self._port), key_type, key)
        elif self._known_hosts:
            try:
                client.load_host_keys(self._known_hosts)
            except OSError as exc:
                raise ConfigInvalid(f"Cannot read node.known_hosts: {exc.strerror}.") from exc
        else:
            client.load_system_host_keys()
            with contextlib.suppress(FileNotFoundError):
                client.load_system_host_keys(_SYSTEM_KNOWN_HOSTS)
        return client

    def _private_key(self) -> paramiko.PKey | None:
        if self._access.private_key:
            return _parse_private_key(self._access.private_key, self._access.passphrase, "The private key")
        if self._key_file:
            try:
                text = Path(self._key_file).expanduser().read_text(encoding="utf-8")
            except OSError as exc:
                raise ConfigInvalid(f"Cannot read node.key_file: {exc.strerror}.") from exc
            return _parse_private_key(text, self._access.passphrase, f"node.key_file {self._key_file}")
        return None

    def _unreachable(self, exc: Exception) -> NodeUnreachable:
        return NodeUnreachable(
            f"{self.place}, port {self._port}, cannot be reached by SSH: {str(exc) or type(exc).__name__}.",
            hint=_CONTINUING,
        )

    def _another_key(self, exc: paramiko.BadHostKeyException) -> HostKeyRefused:
        return HostKeyRefused(
            f"{self.place} shows the key {exc.key.fingerprint}, known is {exc.expected_key.fingerprint}: "
            "the host was reinstalled, or another host answers.",
            hint="If it was reinstalled, replace its key in known_hosts or in the connection's host_key.",
        )


class _RefuseUnknown(paramiko.MissingHostKeyPolicy):
    def __init__(self, host: str, port: int, known_hosts: str | None) -> None:
        self._scan = f"ssh-keyscan -p {port} {host}"
        self._file = known_hosts or "~/.ssh/known_hosts"

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise HostKeyRefused(
            f"Host {hostname} is not known; it shows the key {key.fingerprint}.",
            hint=f"Compare that on the host itself (ssh-keygen -lf /etc/ssh/ssh_host_…_key.pub), then, for the "
            f"worker's account: {self._scan} >> {self._file}; or put the key into the connection's host_key.",
        )


def _execute(connection: paramiko.Transport, command: str, payload: bytes, output: Output) -> Completed:
    with contextlib.closing(connection.open_session(timeout=_CONNECT_TIMEOUT_S)) as channel:
        channel.exec_command(command)
        # Both streams share one window: a program that fills it with messages would block if only its answer was read.
        messages = threading.Thread(target=_drain, args=(channel.recv_stderr, output.message), daemon=True)
        messages.start()
        with contextlib.suppress(OSError):  # the program may have ended before it read all
            channel.sendall(payload)
            channel.shutdown_write()
        _drain(channel.recv, output.answer)
        messages.join()
        return output.completed(channel.recv_exit_status())


def _drain(receive: Callable[[int], bytes], take: Callable[[bytes], None]) -> None:
    while data := receive(_PIECE_BYTES):
        take(data)


def _known_as(host: str, port: int) -> str:
    return host if port == paramiko.config.SSH_PORT else f"[{host}]:{port}"


def _parse_private_key(text: str, passphrase: str, name: str) -> paramiko.PKey:
    why = "unknown type"
    for kind in _KEY_TYPES:
        try:
            return kind.from_private_key(io.StringIO(text), password=passphrase or None)
        except paramiko.PasswordRequiredException:
            why = "it is encrypted, and there is no passphrase"
        except (paramiko.SSHException, ValueError, TypeError):
            continue
    raise ConfigInvalid(
        f"{name} cannot be read: {why}.",
        hint="It must be an Ed25519, ECDSA or RSA key; a passphrase belongs into private_key_passphrase.",
    )


def _parse_host_key(line: str) -> tuple[str, paramiko.PKey]:
    """Parse a host key.

    :param line: ``ssh-ed25519 AAAA…``, or the bare base64 of an RSA key, as Airflow's SSH provider accepts it.
    :raises ConfigInvalid: it is not a host key.
    """
    words = line.split()
    key_type, body = (words[0], words[1]) if len(words) > 1 else ("ssh-rsa", line.strip())
    try:
        key = paramiko.PKey.from_type_string(key_type, base64.b64decode(body, validate=True))
    except (ValueError, paramiko.SSHException, UnknownKeyType) as exc:
        raise ConfigInvalid(
            "The connection's host_key is no host key.",
            hint="It has the form of /etc/ssh/ssh_host_ed25519_key.pub: ssh-ed25519 AAAA…",
        ) from exc
    return key.get_name(), key
