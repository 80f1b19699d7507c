"""The server that a restored copy is to replicate from: how it is written, and whether it fits."""

from __future__ import annotations

import contextlib
import re

from airflow_restore_replay.core.config.sections import Primary
from airflow_restore_replay.core.errors import PreflightFailed
from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.findings import Finding
from airflow_restore_replay.core.flavor.values import Endpoint, position_text
from airflow_restore_replay.core.jobs.preconditions import finding_of
from airflow_restore_replay.core.repository.format.records import Manifest

_DEFAULT_PORT = 3306
_SERVER = re.compile(
    r"(?:(?P<user>[^@]+)@)?(?:(?P<socket>/.+)|\[(?P<v6>[0-9A-Fa-f:.]+)\](?::(?P<port6>\d+))?"
    r"|(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*)(?::(?P<port>\d+))?)"
)


def server_at(text: str, password: str, usual: Primary) -> Endpoint:
    """Return the endpoint that ``[USER@]HOST[:PORT]`` or ``[USER@]/SOCKET`` names.

    :param usual: gives the account's name and the files for TLS.
    :raises PreflightFailed: it has another form.
    """
    match = _SERVER.fullmatch(text)
    port = int((match and (match["port"] or match["port6"])) or _DEFAULT_PORT)
    if not match or not 0 < port < 2**16:
        raise PreflightFailed(
            f"{text!r} is no server.", hint="Write USER@HOST, USER@HOST:PORT, or USER@/path/of/its.sock."
        )
    user = match["user"] or usual.user
    if match["socket"]:
        return Endpoint(socket=match["socket"], user=user, password=password)
    return Endpoint(
        host=match["host"] or match["v6"],
        port=port,
        user=user,
        password=password,
        ssl_ca=usual.ssl_ca,
        ssl_cert=usual.ssl_cert,
        ssl_key=usual.ssl_key,
    )


def examine_source(flavor: Flavor, source: Endpoint, manifest: Manifest) -> list[Finding]:
    """Return whether a copy of a backup can replicate from *source*: it answers, and its history is the backup's."""

    def continues() -> str:
        flavor.check_history(source, flavor.parse_position(manifest.position), manifest.chains)
        return f"{source} can continue {position_text(manifest.position)}"

    def answers() -> str:
        with contextlib.closing(flavor.connect(source)) as conn:
            identity = flavor.identity(conn)
            flavor.refuse_release(
                backup=manifest.server_release, node=identity.release, primary=identity.release
            )
            return f"{source}, release {identity.release}"

    found = finding_of("source", "server", answers, expected=f"a {flavor.name} server of that release")
    if found.fix:
        return [found]
    return [found, finding_of("source", "history", continues, expected="that of the backup")]
