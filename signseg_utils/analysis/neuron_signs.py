"""Signs in models of neurons, read from results of `experiments.recorded.encoding_signs`.

What a constraint on the signs of weights costs (paper, Fig. 17), and which features have one sign
in the models of most neurons (paper, Fig. 18). ``sessions`` are results of one network, a session
of a recording each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from scipy.stats import spearmanr

from signseg_utils.analysis import predictions, stats
from signseg_utils.neurons import in_silico, recordings
from signseg_utils.units.signs import consistency_of_counts

# What the weights of a Lasso may be: of either sign; of none but positive sign; of one sign a
# feature, drawn at random; of the sign that the feature has for most other neurons.
CONSTRAINTS = ("free", "positive", "random", "Dale")

Array = np.ndarray[Any, np.dtype[Any]]


def fits(sessions: Sequence[xr.Dataset], kind: str, constraint: str) -> Array:
    """R2 at each penalty, ``[penalty, neuron]``: mean over the draws in which a neuron was kept.

    Neurons kept in no draw are left out; the order is that of the sessions.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingError
        If no neuron was kept in any draw.
    """
    _some_kept(sessions)
    return np.concatenate(
        [_over_draws(own[kind].sel(constraint=constraint), own["kept"]) for own in sessions], -1
    )


def at_choice(sessions: Sequence[xr.Dataset], kind: str, constraint: str) -> Array:
    """R2 at the penalty that cross-validation chose for each neuron and draw: ``[neuron]``.

    Neurons, their order and errors as in `fits`.
    """
    _some_kept(sessions)
    found = []
    for own in sessions:
        rows = own.sel(constraint=constraint)
        choice = rows["cv"].astype(float).argmax("penalty")
        found.append(_over_draws(rows[kind].isel(penalty=choice), own["kept"]))
    return np.concatenate(found)


def by_penalty(
    sessions: Sequence[xr.Dataset],
) -> dict[str, dict[str, tuple[Array, stats.Curve]]]:
    """What each constraint costs at each penalty, for `plots.named_curves` (paper, Fig. 17).

    Returns
    -------
    dict
        Images that models are tested on (those that they were fitted to, those held out of five
        folds, those of no part in the fit) to constraint to the penalties and the 20 % trimmed
        mean of R2 over neurons with its interval, for single neurons fail by far.
    """
    parts = {
        "training": "train",
        "five folds": "cv",
        "left out": predictions.tested(sessions, "fresh"),
    }
    penalties = sessions[0]["penalty"].values

    def curve(part: str, constraint: str) -> tuple[Array, stats.Curve]:
        values = fits(sessions, part, constraint).T
        return penalties, stats.mean_curve(values, trim=0.2)

    return {title: {one: curve(part, one) for one in CONSTRAINTS} for title, part in parts.items()}


def gains(sessions: Sequence[xr.Dataset]) -> dict[str, Array]:
    """R2 more than with positive weights only, by constraint: ``[neuron]``.

    On images left out, each constraint at the penalty that cross-validation chose for it. ``free``
    says what negative weights give; ``random`` and ``Dale``, what signs of as much freedom give.
    """
    on = predictions.tested(sessions, "fresh")
    positive = at_choice(sessions, on, "positive")
    return {
        kind: at_choice(sessions, on, kind) - positive for kind in CONSTRAINTS if kind != "positive"
    }


def gain_by_penalty(sessions: Sequence[xr.Dataset]) -> Array:
    """What negative weights give at each penalty, in cross-validation: ``[penalty, neuron]``."""
    return fits(sessions, "cv", "free") - fits(sessions, "cv", "positive")


def positive_share(sessions: Sequence[xr.Dataset]) -> Array:
    """Share of the kept neurons for which a feature has positive weight, ``[draw, feature]``."""
    return _share(*_counts(sessions))


def consistent(sessions: Sequence[xr.Dataset], most: float = 0.9) -> Array:
    """Share of features with one sign in more than ``most`` of models: ``[draw]``.

    Also asked: that a binomial test against 1/2, corrected for the number of features, rejects.
    """
    return _consistent(*_counts(sessions), most)


def consistent_resampled(
    groups: Sequence[Sequence[xr.Dataset]],
    most: float = 0.9,
    *,
    seed: int = 0,
    resamples: int = 500,
) -> Array:
    """`consistent` over neurons drawn with replacement, mean over draws: ``[group, resample]``.

    Groups are the same sessions seen through several networks; they share their resamples.
    """
    size = sum(own.sizes["neuron"] for own in groups[0])
    picked = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), resamples)
    found = []
    for sessions in groups:
        each = []
        for draw in range(sessions[0].sizes["draw"]):
            kept = np.concatenate([own["kept"].values[draw] for own in sessions])
            sign = np.concatenate([own["sign"].values[draw] for own in sessions])[kept]
            times = picked[:, kept].astype(np.float32)
            positive, signed = (times @ part.astype(np.float32) for part in (sign > 0, sign != 0))
            each.append(_consistent(positive, signed, most))
        found.append(np.mean(each, 0))
    return np.stack(found)


def consistent_shuffled(sessions: Sequence[xr.Dataset], most: float = 0.9) -> Array:
    """`consistent` for responses shuffled jointly in each session: ``[draw, shuffle]``."""
    return _consistent(*_shuffled_counts(sessions), most)


def one_sign_table(fits: Mapping[str, Sequence[xr.Dataset]]) -> pd.DataFrame:
    """How many features keep one sign, and how many would by chance: a table, a row a network.

    Chance is that of responses shuffled jointly, which still have what neurons share.
    """
    rows = {}
    for name, sessions in fits.items():
        chance = consistent_shuffled(sessions)
        rows[name] = {
            "features of one sign": consistent(sessions).mean(),
            "shuffled, mean": chance.mean(),
            "97.5 % of shuffles below": np.quantile(chance, 0.975),
            "shuffles without any": np.mean(chance == 0),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def extremes(share: Array, count: int) -> dict[str, tuple[int, ...]]:
    """Features that are positive, and those that are negative, for most neurons: ``[feature]``.

    ``count`` each, the most consistent first; features without a weight (NaN) are left out.
    """
    alive = np.flatnonzero(np.isfinite(share))
    order = alive[np.argsort(share[alive], kind="stable")].tolist()
    if 2 * count > len(order):
        raise ValueError(f"expected at most {len(order) // 2} features of each sign; got {count}")
    return {"positive": tuple(order[::-1][:count]), "negative": tuple(order[:count])}


def shuffled_share(sessions: Sequence[xr.Dataset]) -> Array:
    """`positive_share` for responses shuffled jointly in each session: [draw, shuffle, feature]."""
    return _share(*_shuffled_counts(sessions))


def inhibited(sessions: Sequence[xr.Dataset]) -> Array:
    """Which neurons of `at_choice` were made with a suppressive shape: simulated ones only."""
    truth = in_silico.truth()
    suppressed = (truth["sign"] < 0).any("class")
    names = [own["neuron"].values[own["kept"].any("draw").values] for own in sessions]
    return np.asarray(suppressed.sel(neuron=np.concatenate(names)).values)


def effects(
    fits: Mapping[str, Sequence[xr.Dataset]], network: str, seed: int = 0
) -> dict[str, stats.Estimate | None]:
    """What the claims about one network say is above 0, by the id of the line.

    None for the lines of P-18 if there are fewer than `fewest_models`.

    Parameters
    ----------
    fits
        Network to the results of its sessions, the same sessions for each. With the network's
        untrained twin among them, that is the control of the lines ``learned``.
    """
    own, twin = fits[network], fits.get(f"{network}-untrained")
    gain = gains(own)
    about: Any = {"n": len(gain["free"]), "seed": seed}
    found: dict[str, stats.Estimate | None] = {
        "P-17": stats.trimmed(gain["free"]),
        "P-17 median": stats.bootstrap(gain["free"], np.median, seed=seed),
        "P-17 random": stats.trimmed(gain["random"]),
        "P-17 Dale": stats.trimmed(gain["Dale"]),
    }
    share, chance = consistent(own).mean(), consistent_shuffled(own).ravel()
    drawn = consistent_resampled([own] if twin is None else [own, twin], seed=seed)
    found["P-18"] = stats.from_draws(share, drawn[0], **about)
    found["P-18 shuffled"] = stats.above_chance(share, chance, **about)
    if twin is not None:
        found["P-17 learned"] = stats.trimmed(gain["free"] - gains(twin)["free"])
        gap = share - consistent(twin).mean()
        found["P-18 learned"] = stats.from_draws(gap, drawn[0] - drawn[1], **about)
    if len(own) == 2:
        found["P-18 sessions"] = stats.above_chance(*agreement(*own), **about)
    if all(name.startswith("simulated-") for one in own for name in one["neuron"].values):
        held, free = inhibited(own), gain["free"]
        found["P-17 truth"] = stats.gap(free[held], free[~held])
    models = sum(float(one["kept"].sum("neuron").mean()) for one in own)
    if models < fewest_models(own[0].sizes["feature"]):
        found |= {id: None for id in found if id.startswith("P-18")}
    return found


def fewest_models(features_: int, level: float = 0.05) -> int:
    """Of fewer models even a sign that all share is no more than chance, corrected for features.

    The smallest n with ``2 / 2^n * features < level``.
    """
    return int(np.floor(np.log2(2 * features_ / level))) + 1


def agreement(first: xr.Dataset, second: xr.Dataset) -> tuple[float, Array]:
    """Do features have the same sign in two sessions? Spearman's rho over features, mean of draws.

    Returns
    -------
    float, Array
        rho of the `positive_share` of features in one session with that in the other, over
        features that have a weight in both; and the same for shuffled responses,
        ``[draw * shuffle]``.
    """
    fitted, chance = (
        [part([own]) for own in (first, second)] for part in (positive_share, shuffled_share)
    )
    both = [np.isfinite(one) & np.isfinite(two) for one, two in zip(*fitted, strict=True)]
    own = [spearmanr(one[a], two[a])[0] for one, two, a in zip(*fitted, both, strict=True)]
    none = [
        [spearmanr(first_[a], second_[a])[0] for first_, second_ in zip(*pair, strict=True)]
        for *pair, a in zip(*chance, both, strict=True)
    ]
    return float(np.mean(own)), np.nan_to_num(np.ravel(none))


def _over_draws(values: xr.DataArray, kept: xr.DataArray) -> Array:
    some = values.astype(float).where(kept)
    ever = kept.any("draw").values
    return some.isel(neuron=ever).mean("draw").transpose(..., "neuron").values


def _some_kept(sessions: Sequence[xr.Dataset]) -> None:
    if not any(own["kept"].any() for own in sessions):
        raise recordings.RecordingError(
            "expected neurons that a model with one component predicts in cross-validation on "
            "training images; got none, so that signs would mean nothing; give more images= or "
            "another first network"
        )


def _counts(sessions: Sequence[xr.Dataset]) -> tuple[Array, Array]:
    """Kept neurons with a positive weight, and with a weight: [draw, feature]."""
    positive, signed = (
        sum((part(own["sign"]) & own["kept"]).sum("neuron").values for own in sessions)
        for part in (lambda sign: sign > 0, lambda sign: sign != 0)
    )
    return np.asarray(positive), np.asarray(signed)


def _shuffled_counts(sessions: Sequence[xr.Dataset]) -> tuple[Array, Array]:
    """`_counts` for jointly shuffled responses: [draw, shuffle, feature].

    A feature that never changed in the training images of a draw has no weight, in none of them.
    """
    positive = np.asarray(sum(own["shuffled"].values.astype(np.int64) for own in sessions))
    signed = np.asarray(
        sum(
            (own["sign"] != 0).any("neuron").values * own["kept"].values.sum(1)[:, None]
            for own in sessions
        )
    )
    return positive, np.repeat(signed[:, None], positive.shape[1], axis=1)


def _share(positive: Array, signed: Array) -> Array:
    """Of those with a weight; NaN where there is none."""
    return np.divide(positive, signed, out=np.full(positive.shape, np.nan), where=signed > 0)


def _consistent(positive: Array, signed: Array, most: float) -> Array:
    tested = consistency_of_counts(torch.from_numpy(positive), torch.from_numpy(signed))
    share = np.nan_to_num(tested.positive_share.numpy(), nan=0.5)
    one_sign = (np.maximum(share, 1 - share) > most) & (tested.sign.numpy() != 0)
    return np.asarray(one_sign.mean(-1))
