"""The ablation sweep: plan it, run it in pieces that survive anything, read it, audit it.

A `Shard` is one unit of one network, seen through one generator, under all conditions
(sign x alpha) and seeds: rows of one readout bank, so they share every pass and every random
number. `run` computes what the store does not hold yet and reads the rest; a shard is used only
if its settings, weights and `ALGORITHM_VERSION` are the ones asked for.
"""

from signseg_utils.experiments.sweep.auditing import AGREEMENT, TOLERANCE, AuditError, audit
from signseg_utils.experiments.sweep.running import (
    collect,
    damaged,
    holds,
    obtain,
    run,
    run_shard,
    timings,
)  # fmt: skip
from signseg_utils.experiments.sweep.shards import ALGORITHM_VERSION, ALPHAS, SIGNS, Shard, plan

__all__ = [
    "AGREEMENT", "ALGORITHM_VERSION", "ALPHAS", "SIGNS", "TOLERANCE", "AuditError", "Shard",
    "audit", "collect", "damaged", "holds", "obtain", "plan", "run", "run_shard", "timings",
]  # fmt: skip
