"""The Backups page of Airflow's UI: its routes, and in `static` what the browser runs. The API server imports it."""
