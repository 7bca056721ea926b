"""``make matrix``: which versions of Python, arq, redis-py, Redis, Valkey and Kubernetes the platform runs on."""
