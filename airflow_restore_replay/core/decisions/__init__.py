"""Decisions of a cycle as tables and pure functions, which the DAG, the operators and the command line carry out."""
