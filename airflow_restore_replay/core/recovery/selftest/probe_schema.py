"""The probe schema of the selftest, added to both copies, so that faults do not damage user data."""

from __future__ import annotations

SCHEMA = "restore_replay_selftest"
_WHO = f"'{SCHEMA}'@'localhost'"
_ROWS = 900

TABLE = f"{SCHEMA}.orders"
GRANT = f"GRANT SELECT, UPDATE, TRIGGER, EXECUTE ON {SCHEMA}.* TO {_WHO}"
REVOKE = f"REVOKE EXECUTE ON {SCHEMA}.* FROM {_WHO}"
VIEW = f"CREATE OR REPLACE DEFINER={_WHO} VIEW {SCHEMA}.large AS SELECT id FROM {TABLE} WHERE total > 100"
ROUTINE = f"CREATE DEFINER={_WHO} PROCEDURE {SCHEMA}.raise_totals() UPDATE {TABLE} SET total = total + 1"
TRIGGER = (
    f"CREATE DEFINER={_WHO} TRIGGER {SCHEMA}.trimmed BEFORE INSERT ON {TABLE} "
    "FOR EACH ROW SET NEW.customer = TRIM(NEW.customer)"
)
LINES = (
    f"CREATE TABLE {SCHEMA}.order_lines (id INT PRIMARY KEY, what VARCHAR(20)) ENGINE=InnoDB",
    f"INSERT INTO {SCHEMA}.order_lines VALUES (1, 'one'), (2, 'two')",
)


def insert(ids: str) -> str:
    """Return the statement that inserts the rows of :data:`TABLE`, which are always the same.

    :param ids: condition on the ids of the rows, such as ``> 90``.
    """
    return (
        f"INSERT INTO {TABLE} WITH RECURSIVE numbers AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM numbers "
        f"WHERE n < {_ROWS}) SELECT n, CONCAT('customer ', n, REPEAT('x', 200)), n FROM numbers WHERE n {ids}"
    )


#: statements that create the probe schema; its rows are wide enough for the table to have many pages
STATEMENTS: tuple[str, ...] = (
    f"CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4",
    f"CREATE TABLE {TABLE} (id INT PRIMARY KEY, customer VARCHAR(250) NOT NULL, total DECIMAL(12,2) NOT NULL) "
    "ENGINE=InnoDB",
    insert("> 0"),
    *LINES,
    f"CREATE USER {_WHO} ACCOUNT LOCK",
    GRANT,
    VIEW,
    ROUTINE,
    TRIGGER,
)
