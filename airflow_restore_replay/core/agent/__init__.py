"""The agent, the program on the replay node: ``python -m airflow_restore_replay.core.agent COMMAND DIRECTORY``.

The directory is a node's. For commands about a host, it is the work directory that contains all nodes.

Commands read JSON on standard input and print JSON. Jobs run as detached processes that outlive the process that
submitted them. The state file of a job has everything that a caller needs to know of it.
"""
