"""The runtime in the worker image: runs an unmodified arq WorkerSettings and drains it on SIGTERM."""
