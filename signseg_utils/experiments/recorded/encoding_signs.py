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
import xarray as xr
from numpy.typing import ArrayLike

from signseg_utils.analysis.neuron_signs import CONSTRAINTS
from signseg_utils.basics.progress import each
from signseg_utils.experiments.agreement import EXACTLY, Agreement
from signseg_utils.experiments.base import Option, State, forget
from signseg_utils.experiments.recorded import base as studies
from signseg_utils.experiments.recorded.base import FEWEST_TESTED
from signseg_utils.networks import Network
from signseg_utils.neurons import encoding, features, recordings
from signseg_utils.zoos import Zoo

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


PLUGIN = EncodingSigns
