"""Choose the files of a few tables in a backup, by the names of the files."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_restore_replay.core.errors import NoSuchTable
from airflow_restore_replay.core.flavor.filenames import TableName, table_of
from airflow_restore_replay.core.flavor.quoting import joined, spelled
from airflow_restore_replay.core.repository.format.records import FileEntry, Manifest

_NAMES_SHOWN = 5
_ANY = "%"
_DEFINITIONS = (".frm", ".TRG", ".par")
_NAME = re.compile(r"(?:`(?:[^`]|``)*`|[^,`])+")


@dataclass(frozen=True)
class Chosen:
    """What a selection chooses of a backup.

    :param files: of the tables, and of the server itself.
    :param tables: that have files, in order.
    :param unseen: names without a pattern of which no file was found, but that may be in a tablespace of several
        tables.
    """

    files: list[FileEntry]
    tables: list[TableName]
    unseen: list[TableName]


@dataclass(frozen=True)
class Selection:
    """Patterns of tables: ``%`` stands for any characters, and every other character for itself.

    :param patterns: ``schema.table``; quoted with backticks where a name has a point.
    """

    patterns: Sequence[str]

    @classmethod
    def of(cls, tables: str | None, databases: str | None) -> Selection | None:
        """Return the selection of ``--tables`` and ``--databases``, each separated by commas; None for everything.

        :raises NoSuchTable: a pattern has no schema.
        """
        patterns = _listed(tables)
        for pattern in patterns:
            if not all(spelled(pattern)):
                raise NoSuchTable(
                    f"{pattern!r} names no table.", hint="Write schema.table, for example shop.orders."
                )
        patterns += [joined(schema, _ANY) for schema in _listed(databases)]
        return cls(tuple(patterns)) if patterns else None

    def __str__(self) -> str:
        return ",".join(self.patterns)

    def wants(self, schema: str, name: str) -> bool:
        """Return whether a table is selected."""
        return any(_matches(pattern, TableName(schema, name)) for pattern in self.patterns)

    def expected(
        self, files: Sequence[FileEntry], manifest: Manifest, logged: Callable[[str], bool]
    ) -> list[TableName]:
        """Return the tables of a backup on which logs will be replayed, as far as they are known before that.

        :param logged: whether the logs have anything about the tables of a pattern.
        :raises NoSuchTable: a pattern selects nothing, and the logs have nothing about it.
        """
        found: dict[TableName, None] = {}
        for pattern in self.patterns:
            try:
                chosen = Selection((pattern,)).chosen(files, manifest)
                found |= dict.fromkeys((*chosen.tables, *chosen.unseen))
            except NoSuchTable:
                if not logged(pattern):
                    raise
                if _ANY not in pattern:
                    found[TableName(*spelled(pattern))] = None
        return list(found)

    def chosen(self, files: Sequence[FileEntry], manifest: Manifest, whose: str = "") -> Chosen:
        """Return the files of the selected tables, and of the server itself.

        :param whose: what has the files, for messages; the backup by default.
        :raises NoSuchTable: a pattern selects nothing; the hint has the nearest names.
        """
        of = {entry.path: table_of(entry.path, directory=entry.directory) for entry in files}
        # A view has a definition only, as a table without rows has: MEMORY.
        holding = (p for p in of if not p.endswith(_DEFINITIONS) and "/" in p)
        known = sorted({table for path in holding if (table := of[path]) and table.name})
        folded = manifest.variables.get("lower_case_table_names", "0") != "0"
        selection = Selection([p.lower() for p in self.patterns]) if folded else self
        tables = [table for table in known if selection.wants(table.schema, table.name)]
        schemas = {table.schema for table in of.values() if table}
        unseen = []
        for pattern in selection.patterns:
            if any(_matches(pattern, table) for table in tables) or _is_empty(pattern, schemas, known):
                continue
            wanted = TableName(*spelled(pattern))
            if wanted.schema not in schemas or _ANY in pattern or not _shares_tablespaces(files, manifest):
                raise _unknown(pattern, known, whose or f"Backup {manifest.backup_id}")
            unseen.append(wanted)
        wanted_schemas = {t.schema for t in (*tables, *unseen)} | {
            schema for schema in schemas if selection.wants(schema, "")
        }
        picked = [
            entry
            for entry in files
            if (table := of[entry.path]) is None
            or (
                table.schema in wanted_schemas
                if not table.name
                else selection.wants(table.schema, table.name)
            )
        ]
        return Chosen(picked, tables, unseen)


def _unknown(pattern: str, known: Sequence[TableName], whose: str) -> NoSuchTable:
    names = [joined(table.schema, table.name) for table in known]
    near = difflib.get_close_matches(pattern, names, _NAMES_SHOWN, cutoff=0.4)
    listed = f"The nearest: {', '.join(near)}." if near else f"It has {len(names)} tables."
    return NoSuchTable(
        f"{whose} has no table {pattern}. {listed}",
        evidence={"pattern": pattern, "nearest": near},
    )


def entries_of(data: Path) -> list[FileEntry]:
    """Return the files and directories of a data directory, as those of a backup, without their content."""
    found = []
    for folder, directories, files in os.walk(data):
        place = Path(folder).relative_to(data)
        found += [FileEntry(path=str(place / name), directory=True) for name in directories]
        found += [FileEntry(path=str(place / name)) for name in files]
    return found


def _listed(text: str | None) -> list[str]:
    """Return the names of a list, which commas separate where they are not between backticks."""
    return [name.strip() for name in _NAME.findall(text or "") if name.strip()]


def _is_empty(pattern: str, schemas: Iterable[str], known: Iterable[TableName]) -> bool:
    """Return whether a pattern means a whole schema, which has no tables."""
    schema, name = spelled(pattern)
    return name == _ANY and schema in schemas and all(table.schema != schema for table in known)


def _shares_tablespaces(files: Iterable[FileEntry], manifest: Manifest) -> bool:
    """Return whether a table may have no file of its own, and none with its definition: on MySQL only."""
    general = any("/" not in f.path and f.path.endswith(".ibd") and f.path != "mysql.ibd" for f in files)
    return manifest.flavor == "mysql" and (
        general or manifest.variables.get("innodb_file_per_table", "ON") in ("OFF", "0")
    )


def _matches(pattern: str, table: TableName) -> bool:
    return all(
        re.fullmatch(".*".join(map(re.escape, part.split(_ANY))), text, re.DOTALL)
        for part, text in zip(spelled(pattern), (table.schema, table.name), strict=True)
    )
