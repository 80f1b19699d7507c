"""The log of a task shows the proof: a line for each check, and one for the job."""

from __future__ import annotations

from airflow_restore_replay.core.jobs.result_lines import result_lines


def test_each_check_has_a_line_with_what_it_saw() -> None:
    result = {
        "position": "0-1-55",
        "checks": [
            {"name": "check_table", "passed": True, "seconds": 0.24, "observed": "12 tables"},
            {
                "name": "same_data",
                "passed": True,
                "seconds": 2.26,
                "observed": "20000 rows in 3 tables alike at 0-1-55",
                "unfinished": "1 of 4 tables are not fully compared yet",
            },
        ],
        "compared": {"rows": 20000},
        "seconds": 3.5,
    }
    assert list(result_lines("validate", result)) == [
        "Check check_table passed in 0.2 s: 12 tables",
        "Check same_data passed in 2.3 s: 20000 rows in 3 tables alike at 0-1-55; 1 of 4 tables are not fully "
        "compared yet",
        "Job validate ended: at 0-1-55, seconds 3.5 s",
    ]


def test_a_job_without_checks_has_one_line() -> None:
    seeded = {"method": "logical", "position": "", "bytes": 3_200_000, "seconds": 1.0}
    assert list(result_lines("seed", seeded)) == [
        "Job seed ended: logical, at (empty: the primary had logged no transaction), bytes 3.2 MB, seconds 1.0 s"
    ]
