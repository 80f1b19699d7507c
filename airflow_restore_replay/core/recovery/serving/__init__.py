"""Serve the archived binary logs to a node that a restore replays, by a server that has no data."""
