"""What lies in the store: contents, file lists, manifests, the marker, key checks."""
