"""ARQ's data in Redis: key names, scripts, snapshots, worker heartbeats, connections.

Knows neither arq nor Kubernetes.
"""
