"""Fault X45: names and messages from elsewhere reach a terminal as text, never as commands to it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
import pytest
from rich.console import Console

from airflow_restore_replay.cli import output
from airflow_restore_replay.cli.progress import ProgressDisplay
from airflow_restore_replay.core.errors import ChunkCorrupt
from airflow_restore_replay.core.errors.failure import Failure
from airflow_restore_replay.core.jobs.protocol import Progress
from airflow_restore_replay.core.system.printable import PrintableFormatter
from tests.unit.cli.conftest import Shop

#: sets the window's title, clears the screen (in C0 and C1), goes back in the line, turns text around
EVIL = "t\x1b]0;owned\x07\x1b[2J\x9b2J\r\x7f\u202eable"
OBEYED = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u202e"]


def _progress(display: Callable[[ProgressDisplay], None]) -> None:
    with ProgressDisplay(EVIL) as shown:
        display(shown)


@pytest.mark.parametrize(
    "show",
    [
        pytest.param(lambda: output.show_table(["A"], [[EVIL]]), id="table"),
        pytest.param(lambda: output.show_pairs([(EVIL, EVIL)]), id="pairs"),
        pytest.param(lambda: output.console(stderr=True).print(EVIL, markup=False), id="line"),
        pytest.param(lambda: output.show_failure(Failure.of(ChunkCorrupt(EVIL)), as_json=False), id="error"),
        pytest.param(
            lambda: output.show_failure(Failure.of(ChunkCorrupt(EVIL)), as_json=True), id="error-as-json"
        ),
        pytest.param(lambda: output.emit_json({EVIL: EVIL}), id="json"),
        pytest.param(lambda: output.echo(EVIL), id="echo"),
        pytest.param(lambda: _progress(lambda shown: shown.say(EVIL)), id="said"),
        pytest.param(lambda: _progress(lambda shown: shown.update(Progress(phase=EVIL))), id="progress"),
    ],
)
def test_x45_no_control_character_reaches_the_terminal(
    show: Callable[[], None], capfd: pytest.CaptureFixture[str]
) -> None:
    show()
    text = "".join(capfd.readouterr())
    assert [c for c in OBEYED if c in text.replace("\n", "")] == []
    assert "owned" in text
    assert r"\x1b" in text or r"\u001b" in text


def test_x45_json_keeps_its_values(capfd: pytest.CaptureFixture[str]) -> None:
    output.emit_json({EVIL: [EVIL]})
    assert msgspec.json.decode(capfd.readouterr().out) == {EVIL: [EVIL]}


def test_x45_colours_stay() -> None:
    with (console := output.console()).capture() as captured:
        console.print(output.styled("healthy"))
    assert captured.get() == "healthy\n"
    terminal = type(console)(force_terminal=True, color_system="standard", width=80)
    assert isinstance(terminal, Console)
    with terminal.capture() as captured:
        terminal.print(output.styled("healthy"))
    assert captured.get() == "\x1b[32mhealthy\x1b[0m\n"


def test_x45_log_lines() -> None:
    record = logging.LogRecord("x", logging.WARNING, "x.py", 1, "Table %s", (EVIL,), None)
    assert PrintableFormatter().format(record) == r"Table t\x1b]0;owned\x07\x1b[2J\x9b2J\x0d\x7f\u202eable"


def test_x45_names_of_objects(shop: Shop) -> None:
    shop.publish()
    (shop.store / "manifests" / "\x1b[2Jevil.json").write_bytes(b"")
    for command, code in (("list", 0), ("verify", 4)):
        text = shop.run(command, exit_code=code).output
        assert "\x1b" not in text
        assert r"\x1b[2Jevil.json" in text
