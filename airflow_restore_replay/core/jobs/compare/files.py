"""Find the table that a file of the data directory belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_ENCODED = re.compile(r"@([0-9a-f]{4})")


def tables_of(unchanged: Iterable[str], data: Path) -> set[str]:
    """Return ``schema.table`` of the tables of which nothing has written to any file, partitions included.

    Tables whose names cannot be decoded are left out, so they count as written to.

    :param unchanged: paths of files, relative to the data directory, that nothing has written to.
    :param data: the data directory.
    """
    known = set(unchanged)
    paths = (str(file.relative_to(data)) for file in data.glob("*/*.ibd"))
    written = {table_of(path) for path in paths if path not in known}
    return {name for path in known if (name := table_of(path)) and name not in written}


def table_of(path: str) -> str:
    """Return ``schema.table`` of ``schema/table#p#part.ibd``; ``""`` if the names cannot be decoded.

    Names are decoded if they consist of ASCII and of ``@`` with four lower-case hexadecimal digits.

    Source: MySQL manual, "Mapping of Identifiers to File Names".
    """
    schema, _, file = path.partition("/")
    parts = [_ENCODED.sub(lambda m: chr(int(m[1], 16)), part) for part in (schema, file.split("#")[0])]
    table = parts[1].removesuffix(".ibd")
    return "" if "@" in _ENCODED.sub("", schema + file) else f"{parts[0]}.{table}"
