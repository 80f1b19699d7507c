"""Alert rules for Prometheus and a dashboard for Grafana, as files; `restore-replay metrics` prints them."""
