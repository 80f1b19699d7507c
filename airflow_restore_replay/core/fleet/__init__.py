"""The state of clusters, for `status`, `metrics` and pages: read once, from the records in their repositories."""
