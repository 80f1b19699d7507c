"""Passwords for a command: typed, or on standard input, never among its arguments."""

from __future__ import annotations

import sys

import click


def read_password(whose: str) -> str:
    """Return the password of *whose* account: asked for on a terminal, else the first line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt(f"Password of {whose}", hide_input=True, default="", show_default=False))
    return sys.stdin.readline().rstrip("\r\n")
