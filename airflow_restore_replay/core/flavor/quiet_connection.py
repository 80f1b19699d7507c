"""A connection whose errors quote neither statements nor values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymysql.connections import Connection
from pymysql.err import MySQLError

from airflow_restore_replay.core.flavor.redaction import redacted_message

if TYPE_CHECKING:
    _Base = Connection[Any]
else:
    _Base = Connection


class QuietConnection(_Base):
    """Connection that redacts what the server answers before the driver's error reaches anybody."""

    def _read_packet(self, *args: Any, **options: Any) -> Any:
        try:
            return super()._read_packet(*args, **options)  # type: ignore[no-untyped-call]
        except MySQLError as exc:
            if len(exc.args) == 2 and isinstance(exc.args[0], int):
                exc.args = (exc.args[0], redacted_message(exc.args[0], str(exc.args[1])))
            raise
