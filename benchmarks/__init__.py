"""Measurements of our claims, side by side in one run: ``python -m benchmarks.<name> [--json]``."""
