"""Our program on the replay node: ``python -m airflow_restore_replay.core.agent COMMAND DIRECTORY``.

The directory is a node's; or, for what a host is asked before there is a node, the one in which all of them are.
Commands read JSON on standard input and print JSON. Jobs run as detached processes that outlive whoever
submitted them; their state file is the only thing anybody has to read.
"""
