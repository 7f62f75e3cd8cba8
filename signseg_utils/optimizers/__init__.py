"""Optimisers of many independent runs at once, behind one ask/tell interface."""

from signseg_utils.optimizers._base import Optimizer
from signseg_utils.optimizers._noise import check_seeds, response_noise

__all__ = ["Optimizer", "check_seeds", "response_noise"]
