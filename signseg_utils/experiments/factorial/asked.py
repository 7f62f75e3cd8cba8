"""What is asked of the table of networks: the effect behind each line of the ledger, by its id."""

import pandas as pd

from signseg_utils.analysis.stats import holm
from signseg_utils.experiments.factorial.analysis import (
    Effect,
    by_factor,
    coded,
    neither,
    over_networks,
)
from signseg_utils.experiments.factorial.running import KINDS

SIGNS = ("positive", "negative", "random")


def overall(runs: pd.DataFrame) -> dict[str, Effect]:
    """Grand means of the asymmetries, and what ablation of a sign does to what scenes hold.

    Parameters
    ----------
    runs
        From `signseg_utils.experiments.factorial.table`; so of all functions here.
    """
    found = {f"W-mean {kind}": over_networks(runs[kind]) for kind in KINDS}
    for kind in KINDS[1:]:  # what is read from scenes has a level of its own in intact units
        for sign in SIGNS:
            change = runs[f"{kind} without {sign}"] - runs[f"{kind} intact"]
            found[f"W-fall {sign} {kind}"] = over_networks(change)
    return found


def of_factors(runs: pd.DataFrame) -> dict[str, tuple[Effect, float]]:
    """Effect of each factor on each asymmetry, with its p corrected for those of one response."""
    found = {}
    for kind in KINDS:
        effects = by_factor(runs, kind)
        suffix = "" if kind == KINDS[0] else f" {kind}"
        adjusted = holm([effect.p for effect in effects.values()]).tolist()
        for (name, effect), p in zip(effects.items(), adjusted, strict=True):
            found[f"W-{name}{suffix}"] = (effect, p)
    return found


def of_constraints(runs: pd.DataFrame) -> dict[str, Effect]:
    """Asymmetries among networks under Dale's law, its cost, and what having to refuse does."""
    obeying = runs[runs["dale"]]
    found = {f"W-dale mean {kind}": over_networks(obeying[kind]) for kind in KINDS}
    found["W-dale accuracy"] = by_factor(runs, "accuracy")["dale"]
    found["W-refusal presence"] = neither(coded(runs), runs["presence"], "B", "E")
    return found
