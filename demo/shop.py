"""The protected primary: about 300 MB in cold and warm tables, and writers that never rest."""

from __future__ import annotations

import json

from demo.stock import chosen
from demo.workspace import Workspace
from tests.support.primary import ROOT_PASSWORD, WriteLoad

CONNECTION = "shop_primary"

#: a kilobyte a row, half of it compressible, like much of what shops store
_COLD_ROWS = 240_000
_WARM_ROWS = 40_000


class Shop:
    """A primary with data and write load.

    :param space: where its data directory goes.
    """

    def __init__(self, space: Workspace) -> None:
        self._space = space
        self.stock = chosen()
        self.primary = self.stock.primary.start(space.root / "primary")
        self.load: WriteLoad | None = None

    def fill(self) -> int:
        """Create tables and rows, and the account that protects them.

        :returns: size of all tables and indexes.
        """
        self.primary.execute(
            "CREATE DATABASE shop",
            "CREATE TABLE shop.archive (id INT PRIMARY KEY, customer INT NOT NULL, placed DATETIME NOT NULL,"
            " body VARCHAR(1200) NOT NULL, KEY (customer)) ENGINE=InnoDB",
            "CREATE TABLE shop.customers (id INT PRIMARY KEY, name VARCHAR(80) NOT NULL, note TEXT,"
            " KEY (name)) ENGINE=InnoDB",
            "INSERT INTO shop.archive "
            + self.stock.select_numbers(
                _COLD_ROWS,
                f"{{n}}, {{n}} % {_WARM_ROWS}, '2020-01-01' + INTERVAL {{n}} MINUTE, "
                f"CONCAT({', '.join(f'SHA2({k} * {{n}}, 512)' for k in range(1, 9))})",
            ),
            "INSERT INTO shop.customers "
            + self.stock.select_numbers(_WARM_ROWS, "{n}, CONCAT('Customer ', {n}), SHA2({n}, 512)"),
            "CREATE TRIGGER shop.clean BEFORE INSERT ON shop.customers FOR EACH ROW SET NEW.name = TRIM(NEW.name)",
        )
        self.primary.create_backup_account()
        self.primary.execute("ANALYZE NO_WRITE_TO_BINLOG TABLE shop.archive, shop.customers")
        # A clean restart writes all pages to their files: from now on cold files do not change.
        self.primary.restart()
        rows = self.primary.execute(
            "SELECT SUM(data_length + index_length) FROM information_schema.tables"
            " WHERE table_schema = 'shop'"
        )
        return int(rows[0][0])

    def start_load(self) -> None:
        self.load = WriteLoad(self.primary).start()

    def connection(self) -> str:
        """Return the primary as an Airflow connection of type ``mysql``, in JSON."""
        account = self.primary.endpoint("restore_replay")
        fields = {
            "conn_type": "mysql",
            "host": account.host,
            "port": account.port,
            "login": account.user,
            "password": account.password,
        }
        return json.dumps(fields)

    def option_file(self, user: str = "root") -> str:
        """Return an option file for the server's own programs."""
        password = ROOT_PASSWORD if user == "root" else self.primary.endpoint(user).password
        return f"[client]\nuser={user}\npassword={password}\nsocket={self.primary.socket}\n"

    def stop(self) -> None:
        if self.load:
            self.load.stop()
        self.primary.stop()
