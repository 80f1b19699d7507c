"""``CLONE INSTANCE FROM``: its requirements on both servers, its statements, and the classification of its errors.

Source: MySQL manual, "Cloning Remote Data", "Monitoring Cloning Operations".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_restore_replay.core.errors import (
    NodeFull,
    PreflightFailed,
    PrimaryUnreachable,
    ReleaseRefused,
    RestoreReplayError,
    SeedFailed,
    SourceCorrupt,
)
from airflow_restore_replay.core.flavor.classify import denied, disk_full
from airflow_restore_replay.core.flavor.mysql import grants
from airflow_restore_replay.core.flavor.mysql.gtid import MySqlPosition
from airflow_restore_replay.core.flavor.mysql.identity import release_of
from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.tls import unreachable_hint
from airflow_restore_replay.core.flavor.values import Conn, Endpoint

#: "Restart server failed (mysqld is not managed by supervisor process)": the copy is complete, and the server stops
RESTART_FAILED = 3707
_SAME_SERIES_SINCE = (8, 0, 37)
_PLUGIN = "mysql_clone.so"
_MIN_PACKET_BYTES = 2 * 2**20
#: errors for different plugins of donor and recipient: protocol or release
_UNLIKE = (3869, 3870, 3871, 3872, 3873, 3874)


@dataclass(frozen=True)
class Progress:
    """Progress of a clone.

    :param done, total: bytes of the files to copy, by the donor's estimate.
    """

    stage: str
    done: int
    total: int


def refuse_donor(donor: Conn, recipient_release: str) -> None:
    """Raise if the recipient cannot clone the donor.

    :raises PreflightFailed: the donor has no active CLONE plugin, the account may not use it, or the donor's
        max_allowed_packet is too small.
    :raises ReleaseRefused: a recipient of that release cannot clone the donor's release.
    """
    theirs = release_of(str(rows(donor, "SELECT @@GLOBAL.version")[0][0]))
    if not _alike(theirs, recipient_release):
        raise ReleaseRefused(
            f"The node's server is MySQL {recipient_release}, the primary's {theirs}: CLONE copies only between "
            "releases of one series, and before 8.0.37 between equal ones.",
            hint=f"Install MySQL {theirs} on the node, or set seed.method: logical.",
        )
    state = rows(
        donor,
        "SELECT PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone'",
    )
    if not state or state[0][0] != "ACTIVE":
        raise PreflightFailed(
            "The primary's CLONE plugin is not active.",
            hint=f"Run on the primary: INSTALL PLUGIN clone SONAME '{_PLUGIN}'; or set seed.method: logical.",
        )
    if "BACKUP_ADMIN" not in grants.held(donor):
        user, _, host = str(rows(donor, "SELECT CURRENT_USER()")[0][0]).rpartition("@")
        raise PreflightFailed(
            "The account lacks BACKUP_ADMIN, which CLONE needs.",
            hint=f"Run on the primary: GRANT BACKUP_ADMIN ON *.* TO {grants.account(user, host)};",
        )
    packet = int(rows(donor, "SELECT @@GLOBAL.max_allowed_packet")[0][0])
    if packet < _MIN_PACKET_BYTES:
        raise PreflightFailed(
            f"The primary's max_allowed_packet is {packet}; CLONE needs {_MIN_PACKET_BYTES}.",
            hint=f"Run on the primary: SET PERSIST max_allowed_packet={_MIN_PACKET_BYTES};",
        )


def _alike(one: str, other: str) -> bool:
    a, b = (tuple(int(part) for part in text.split(".")[:3]) for text in (one, other))
    return a == b or (a[:2] == b[:2] and min(a, b) >= _SAME_SERIES_SINCE)


def prepare_recipient(node: Conn, donor: Endpoint) -> None:
    """Load the plugin, and set the donor's address and TLS files."""
    _load_plugin(node)
    run(node, "SET GLOBAL clone_valid_donor_list = %s", (f"{donor.host}:{donor.port}",))
    # With a CA, CLONE verifies the donor's certificate, but not its host name; other connections verify both (9.7).
    for name, path in (("ca", donor.ssl_ca), ("cert", donor.ssl_cert), ("key", donor.ssl_key)):
        run(node, f"SET GLOBAL clone_ssl_{name} = %s", (path,))


def _load_plugin(node: Conn) -> bool:
    """Load the CLONE plugin, and return False if it was loaded before."""
    if rows(node, "SELECT 1 FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone'"):
        return False
    run(node, f"INSTALL PLUGIN clone SONAME '{_PLUGIN}'")
    return True


def clone_instance(node: Conn, donor: Endpoint) -> None:
    """Copy the donor; if that succeeds, the server is about to stop or to restart.

    :raises MySQLError: the copy failed, or it is complete and the server stops (:data:`RESTART_FAILED`).
    """
    # The password is part of a statement to a server that only the agent can connect to; its logs leave it out.
    secure = " REQUIRE SSL" if donor.ssl_ca else ""
    run(
        node,
        f"CLONE INSTANCE FROM %s@%s:{int(donor.port)} IDENTIFIED BY %s{secure}",
        (donor.user, donor.host, donor.password),
    )


def progress(node: Conn) -> Progress:
    """Return the progress of the copy."""
    found = rows(
        node,
        "SELECT STAGE, STATE, COALESCE(DATA, 0), COALESCE(ESTIMATE, 0) FROM performance_schema.clone_progress",
    )
    running = next((stage for stage, state, *_ in found if state == "In Progress"), "")
    return Progress(str(running), sum(int(r[2]) for r in found), sum(int(r[3]) for r in found))


def cloned_position(node: Conn) -> MySqlPosition:
    """Return the position of the last clone.

    :raises SeedFailed: the last clone did not complete.
    """
    # If the primary loads the plugin by an option, not by mysql.plugin, its copy has started without the plugin.
    added = _load_plugin(node)
    found = rows(
        node, "SELECT STATE, ERROR_NO, ERROR_MESSAGE, GTID_EXECUTED FROM performance_schema.clone_status"
    )
    if added:
        run(node, "UNINSTALL PLUGIN clone")
    if not found or found[0][0] != "Completed" or int(found[0][1]):
        raise SeedFailed(f"The clone is not complete: {found[0][:3] if found else 'there is none'}.")
    return MySqlPosition.parse(str(found[0][3] or ""))


def clone_error(number: int, text: str) -> RestoreReplayError:
    """Classify a failed clone by its blame."""
    if re.search(r"ccess denied", text):
        return denied(1045, text, "CLONE's account")
    if re.search(
        r"Connect failed|Can't connect|Lost connection|gone away|Network error|\b20(03|05|13)\b", text
    ):
        return PrimaryUnreachable(f"CLONE cannot reach the primary: {text}", hint=unreachable_hint(text))
    if disk_full(text):
        return NodeFull(f"CLONE ran out of space on the node: {text}")
    if re.search(r"page corruption|corrupt", text, re.IGNORECASE):
        return SourceCorrupt(
            f"CLONE found damage on the primary: {text}",
            hint="Repair the primary; the last good backup is kept.",
        )
    if number in _UNLIKE:
        return ReleaseRefused(f"The primary and the node are too different for CLONE: {text}")
    return SeedFailed(f"CLONE failed with error {number}: {text}", evidence={"error": number})
