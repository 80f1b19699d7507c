"""The format of FORMAT.md, as types and bytes."""
