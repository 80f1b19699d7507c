"""Shows the mistakes of the cluster file as an import error of this file: Airflow stops all DAGs of a file with one.

The DAG files beside it import without an error, and build the DAGs of all clusters that have no mistake.
"""

from airflow_restore_replay.dag import refuse_mistakes

refuse_mistakes()
