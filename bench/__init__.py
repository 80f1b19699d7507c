"""Measurements. Each prints a table, and writes JSON when told where; ``python -m bench`` is the comparison with
today's tools (docs/performance.md)."""
