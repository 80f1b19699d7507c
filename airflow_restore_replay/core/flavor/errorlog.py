"""Find in a server's error log what concerns its data, by rules of each flavor."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_restore_replay.core.flavor.redaction import redacted_log

_TAIL_BYTES = 4 * 2**20
#: of a line, by which it is classified; the patterns take quadratic time for lines that were made for that
_LONGEST_CHARS = 4096
_ERROR = r"\[ERROR\]|got signal \d+|Assertion .*fail"
# InnoDB reports a missing table file as a warning or a note, depending on the release.
_DATA_WARNING = (
    "Cannot open datafile|Ignoring tablespace|tablespace .*(missing|corrupt)"
    "|marked as crashed|is corrupted|checksum mismatch|Missing MLOG"
)
_HARMLESS = (
    # Plugins and UDFs of the primary that the node deliberately does not load.
    r"Can't open shared library|Couldn't load plugin|Can't find symbol",
    # A plugin that both an option and the copied table of plugins load.
    r"Function '.*' already exists",
    r"Plugin '.*' (init function returned error|registration as|is disabled)",
    # A lost connection: the primary stops or restarts.
    r"server_errno=|Lost connection",
    r"Event Scheduler",
    # About the host, not the data.
    r"io_uring|O_DIRECT|native AIO|memlock",
)
_ENVIRONMENT = re.compile(
    r"No space left|disk is full|(Errcode:|OS errno) (28|24|13|12)\b|out of memory|Cannot allocate memory|"
    r"Too many open files|Permission denied|Unable to lock|unknown (option|variable)|Can't change dir",
    re.I,
)
_MISSING_FILE = (
    "cannot open datafile",
    "could not find a valid tablespace",
    "is missing",
    "cannot find space",
)


@dataclass(frozen=True)
class LogRules:
    """Patterns that classify the lines of an error log.

    :param error: lines that report an error, or damage under another label.
    :param harmless: error lines that do not blame the data.
    :param aftermath: lines that only say that the server gives up; earlier lines have the reason.
    :param prefix: the timestamp and thread at the start of a line.
    """

    error: re.Pattern[str]
    harmless: re.Pattern[str]
    aftermath: re.Pattern[str]
    prefix: re.Pattern[str]

    @classmethod
    def of(cls, *, error: str, damage: str, harmless: Sequence[str], aftermath: str, prefix: str) -> LogRules:
        """Return the rules of a flavor, whose patterns are added to those of all flavors.

        :param damage: lines that report damage under another label than an error's, in any case of letters.
        """
        return cls(
            error=re.compile(f"{_ERROR}|{error}|(?i:{_DATA_WARNING}|{damage})"),
            harmless=re.compile("|".join((*_HARMLESS, *harmless))),
            aftermath=re.compile(f"Aborting|Plugin 'InnoDB'|{aftermath}"),
            prefix=re.compile(prefix),
        )

    def data_errors(self, text: str) -> list[str]:
        """Return lines that blame the data: neither harmless nor environmental."""
        lines = self.all_errors(text)
        return [
            s for s in lines if not self.harmless.search(s[:_LONGEST_CHARS]) and not _ENVIRONMENT.search(s)
        ]

    def environment_errors(self, text: str) -> list[str]:
        """Return error lines about memory, disk, permissions, locks or options.

        Errors that follow from these do not blame the data either.
        """
        return [line for line in self.all_errors(text) if _ENVIRONMENT.search(line)]

    def all_errors(self, text: str) -> list[str]:
        """Return error lines of any cause, to explain a failed start."""
        return [line for line in text.splitlines() if self.error.search(line[:_LONGEST_CHARS])]

    def telling(self, lines: list[str]) -> str:
        """Return the line with the reason, without its timestamp, and not the "Aborting" after it."""
        for line in lines:
            if not self.aftermath.search(line):
                return self.prefix.sub("", line)
        return lines[0] if lines else "the server left no error line"


def read_from(log_path: Path, offset: int) -> str:
    """Return the log's text after *offset*, at most its last 4 MiB, without statements and values."""
    try:
        with log_path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(offset, size - _TAIL_BYTES))
            return redacted_log(log.read().decode("utf-8", "replace"))
    except FileNotFoundError:
        return ""


def missing_file(lines: Sequence[str]) -> str | None:
    """Return the first line that says that a table's file is missing, or None."""
    return next((line for line in lines if any(m in line.lower() for m in _MISSING_FILE)), None)


def most_telling(lines: Sequence[str]) -> str:
    """Return the line that names a missing file, which says more than how it was noticed; else the first line."""
    return missing_file(lines) or lines[0]
