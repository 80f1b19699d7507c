"""Between a data directory and the repository: snapshot and restore."""
