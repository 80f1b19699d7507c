"""Examinations of a primary that are common to all flavors; each flavor's list says with which values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from airflow_restore_replay.core.errors import SourceFiltered, UnsupportedTables
from airflow_restore_replay.core.flavor.examination import Examination, Observation, PrimaryFacts
from airflow_restore_replay.core.flavor.findings import Severity
from airflow_restore_replay.core.flavor.sql import SYSTEM_SCHEMAS, dicts, rows
from airflow_restore_replay.core.flavor.values import NODE_SERVER_IDS, Conn, Table

#: a fix, or a function that finds it out
Fix = str | Callable[[PrimaryFacts], str]

_NAMES_SHOWN = 20
_UNKNOWN = "not known to this server"


@dataclass(frozen=True)
class Upstream:
    """What a primary replicates from.

    :param severity: what it means for a cycle if the primary does not log what it applies.
    :param what: the observation, for people.
    """

    severity: Severity
    what: str


def named(names: Sequence[str]) -> str:
    """Return *names* as text, of which the first are shown; ``none`` if there is none."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "") or "none"


def setting(name: str, expected: str, fix: Fix, *, severity: Severity = Severity.REFUSED) -> Examination:
    """Return the examination of a system variable, which ignores case."""

    def observe(facts: PrimaryFacts) -> Observation:
        observed = facts.variables.get(name, _UNKNOWN)
        holds = observed.upper() == expected.upper()
        return Observation(holds, observed, expected, "" if holds else _fix(fix, facts))

    return Examination(name=name, observe=observe, severity=severity)


def kept_logs(name: str, unit_s: int, fix: Callable[[int], str], *, unless: str = "") -> Examination:
    """Return the examination of how long the primary keeps binary logs; 0 keeps all.

    :param unit_s: the variable's unit, in seconds.
    :param fix: returns the fix for a value of the variable.
    :param unless: the variable that takes the place of this one on servers that know it.
    """

    def observe(facts: PrimaryFacts) -> Observation | None:
        if unless in facts.variables:
            return None
        observed, keep = facts.variables.get(name, _UNKNOWN), math.ceil(facts.wanted.keep_s / unit_s)
        return Observation(
            kept_enough(observed, keep), observed, f"0 or at least {keep} (two cycles)", fix(keep)
        )

    return Examination(name=name, observe=observe, severity=Severity.WARNING)


def kept_enough(text: str, keep: float) -> bool:
    """Return whether *text*, the value of a variable, is 0 or at least *keep*."""
    kept = float(text or 0) if text != _UNKNOWN else 0.0
    return kept == 0 or kept >= keep


def grant(
    name: str,
    why: str,
    *,
    severity: Severity = Severity.REFUSED,
    seeds: Sequence[str] = (),
    for_seed: bool = False,
) -> Examination:
    """Return the examination whether the account has a privilege ``ON *.*``.

    :param why: what the privilege is needed for.
    """

    def observe(facts: PrimaryFacts) -> Observation:
        held = name in facts.privileges
        fix = "" if held else f"GRANT {name} ON *.* TO {facts.account};"
        return Observation(held, "granted" if held else "missing", why, fix)

    return Examination(
        name=f"grant {name}", observe=observe, severity=severity, seeds=seeds, for_seed=for_seed
    )


def flavor(title: str, is_it: Callable[[str], bool]) -> Examination:
    """Return the examination whether the primary is of the configured flavor.

    :param title: the flavor's name for people.
    :param is_it: tells from version and version comment.
    """

    def observe(facts: PrimaryFacts) -> Observation:
        version, comment = facts.variables["version"], facts.variables.get("version_comment", "")
        return Observation(
            is_it(f"{version} {comment}"), version, title, "set the cluster's flavor accordingly."
        )

    return Examination(name="flavor", observe=observe, decisive=True)


def release(title: str, oldest: tuple[int, int], series_of: Callable[[str], tuple[int, ...]]) -> Examination:
    """Return the examination whether the primary's release is supported."""

    def observe(facts: PrimaryFacts) -> Observation:
        version, since = facts.variables["version"], ".".join(str(part) for part in oldest)
        return Observation(
            series_of(version) >= oldest,
            version,
            f"{since} or newer",
            f"Upgrade the primary to {title} {since}.",
        )

    return Examination(name="release", observe=observe, decisive=True)


def filters(statement: Callable[[PrimaryFacts], str], privilege: str) -> list[Examination]:
    """Return the examinations whether the primary leaves schemas out of its binary log.

    :param statement: shows the primary's place in its binary log, and needs *privilege*.
    """

    def observing(column: str) -> Callable[[PrimaryFacts], Observation | None]:
        def observe(facts: PrimaryFacts) -> Observation | None:
            if facts.variables.get("log_bin") != "ON":
                return None
            left_out = next(
                (row[column] for row in dicts(facts.conn, statement(facts)) if row.get(column)), ""
            )
            return Observation(
                not left_out,
                f"{column.lower()}={left_out}" if left_out else "none",
                "none: no replica can equal a primary that leaves schemas out of its binary log",
                "Remove the filter and restart the primary.",
            )

        return observe

    return [
        Examination(
            name=column.lower(), observe=observing(column), needs=[privilege], error=SourceFiltered.__name__
        )
        for column in ("Binlog_Do_DB", "Binlog_Ignore_DB")
    ]


def _server_id(facts: PrimaryFacts) -> Observation:
    ids = f"{NODE_SERVER_IDS.start}–{NODE_SERVER_IDS.stop - 1}"
    found = facts.variables["server_id"]
    return Observation(
        int(found) not in NODE_SERVER_IDS,
        found,
        f"outside {ids}",
        f"Nodes have {ids}: give the primary another.",
    )


SERVER_ID = Examination(name="server_id", observe=_server_id)


def logged_replication(
    names: Sequence[str], upstream: Callable[[PrimaryFacts], Upstream], fix: str, *, needs: Sequence[str] = ()
) -> Examination:
    """Return the examination whether a primary that is a replica itself logs what it applies.

    A node would lack what the primary has from its own primary otherwise.

    :param names: names of the variable, the newest first.
    :param upstream: returns what the primary replicates from.
    :param needs: privileges that *upstream* needs.
    """

    def observe(facts: PrimaryFacts) -> Observation:
        value = next((facts.variables[name] for name in names if name in facts.variables), _UNKNOWN)
        source = Upstream(Severity.OK, "") if value == "ON" else upstream(facts)
        return Observation(
            source.severity is Severity.OK,
            f"{value}, and {source.what}" if source.what else value,
            "ON if the primary is a replica, so that its binary log has what it applies",
            fix,
            source.severity,
        )

    return Examination(name=names[0], observe=observe, needs=needs)


def carried(unsupported: Callable[[Conn], dict[str, str]], fix: str) -> Examination:
    """Return the examination whether a backup can contain all tables.

    :param unsupported: returns tables → why a backup cannot contain them.
    """

    def observe(facts: PrimaryFacts) -> Observation:
        found = [f"{table} ({why})" for table, why in unsupported(facts.conn).items()]
        return Observation(
            not found,
            f"A snapshot cannot carry: {named(found)}" if found else "all can be carried",
            "no DATA DIRECTORY, no encryption at rest, no engine with data elsewhere",
            fix,
        )

    return Examination(
        name="tables", observe=observe, needs=("SELECT", "PROCESS"), error=UnsupportedTables.__name__
    )


def _loadable_functions(facts: PrimaryFacts) -> Observation:
    found = [f"{name} ({library})" for name, library in rows(facts.conn, "SELECT name, dl FROM mysql.func")]
    expected = "none: loadable functions do not run on a node"
    return Observation(
        not found, named(found), expected, "Drop the functions that replicated statements call."
    )


LOADABLE_FUNCTIONS = Examination(name="udf", observe=_loadable_functions, needs=["SELECT"])


def _trusted_functions(facts: PrimaryFacts) -> Observation | None:
    """Observe whether an ordinary user of the primary can make an unconfined node's server run a function's text.

    A primary that logs statements logs the call of the function, and the node calls it as a superuser.
    """
    trusts = facts.variables.get("log_bin_trust_function_creators", "OFF")
    logs = facts.variables.get("binlog_format", "ROW")
    if facts.wanted.confined:
        return None
    return Observation(
        trusts == "OFF" or logs.upper() == "ROW",
        f"{trusts}, with binlog_format={logs}, and the node's server is not confined",
        "OFF, or binlog_format=ROW, or a node that confines its server: functions of ordinary users run on the node "
        "as a superuser",
        "SET GLOBAL log_bin_trust_function_creators=OFF; or give nodes a host that can confine (node.confine).",
    )


TRUSTED_FUNCTIONS = Examination(
    name="log_bin_trust_function_creators", observe=_trusted_functions, severity=Severity.WARNING
)


def rounded_floats(program: str, instead: str) -> Examination:
    """Return the examination whether there are FLOAT columns, which a dump rounds.

    :param program: name of the dump program.
    :param instead: how to seed exactly.
    """

    def observe(facts: PrimaryFacts) -> Observation:
        found = rows(
            facts.conn,
            "SELECT DISTINCT c.TABLE_SCHEMA, c.TABLE_NAME FROM information_schema.COLUMNS c"
            " JOIN information_schema.TABLES t USING (TABLE_SCHEMA, TABLE_NAME)"
            " WHERE c.DATA_TYPE = 'float' AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')"
            f" AND c.TABLE_SCHEMA NOT IN {SYSTEM_SCHEMAS} ORDER BY 1, 2",
        )
        tables = named([f"{schema}.{table}" for schema, table in found])
        return Observation(
            not found,
            tables,
            f"no FLOAT: {program} prints six digits of it, so after a logical seed these differ from the primary, "
            "and the comparison says so",
            f"{instead}, or list them in validate.exclude: {tables}.",
        )

    return Examination(name="float_columns", observe=observe, severity=Severity.WARNING, needs=["SELECT"])


def lost_memory(memory_tables: Callable[[Conn], list[Table]]) -> Examination:
    """Return the examination whether there are MEMORY tables."""

    def observe(facts: PrimaryFacts) -> Observation:
        found = [table.qualified for table in memory_tables(facts.conn)]
        return Observation(
            not found,
            named(found),
            "none: MEMORY tables are not replicated, and empty in every restored copy",
        )

    return Examination(name="memory_tables", observe=observe, severity=Severity.WARNING, needs=["SELECT"])


def _fix(fix: Fix, facts: PrimaryFacts) -> str:
    return fix if isinstance(fix, str) else fix(facts)
