"""Configuration of the checks that a node passes before its data is published; see docs/validation.md."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from airflow_restore_replay.core.config.strict import Positive, Strict
from airflow_restore_replay.core.config.units import Seconds

Share = Annotated[float, Meta(gt=0, lt=1)]

#: the checks that a cluster may leave out
CheckName = Literal[
    "canary", "assertions", "definitions", "cold_pages", "check_table", "drop_guard", "same_data"
]


class Assertion(Strict, frozen=True, kw_only=True):
    """A user's own query over the data, and the value that it must return.

    :param query: returns one value; it runs in a read-only transaction on the node.
    :param expect: the exact value; or *at_least*, *at_most*, or both are given instead.
    """

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    query: Annotated[str, Meta(min_length=1)]
    expect: str | int | float | None = None
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        bounds = self.at_least is not None or self.at_most is not None
        if bounds == (self.expect is not None):
            raise ValueError(
                f"assertion {self.name!r} needs either expect, or at_least and at_most or one of them"
            )


class Validation(Strict, frozen=True, kw_only=True):
    """The checks of a node, and their limits.

    :param checks: the checks to run, besides those that always run: the goal is contained, no errant transactions,
        the error log.
    :param time_box: time limit of each check but the comparison; what a check left out is reported, and comes first
        in the next cycle.
    :param compare_budget: time limit of the comparison, so that each cycle compares a part of a large primary.
    :param pause_above: the comparison waits while more threads than this are running on the primary, until its budget
        is used up.
    :param chunk_rows: rows that the first statement of a comparison hashes; later statements hash as many rows as take
        half a second.
    :param exclude: ``schema.table`` patterns (``*`` allowed) that are not compared; the result lists them as omitted.
    :param drop_guard: largest allowed loss of rows since the previous backup, as a share of them.
    :param canary: ``schema.table`` on the primary that a token is written to.
    """

    checks: tuple[CheckName, ...] = (
        "canary",
        "assertions",
        "definitions",
        "cold_pages",
        "check_table",
        "drop_guard",
        "same_data",
    )
    time_box: Seconds | None = None
    check_table: Literal["quick", "medium", "extended"] = "quick"
    exclude: list[str] = []
    compare_budget: Seconds = Seconds("10m")
    pause_above: Positive | None = 25
    chunk_rows: Positive = 20_000
    drop_guard: Share | None = 0.9
    assertions: list[Assertion] = []
    canary: Annotated[str, Meta(pattern=r"^[^.]+\.[^.]+$")] | None = None

    def __post_init__(self) -> None:
        names = [assertion.name for assertion in self.assertions]
        if len(set(names)) < len(names):
            raise ValueError("two assertions have the same name")
