"""The result of a job as lines for logs and terminals: what it did, and one line for each check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_restore_replay.core.config.units import human_bytes, human_seconds
from airflow_restore_replay.core.flavor.values import position_text

#: Values of a job's result that are shown → how they are formatted.
_SHOWN: dict[str, Any] = {
    "bytes": human_bytes,
    "total_bytes": human_bytes,
    "skipped_bytes": human_bytes,
    "new_bytes": human_bytes,
    "delta_bytes": human_bytes,
    "stored_bytes": human_bytes,
    "transactions": "{:,}".format,
    "transactions_per_s": "{:,.0f}".format,
    "seconds": human_seconds,
    "archive": str,
}


def result_lines(job: str, result: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each check of the job, with what it saw and how long it took, and one for the job.

    :param job: name of the job.
    """
    for check in result.get("checks", ()):
        if isinstance(check, dict) and "name" in check:
            yield _check(check)
    about = [str(result[name]) for name in ("backup_id", "method") if result.get(name)]
    at = [f"at {position_text(result['position'])}"] if "position" in result else []
    amounts = amounts_text(result)
    yield f"Job {job} ended: {', '.join([*about, *at, *([amounts] if amounts else [])])}"


def amounts_text(result: dict[str, Any]) -> str:
    """Return the amounts in a job's result, as text."""
    parts = [
        f"{name.replace('_', ' ')} {show(result[name])}" for name, show in _SHOWN.items() if name in result
    ]
    return ", ".join(parts)


def _check(check: dict[str, Any]) -> str:
    state = "passed" if check.get("passed") else "FAILED"
    seen = "; ".join(filter(None, (str(check.get("observed", "")), str(check.get("unfinished", "")))))
    return f"Check {check['name']} {state} in {check.get('seconds', 0.0):.1f} s: {seen}"
