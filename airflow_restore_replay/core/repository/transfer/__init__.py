"""Snapshot and restore: transfer between a data directory and the repository."""
