"""What a server's error log says about its data; each flavor has its rules."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TAIL_BYTES = 4 * 2**20
_MISSING_FILE = (
    "cannot open datafile",
    "could not find a valid tablespace",
    "is missing",
    "cannot find space",
)


@dataclass(frozen=True)
class LogRules:
    """:param error: lines that report an error, or damage under another label.
    :param harmless: of these, lines that do not blame the data.
    :param environment: lines about memory, disk, permissions, locks or options.
    :param aftermath: lines that only say that the server gives up; the reason stands before them.
    :param prefix: the time stamp and thread in front of a line.
    """

    error: re.Pattern[str]
    harmless: re.Pattern[str]
    environment: re.Pattern[str]
    aftermath: re.Pattern[str]
    prefix: re.Pattern[str]

    def data_errors(self, text: str) -> list[str]:
        """:returns: lines that blame the data, harmless and environmental ones left out."""
        lines = self.all_errors(text)
        return [s for s in lines if not self.harmless.search(s) and not self.environment.search(s)]

    def environment_errors(self, text: str) -> list[str]:
        """:returns: error lines about memory, disk, permissions, locks or options; the complaints that follow
        from them do not blame the data either."""
        return [line for line in self.all_errors(text) if self.environment.search(line)]

    def all_errors(self, text: str) -> list[str]:
        """:returns: error lines of any cause, for the explanation of a failed start."""
        return [line for line in text.splitlines() if self.error.search(line)]

    def telling(self, lines: list[str]) -> str:
        """:returns: the line that says why, without its time stamp; not the "Aborting" after it."""
        for line in lines:
            if not self.aftermath.search(line):
                return self.prefix.sub("", line)
        return lines[0] if lines else "the server left no error line"


def read_from(log_path: Path, offset: int) -> str:
    """:returns: the log's text after *offset*, at most its last 4 MiB."""
    try:
        with log_path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(offset, size - _TAIL_BYTES))
            return log.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def missing_file(lines: Sequence[str]) -> str | None:
    """:returns: the line that says that a table's file is missing."""
    return next((line for line in lines if any(m in line.lower() for m in _MISSING_FILE)), None)


def most_telling(lines: Sequence[str]) -> str:
    """:returns: the line that names what is damaged rather than how it was noticed."""
    return missing_file(lines) or lines[0]
