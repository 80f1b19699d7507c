"""Which table a file of the data directory belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_ENCODED = re.compile(r"@([0-9a-f]{4})")


def tables_of(untouched: Iterable[str], data: Path) -> set[str]:
    """:param untouched: paths of tables' files that nothing wrote to.
    :returns: ``schema.table`` of those of which that is true of all files, partitions too.

    Names that the server writes in another way than ASCII are left out: they count as written to.
    """
    known = set(untouched)
    paths = (str(file.relative_to(data)) for file in data.glob("*/*.ibd"))
    written = {table_of(path) for path in paths if path not in known}
    return {name for path in known if (name := table_of(path)) and name not in written}


def table_of(path: str) -> str:
    """:returns: ``schema.table`` of ``schema/table#p#part.ibd``; ``""`` where the names cannot be told.

    Source: MySQL manual, "Mapping of Identifiers to File Names".
    """
    schema, _, file = path.partition("/")
    parts = [_ENCODED.sub(lambda m: chr(int(m[1], 16)), part) for part in (schema, file.split("#")[0])]
    table = parts[1].removesuffix(".ibd")
    return "" if "@" in _ENCODED.sub("", schema + file) else f"{parts[0]}.{table}"
