"""Measurements. Each prints a table, and writes JSON when told where."""
