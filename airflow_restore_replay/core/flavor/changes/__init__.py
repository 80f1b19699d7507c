"""Read what a binary log changed: statements, and rows per table.

:mod:`~airflow_restore_replay.core.flavor.changes.reader` puts transactions together from the events of a file, for both
flavors: the numbers of their events differ. Values of rows are never decoded, only skipped.
"""
