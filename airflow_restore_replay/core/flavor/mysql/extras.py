"""Objects of MySQL that no dump carries: spatial reference systems, histograms, and what is only listed."""

from __future__ import annotations

import pymysql

from airflow_restore_replay.core.flavor.mysql.connect import release
from airflow_restore_replay.core.flavor.mysql.options import SAFE_PLUGINS
from airflow_restore_replay.core.flavor.quoting import identifier, literal, qualified
from airflow_restore_replay.core.flavor.sql import rows, run
from airflow_restore_replay.core.flavor.values import Conn

_REFERENCE_SYSTEMS = (
    "SELECT SRS_ID, SRS_NAME, DEFINITION, ORGANIZATION, ORGANIZATION_COORDSYS_ID, DESCRIPTION"
    " FROM information_schema.ST_SPATIAL_REFERENCE_SYSTEMS"
)
_HISTOGRAMS_FROM_DATA = (8, 0, 31)
_READ_ONLY_SCHEMAS = (8, 0, 22)
_OF_HOST = "it belongs to the host, not to the data"
#: conditions of the objects that are listed; an account sees those of USER type only, and with RESOURCE_GROUP_USER
GROUPS = "information_schema.RESOURCE_GROUPS"
OWN_GROUPS = "WHERE RESOURCE_GROUP_TYPE = 'USER' AND RESOURCE_GROUP_NAME <> 'USR_default'"
PLUGINS = f"WHERE dl NOT IN ({', '.join(map(literal, SAFE_PLUGINS))})"
READ_ONLY = "WHERE OPTIONS LIKE '%READ ONLY=1%'"


def create_reference_systems(primary: Conn, node: Conn) -> None:
    """Create the spatial reference systems that the node's server does not bring along, before tables use them."""
    ours = set(rows(node, _REFERENCE_SYSTEMS))
    for system in sorted(set(rows(primary, _REFERENCE_SYSTEMS)) - ours):
        number, name, definition, organization, its_number, description = system
        sql = f"CREATE OR REPLACE SPATIAL REFERENCE SYSTEM {int(number)} NAME %s DEFINITION %s"
        args = [name, definition]
        if organization is not None:
            sql += f" ORGANIZATION %s IDENTIFIED BY {int(its_number)}"
            args.append(organization)
        if description is not None:
            sql += " DESCRIPTION %s"
            args.append(description)
        run(node, sql, args)


def histograms(primary: Conn) -> list[tuple[str, str, str, str]]:
    """Return schema, table, column and content of each histogram."""
    if release(primary) < _HISTOGRAMS_FROM_DATA:
        return []
    found = rows(
        primary,
        "SELECT SCHEMA_NAME, TABLE_NAME, COLUMN_NAME, HISTOGRAM FROM information_schema.COLUMN_STATISTICS",
    )
    return [(str(schema), str(table), str(column), str(content)) for schema, table, column, content in found]


def create_histograms(node: Conn, wanted: list[tuple[str, str, str, str]]) -> dict[str, str]:
    """Create histograms.

    :returns: histogram → why the node refuses it.
    """
    refused = {}
    # UPDATE HISTOGRAM is refused to every account while the server is read-only.
    run(node, "SET GLOBAL read_only = OFF")
    for schema, table, column, content in wanted:
        sql = (
            f"ANALYZE NO_WRITE_TO_BINLOG TABLE {qualified(schema, table)}"
            f" UPDATE HISTOGRAM ON {identifier(column)} USING DATA %s"
        )
        try:
            answers = [str(row[3]) for row in rows(node, sql, (content,)) if str(row[2]).lower() != "status"]
        except pymysql.err.MySQLError as exc:
            answers = [str(exc.args[-1])]
        if answers:
            refused[f"histogram {schema}.{table}.{column}"] = answers[0]
    run(node, "SET GLOBAL read_only = ON")
    return refused


def has_read_only(conn: Conn) -> bool:
    """Return whether schemas of the server's release can be READ ONLY."""
    return release(conn) >= _READ_ONLY_SCHEMAS


def left_out(primary: Conn) -> dict[str, str]:
    """Return objects that are not carried → why."""
    listed = [
        (
            "resource group",
            f"RESOURCE_GROUP_NAME FROM {GROUPS} {OWN_GROUPS}",
            _OF_HOST,
        ),
        ("plugin", f"name FROM mysql.plugin {PLUGINS}", _OF_HOST),
        ("component", "component_urn FROM mysql.component", _OF_HOST),
    ]
    if has_read_only(primary):
        schemas = f"SCHEMA_NAME FROM information_schema.SCHEMATA_EXTENSIONS {READ_ONLY}"
        listed.append(("READ ONLY of schema", schemas, "replication could not write to it"))
    return {
        f"{kind} {name}": why
        for kind, names, why in listed
        for (name,) in rows(primary, f"SELECT {names} ORDER BY 1")
    }
