"""Retention, and deletion of the backups and stored bytes that it does not keep."""
