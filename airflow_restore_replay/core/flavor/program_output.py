"""Read what a server's programs print when they fail."""

from __future__ import annotations

import re

from airflow_restore_replay.core.flavor.redaction import redacted


def telling_line(stderr: str, program: str, status: int) -> str:
    """Return the line of *stderr* that says why *program* failed, without statements and values."""
    lines = [line.strip() for line in redacted(stderr).splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error|denied|corrupt|fail", line, re.IGNORECASE)]
    chosen = errors[0] if errors else (lines[-1] if lines else "")
    return chosen or (
        f"{program} was killed by signal {-status}" if status < 0 else f"{program} said nothing"
    )


def last_line(text: str) -> str:
    """Return the last line that reports an error, else the last line, without statements and values."""
    lines = [line for line in redacted(text).splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "no output")


def error_number(line: str) -> int:
    """Return the server's error number in *line*, or 0 if there is none.

    Dumps write it first ("Got error: 1045: …"), or last, after a statement ("Couldn't execute '…': … (1370)").
    """
    match = re.search(r"\((\d{4,5})\)$", line) or re.search(
        r"(?:error:?|ERROR)\s*:?\s*(\d{3,5})\b", line, re.IGNORECASE
    )
    return int(match[1]) if match else 0
