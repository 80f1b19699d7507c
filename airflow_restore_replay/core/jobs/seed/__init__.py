"""Fill a node with a fresh full copy of the primary."""
