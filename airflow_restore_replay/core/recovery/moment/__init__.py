"""The moment to restore to: its time or GTID, the position there, and the archived files that lead to it."""
