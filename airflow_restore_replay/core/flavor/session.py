"""Settings of our own sessions: no default of a server, nor its ``init_connect``, decides what we see or how long."""

from __future__ import annotations

# The accounts of the documented grants may set all of these.
# The server still parses the statement with its own sql_mode: no empty text, which may be NULL, and no double quotes.
# What only limits or tunes other sessions, and what a server shows the same way for any value, is not here.
_MAX_64 = 2**64 - 1
_DAY_S = 86400

_COMMON: dict[str, object] = {
    # what statements mean and what functions return
    "sql_mode": 0,
    "time_zone": "'+00:00'",
    "collation_connection": "utf8mb4_general_ci",
    "lc_messages": "'en_US'",
    "lc_time_names": "'en_US'",
    "div_precision_increment": 4,
    "default_week_format": 0,
    "sql_auto_is_null": 0,
    "sql_quote_show_create": 1,
    "optimizer_switch": "'default'",
    # transactions
    "autocommit": 1,
    "completion_type": 0,
    "sql_safe_updates": 0,
    "foreign_key_checks": 1,
    "unique_checks": 1,
    # how much a statement may read and return
    "sql_select_limit": _MAX_64,
    # The order matters: the first of these resets the second.
    "max_join_size": _MAX_64,
    "sql_big_selects": 1,
    "sql_buffer_result": 0,
    "group_concat_max_len": 2**20,
    "max_sort_length": 8192,
    "sort_buffer_size": 2**21,
    "tmp_table_size": 2**24,
    "max_heap_table_size": 2**24,
    # how long it may wait
    "lock_wait_timeout": _DAY_S,
    "innodb_lock_wait_timeout": 50,
    "net_read_timeout": _DAY_S,
    "net_write_timeout": _DAY_S,
    "wait_timeout": 7 * _DAY_S,
}
#: first release → settings. MariaDB alone runs these comments, from that release on.
_MARIADB: dict[int, dict[str, object]] = {
    100500: {
        "tx_isolation": "'REPEATABLE-READ'",
        "tx_read_only": 0,
        "old_mode": 0,
        "default_regex_flags": 0,
        "system_versioning_asof": "DEFAULT",
        "sql_if_exists": 0,
        "check_constraint_checks": 1,
        "character_set_filesystem": "binary",
        "max_statement_time": 0,
        "idle_transaction_timeout": 0,
        "idle_readonly_transaction_timeout": 0,
        "idle_write_transaction_timeout": 0,
        "max_recursive_iterations": 2**32 - 1,
        "max_session_mem_used": 2**63 - 1,
        "tmp_disk_table_size": _MAX_64,
    },
    100601: {"old_mode": "'UTF8_IS_UTF8MB3'"},
    110201: {"character_set_collations": "SUBSTR('-', 2)"},
    110500: {"max_tmp_session_space_usage": 0},
}
#: the same for MySQL
_MYSQL: dict[int, dict[str, object]] = {
    80000: {
        "transaction_isolation": "'REPEATABLE-READ'",
        "transaction_read_only": 0,
        "show_create_table_verbosity": 0,
        "cte_max_recursion_depth": 2**32 - 1,
        "max_execution_time": 0,
    },
    80013: {"use_secondary_engine": "OFF"},
    80018: {"show_create_table_skip_secondary_engine": 0},
    80030: {"show_gipk_in_create_table_and_information_schema": 1},
}


def _assigned(settings: dict[str, object]) -> str:
    return ", ".join(f"@@SESSION.{name}={value}" for name, value in settings.items())


def _if(mark: str, releases: dict[int, dict[str, object]]) -> str:
    return "".join(f" /*{mark}{since} , {_assigned(settings)} */" for since, settings in releases.items())


#: what our sessions would have otherwise, in user variables: a program without an option for these has it
_INHERITED = ("sql_select_limit", "sql_big_selects")
_INHERITED_MARIADB = ("tmp_disk_table_size",)


def inherited(name: str) -> str:
    """Return the user variable with what the session had of *name* before :data:`SESSION`."""
    return f"@restore_replay_{name}"


def _kept(names: tuple[str, ...]) -> str:
    return ", ".join(f"{inherited(name)}=@@SESSION.{name}" for name in names)


#: one statement for every flavor and release, so that a connection needs no question first
SESSION = (
    f"SET {_kept(_INHERITED)} /*M!100500 , {_kept(_INHERITED_MARIADB)} */, {_assigned(_COMMON)}"
    f"{_if('M!', _MARIADB)}{_if('!', _MYSQL)}"
)

#: what a load computes again in stored generated columns, as most sessions of the primary do: by the server's defaults
_COMPUTED = ("div_precision_increment", "default_week_format", "lc_time_names")
COMPUTING = _assigned({name: f"@@GLOBAL.{name}" for name in _COMPUTED})
#: takes that back
AS_BEFORE = _assigned({name: _COMMON[name] for name in _COMPUTED})
#: for a session that loads rows
LOADING = f"{SESSION}, {COMPUTING}"
