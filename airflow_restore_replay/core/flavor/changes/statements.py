"""What a logged statement does, without running it: its words, the tables it names, and a text that hides values.

Only names, keywords, strings, numbers and comments are told apart. That is enough to say which tables a statement may
be about; a name that means something else, such as a column, may be among them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from airflow_restore_replay.core.flavor.changes.queries import Statement
from airflow_restore_replay.core.flavor.redaction import HIDDEN

_STRING = r"'(?:[^'\\]|\\.|'')*(?:'|\\?\Z)"
_ALL = r"""
    (?P<space>(?:\s+|/\*(?!M?!).*?(?:\*/|\Z)|\#[^\n]*|--(?=\s|\Z)[^\n]*|/\*M?!\d*|\*/)+)
    |(?P<quoted>`(?:[^`]|``)*(?:`|\Z){quoted})
    |(?P<string>{strings})
    |(?P<number>0[xb][0-9a-fA-F]+\b|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b)
    |(?P<word>[\w$]+)
    |(?P<mark>.)
"""


def _pattern(*, ansi_quotes: bool, backslash_escapes: bool) -> re.Pattern[str]:
    single = _STRING if backslash_escapes else r"'(?:[^']|'')*(?:'|\Z)"
    double = single.replace("'", '"')
    text = _ALL.format(
        quoted=f"|{double}" if ansi_quotes else "", strings=single if ansi_quotes else f"{single}|{double}"
    )
    return re.compile(text, re.DOTALL | re.VERBOSE)


_PATTERNS = {
    (ansi, escapes): _pattern(ansi_quotes=ansi, backslash_escapes=escapes)
    for ansi in (False, True)
    for escapes in (False, True)
}
#: statements that change or read rows, not definitions
_OF_ROWS = frozenset(
    {
        "INSERT",
        "REPLACE",
        "UPDATE",
        "DELETE",
        "LOAD",
        "CALL",
        "WITH",
        "SELECT",
        "DO",
        "EXECUTE",
        "HANDLER",
        "INCIDENT",
    }
)
_OF_TRANSACTIONS = frozenset({"BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "XA", ""})
#: objects with a body, which names tables that the statement does not touch
_WITH_BODY = frozenset({"PROCEDURE", "FUNCTION", "PACKAGE", "EVENT", "VIEW"})
#: statements without passwords, in which strings are accounts
_OF_ACCOUNTS = frozenset({("DROP", "USER"), ("DROP", "ROLE"), ("RENAME", "USER")})
_HEAD_WORDS = 8


class _Token(NamedTuple):
    kind: str
    text: str

    @property
    def name(self) -> str:
        """Return the name that the token is, or an empty text."""
        if self.kind == "word":
            return self.text
        if self.kind != "quoted":
            return ""
        mark = self.text[0]
        return self.text[1:].removesuffix(mark).replace(mark * 2, mark)


@dataclass(frozen=True)
class Parsed:
    """A statement, taken apart into words."""

    statement: Statement

    @cached_property
    def _tokens(self) -> list[_Token]:
        modes = (self.statement.ansi_quotes, self.statement.backslash_escapes)
        found = _PATTERNS[modes].finditer(self.statement.text)
        return [_Token(match.lastgroup or "", match.group()) for match in found]

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Return the keywords and names at the beginning, in capitals."""
        found: list[str] = []
        for token in self._tokens:
            if token.kind == "word":
                found.append(token.text.upper())
            if len(found) == _HEAD_WORDS:
                break
        return tuple(found)

    @property
    def verb(self) -> str:
        return self.words[0] if self.words else ""

    @property
    def of_rows(self) -> bool:
        """Return whether the statement changes rows and no definition."""
        return self.verb in _OF_ROWS

    @property
    def defines(self) -> bool:
        """Return whether the statement changes definitions: tables, other objects, accounts.

        Temporary tables do not count.
        """
        return self.verb not in _OF_ROWS | _OF_TRANSACTIONS and "TEMPORARY" not in self.words[:4]

    def is_a(self, wanted: str) -> bool:
        """Return whether the statement begins with the words of *wanted*; further words may stand between these."""
        first, *others = wanted.upper().split() or [""]
        if self.verb != first:
            return False
        rest = iter(self.words[1:])
        return all(word in rest for word in others)

    @cached_property
    def names(self) -> frozenset[tuple[str, str]]:
        """Return schema and name of all that may be a table; an empty name stands for a whole schema."""
        if self.defines and _WITH_BODY & set(self.words[:6]):
            return frozenset()
        chains = self._chains()
        if self.words[1:2] in (("DATABASE",), ("SCHEMA",)):
            # A schema that is created has no tables yet.
            return frozenset((chain[-1], "") for chain in chains if self.verb != "CREATE")
        return frozenset(
            (chain[-2] if len(chain) > 1 else self.statement.schema, chain[-1]) for chain in chains
        )

    @cached_property
    def certain_names(self) -> frozenset[tuple[str, str]]:
        """Return those of the names that are no keywords: quoted, or with their schema."""
        quoted = {token.name for token in self._tokens if token.kind == "quoted"}
        qualified = {chain[-1] for chain in self._chains() if len(chain) > 1}
        return frozenset(name for name in self.names if name[1] in quoted | qualified)

    def _chains(self) -> list[tuple[str, ...]]:
        """Return the names of the statement, each as the parts that points join."""
        chains: list[tuple[str, ...]] = []
        joined = False
        for token in self._tokens:
            if token.kind == "space":
                continue
            if name := token.name:
                chains.append((*chains.pop(), name) if joined else (name,))
            joined = token == ("mark", ".") and bool(chains)
        return chains

    def shown(self, longest: int) -> str:
        """Return the statement on one line, with strings hidden, and of statements on rows all values.

        Strings may be passwords wherever they stand: in a comment's place, in an option of a table. Account names stay.

        :param longest: in characters.
        """
        accounts = self.words[:2] in _OF_ACCOUNTS
        parts: list[str] = []
        for index, token in enumerate(self._tokens):
            if token.kind == "space":
                parts.append(" ")
            elif token.kind == "string" and not (accounts or self._is_account(index)):
                parts.append(f"'{HIDDEN}'")
            elif token.kind == "number" and self._hides_number(token.text):
                parts.append(HIDDEN)
            else:
                parts.append(token.text)
            if sum(map(len, parts[-2:])) > longest or len(parts) > longest:
                break
        text = "".join(parts).strip().rstrip(";")
        return text if len(text) <= longest else text[: longest - 1] + "…"

    def _is_account(self, index: int) -> bool:
        around = self._tokens[max(index - 1, 0)], self._tokens[min(index + 1, len(self._tokens) - 1)]
        return self.defines and ("mark", "@") in around

    def _hides_number(self, text: str) -> bool:
        return self.of_rows or (text[:2].lower() == "0x")
