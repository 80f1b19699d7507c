"""Put a table's file into the data directory of a living server, and let the server import it.

IMPORT TABLESPACE is in the server's binary log, but the file is not: a replica would stop there, and so would the next
replay. So a server that writes a binary log gets rows.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pymysql

from airflow_restore_replay.core.flavor.base import Flavor
from airflow_restore_replay.core.flavor.filenames import TableName
from airflow_restore_replay.core.flavor.quoting import qualified
from airflow_restore_replay.core.flavor.sql import rows, run, value
from airflow_restore_replay.core.flavor.values import Conn
from airflow_restore_replay.core.system.beneath import Beneath

_EXTENSIONS = ("ibd", "cfg")


class Unfit(Exception):
    """Says why a table cannot be put into a server as a tablespace.

    :param spoilt: whether the empty table on the server has lost its file.
    """

    def __init__(self, why: str, *, spoilt: bool = False) -> None:
        super().__init__(why)
        self.spoilt = spoilt


def import_tablespace(flavor: Flavor, copy: Conn, there: Conn, table: TableName, working: TableName) -> None:
    """Replace the file of the empty table *working* on *there* by that of *table* on the copy.

    :raises Unfit: the server, its directory or the table does not allow it.
    """
    _refuse_server(flavor, copy, there)
    _refuse_table(copy, table)
    place, number = _place_of(there, working)
    name = qualified(working.schema, working.name)
    with contextlib.closing(place):
        owner = os.fstat(number)
        try:
            with _exported(copy, table) as (source, stem):
                run(there, f"ALTER TABLE {name} DISCARD TABLESPACE")
                for extension in _EXTENSIONS:
                    _put(source / f"{stem}.{extension}", place, f"{working.name}.{extension}", owner)
            run(there, f"ALTER TABLE {name} IMPORT TABLESPACE")
        except (pymysql.err.MySQLError, OSError) as exc:
            raise Unfit(f"the server does not import it: {exc.args[-1]}", spoilt=True) from exc
        finally:
            os.close(number)
            place.remove(f"{working.name}.cfg")


def _refuse_server(flavor: Flavor, copy: Conn, there: Conn) -> None:
    if int(value(there, "SELECT @@GLOBAL.log_bin")):
        raise Unfit("the server writes a binary log, which has no imported tablespace")
    ours, theirs = flavor.identity(copy).release, flavor.identity(there).release
    if ours.rpartition(".")[0] != theirs.rpartition(".")[0]:
        raise Unfit(f"the copy's release is {ours}, the server's {theirs}")
    sizes = [int(value(conn, "SELECT @@GLOBAL.innodb_page_size")) for conn in (copy, there)]
    if sizes[0] != sizes[1]:
        raise Unfit(f"the copy's pages have {sizes[0]} bytes, the server's {sizes[1]}")


def _refuse_table(copy: Conn, table: TableName) -> None:
    query = "SELECT ENGINE, CREATE_OPTIONS FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    ((engine, options),) = rows(copy, query, (table.schema, table.name))
    if engine != "InnoDB":
        raise Unfit(f"its engine is {engine}")
    if "partitioned" in str(options).lower():
        raise Unfit("it has partitions")
    query = "SELECT COUNT(*) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    if rows(copy, f"{query} AND INDEX_TYPE IN ('FULLTEXT', 'VECTOR')", (table.schema, table.name))[0][0]:
        raise Unfit("it has an index in files of its own")


def _place_of(there: Conn, working: TableName) -> tuple[Beneath, int]:
    """Return the directory of the working table's schema in the server's data directory, and its descriptor.

    :raises Unfit: it is not on this host, or this account may not write to it.
    """
    datadir = Path(str(value(there, "SELECT @@GLOBAL.datadir")))
    found = list(datadir.glob(f"*/{working.name}.ibd"))
    if len(found) != 1:
        raise Unfit(f"its data directory {datadir} is not readable here")
    place = Beneath(found[0].parent)
    if not os.access(found[0].parent, os.W_OK):
        place.close()
        raise Unfit(f"this account may not write to {found[0].parent}")
    return place, place.open(f"{working.name}.ibd", os.O_RDONLY)


@contextlib.contextmanager
def _exported(copy: Conn, table: TableName) -> Iterator[tuple[Path, str]]:
    """Hold the table on the copy in a state in which its file is complete, and yield where that is."""
    run(copy, f"FLUSH TABLES {qualified(table.schema, table.name)} FOR EXPORT")
    try:
        datadir = Path(str(value(copy, "SELECT @@GLOBAL.datadir")))
        exported = [path for path in datadir.glob("*/*.cfg") if path.with_suffix(".ibd").exists()]
        if len(exported) != 1:
            raise Unfit("the copy does not export it")
        yield exported[0].parent, exported[0].stem
    finally:
        run(copy, "UNLOCK TABLES")


def _put(source: Path, place: Beneath, name: str, owner: os.stat_result) -> None:
    """Write a new file, which follows no link, with the owner and mode of the server's files."""
    place.remove(name)
    with source.open("rb") as reader, place.opened(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
        with os.fdopen(os.dup(descriptor), "wb") as writer:
            shutil.copyfileobj(reader, writer, 2**20)
        os.fchmod(descriptor, owner.st_mode & 0o777)
        if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        os.fsync(descriptor)
