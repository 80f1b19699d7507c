"""``CLONE INSTANCE FROM``: its statements, and the classification of its errors.

Source: MySQL manual, "Cloning Remote Data", "Monitoring Cloning Operations".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_restore_replay.core.errors import (
    NodeFull,
    PrimaryUnreachable,
    ReleaseRefused,
    RestoreReplayError,
    SeedFailed,
    SourceCorrupt,
)
from airflow_restore_replay.core.flavor.classify import denied, disk_full
from airflow_restore_replay.core.flavor.examination import Wanted, examine_primary
from airflow_restore_replay.core.flavor.findings import refuse
from airflow_restore_replay.core.flavor.mysql import grants
from airflow_restore_replay.core.flavor.mysql.clone_examinations import CLONE_EXAMINATIONS, PLUGIN
from airflow_restore_replay.core.flavor.mysql.gtid import MySqlPosition
from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.tls import unreachable_hint
from airflow_restore_replay.core.flavor.values import Conn, Endpoint

#: "Restart server failed (mysqld is not managed by supervisor process)": the copy is complete, and the server stops
RESTART_FAILED = 3707
#: errors for different settings, plugins, protocols or releases of donor and recipient
_UNLIKE = (3868, 3869, 3870, 3871, 3872, 3873, 3874)


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

    :raises PreflightFailed: the donor does not meet the preconditions of CLONE; the error has the fixes.
    :raises ReleaseRefused: a recipient of that release cannot clone the donor's release.
    """
    wanted = Wanted(seed="clone", keep_s=0, node_release=recipient_release)
    found = examine_primary(donor, wanted, CLONE_EXAMINATIONS, privileges_of=grants.held)
    refuse(found, seeding=True)


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
    run(node, f"INSTALL PLUGIN clone SONAME '{PLUGIN}'")
    return True


def clone_instance(node: Conn, donor: Endpoint) -> None:
    """Copy the donor; if that succeeds, the server is about to stop or to restart.

    :raises MySQLError: the copy failed, or it is complete and the server stops (:data:`RESTART_FAILED`).
    """
    # The password is part of a statement to a server that only the agent can connect to; its logs leave it out.
    # As replication needs TLS: without it, CLONE would encrypt the password with a key that the other side sends.
    run(
        node,
        f"CLONE INSTANCE FROM %s@%s:{int(donor.port)} IDENTIFIED BY %s REQUIRE SSL",
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
