"""Systemd units of a cluster: their text, their calendar, and the files they are written to."""
