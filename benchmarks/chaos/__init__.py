"""Proves that nothing is lost: jobs on the laptop cluster while everything is struck, and a checker with its own books."""
