"""What every part stands on: settings, database, queues, and the jobs."""
