"""A designed experiment: many small networks in worlds where the cause can be set.

A `Setting` is one row of a two-level fractional factorial design; its `World` renders the images,
its network is trained in them, and the ablation sweep is run on that network (`Searches`).
`main_effects` tells the factors apart.
"""

from signseg_utils.experiments.factorial.analysis import (
    Effect,
    by_factor,
    coded,
    interactions,
    main_effects,
    neither,
    over_networks,
)
from signseg_utils.experiments.factorial.asked import of_constraints, of_factors, overall
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
)
from signseg_utils.experiments.factorial.running import (
    KINDS,
    Searches,
    look,
    plan,
    table,
)
from signseg_utils.experiments.factorial.showing import (
    CONDITION_COLOURS,
    by_refusal,
    compared,
    extremes,
    left,
    summary,
    together,
)
from signseg_utils.experiments.factorial.world import World

__all__ = [
    "CONDITION_COLOURS",
    "FACTORS",
    "GENERATORS",
    "IMAGES",
    "KINDS",
    "UNITS",
    "Effect",
    "Factor",
    "Searches",
    "Setting",
    "World",
    "aliases",
    "by_factor",
    "by_refusal",
    "coded",
    "columns",
    "compared",
    "extremes",
    "interactions",
    "left",
    "levels",
    "look",
    "main_effects",
    "neither",
    "of_constraints",
    "of_factors",
    "over_networks",
    "overall",
    "plan",
    "settings",
    "summary",
    "table",
    "together",
]

PLUGIN = Searches
