"""Text from elsewhere (names of tables, messages of servers) without what a terminal would obey."""

from __future__ import annotations

import logging

#: C0 and C1 control characters and DEL, without the line end and the tab; and marks that turn the direction of text
_OBEYED = [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPES = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _OBEYED}
_SHOWN = {code: escape for code, escape in _ESCAPES.items() if code not in (0x09, 0x0A)}
_JSON = {code: f"\\u{code:04x}" for code in _SHOWN}


def printable(text: str) -> str:
    """Return *text* with control characters as escapes such as ``\\x1b``; line ends and tabs stay."""
    return text.translate(_SHOWN)


def printable_json(document: str) -> str:
    """Return the same JSON document, with control characters in strings as JSON's escapes."""
    return document.translate(_JSON)


class PrintableFormatter(logging.Formatter):
    """Formatter of log lines for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))
