"""What one operator needs for many TaskQueues, and how fast it follows a burst."""
