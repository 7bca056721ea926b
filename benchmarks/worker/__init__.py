"""How fast one worker process takes no-op jobs from a queue, next to plain arq."""
