"""Texts that a page must show and not obey."""

from __future__ import annotations

#: markup, attributes, script, a terminal's escape, a mark that turns text around, and a template
HOSTILE = (
    "<img src=x onerror=\"window.pwned='img'\">"
    "<script>window.pwned='script'</script>"
    "\"><svg onload=\"window.pwned='svg'\"> '+window.pwned+' javascript:window.pwned=1 "
    "\x1b[31m\x00\x07\u202egnp.exe {{7*7}} ${7*7} </td></table><h1>"
)
#: longer than any line
LONG = "a_very_long_name_" * 200
