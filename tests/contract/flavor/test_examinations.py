"""P5, what a primary lacks: each flavor's examinations of it, on one server per flavor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_restore_replay.core.flavor.findings import Finding, Severity
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.server_process import NodeProcess
from airflow_restore_replay.core.flavor.values import ServerLayout
from airflow_restore_replay.core.system.files import allocated_bytes
from tests.support import templates
from tests.support.findings import examined, refusals, warnings
from tests.support.flavors import KITS
from tests.support.mariadb import MariaDbPrimary
from tests.support.mysql import MySqlPrimary
from tests.support.primary import Primary
from tests.support.unpacked import without

_MYSQL = pytest.param(MySqlPrimary, marks=pytest.mark.skipif(without("mysql"), reason="RR_WITHOUT=mysql"))
on_mariadb = pytest.mark.parametrize("primary", [MariaDbPrimary], ids=["mariadb"], indirect=True)
on_mysql = pytest.mark.parametrize("primary", [_MYSQL], ids=["mysql"], indirect=True)


@pytest.fixture(scope="module", params=[MariaDbPrimary, _MYSQL], ids=["mariadb", "mysql"])
def primary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Primary]:
    """A primary that would log nothing of what it applies as a replica."""
    kind: type[Primary] = request.param
    option = {"mariadb": "--skip-log-slave-updates", "mysql": "--skip-log-replica-updates"}[kind.flavor]
    started = kind.start(tmp_path_factory.mktemp("examined") / "primary", options=[option])
    started.create_backup_account()
    yield started
    started.discard()


def ask(
    primary: Primary,
    what: Callable[..., dict[str, Finding]] = examined,
    *,
    user: str = "restore_replay",
    seed: str = "logical",
) -> dict[str, Finding]:
    flavor = get_flavor(primary.flavor)
    with flavor.connect(primary.endpoint(user)) as conn:
        return what(flavor, conn, seed=seed)


def test_p5_every_flavor_examines_the_same(primary: Primary) -> None:
    found = ask(primary)
    assert {name for name, finding in found.items() if finding.severity is not Severity.OK} == {"sync_binlog"}
    assert found.keys() >= {
        *("flavor", "release", "log_bin", "binlog_format", "binlog_row_image", "sync_binlog", "server_id"),
        *("binlog_do_db", "binlog_ignore_db", "binlog_expire_logs_seconds", "tables", "udf"),
        *(
            "float_columns",
            "memory_tables",
            "hidden tables",
            "stored generated columns",
            "grant SELECT",
            "grant PROCESS",
            "grant REPLICATION SLAVE",
        ),
    }


@on_mariadb
def test_p5_names_that_the_backup_program_does_not_quote_are_refused_for_its_seed_only(
    primary: Primary,
) -> None:
    primary.execute("CREATE DATABASE names", "CREATE TABLE names.`a``b` (id INT PRIMARY KEY) ENGINE=MyISAM")
    try:
        found = ask(primary, refusals, seed="physical")["names with backticks"]
        assert found.observed == "`names`.`a``b`"
        assert "names with backticks" not in ask(primary)
        primary.execute("ALTER TABLE names.`a``b` ENGINE=InnoDB")
        assert "names with backticks" not in ask(primary, refusals, seed="physical")
    finally:
        primary.execute("DROP DATABASE names")


@pytest.mark.parametrize("confined", [True, False])
def test_x10_functions_of_ordinary_users_are_a_warning_where_the_node_is_not_confined(
    primary: Primary, confined: bool
) -> None:
    flavor, name = get_flavor(primary.flavor), "log_bin_trust_function_creators"

    def severities() -> list[Severity]:
        with flavor.connect(primary.endpoint("restore_replay")) as conn:
            found = examined(flavor, conn, confined=confined)
        return [found[name].severity] if name in found else []

    primary.execute("SET GLOBAL log_bin_trust_function_creators = 1")
    try:
        assert severities() == ([] if confined else [Severity.OK])
        primary.execute("SET GLOBAL binlog_format = 'MIXED'")
        assert severities() == ([] if confined else [Severity.WARNING])
        primary.execute("SET GLOBAL log_bin_trust_function_creators = 0")
        assert severities() == ([] if confined else [Severity.OK])
    finally:
        primary.execute("SET GLOBAL log_bin_trust_function_creators = 0", "SET GLOBAL binlog_format = 'ROW'")


@pytest.mark.parametrize("image", ["MINIMAL", "NOBLOB"])
def test_p5_a_row_image_that_shows_less_is_a_warning(primary: Primary, image: str) -> None:
    primary.execute(f"SET GLOBAL binlog_row_image = '{image}'")
    try:
        assert ask(primary, warnings)["binlog_row_image"].observed == image
    finally:
        primary.execute("SET GLOBAL binlog_row_image = 'FULL'")


def test_p5_what_an_account_may_not_ask_is_not_asked(primary: Primary) -> None:
    """The missing privilege is the finding."""
    primary.create_backup_account("blind")
    monitor = {"mariadb": "BINLOG MONITOR", "mysql": "REPLICATION CLIENT"}[primary.flavor]
    primary.execute(f"REVOKE SELECT, PROCESS, {monitor} ON *.* FROM blind@'%'")
    refused = ask(primary, refusals, user="blind")
    assert refused.keys() == {"grant SELECT", "grant PROCESS", f"grant {monitor}"}
    primary.execute(*(finding.fix for finding in refused.values()))
    assert ask(primary, refusals, user="blind") == {}


def test_p5_a_replica_that_logs_nothing_of_what_it_applies(primary: Primary, tmp_path: Path) -> None:
    name = {"mariadb": "log_slave_updates", "mysql": "log_replica_updates"}[primary.flavor]
    assert ask(primary)[name].severity is Severity.OK
    upstream = type(primary).start(tmp_path / "upstream", server_id=77)
    try:
        upstream.execute("CREATE DATABASE erp")
        primary.follow(upstream)
        deadline = time.monotonic() + 60
        while name not in (refused := ask(primary, refusals)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert refused.keys() == {name}
        assert "is a replica" in refused[name].observed
        assert f"{name}=ON" in refused[name].fix
    finally:
        primary.promote()
        upstream.discard()
    # MariaDB does not tell an account of ours more than the position that was applied.
    after = {"mariadb": Severity.NOTE, "mysql": Severity.OK}[primary.flavor]
    assert ask(primary)[name].severity is after
    if after is Severity.NOTE:
        primary.execute("SET GLOBAL gtid_slave_pos = ''")
        assert ask(primary)[name].severity is Severity.OK


@pytest.mark.parametrize("kit", KITS)
def test_s11_the_space_that_is_asked_for_includes_a_nodes_own_files(kit: str, tmp_path: Path) -> None:
    """Those of a server that replays; little more is asked for, or a small cluster would need a large disk."""
    if without(kit):
        pytest.skip(f"RR_WITHOUT={kit}")
    flavor = get_flavor(KITS[kit].flavor)
    bindir = KITS[kit].primary(tmp_path, server_id=1, port=1, options=[]).bindir
    layout = replace(ServerLayout.for_asking(tmp_path / "node", bindir), buffer_pool_bytes=64 * 2**20)
    server = flavor.server(layout)
    assert isinstance(server, NodeProcess)
    templates.initialize(server)
    server.start(replaying=True)
    try:
        deadline = time.monotonic() + 60
        # MySQL makes the files of its redo log one after the other.
        while (used := allocated_bytes(tmp_path / "node")) * 1.4 < flavor.empty_node_bytes:
            assert time.monotonic() < deadline, used
            time.sleep(0.1)
    finally:
        server.kill()
    assert used <= flavor.empty_node_bytes


@on_mariadb
def test_p5_tables_whose_history_has_transaction_numbers(primary: Primary) -> None:
    primary.execute(
        "CREATE DATABASE hist",
        "CREATE TABLE hist.t (id INT PRIMARY KEY, s BIGINT UNSIGNED GENERATED ALWAYS AS ROW START, e BIGINT UNSIGNED "
        "GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING",
        "CREATE TABLE hist.by_time (id INT PRIMARY KEY) WITH SYSTEM VERSIONING",
    )
    try:
        refused = ask(primary, refusals)
        assert refused.keys() == {"transaction-precise tables"}
        assert refused["transaction-precise tables"].observed == "hist.t"
        assert "seed.method: physical" in refused["transaction-precise tables"].fix
        assert ask(primary, refusals, seed="physical") == {}
        assert ask(primary, warnings, seed="physical")["transaction-precise tables"].observed == "hist.t"
    finally:
        primary.execute("DROP DATABASE hist")


@on_mysql
@pytest.mark.parametrize(
    "setting",
    ["character_set_server=latin1", "collation_server=utf8mb4_bin", "character_set_filesystem=utf8mb4"],
)
def test_p5_a_character_set_that_clone_refuses(primary: Primary, setting: str) -> None:
    name, _, value = setting.partition("=")
    ((before,),) = primary.execute(f"SELECT @@GLOBAL.{name}")
    primary.execute(f"SET GLOBAL {setting}")
    try:
        assert ask(primary, refusals) == {}
        refused = ask(primary, refusals, seed="clone")
        assert (
            name in refused.keys() <= {"character_set_server", "collation_server", "character_set_filesystem"}
        )
        assert refused[name].observed == value
        assert "seed.method: logical" in refused[name].fix
    finally:
        primary.execute(f"SET GLOBAL {name} = '{before}'")


@on_mysql
def test_p5_a_plugin_of_the_primary_that_clone_wants_on_the_node(primary: Primary) -> None:
    assert ask(primary, refusals, seed="clone") == {}
    primary.execute("INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'")
    try:
        assert ask(primary, refusals) == {}
        refused = ask(primary, refusals, seed="clone")
        assert refused.keys() == {"plugins"}
        assert refused["plugins"].observed == "rpl_semi_sync_source (semisync_source.so)"
        assert "seed.method: logical" in refused["plugins"].fix
    finally:
        primary.execute("UNINSTALL PLUGIN rpl_semi_sync_source")
