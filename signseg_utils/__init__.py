"""Signed inputs of units in brains and networks: ablation, visualisation, comparison."""

__version__ = "0.1.0"
