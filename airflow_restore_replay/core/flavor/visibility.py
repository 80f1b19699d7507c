"""Examine whether the account sees all that the primary has: what a server does not show is not absent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet

from airflow_restore_replay.core.flavor.examination import Examination, Observation, PrimaryFacts
from airflow_restore_replay.core.flavor.findings import Severity
from airflow_restore_replay.core.flavor.primary_examinations import grant, named
from airflow_restore_replay.core.flavor.quoting import identifier
from airflow_restore_replay.core.flavor.values import Conn

#: schema and table, as text for people → whether their schema is not listed either, and that means that it is hidden
Unlisted = Mapping[str, bool]


def withheld(privileges: Callable[[Conn], Mapping[str, AbstractSet[str]]]) -> Examination:
    """Return the examination whether the account lacks a privilege in some schemas only.

    :param privileges: returns schema → what the account lacks there.
    """

    def observe(facts: PrimaryFacts) -> Observation:
        found = privileges(facts.conn)
        lacking = {schema: ", ".join(sorted(names)) for schema, names in found.items()}
        return Observation(
            not found,
            named([f"{schema} (without {names})" for schema, names in lacking.items()]),
            "none: a schema that the account may not read is missing in a dump, and is not compared",
            " ".join(
                f"GRANT {names} ON {identifier(schema)}.* TO {facts.account};"
                for schema, names in lacking.items()
            ),
        )

    return Examination(name="hidden schemas", observe=observe)


def hidden_tables(unlisted: Callable[[Conn], Unlisted]) -> Examination:
    """Return the examination whether the storage engine has tables that the server does not list for the account.

    :param unlisted: returns them; needs PROCESS.
    """

    def observe(facts: PrimaryFacts) -> Observation:
        # A table that was dropped or renamed between the two lists is not in both answers.
        found = unlisted(facts.conn)
        found = found and {name: alone for name, alone in unlisted(facts.conn).items() if name in found}
        return Observation(
            not found,
            named([f"{name} (not even its schema is listed)" if a else name for name, a in found.items()]),
            "none: InnoDB has these tables, and the server does not list them",
            f"GRANT SELECT ON *.* TO {facts.account}; If the account has it, and no finding about hidden schemas names "
            "their schema, they are remains of lost definitions: drop them.",
            # Remains of tables whose definition was lost harm no backup.
            Severity.REFUSED if any(found.values()) else Severity.WARNING,
        )

    return Examination(name="hidden tables", observe=observe, needs=["PROCESS"])


def sight(
    seeing: Collection[str],
    reasons: Mapping[str, str],
    unlisted: Callable[[Conn], Unlisted],
    *others: Examination,
) -> tuple[Examination, ...]:
    """Return what must still hold before a backup is published, and before a difference blames anybody."""
    return (*(grant(name, reasons[name]) for name in seeing), *others, hidden_tables(unlisted))
