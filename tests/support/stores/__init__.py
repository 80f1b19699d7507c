"""The only place that starts object stores; each is a real server on loopback, over HTTP."""
