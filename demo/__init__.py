"""``make demo`` and ``make up``: a real MariaDB (or MySQL) under load, the shipped DAG, Airflow's own scheduler."""
