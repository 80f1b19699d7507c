"""Our program on the replay node: ``python -m airflow_restore_replay.core.agent COMMAND NODE_DIR``.

Commands read JSON on standard input and print JSON. Jobs run as detached processes that outlive whoever
submitted them; their state file is the only thing anybody has to read.
"""
