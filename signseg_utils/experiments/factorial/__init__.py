"""A designed experiment: many small networks in worlds where the cause can be set.

A `Setting` is one row of a two-level fractional factorial design; its `World` renders the images,
its network is trained in them, and the ablation sweep is run on that network (`Searches`).
`main_effects` tells the factors apart.
"""

from signseg_utils.experiments.factorial.analysis import (
    Effect,
    by_factor,
    coded,
    main_effects,
    paired_effect,
    strings,
)  # fmt: skip
from signseg_utils.experiments.factorial.design import (
    FACTORS,
    GENERATORS,
    IMAGES,
    UNITS,
    Factor,
    Setting,
    aliases,
    columns,
    levels,
    settings,
)  # fmt: skip
from signseg_utils.experiments.factorial.running import Searches, look, plan, searches, table
from signseg_utils.experiments.factorial.showing import compared, extremes
from signseg_utils.experiments.factorial.world import World

__all__ = [
    "FACTORS", "GENERATORS", "IMAGES", "UNITS", "Effect", "Factor", "Searches", "Setting", "World",
    "aliases", "by_factor", "coded", "columns", "compared", "extremes", "levels", "look",
    "main_effects", "paired_effect", "plan", "searches", "settings", "strings", "table",
]  # fmt: skip
