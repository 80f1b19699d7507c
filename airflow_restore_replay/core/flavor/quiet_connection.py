"""A connection whose errors quote neither statements nor values, and whose driver raises only its own errors."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pymysql.connections import Connection
from pymysql.constants import CR
from pymysql.err import MySQLError, OperationalError

from airflow_restore_replay.core.flavor.redaction import redacted_message

if TYPE_CHECKING:
    _Base = Connection[Any]
else:
    _Base = Connection


class QuietConnection(_Base):
    """Connection that redacts what the server answers before the driver's error reaches anybody."""

    def connect(self, *args: Any, **options: Any) -> Any:
        with _malformed():
            return super().connect(*args, **options)

    def _read_query_result(self, *args: Any, **options: Any) -> Any:
        with _malformed():
            return super()._read_query_result(*args, **options)  # type: ignore[misc]

    def _read_packet(self, *args: Any, **options: Any) -> Any:
        try:
            with _malformed():
                return super()._read_packet(*args, **options)  # type: ignore[no-untyped-call]
        except MySQLError as exc:
            if len(exc.args) == 2 and isinstance(exc.args[0], int):
                exc.args = (exc.args[0], redacted_message(exc.args[0], str(exc.args[1])))
            raise


@contextlib.contextmanager
def _malformed() -> Iterator[None]:
    """Report a packet that the driver cannot decode as an error of the driver."""
    try:
        yield
    except OSError:  # some of them are a ValueError, too
        raise
    # NameError: the driver uses a variable of a part that a short greeting does not have.
    except (
        struct.error,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        AssertionError,
        NameError,
    ) as exc:
        raise OperationalError(
            CR.CR_MALFORMED_PACKET, f"Malformed packet ({type(exc).__name__}: {exc})"
        ) from exc
