"""Seeds: a node filled by CLONE, as MySQL's clusters are by default, against a dump loaded into an ordinary server."""

from __future__ import annotations

from airflow_restore_replay.core.flavor.mysql.clone_seed import seed_clone
from airflow_restore_replay.core.flavor.mysql.flavor import MySqlFlavor
from bench.data import ROW_BYTES, sysbench
from bench.measure import WrongBytes, alternate, shell, size_of, sync_tree, timed
from bench.nodes import BUFFER_POOL_BYTES, checksums, layout_at
from bench.rows import Row, speed
from bench.settings import Bench
from tests.support.mysql import MySqlPrimary
from tests.support.primary import ROOT_PASSWORD

IDS = ("seed/mysqldump",)
_TABLES = 8
#: MySQL's defaults otherwise, its binary log included
_ORDINARY = (
    f"--innodb-buffer-pool-size={BUFFER_POOL_BYTES}",
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-redo-log-capacity=100M",
    "--sync-binlog=1",
)


def rows(bench: Bench) -> list[Row]:
    """Copy the same running primary in both ways."""
    seeds = _Seeds(bench)
    try:
        found = bench.keep("seed", alternate({"clone": seeds.clone, "dump": seeds.dump}, repeat=bench.repeat))
    finally:
        seeds.stop()
    return [speed("seed/mysqldump", seeds.size_bytes, found["clone"], found["dump"], 2.0)]


class _Seeds:
    """A running, idle primary with sysbench's tables."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self._flavor = bench, MySqlFlavor()
        self._root = bench.new_dir("seeds")
        options = (f"--innodb-buffer-pool-size={BUFFER_POOL_BYTES}", "--innodb-doublewrite=0")
        self._primary = MySqlPrimary.start(self._root, options=options)
        self._primary.create_backup_account()
        self._primary.execute("CREATE DATABASE sbtest")
        shape = (f"--tables={_TABLES}", f"--table-size={bench.data.size_bytes // ROW_BYTES // _TABLES}")
        sysbench(self._primary, "oltp_write_only", *shape, "--threads=2", "prepare")
        # A clean restart writes all pages to their files.
        self._primary.restart()
        self._checksums = checksums(self._primary.connect(), _TABLES)
        self.size_bytes = size_of(self._primary.datadir / "sbtest")
        bench.note("seed server", self._primary.execute("SELECT VERSION()")[0][0])
        bench.note("seed bytes", self.size_bytes)

    def clone(self) -> float:
        """Return seconds until a node that was empty replays, and all of its files are synced."""
        place = self._bench.new_dir("cloned")
        server = self._flavor.server(layout_at(place, self._primary))
        primary = self._primary.endpoint("restore_replay")

        def work() -> None:
            seed_clone(self._flavor, server, primary, progress=lambda *_: None, cancelled=lambda: False)
            sync_tree(server.layout.datadir)

        self._bench.caches.drop()
        try:
            seconds = timed(work)
            with server.connect() as conn:
                self._require_same(checksums(conn, _TABLES), "the clone")
        finally:
            server.kill()
        self._bench.discard(place)
        return seconds

    def dump(self) -> float:
        """Return seconds for the dump and its load; the ordinary server runs already."""
        place = self._bench.new_dir("dumped")
        server = MySqlPrimary.start(place, server_id=7, options=_ORDINARY)
        access = {}
        for name, socket in (("from", self._primary.socket), ("to", server.socket)):
            access[name] = place / f"{name}.cnf"
            access[name].write_text(f"[client]\nuser=root\npassword={ROOT_PASSWORD}\nsocket={socket}\n")
        options = "--single-transaction --set-gtid-purged=OFF --databases sbtest"
        dump = f"{server.program('mysqldump')} --defaults-file={access['from']} {options}"
        self._bench.caches.drop()
        try:
            load = f"{server.program('mysql')} --defaults-file={access['to']}"
            seconds = timed(lambda: shell(f"{dump} | {load}"))
            with server.connect() as conn:
                self._require_same(checksums(conn, _TABLES), "the loaded dump")
        finally:
            server.stop()
        self._bench.discard(place)
        return seconds

    def _require_same(self, found: list[object], what: str) -> None:
        if found != self._checksums:
            raise WrongBytes(f"tables of {what} differ from the primary's")

    def stop(self) -> None:
        self._primary.stop()
        self._bench.discard(self._root)
