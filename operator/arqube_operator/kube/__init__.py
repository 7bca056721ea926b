"""The Kubernetes API on plain dicts: one client, one leader elector."""
