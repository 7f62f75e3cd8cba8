"""Signs in models of neurons: what a constraint on signs costs, and which features have one sign.

Lasso with and without the constraint (paper, Fig. 17), and the signs of the weights of models by
partial least squares with one component (paper, Fig. 18), both from penultimate features.
``signseg experiment encoding_signs --recording v4``
computes what the store does not hold yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike

from signseg_utils.analysis import stats
from signseg_utils.basics.progress import each
from signseg_utils.experiments.agreement import EXACTLY, Agreement
from signseg_utils.experiments.base import Option, State, forget
from signseg_utils.experiments.recorded import base as studies
from signseg_utils.experiments.recorded.base import FEWEST_TESTED
from signseg_utils.networks import Network
from signseg_utils.neurons import encoding, features, in_silico, recordings
from signseg_utils.units.signs import consistency_of_counts
from signseg_utils.zoos import Zoo

# What the weights of a Lasso may be: of either sign; of none but positive sign; of one sign a
# feature, drawn at random; of the sign that the feature has for most other neurons.
CONSTRAINTS = ("free", "positive", "random", "Dale")

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class EncodingSigns(studies.Drawn):
    """Signs in models of the neurons of one session.

    Attributes
    ----------
    penalties
        Of Lasso, as shares of the one at which the first weight of either sign appears.
    judge
        Network whose models tell which neurons are fitted well enough, the same for all networks.
    least
        Their R2 in cross-validation on training images must be above it, one component.
    shuffles
        Of the responses of one draw over its training images, all neurons jointly.
    """

    KIND: ClassVar[str] = "signs"
    VERSION: ClassVar[int] = 1
    # Among 250,000 products of features with shuffled responses some lie so near 0 that the last
    # digits of the features decide their sign: up to 3 did, in counts of one or two neurons.
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {
        "kept": EXACTLY,
        "sign": Agreement(cells=1, by=2),
        "shuffled": Agreement(cells=5, by=2),
    }

    draws: int = 3
    penalties: tuple[float, ...] = (0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05)
    judge: str = "alexnet"
    least: float = 0.05
    shuffles: int = 40

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        *studies.OPTIONS,
        Option("networks", "comma separated", "alexnet,resnet,alexnet-untrained"),
        Option("draws", "choices of images", draws),
        Option("images", "images of a draw", studies.Drawn.images),
    )

    def identity(self, zoo: Zoo) -> dict[str, Any]:
        return {**super().identity(zoo), "judge_weights": zoo.card(self.judge)["sha256"]}

    def measured(
        self,
        session: xr.Dataset,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
    ) -> xr.Dataset:
        return measure(session, zoo.network(self.network), zoo.network(self.judge), self)

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list[EncodingSigns]:
        return plan(
            given.recording,
            given.zoo,
            given.networks,
            given.sessions,
            draws=given.draws,
            images=given.images,
            judge=given.networks[0],
        )


def plan(
    recording: str, zoo: str, networks: Sequence[str], sessions: Sequence[str] = (), **settings: Any
) -> list[EncodingSigns]:
    """Studies of all networks; see `signseg_utils.experiments.recorded.base.plan`."""
    return studies.plan(EncodingSigns, recording, zoo, networks, sessions, **settings)


def measure(
    found: xr.Dataset, network: Network, judge: Network, study: EncodingSigns
) -> xr.Dataset:
    """Fit constrained models to all neurons of one session, and count signs of weights.

    Returns
    -------
    xarray.Dataset
        R2 ``[draw, constraint, penalty, neuron]``: ``train``, ``cv`` (training images left out),
        ``test`` (the draw's other images), ``fresh`` (the session's other images; NaN where fewer
        than 10 are left); ``kept`` [draw, neuron] bool: R2 of the judge's models in
        cross-validation is above ``least``; ``sign`` [draw, neuron, feature] int8 of the weights of
        models with one PLS component; ``shuffled`` [draw, shuffle, feature]: how many of the kept
        neurons had a positive weight once responses were shuffled jointly.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingError
        If the session has fewer images than one experiment needs.
    """
    whole = recordings.complete(found)
    studies.enough(whole, study)
    x = studies.inputs(network, (features.LAST,), whole)[features.LAST]
    x_judge = x
    if judge.name != network.name:
        x_judge = studies.inputs(judge, (features.LAST,), whole)[features.LAST]
    y = whole["response"].values
    neurons, count = y.shape[1], x.shape[1]
    shape = (study.draws, len(CONSTRAINTS), len(study.penalties), neurons)
    r2 = {kind: np.full(shape, np.nan, np.float16) for kind in ("train", "cv", "test", "fresh")}
    kept = np.zeros((study.draws, neurons), dtype=bool)
    sign = np.zeros((study.draws, neurons, count), dtype=np.int8)
    shuffled = np.zeros((study.draws, study.shuffles, count), dtype=np.int16)
    for draw in each(range(study.draws), "draws"):
        fit, test, fresh, rng = study.drawn(draw, len(y))
        own = encoding.cross_validate(x_judge[fit], y[fit], folds=study.folds, seed=study.seed)
        kept[draw] = own[0] > study.least
        sign[draw] = encoding.fit(x[fit], y[fit]).weight.sign().numpy()
        mixed = _jointly_shuffled(y[fit], study.shuffles, rng)
        covariance = encoding.standardised(x[fit])[0].T @ mixed
        shuffled[draw] = (covariance > 0)[..., kept[draw]].sum(-1)
        drawn = rng.choice([-1.0, 1.0], count)
        for place, constraint in enumerate(each(CONSTRAINTS, "constraints", fine=True)):
            for some, turn in _turns(constraint, sign[draw], kept[draw], drawn):
                reached = _lasso(x * turn, y[:, some], (fit, test, fresh), constraint, study)
                for kind, values in reached.items():
                    r2[kind][draw, place][:, some] = values
    dims = ("draw", "constraint", "penalty", "neuron")
    return xr.Dataset(
        {
            **{kind: (dims, values) for kind, values in r2.items()},
            "kept": (("draw", "neuron"), kept),
            "sign": (("draw", "neuron", "feature"), sign),
            "shuffled": (("draw", "shuffle", "feature"), shuffled),
        },
        {
            "constraint": list(CONSTRAINTS),
            "penalty": list(study.penalties),
            "neuron": whole["neuron"].values.astype(str),
        },
        {"excluded": whole.attrs["excluded"]},
    )


def _lasso(
    x: Array, y: Array, parts: Sequence[Array], constraint: str, study: EncodingSigns
) -> dict[str, Any]:
    """R2 of models under one constraint: kind -> ``[penalty, neuron]``.

    ``parts`` are the rows to fit, to test, and fresh ones; features are turned already.
    """
    fit, method = parts[0], "lasso" if constraint == "free" else "lasso_positive"
    models = encoding.fit_each(x[fit], y[fit], method, study.penalties)
    reached: dict[str, Any] = {
        "cv": encoding.cross_validate(
            x[fit], y[fit], method, study.penalties, folds=study.folds, seed=study.seed
        )
    }
    for rows, kind in zip(parts, ("train", "test", "fresh"), strict=True):
        if len(rows) >= FEWEST_TESTED:
            reached[kind] = [
                encoding.explained(encoding.predict(model, x[rows]), y[rows]) for model in models
            ]
    return reached


def majority(sign: ArrayLike) -> Array:
    """Sign of each feature for most of the *other* neurons: ``[neuron, feature]``, ties positive.

    A population whose features keep this sign would follow Dale's law, neuron by neuron without
    having asked the neuron itself.
    """
    own = np.asarray(sign, dtype=np.int64)
    return np.where(own.sum(0) - own >= 0, 1, -1)


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
    parts = {"training": "train", "five folds": "cv", "left out": studies.tested(sessions)}
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
    on = studies.tested(sessions)
    positive = at_choice(sessions, on, "positive")
    return {
        kind: at_choice(sessions, on, kind) - positive for kind in CONSTRAINTS if kind != "positive"
    }


def gain_by_penalty(sessions: Sequence[xr.Dataset]) -> Array:
    """What negative weights give at each penalty, in cross-validation: ``[penalty, neuron]``."""
    return fits(sessions, "cv", "free") - fits(sessions, "cv", "positive")


def positive_share(sessions: Sequence[xr.Dataset]) -> Array:
    """Share of the kept neurons for which a feature has positive weight, ``[draw, feature]``."""
    positive, signed = _counts(sessions)
    return np.divide(positive, signed, out=np.full(positive.shape, np.nan), where=signed > 0)


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


def one_sign_table(fits: Mapping[str, Sequence[xr.Dataset]]) -> Any:
    """How many features keep one sign, and how many would by chance: a table, a row a network.

    Chance is that of responses shuffled jointly, which still have what neurons share.
    """
    import pandas as pd

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
    positive, signed = _shuffled_counts(sessions)
    return np.divide(positive, signed, out=np.full(positive.shape, np.nan), where=signed > 0)


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
    from scipy.stats import spearmanr

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


def _turns(
    constraint: str, sign: Array, kept: Array, drawn: Array
) -> list[tuple[slice | list[int], Array]]:
    """Neurons to fit together, and what their features are multiplied with: weights turn back."""
    ones = np.ones(sign.shape[1])
    if constraint == "random":
        return [(slice(None), drawn)]
    if constraint != "Dale":
        return [(slice(None), ones)]
    others = np.where(kept[:, None], sign, 0)
    return [([neuron], turn) for neuron, turn in enumerate(majority(others).astype(float))]


def _jointly_shuffled(responses: Array, shuffles: int, rng: np.random.Generator) -> Array:
    """Responses [image, neuron] with images shuffled, all neurons alike: [shuffle, image, neuron].

    What neurons share stays, what they share with the image goes.
    """
    centred = responses - responses.mean(0)
    return np.stack([centred[rng.permutation(len(centred))] for _ in range(shuffles)])


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


def _consistent(positive: Array, signed: Array, most: float) -> Array:
    tested = consistency_of_counts(torch.from_numpy(positive), torch.from_numpy(signed))
    share = np.nan_to_num(tested.positive_share.numpy(), nan=0.5)
    one_sign = (np.maximum(share, 1 - share) > most) & (tested.sign.numpy() != 0)
    return np.asarray(one_sign.mean(-1))


PLUGIN = EncodingSigns
