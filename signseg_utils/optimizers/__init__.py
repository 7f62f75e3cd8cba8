"""Optimisers of many independent runs at once, behind one ask/tell interface."""

from signseg_utils.optimizers._base import Optimizer

__all__ = ["Optimizer"]
