"""Objects of a logical seed: text of users is never run, and arrives byte for byte."""

from __future__ import annotations

import contextlib
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from airflow_restore_replay.core.errors import SeedFailed, UnsupportedTables
from airflow_restore_replay.core.flavor.mysql import dump
from airflow_restore_replay.core.flavor.optionfile import option_file
from airflow_restore_replay.core.flavor.registry import get_flavor
from airflow_restore_replay.core.flavor.sql import rows, value
from airflow_restore_replay.core.flavor.values import Endpoint
from airflow_restore_replay.core.jobs.seed import logical
from tests.support.copies import differences, primary_of, seeded, undefined
from tests.support.primary import ROOT_PASSWORD, Primary
from tests.support.unpacked import without

FLAVORS = ("mariadb", "mysql")
pytestmark = pytest.mark.skipif(without("mysql"), reason="RR_WITHOUT=mysql")


@pytest.fixture(scope="module", params=FLAVORS)
def primary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Primary]:
    started = primary_of(request.param, tmp_path_factory.mktemp("carried") / "primary")
    started.execute(
        "CREATE DATABASE billing",
        "CREATE TABLE billing.prices (id INT PRIMARY KEY, price INT) ENGINE=MyISAM",
        "INSERT INTO billing.prices VALUES (1, 100), (2, 200)",
    )
    yield started
    started.discard()


@pytest.fixture
def attacker(primary: Primary) -> Iterator[pymysql.Connection[Any]]:
    """An account with nothing but two schemas of its own, of which one sorts before ``mysql`` and one after it."""
    before = primary.execute("SELECT @@GLOBAL.general_log, @@GLOBAL.general_log_file")
    primary.execute(
        "CREATE USER attacker@'%' IDENTIFIED BY 'attacker-Pw-1'",
        *(f"CREATE DATABASE {name}" for name in ("app", "zapp")),
        *(f"GRANT ALL ON {name}.* TO attacker@'%'" for name in ("app", "zapp")),
    )
    primary.execute("SET GLOBAL log_bin_trust_function_creators = 1")
    conn = pymysql.connect(
        unix_socket=primary.socket,
        user="attacker",
        password="attacker-Pw-1",
        charset="utf8mb4",
        autocommit=True,
    )
    yield conn
    conn.close()
    primary.execute("DROP DATABASE app", "DROP DATABASE zapp", "DROP USER attacker@'%'")
    assert primary.execute("SELECT @@GLOBAL.general_log, @@GLOBAL.general_log_file") == before


def _create(conn: pymysql.Connection[Any], statement: str, mode: str = "") -> bool:
    """:returns: whether the server accepts it."""
    with conn.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = %s", (mode,))
        try:
            cursor.execute(statement)
        except pymysql.err.MySQLError:
            return False
    return True


def _attacks(log: Path) -> dict[str, tuple[str, str]]:
    """:returns: name → body of a procedure, and the SQL mode under which it is created."""
    run = (
        f";; SET GLOBAL general_log_file='{log}' ;; SET GLOBAL general_log=ON ;; CREATE USER backdoor@'%' ;; "
        "UPDATE billing.prices SET price=1 ;; SELECT 1 -- \n"
    )
    return {
        "comment": (f"SELECT 1 --\x01 {run} , 2", ""),
        "comment_in_block": (f"BEGIN SELECT 1; --\x02 {run} SELECT 2; END", ""),
        "backslash": (f'SELECT 1 AS "\\", 2 AS " {run} "', "ANSI_QUOTES"),
        "no_escapes": ("SELECT '\\', ' " + run.replace("'", '"') + "'", "NO_BACKSLASH_ESCAPES"),
        "version": (f"SELECT /*!99999 1 */ 2 /* {run} */", ""),
        "delimiter": (
            f"SELECT '\ndelimiter //\n', \"\n\\! touch {log}\n source /etc/passwd\n\" /* {run} */",
            "",
        ),
    }


def test_x9_the_text_of_an_object_is_not_run(
    primary: Primary, attacker: pymysql.Connection[Any], tmp_path: Path
) -> None:
    log = tmp_path / "authorized_keys"
    for schema in ("app", "zapp"):
        for name, (body, mode) in _attacks(log).items():
            assert _create(attacker, f"CREATE PROCEDURE {schema}.{name}() {body}", mode), name
            assert _create(
                attacker, f"CREATE EVENT {schema}.{name} ON SCHEDULE EVERY 1 DAY DO {body}", mode
            ), name
        assert _create(
            attacker, f"CREATE TABLE {schema}.`t*/ ;; SET --\x01` (`c--\x01 ;;*/ x` INT COMMENT ' --\x01;;')"
        )
        body = _attacks(log)["comment"][0].replace("SELECT 1 --", "SET @a = 1 --").replace(", 2", "+ 2")
        table = f"{schema}.`t*/ ;; SET --\x01`"
        assert _create(attacker, f"CREATE TRIGGER {schema}.tr BEFORE INSERT ON {table} FOR EACH ROW {body}")
        assert _create(
            attacker, f"CREATE VIEW {schema}.v AS SELECT '--\x01 ;; \\' \\\\' AS a, '\n--\x01' AS `b;;--\x01`"
        )
    with seeded(primary, tmp_path / "node") as copy, copy.server.connect() as node:
        assert rows(node, "SELECT price FROM billing.prices ORDER BY id") == [(100,), (200,)]
        assert rows(node, "SELECT user FROM mysql.user WHERE user = 'backdoor'") == []
        assert str(log) not in str(value(node, "SELECT @@GLOBAL.general_log_file"))
        assert not log.exists()
        assert differences(primary, copy) == []
        assert copy.left_out == {}
        assert undefined(primary, copy) == []


def test_a_nul_in_a_routine_ends_no_seed(
    primary: Primary, attacker: pymysql.Connection[Any], tmp_path: Path
) -> None:
    assert _create(attacker, "CREATE PROCEDURE app.nul() SELECT 'a\0b', 1")
    with seeded(primary, tmp_path / "node") as copy:
        if primary.flavor == "mysql":
            # The server itself keeps only the text before the NUL, and cannot load the routine any more.
            assert list(copy.left_out) == ["routine app.nul.PROCEDURE"]
        else:
            assert copy.left_out == {}
            assert differences(primary, copy) == []


_PIECES = st.sampled_from(
    [
        *(
            "--\x01",
            "-- ",
            "--",
            "#",
            "/*",
            "*/",
            "/*!",
            "/*!50000 ",
            "/*M! ",
            "\n",
            "\r",
            "\x0b",
            "\t",
            " ",
            "\x1a",
        ),
        *("'", '"', "`", "\\", "\\'", '\\"', "''", ";", ";;", "//", "$$", "\\g", "\\G", "\\!", "\\. /x"),
        *(
            "delimiter ;;\n",
            "source x\n",
            "SELECT 1",
            ", 2",
            "'a'",
            '"b"',
            "é",
            "表",
            "\U0001f600",
            "_latin1'\\'",
        ),
    ]
)
_TEXTS = st.lists(st.lists(_PIECES, min_size=1, max_size=8).map("".join), min_size=40, max_size=40)
#: what a server may drop at the end of a statement
_ENDS = [";-- ", "; ;-- ", ";/**/", "; # x", "-- ;", "/* ; */", ";\n-- ;\n", " "]
_MODES = ("", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES")


def _arrives(primary: Primary, attacker: pymysql.Connection[Any], root: Path, texts: list[str]) -> None:
    """Create what the server accepts of *texts* in every place that takes some, and compare a copy."""
    schema = "app"
    _create(attacker, f"CREATE TABLE {schema}.t (id INT)")
    accepted = 0
    for number, piece in enumerate(texts):
        mode = _MODES[number % len(_MODES)]
        quoted = "'" + piece.replace("\\", "\\\\" if "NO_BACK" not in mode else "\\").replace("'", "''") + "'"
        statements = [
            f"CREATE PROCEDURE {schema}.p{number}() SELECT 1 {piece} ",
            f"CREATE PROCEDURE {schema}.q{number}() BEGIN SELECT {quoted}; {piece} END",
            f"CREATE PROCEDURE {schema}.r{number}() COMMENT {quoted} SELECT 1 {piece}\n",
            f"CREATE EVENT {schema}.e{number} ON SCHEDULE EVERY 1 DAY COMMENT {quoted} DO SET @a = {quoted} {piece}\n",
            f"CREATE TRIGGER {schema}.g{number} BEFORE INSERT ON {schema}.t FOR EACH ROW SET @a = {quoted} {piece}\n",
            f"CREATE VIEW {schema}.v{number} AS SELECT {quoted} AS a, CONCAT({quoted}, 'x') AS b {piece}\n",
            f"CREATE TABLE {schema}.t{number} (c VARCHAR(90) DEFAULT {quoted} COMMENT {quoted},"
            f" d VARCHAR(99) AS (CONCAT(c, {quoted})), CHECK (c <> {quoted})) COMMENT {quoted}",
        ]
        accepted += sum(_create(attacker, statement, mode) for statement in statements)
    # How many the server accepts depends on the texts.
    assert accepted > len(texts) // 4
    with seeded(primary, root) as copy:
        assert differences(primary, copy) == []
        assert copy.left_out == {}
        assert undefined(primary, copy) == []


def _fuzz(primary: Primary, attacker: pymysql.Connection[Any], root: Path, examples: int) -> None:
    seen = iter(range(1000))

    # To shrink a failure would take one seed a step.
    @settings(
        max_examples=examples,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_TEXTS)
    @example(_ENDS)
    def run(texts: list[str]) -> None:
        primary.execute("DROP DATABASE app", "CREATE DATABASE app")
        work = root / str(next(seen))
        _arrives(primary, attacker, work, texts)
        shutil.rmtree(work)

    run()


def test_any_text_that_the_server_accepts_arrives_byte_for_byte(
    primary: Primary, attacker: pymysql.Connection[Any], tmp_path: Path
) -> None:
    _fuzz(primary, attacker, tmp_path, 1)


@pytest.mark.sweep(guards="any text that the server accepts in an object arrives byte for byte")
def test_any_text_arrives_byte_for_byte_in_many_examples(
    primary: Primary, attacker: pymysql.Connection[Any], tmp_path: Path
) -> None:
    _fuzz(primary, attacker, tmp_path, 60)


def test_objects_that_change_as_the_dump_begins_are_read_again(
    primary: Primary, attacker: pymysql.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flavor = get_flavor(primary.flavor)
    tools = flavor.dump_tools()
    usual, holds = tools.hold, iter(range(9))

    def hold(endpoint: Endpoint) -> Any:
        number = next(holds)
        if number < 2:
            primary.execute(
                f"CREATE TABLE app.t{number} (id INT)", f"CREATE VIEW app.v{number} AS SELECT {number}"
            )
        return usual(endpoint)

    monkeypatch.setattr(tools, "hold", hold)
    monkeypatch.setattr(flavor, "dump_tools", lambda: tools)
    with seeded(primary, tmp_path / "node", flavor=flavor) as copy:
        assert next(holds) == 3
        assert differences(primary, copy) == []


def test_objects_that_always_change_are_named(
    primary: Primary, attacker: pymysql.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flavor = get_flavor(primary.flavor)
    tools = flavor.dump_tools()
    usual = tools.hold

    def hold(endpoint: Endpoint) -> Any:
        primary.execute("CREATE OR REPLACE VIEW app.restless AS SELECT UUID() AS a, " + str(id(object())))
        return usual(endpoint)

    monkeypatch.setattr(logical, "_TRIES", 1)
    monkeypatch.setattr(tools, "hold", hold)
    monkeypatch.setattr(flavor, "dump_tools", lambda: tools)
    with (
        pytest.raises(SeedFailed, match="view app.restless"),
        seeded(primary, tmp_path / "node", flavor=flavor),
    ):
        pass


@pytest.mark.parametrize(
    ("table", "view"), [("prices", "Prices"), ("\u00e9", "\u00a9"), ("\u0100", "\u0180")]
)
def test_d6_a_table_that_a_dump_would_take_for_a_view_is_refused(
    primary: Primary, attacker: pymysql.Connection[Any], tmp_path: Path, table: str, view: str
) -> None:
    """The programs compare the names that they leave out without regard to case, as latin1."""
    primary.execute(
        f"CREATE TABLE app.`{table}` (id INT PRIMARY KEY)", f"INSERT INTO app.`{table}` VALUES (1), (2)"
    )
    _create(attacker, f"CREATE VIEW app.`{view}` AS SELECT 1")
    with pytest.raises(UnsupportedTables, match=f"app.{table}"), seeded(primary, tmp_path / "node"):
        pass


def test_d6_a_table_whose_name_a_dump_can_tell_from_a_views_is_carried(
    primary: Primary, attacker: pymysql.Connection[Any], tmp_path: Path
) -> None:
    primary.execute(
        *(f"CREATE TABLE app.`{name}` (id INT)" for name in ("n\u00e9", "pi\u00f1a", "\u03c0")),
        *(f"INSERT INTO app.`{name}` VALUES (1)" for name in ("n\u00e9", "pi\u00f1a", "\u03c0")),
    )
    for name in ("ne", "N\u00c9", "pina", "p", "\u03a0"):
        _create(attacker, f"CREATE VIEW app.`{name}` AS SELECT 1")
    with seeded(primary, tmp_path / "node") as copy:
        assert differences(primary, copy) == []


# --- the client's own option files ------------------------------------------------------------------------------


def _login_file(home: Path, primary: Primary) -> None:
    """Write what ``mysql_config_editor set`` writes without a name: the group that every program of MySQL reads."""
    key = bytes(range(1, 21))
    folded = bytearray(16)
    for place, byte in enumerate(key):
        folded[place % 16] ^= byte
    encryptor = Cipher(algorithms.AES128(bytes(folded)), modes.ECB()).encryptor()  # noqa: S305
    content = struct.pack("<i", 0) + key
    for line in (
        "[client]",
        'user = "root"',
        f'password = "{ROOT_PASSWORD}"',
        f'socket = "{primary.socket}"',
    ):
        plain = line.encode() + b"\n"
        pad = 16 - len(plain) % 16
        secret = encryptor.update(plain + bytes([pad]) * pad)
        content += struct.pack("<i", len(secret)) + secret
    path = home / ".mylogin.cnf"
    path.touch(mode=0o600)
    path.write_bytes(content)


def test_x7_a_login_file_leads_no_program_to_the_primary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary = primary_of("mysql", tmp_path / "primary")
    try:
        primary.execute(
            "CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY)", "INSERT INTO app.t VALUES (1)"
        )
        _login_file(tmp_path, primary)
        monkeypatch.setenv("HOME", str(tmp_path))
        before = primary.execute("SELECT @@GLOBAL.gtid_executed")
        with contextlib.ExitStack() as stack:
            copy = stack.enter_context(seeded(primary, tmp_path / "node"))
            assert differences(primary, copy) == []
            assert primary.execute("SELECT @@GLOBAL.gtid_executed") == before
        monkeypatch.setenv("HOME", "/nonexistent")
        monkeypatch.setenv("MYSQL_TEST_LOGIN_FILE", str(tmp_path / ".mylogin.cnf"))
        with seeded(primary, tmp_path / "other"):
            assert primary.execute("SELECT @@GLOBAL.gtid_executed") == before
    finally:
        primary.discard()


def test_x7_a_load_that_would_reach_another_server_is_refused(tmp_path: Path) -> None:
    primary = primary_of("mysql", tmp_path / "primary")
    try:
        with (
            seeded(primary, tmp_path / "node") as copy,
            option_file(primary.endpoint(), tmp_path / "s", dump.tls_options) as options,
        ):
            load = dump.load_command(copy.server.program("mysql"), options)
            with pytest.raises(SeedFailed, match="does not reach the node's server"):
                logical._refuse_other_server(copy.server, load)
    finally:
        primary.discard()
