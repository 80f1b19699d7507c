"""Find in the archive what happened: statements that define, and rows that transactions changed."""
