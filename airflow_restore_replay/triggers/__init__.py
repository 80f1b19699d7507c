"""Triggers, in which deferred tasks wait without a worker slot."""
