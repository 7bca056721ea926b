"""What one operator, one queue and one Redis bear, and by which laws their costs grow."""
