"""Neurons: recorded ones, and models of them that answer to any image."""
