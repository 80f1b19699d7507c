"""The archive: the primary's binary logs in the repository, so that any moment can be restored without the primary."""
