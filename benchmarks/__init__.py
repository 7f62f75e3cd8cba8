"""Measurements of speed; run as modules, for instance ``python -m benchmarks.closed_loop``."""
