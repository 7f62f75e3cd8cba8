"""The ablation sweep: searches of units under all conditions (sign x alpha) and seeds.

A `Shard` is one unit of one network, seen through one generator: rows of one readout bank, so they
share every pass and every random number. It is an `signseg_utils.experiments.base.Experiment`:
used only if its settings, weights and `ALGORITHM_VERSION` are the ones asked for.
"""

from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from signseg_utils import zoos
from signseg_utils.experiments import base
from signseg_utils.experiments.base import AuditError
from signseg_utils.experiments.sweep.shards import (
    ALGORITHM_VERSION,
    ALPHAS,
    SIGNS,
    TOLERANCE,
    Shard,
    plan,
)

__all__ = [
    "ALGORITHM_VERSION",
    "ALPHAS",
    "SIGNS",
    "TOLERANCE",
    "AuditError",
    "Shard",
    "collect",
    "plan",
]


def collect(plan: Sequence[Shard], folder: Path, zoo: zoos.Zoo | None = None) -> xr.Dataset:
    """Shards of a folder as one dataset (`Shard.joined`); ShardError if one is not there."""
    return Shard.joined(plan, base.read(plan, zoo or zoos.load_zoo(plan[0].zoo), folder))
