"""``make demo`` and ``make up``: a real MariaDB under load, the shipped DAG, Airflow's own scheduler."""
