"""What FORMAT.md says, as types and bytes."""
