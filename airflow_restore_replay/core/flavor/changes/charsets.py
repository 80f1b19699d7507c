"""Decode statements from the character set of the session that sent them."""

from __future__ import annotations

#: Python's codec of the collations of each character set; UTF-8 of all others. Source: information_schema.collations.
_CODECS: dict[str, tuple[int, ...]] = {
    "big5": (1, 84),
    "iso8859-2": (2, 9, 21, 27, 77),
    "cp850": (4, 80),
    "cp1252": (5, 8, 15, 31, 47, 48, 49, 94),
    "koi8-r": (7, 74),
    "ascii": (11, 65),
    "euc_jp": (12, 91, 97, 98),
    "shift_jis": (13, 88),
    "cp1251": (14, 23, 50, 51, 52),
    "iso8859-8": (16, 71),
    "tis-620": (18, 89),
    "euc_kr": (19, 85),
    "iso8859-13": (20, 41, 42, 79),
    "koi8-u": (22, 75),
    "gb2312": (24, 86),
    "iso8859-7": (25, 70),
    "cp1250": (26, 34, 44, 66, 99),
    "gbk": (28, 87),
    "cp1257": (29, 58, 59),
    "iso8859-9": (30, 78),
    "cp866": (36, 68),
    "mac_latin2": (38, 43),
    "mac_roman": (39, 53),
    "cp852": (40, 81),
    "cp1256": (57, 67),
    "cp932": (95, 96),
    "gb18030": (248, 249, 250),
}
_BY_COLLATION = {number: codec for codec, numbers in _CODECS.items() for number in numbers}


def decoded(text: bytes, collation: int) -> str:
    """Return *text* of a session whose client's character set has the collation of this number.

    Bytes that the character set does not have become U+FFFD.
    """
    return text.decode(_BY_COLLATION.get(collation, "utf-8"), "replace")
