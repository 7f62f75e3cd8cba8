"""Experiments on recorded neurons."""
