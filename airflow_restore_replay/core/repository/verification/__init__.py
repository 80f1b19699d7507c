"""Verification: read stored bytes back and compare them with their hashes."""
