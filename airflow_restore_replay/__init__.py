"""Backups of MySQL and MariaDB that are produced by being restored."""

__version__ = "0.1.0"
