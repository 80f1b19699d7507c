"""Classify the errors of a logical seed's programs by whom they blame."""

from __future__ import annotations

import re

from airflow_restore_replay.core.errors import (
    NodeFull,
    NodeServerCrashed,
    PrimaryUnreachable,
    RestoreReplayError,
    SourceCorrupt,
)
from airflow_restore_replay.core.flavor.classify import (
    STATEMENT_ENDED,
    denied,
    disk_full,
    dump_ended,
    program_failed,
)
from airflow_restore_replay.core.flavor.program_output import error_number, telling_line
from airflow_restore_replay.core.flavor.sql import CORRUPT_NUMBERS
from airflow_restore_replay.core.flavor.tls import unreachable_hint


class DumpErrors:
    """Part of a flavor's :class:`~airflow_restore_replay.core.flavor.seeding.DumpTools`.

    :cvar programs: names of the programs that dump and load.
    :cvar denied_numbers: they refuse the dump's account or a privilege.
    :cvar gone_numbers: of a server that cannot be reached, or of a connection that was lost.
    :cvar corrupt: texts of a server that cannot read its own data.
    """

    programs: tuple[str, str]
    denied_numbers = frozenset({1044, 1045, 1142, 1227, 1370, 1698})
    gone_numbers = frozenset(
        {1040, 1053, 1158, 1159, 1160, 1161, 1203, 1226, 2002, 2003, 2005, 2006, 2013, 2026}
    )
    corrupt = (
        r"is corrupt|marked as crashed|Incorrect key file|doesn't exist in engine|page corruption|"
        r"seems to be corrupted|Corrupted|checksum mismatch"
    )

    def dump_error(self, status: int, stderr: str) -> RestoreReplayError:
        """Classify a failed dump."""
        line = telling_line(stderr, self.programs[0], status)
        number = error_number(line)
        if number in self.denied_numbers:
            return denied(number, line, "the dump's account")
        if number in CORRUPT_NUMBERS or re.search(self.corrupt, line, re.IGNORECASE):
            return SourceCorrupt(
                f"The primary cannot read its own data: {line}",
                hint="Repair the table on the primary; the last good backup is kept.",
                evidence={"error": number},
            )
        if number in STATEMENT_ENDED:
            return dump_ended(number, line)
        if number in self.gone_numbers:
            return PrimaryUnreachable(f"The dump lost the primary: {line}", hint=unreachable_hint(line))
        return program_failed(self.programs[0], status, line)

    def load_error(self, status: int, stderr: str) -> RestoreReplayError:
        """Classify a failed load of the dump on the node."""
        line = telling_line(stderr, self.programs[1], status)
        if disk_full(line):
            return NodeFull(f"The node's disk is full: {line}")
        if error_number(line) in self.gone_numbers:
            return NodeServerCrashed(f"The node's server went away while the dump was loaded: {line}")
        return program_failed("Loading the dump", status, line)
