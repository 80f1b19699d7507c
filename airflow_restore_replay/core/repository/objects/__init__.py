"""Objects in the store: contents, file lists, records, ``repository.json`` and key checks."""
