"""The other queues' apps, each run by the Python of its own environment: ``python -m <module> enqueue <jobs>|work``."""
