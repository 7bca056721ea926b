"""What apps may use beside their queue, each module with an extra of its own. Nothing else here imports it."""
