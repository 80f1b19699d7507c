"""Triggers: what a deferred task waits for, without a worker."""
