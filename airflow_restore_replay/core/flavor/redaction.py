"""Remove statements and values of rows from texts of a server or of its programs.

Servers quote both: the error of an applier ends with the whole statement, also of a CREATE USER with its password, and
a duplicate entry is quoted from the row. Error numbers, names and positions stay. Each text of a server passes one of
these functions before it becomes part of an error, of evidence or of a log line.
"""

from __future__ import annotations

import re

HIDDEN = "…"

#: of a message or an entry of a log; the patterns take more than proportional time for texts that were made for that
_LONGEST_CHARS = 16 * 2**10
#: SIGNAL and RESIGNAL: a routine of a user writes the text, and may choose a number that no server uses
_FREE_TEXT = frozenset({1642, 1643, 1644})
_FREE_NUMBERS = 20_000
#: positions of binary logs, which quote each other's quotes
_ABOUT_POSITIONS = frozenset({1236, 13114})

# Up to the part that the error log appends to each error of replication.
_APPENDED = r"(?:, Gtid [\d-]+)?, (?:Internal MariaDB error code|Error_code): (?:MY-)?\d+"
_STATEMENT = re.compile(rf"(\b(?:Query|Statement): ?).*?(?:'?({_APPENDED}))?\Z", re.DOTALL)
_CRASHED_IN = re.compile(r"^(Query \([^)\n]*\)+: ).*?(?=^Connection ID|\Z)", re.DOTALL | re.MULTILINE)
_PASSWORD = re.compile(r"\b(IDENTIFIED\s+(?:BY|WITH|VIA|AS)|PASSWORD\s*=|VALUES\s*\().*", re.DOTALL | re.I)
_SYNTAX = re.compile(r"\bnear '(?:.*(' at line \d+)|.*)", re.DOTALL)
# A value may look like what follows it, so the last place counts.
_VALUES = tuple(
    (re.compile(pattern, re.DOTALL), replacement)
    for pattern, replacement in (
        (r"\b(Duplicate entry )'(?:.*('(?= for key))|.*)", rf"\1'{HIDDEN}'"),
        (r"\b([Vv]alue(?: of)?:? )'(?:.*('(?= for (?:column|function)))|.*)", rf"\1'{HIDDEN}'"),
        (r"\b(out of range in )'.*", rf"\1'{HIDDEN}'"),
        (r"\b([Ss]tring:? |, record )'.*", rf"\1'{HIDDEN}'"),
        (r"\b(partition for value ).*", rf"\1{HIDDEN}"),
        (r"\b((?:wrong partition|misplaced row)\b).*", rf"\1 {HIDDEN}"),
        # rows as InnoDB prints them
        (r"(\bTUPLE[ :]|\bRECORD ?\(|\blen \d+; hex ).*", rf"\1{HIDDEN}"),
    )
)
_IN_STATEMENT = re.compile(r"\b(Error ')(.*(?='(?: on (?:query|opening)| running ))|.*)('?)", re.DOTALL)
_IN_EVENT = re.compile(
    r"\b(Could not execute \w+ event on table .+?; ?)(.*?)"
    r"((?:, Error_code: (?:MY-)?\d+;?)?"
    rf"(?: ?handler error \w+;)?(?: ?the event's \w+ log [^\s,]+, end_log_pos \d+)?(?:{_APPENDED})?)\Z",
    re.DOTALL,
)
_OF_ROW = re.compile(r"(Error executing row event: ')(.*(?=')|.*)('?)", re.DOTALL)
_COMPARED = re.compile(r"( actual message=')(.*(?=',? error code)|.*)('?)", re.DOTALL)
_OF_CLIENT = re.compile(
    r"^(ERROR \d+ \(\w+\)(?: at line \d+)?(?: in file: '[^']*')?: )(.*)(\Z)", re.DOTALL | re.MULTILINE
)
_WITH_MESSAGE = (_IN_STATEMENT, _IN_EVENT, _OF_ROW, _COMPARED, _OF_CLIENT)
_SIGNALLED = re.compile(r"\b(?:error code|Error_code|ERROR):? (?:MY-0*)?(?:1642|1643|1644)\b")

# Messages that quote nothing but names, each after the word that says what it names.
_NAME = r"'[^'\n]*'"
_NAMED = (
    r"\b(?:[Tt]able|[Cc]olumn|[Ff]ield|[Kk]ey|[Nn]ame|[Dd]atabase|[Ss]chema|[Cc]onstraint|[Ii]ndex|[Vv]iew|[Ee]ngine"
    r"|[Pp]lugin|[Cc]omponent|[Uu]ser|[Rr]ole|[Hh]ost|FUNCTION|PROCEDURE|[Ff]unction|[Pp]rocedure|[Rr]outine|[Ee]vent"
    r"|[Tt]rigger|[Pp]artition|[Ss]equence|[Tt]ablespace|[Vv]ariable|[Cc]ollation:?|[Cc]haracter set:?|[Ff]ile:?"
    rf"|[Tt]ype|[Ll]ibrary|[Ss]ocket|[Tt]ransaction|DROP|in|on|at|of|from|for|to) {_NAME}(?:@{_NAME}|\.{_NAME})?"
)
_NAMES_ONLY = re.compile(
    rf"(?:{_NAMED}|\({_NAME}@{_NAME}\)|Errcode: \d+ \"[^\"]*\"|Got error \d+ (?:- {_NAME}|\"[^\"]*\")|n't\b|[^'\"])*"
)
_QUOTE = re.compile(r"(?<!n)['\"]|(?<=n)['\"](?!t\b)")
_ENTRY = re.compile(r"^(?=\d{4}-\d\d-\d\d[T ]|\d{6} [ \d]\d:)", re.MULTILINE)


def redacted(text: str, number: int = 0) -> str:
    """Return *text* without the statements and values that servers are known to quote.

    :param text: an error of a replication thread, an entry of an error log, or the output of a program.
    :param number: error number, if it is known.
    """
    free = _is_free(number) or bool(_SIGNALLED.search(text))
    text = _STATEMENT.sub(lambda m: f"{m[1]}'{HIDDEN}'{m[2] or ''}", text)
    text = _CRASHED_IN.sub(rf"\1{HIDDEN}\n", text)
    for pattern in _WITH_MESSAGE:
        text = pattern.sub(lambda m: f"{m[1]}{HIDDEN if free else _names_only(m[2])}{m[3]}", text)
    return _known(text)


def redacted_message(number: int, text: str) -> str:
    """Return one error message of a server, with the quotes of an unknown message removed.

    :param text: what the server answered to a statement, or the error of an applier.
    """
    shorter = redacted(text[:_LONGEST_CHARS], number)
    if number in _ABOUT_POSITIONS or any(pattern.search(shorter) for pattern in _WITH_MESSAGE):
        return shorter
    return HIDDEN if _is_free(number) else _names_only(shorter)


def redacted_log(text: str) -> str:
    """Return the text of an error log, entry by entry; an entry may have several lines."""
    return "".join(_entry(entry) for entry in _ENTRY.split(text))


def _is_free(number: int) -> bool:
    return number in _FREE_TEXT or number >= _FREE_NUMBERS


def _entry(entry: str) -> str:
    line = entry.rstrip("\n")
    return redacted(line[:_LONGEST_CHARS]) + entry[len(line) :]


def _known(text: str) -> str:
    text = _SYNTAX.sub(lambda m: f"near '{HIDDEN}{m[1] or ''}", text)
    text = _PASSWORD.sub(rf"\1{HIDDEN}", text)
    for pattern, replacement in _VALUES:
        text = pattern.sub(replacement, text)
    return text


def _names_only(message: str) -> str:
    """Return *message* if it quotes names only; otherwise nothing from its first to its last quote."""
    shorter = _known(message)
    if _NAMES_ONLY.fullmatch(shorter.replace(f"'{HIDDEN}'", HIDDEN)):
        return shorter
    quotes = [match.start() for match in _QUOTE.finditer(shorter)]
    end = quotes[-1] if len(quotes) > 1 else len(shorter)
    return shorter[: quotes[0] + 1] + HIDDEN + shorter[end:] if quotes else shorter
