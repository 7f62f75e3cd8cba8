"""Optimisers of many independent runs at once, behind one ask/tell interface."""

from signseg_utils.optimizers._base import Optimizer
from signseg_utils.optimizers._noise import response_noise

__all__ = ["Optimizer", "response_noise"]
