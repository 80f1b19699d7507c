"""What the tests of whole cycles need of each flavor: a primary, the same shop, and its own words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import templates
from tests.support.mariadb import MariaDb105Primary, MariaDb118Primary, MariaDbPrimary
from tests.support.mysql import MySqlPrimary
from tests.support.primary import Primary
from tests.support.unpacked import without

_TABLES = (
    "CREATE DATABASE shop",
    "CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, customer VARCHAR(60) NOT NULL, "
    "total DECIMAL(10,2) NOT NULL, note TEXT, KEY (customer)) ENGINE=InnoDB",
    "CREATE TABLE shop.notes (body VARCHAR(100)) ENGINE=InnoDB",
)
_N = (
    "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {}) "
    "SELECT /*+ SET_VAR(cte_max_recursion_depth=1000000) */ "
)
_SHOPS: dict[str, tuple[str, ...]] = {
    "mariadb": (
        *_TABLES,
        "USE shop",
        "CREATE TABLE shop.archive (id INT PRIMARY KEY, body TEXT) ENGINE=Aria",
        "INSERT INTO shop.orders (customer, total, note) SELECT CONCAT('customer-', seq), seq / 7, "
        "REPEAT(MD5(seq), 20) FROM seq_1_to_20000",
        "INSERT INTO shop.notes SELECT CONCAT('note ', seq) FROM seq_1_to_200",
        "INSERT INTO shop.archive SELECT seq, REPEAT('a', 100) FROM seq_1_to_500",
    ),
    "mysql": (
        *_TABLES,
        "CREATE TABLE shop.archive (id INT PRIMARY KEY, body TEXT) ENGINE=InnoDB",
        f"INSERT INTO shop.orders (customer, total, note) {_N.format(20000)} CONCAT('customer-', n), n / 7, "
        "REPEAT(LEFT(SHA2(n, 256), 32), 20) FROM numbers",
        f"INSERT INTO shop.notes {_N.format(200)} CONCAT('note ', n) FROM numbers",
        f"INSERT INTO shop.archive {_N.format(500)} n, REPEAT('a', 100) FROM numbers",
    ),
}

#: one transaction that takes a node seconds to receive and apply
MANY_ROWS = (
    "INSERT INTO shop.orders (customer, total, note) SELECT 'more', o.id, REPEAT('0123456789abcdef', 60) "
    "FROM shop.orders o, (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) x"
)


@dataclass(frozen=True)
class Kit:
    """What the tests need of one flavor.

    :param name: name of the kit.
    :param archive: path of the table that no test writes to, in the data directory.
    :param seeds: the methods of this flavor, as ``seed.method``.
    :param series: of releases that the kit is about; the system's own may be any.
    """

    name: str
    primary: type[Primary]
    archive: str
    seeds: tuple[str, ...]
    shop: tuple[str, ...]
    series: str = ""

    @property
    def flavor(self) -> str:
        return self.primary.flavor

    def may_write_to(self, directory: Path) -> list[str]:
        """Return options of a primary whose tables may have their DATA DIRECTORY there."""
        return [f"--innodb-directories={directory}"] if self.flavor == "mysql" else []

    def start(self, root: Path, **options: Any) -> Primary:
        """Return a primary with the protection account and the shop."""
        templates.copy_tree(self._with_shop() / "data", root / "data")
        return self.primary.start(root, **options)

    def _with_shop(self) -> Path:
        """Return the stopped primary that others are copies of, made once in a run of the tests."""

        def fill(root: Path) -> None:
            primary = self.primary.start(root)
            try:
                primary.create_backup_account()
                primary.execute(*self.shop)
            finally:
                primary.stop()

        return templates.of_this_run(f"shop-{self.name}", fill)

    def start_replica(self, root: Path, source: Primary) -> Primary:
        """Return a server that follows *source*, and could take its place."""
        replica = self.primary.start(root, server_id=source.server_id + 1)
        replica.follow(source)
        return replica


_ARIA = ("shop/archive.MAD", ("logical", "physical"), _SHOPS["mariadb"])
KITS = {
    kit.name: kit
    for kit in (
        Kit("mariadb", MariaDbPrimary, *_ARIA),
        Kit("mariadb-11.8", MariaDb118Primary, *_ARIA, series="11.8."),
        Kit("mariadb-10.5", MariaDb105Primary, *_ARIA, series="10.5."),
        Kit("mysql", MySqlPrimary, "shop/archive.ibd", ("logical", "clone"), _SHOPS["mysql"]),
    )
}


def _on(*names: str, swept: Sequence[str] = ()) -> pytest.MarkDecorator:
    """Parametrize a test over flavors.

    :param swept: whether these are sweeps.
    """
    sweep = pytest.mark.sweep(guards="what no flavor has a part in is the same on the other flavor")
    kits = [
        pytest.param(
            name,
            marks=[
                pytest.mark.skipif(without(name), reason=f"RR_WITHOUT={name}"),
                *([sweep] if name in swept else []),
            ],
        )
        for name in names
    ]
    return pytest.mark.parametrize("kit", kits, indirect=True)


#: runs a test on every flavor; without it, MariaDB's is the only one
on_both = _on("mariadb", "mysql")
#: the same, for what no flavor has a part in: which jobs run, who ends them, which base is next
on_either = _on("mariadb", "mysql", swept=["mysql"])
#: on both, and on the other releases of MariaDB: the scenarios that every release must pass
on_every = _on("mariadb", "mariadb-11.8", "mariadb-10.5", "mysql")
#: a release of MariaDB whose programs lack what later ones have
on_10_5 = _on("mariadb-10.5")
