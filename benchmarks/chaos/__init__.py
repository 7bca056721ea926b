"""Proves that nothing is lost: jobs on the laptop cluster, blows to all of it, and a checker with its own books."""
