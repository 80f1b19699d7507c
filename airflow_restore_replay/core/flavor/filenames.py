"""Names of tables and schemas, and the names of their files in a data directory.

Both flavors write ASCII letters, digits and ``_`` as they are. ``@`` and two characters stand for a letter of some
scripts, ``@`` and four hexadecimal digits for any other character. Source: MySQL manual, "Mapping of Identifiers to
File Names"; the two-character codes are those of a server's character set ``filename``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: code points that have a code of two characters
_RANGES = (
    "c0-d6 d8-f6 f8-12f 131-1be 1c4 1c6-1c7 1c9-1ca 1cc-1f1 1f3-1f6 1f8-241 250-2af 386 388-38a 38c "
    "38e-3a1 3a3-3ce 3d0-3d7 3d9-3f3 3f5-3f6 3f8 3fb-481 48a-4ce 4d0-4f9 500-50f 531-555 561-585 "
    "1e00-1e9b 1ea0-1ef9 1f00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d "
    "1f80-1fb4 1fb6-1fbc 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff3 1ff6-1ffc "
    "2160-217f 24b6-24e9 ff21-ff3a ff41-ff5a "
)
#: these codes, in the order of the code points
_CODES = (
    "0G0H0I0J0K0L0M0N0O0P0Q0R0S0T0U0V0W0X0Y0Z1G1H1I1K1L1M1N1O1P1Q1j0g0h0i0j0k0l0m0n0o0p0q0r0s0t0u0v0w"
    "0x0y0z1g1h1i1k1l1m1n1o1p1q1r1S1s1T1t1U1u1V1v1W1w1X1x1Y1y1Z1z2G2g2H2h2I2i2J2j2K2k2L2l2M2m2N2n2O2o"
    "2P2p2Q2q2R2r2S2s2T2t2U2u2V2v2w2X2x2Y2y2Z2z3g3H3h3I3i3J3j3K3k3L3l3M3m3N3n3O3o3p3Q3q3R3r3S3s3T3t3U"
    "3u3V3v3W3w3X3x3Y3y3Z3z4G4g4H4h4I4i4J4j4K4k4L4l4M4m4N4n4O4o4P4p4Q4q4R4r4S4s1R4T4t4U4u4V4v4wgaQfHa"
    "haIaiaRfJajaTfUfKakalaZbWfYfMamaJgMgnaSgRgOaoapaqaYgHhraKhSasaTataUauaVhVavaYhwaxaYayaJiZazaLiMi"
    "GbgbHbhbTiIbibjbkbNbnbmbObobPbpbQbqbRbrbSbsbTbtbUbubVbvbWbwbXbxbYbybzbGcgcHchcIcicJcjcKckcLclcMc"
    "mcNcncOcocpcQcqcRcrcNaScscTctcUcucVcvcWcwcXcxcYcycZczcGdgdHdhdIdidJdjdKdkdLdldMdmdNdndOdodPdpdQd"
    "qdRdrdRasdTdtdUdudVdvdWdwdXdxdYdydZdzdGegeHeheiejekelemeneOePepePaQereseVinfofpfqfrfsftfufvfwfxf"
    "yfzfgghgigjgkglgmgngogpgqgrgsgtgugvgwgxgygzgghhhihjhkhlhmhnhohphqhrhshthuhvhwhxhyhzhgihiiijikili"
    "minioipiqirisitiuiviwixiyizigjhjijjjkjljmjnjojpjqjrjsjtjujvjwjxjyjzjgkhkik6G6H6I6J7S7T7U5y6L7W6N"
    "6O6P6Q6R7X6T8W6V6W6X6Y6Z8I7H8Y7K7L8H7N7O7P7Q7R6g6h6i6j6k6l6m6n6o6p6q6r6s6t6u6v6w6x6y6z7g7h7i7j7k"
    "7l7m7n7o7p7q7r7s7t7u7w7x7Y7Z8G8h8i8j8k8L8l8M8m8N8n8O8o8P8p8Q8q8R8r8S8s8T8t8U8u8V8v8w8x8y8z9g9h9i"
    "9j9k9L9M9NS1T1U1V1W1X1Y1Z1G2H2I2J2K2L2M2N2G0H0I0J0K0L0M0N0O0P0Q0R0S0T0U0V0W0X0Y0Z0G1H1I1J1K1L1M1"
    "N1O1P1Q1R1g0h0i0j0k0l0m0n0o0p0q0r0s0t0u0v0w0x0y0z0g1h1i1j1k1l1m1n1o1p1q1r1s1t1u1v1w1x1y1z1g2h2i2"
    "j2k2l2m2n2O2o2P2p2Q2q2R2r2S2s2T2t2U2u2V2v2W2w2X2x2Y2y2Z2z2G3g3H3h3I3i3J3j3K3k3M3m3N3n3O3o3P3p3Q3"
    "q3R3r3S3s3T3t3U3u3V3v3W3w3X3x3Y3y3Z3z3G4g4H4h4I4i4J4j4K4k4L4l4M4m4N4n4O4o4P4p4Q4q4R4r4S4s4T4U4u4"
    "V4v4W4w4X4x4Y4y4Z4z4G5g5I5i5J5j5K5k5L5l5M5m5N5n5O5o5P5p5Q5q5R5r5S5s5T5t5U5u5V5v5W5w5X5x5Y5y5Z5z5"
    "G6g6H6h6I6i6P6p6Q6q6R6r6S6s6T6t6U6u6V6v6W6w6H7I7J7K7L7M7N7O7P7Q7R7S7T7U7V7W7X7Y7Z7G8H8I8J8K8L8M8"
    "N8O8P8Q8R8S8T8U8V8W8X8h7i7j7k7l7m7n7o7p7q7r7s7t7u7v7w7x7y7z7g8h8i8j8k8l8m8n8o8p8q8r8s8t8u8v8w8x8"
    "GlglHlhlIlilJljlKlklLlllMlmlNlnlOlolPlplQlqlRlrlSlslTltlUlulVlvlWlwlXlxlYlylZlzlGmgmHmhmImimJmjm"
    "KmkmLmlmMmmmNmnmOmomPmpmQmqmRmrmSmsmTmtmUmumVmvmWmwmXmxmYmymZmzmGngnHnhnIninJnjnKnknLnlnMnmnNnnn"
    "GponPnpnQnqnRnrnSnsnTntnUnunVnvnWnwnXnxnYnynZnznGogoHohoIoioJojoKokoLoloMomoNonoOoooPopoQoqoRoro"
    "SosoTotoUouovowoxoyozogpLplpMpmpNpnpOpopPpppQpqpRprpSpspTptpUpupVpvpWpwpXpxpYpypZpzpGqgqHqhqIqiq"
    "JqjqKqkqLqlqMqmqNqnqOqoqPqpqQqqqRqrqSqsqTqtqUquqVqvqWqwqXqxqYqyqZqzqGrgrHrhrIrirJrjrKrkrLrlrMrmr"
    "NrnrOrorPrprgshsisjskslsmsnsGsHsIsJsKsLsMsNsospsqsrssstsOsPsQsRsSsTsyszsgthtitjtktltYsZsGtHtItJt"
    "KtLtmtntotptqtrtstttMtNtOtPtQtRtStTtutvtwtxtytztUtVtWtXtYtZtkulumunuoupuquruLuNuPuRuwuxuyuzugvhv"
    "ivjvWuXuYuZuGvHvIvJvkvlvmvnvovpvqvrvsvtvuvvvwvxvgwhwiwjwkwlwmwnwGwHwIwJwKwLwMwNwowpwqwrwswtwuwvw"
    "OwPwQwRwSwTwUwVwwwxwywzwgxhxixjxWwXwYwZwGxHxIxJxkxlxmxnxoxqxrxKxLxKvLvNxsxtxuxwxxxMvNvOvPvTxyxzx"
    "gyhykylyYxZxQvRvnyoypyqyrysytyuyNyOyUvVvSyxyyyhzizSvTvWvXvYyG9H9I9J9K9L9M9N9O9P9Q9R9S9T9U9V9g9h9"
    "i9j9k9l9m9n9o9p9q9r9s9t9u9v9@A@B@C@D@E@F@G@H@I@J@K@L@M@N@O@P@Q@R@S@T@U@V@W@X@Y@Z@a@b@c@d@e@f@g@h"
    "@i@j@k@l@m@n@o@p@q@r@s@t@u@v@w@x@y@zA@B@C@D@E@F@G@H@I@J@K@L@M@N@O@P@Q@R@S@T@U@V@W@X@Y@Z@a@b@c@d@"
    "e@f@g@h@i@j@k@l@m@n@o@p@q@r@s@t@u@v@w@x@y@z@"
)
_ESCAPE = re.compile(r"@([0-9a-f]{4})|@(..)")
#: appended to names of devices of Windows
_DEVICE = "@@@"
#: files of InnoDB's full-text indexes, which name a table by its number
_FULL_TEXT = re.compile(r"fts_[0-9a-f]{16}_", re.IGNORECASE)
_PARTITION = re.compile(r"#p#|#sp#|#tmp#", re.IGNORECASE)
_NUMBERED = re.compile(r"(.+)_\d+\.sdi")
#: of no table, or of all tables of a schema
_OF_SCHEMA = ("TRN", "opt")
_SYSTEM = ("mysql", "performance_schema", "sys", "information_schema")


def _code_points() -> Iterator[int]:
    for part in _RANGES.split():
        first, _, last = part.partition("-")
        yield from range(int(first, 16), int(last or first, 16) + 1)


_LETTERS = {_CODES[2 * place : 2 * place + 2]: chr(point) for place, point in enumerate(_code_points())}


@dataclass(frozen=True, order=True)
class TableName:
    """Schema and name of a table; an empty name stands for what belongs to all tables of the schema."""

    schema: str
    name: str


def name_of(file_name: str) -> str:
    """Return the name of a schema or table by that of its directory or file, without an extension."""
    return _ESCAPE.sub(_letter, file_name.removesuffix(_DEVICE))


def _letter(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _LETTERS.get(match[2], match[0])


def table_of(path: str, *, directory: bool = False) -> TableName | None:
    """Return the table that a file of a data directory belongs to; None if it is the server's own.

    :param path: relative to the data directory.
    :param directory: whether it is a directory.
    """
    first, _, file_name = path.partition("/")
    if (not file_name and not directory) or first.startswith("#") or first in _SYSTEM:
        return None
    schema = name_of(first)
    stem, _, extension = file_name.rpartition(".")
    if not stem or extension in _OF_SCHEMA or _FULL_TEXT.match(stem):
        return TableName(schema, "")
    if numbered := _NUMBERED.fullmatch(file_name):
        stem = numbered[1]
    return TableName(schema, name_of(_PARTITION.split(stem)[0]))
