"""Processes that never outlive whoever started them, on Linux and macOS alike."""
