"""Scores of models corrected for noise in three ways, of the same predictions.

A `NoiseCorrection` is one session with single repeats. Ridge regression from one layer of a network
predicts each image without having seen it; the predictions are scored with all repeats and with
fewer, and once more on repeats made so that the true score is known. The result holds scores, no
response and no image. ``signseg experiment noise_correction --recording v4`` computes what the
store does not hold yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from signseg_utils.analysis import stats
from signseg_utils.basics.progress import each
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Option, State, forget
from signseg_utils.experiments.recorded import base as studies
from signseg_utils.neurons import encoding, noise, recordings, v4
from signseg_utils.zoos import Zoo

__all__ = [
    "ALL",
    "BY_HALVES",
    "SCORES",
    "NoiseCorrection",
    "curves",
    "plan",
    "predictions",
    "together",
]

SCORES = ("unbiased", "halves", "squared")
BY_HALVES = {"halves": "score by halves", "squared": "score by halves, squared"}
ALL = 0  # stands for all repeats there are
TRIM = 0.2

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class NoiseCorrection(studies.OneLayer):
    """One session of one recording, and the network whose features predict.

    Attributes
    ----------
    repeats
        Numbers of repeats that scores are made with, besides all there are.
    draws
        Of those repeats, and of repeats whose true score is known; scores are means over them.
    splits
        Into halves.
    folds
        Of the cross-validation.
    seed
        Of folds, draws and splits.
    """

    KIND: ClassVar[str] = "scores"
    VERSION: ClassVar[int] = 1
    WHAT: ClassVar[str] = "stored scores of one session, made again with all repeats"
    OTHERWISE: ClassVar[Agreement] = studies.NUMBERS

    repeats: tuple[int, ...] = (2, 3, 4, 5)
    draws: int = 3
    splits: int = 50
    folds: int = 5
    seed: int = 0

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        *studies.OPTIONS,
        Option("network", "its features predict", "resnet"),
        Option("layer", "of the network", studies.OneLayer.layer),
    )

    def recorded(self) -> xr.Dataset:
        """The session with its single repeats."""
        return v4.read_repeats(self.session) if self.recording == "v4" else super().recorded()

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list[NoiseCorrection]:
        return plan(given.recording, given.zoo, given.network, given.sessions, layer=given.layer)

    def measured(
        self,
        session: xr.Dataset,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
    ) -> xr.Dataset:
        """Scores of the predictions.

        Returns
        -------
        Dataset
            ``score`` [estimator, repeats, neuron], of what was recorded (repeats 0: all);
            ``known`` [estimator, repeats, neuron], of repeats whose true score is ``truth``
            [neuron]: those of the simulated neurons anew, or `noise.planted` ones with the
            unbiased score as truth; ``reliability`` [neuron] of the mean of all repeats; ``cv``
            [neuron], R2 of the predictions, not corrected. Neurons without a repeatable response
            are left out.

        Raises
        ------
        signseg_utils.neurons.recordings.RecordingError
            If the recording has no single repeats.
        """
        predicted, y, names = self._inputs(session, zoo)
        rng = np.random.default_rng([self.seed, 1])
        first = self._scores(predicted, y)
        rate = session["rate"].sel(neuron=names).values if "rate" in session else None
        if rate is None:
            truth = np.clip(first[0], 0.0, 1.0)
        else:
            truth = encoding.correlation(predicted, rate) ** 2
        shape = (len(SCORES), len(self.repeats) + 1, len(names))
        score, known = np.zeros(shape), np.zeros(shape)
        for _ in each(range(self.draws), "draws"):
            if rate is None:
                made = noise.planted(predicted, y, truth, rng)
            else:
                made = np.where(np.isfinite(y), rng.poisson(rate[..., None], y.shape), np.nan)
            for values, total in ((y, score), (made, known)):
                for place, count in enumerate(self.repeats):
                    total[:, place] += self._scores(predicted, noise.fewer(values, count, rng))
            known[:, -1] += self._scores(predicted, made)
        score, known = score / self.draws, known / self.draws
        score[:, -1] = first
        dims = ("estimator", "repeats", "neuron")
        return xr.Dataset(
            {
                "score": (dims, score),
                "known": (dims, known),
                "truth": ("neuron", truth),
                "reliability": ("neuron", noise.reliability(y, splits=self.splits, seed=self.seed)),
                "cv": ("neuron", encoding.explained(predicted, np.nanmean(y, -1))),
            },
            {"estimator": list(SCORES), "repeats": [*self.repeats, ALL], "neuron": names},
            {"of": session.sizes["neuron"]},
        ).astype(np.float32)

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """The session, if it is here."""
        return [(0,)] if self.here() else []

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Predict again, and score with all repeats."""
        predicted, y, _ = self._inputs(self.recorded(), zoo)
        again = self._scores(predicted, y)
        return [self.compared("score", stored["score"].sel(repeats=ALL), again)]

    def _inputs(self, session: xr.Dataset, zoo: Zoo) -> tuple[Array, Array, list[str]]:
        """Predictions ``[image, neuron]``, repeats ``[image, neuron, repeat]``, names."""
        if "repeat" not in session["response"].dims:
            raise recordings.RecordingError(
                f"expected single repeats in session {self.session!r}, because their scatter is "
                "the noise; got one response to an image; record or export the repeats"
            )
        whole = recordings.complete(session)
        if whole.sizes["image"] != session.sizes["image"]:
            raise recordings.RecordingError(
                "expected a response of each neuron to each image; got images without: "
                f"{list(recordings.excluded(whole))[:3]}; leave those images out of the file"
            )
        y = session["response"].sel(neuron=whole["neuron"]).values
        network = zoo.network(self.network)
        inputs = studies.inputs(network, [self.layer], whole)[self.layer]
        predicted = predictions(inputs, whole["response"].values, self.folds, self.seed)
        heard = np.isfinite(self._scores(predicted, y)).all(0)
        names = whole["neuron"].values[heard].tolist()
        return predicted[:, heard], y[:, heard], names

    def _scores(self, predicted: Array, y: Array) -> Array:
        """``[estimator, neuron]``."""
        whole = noise.reliability(y, splits=self.splits, seed=self.seed)
        halves = [
            noise.split_half_r2(predicted, y, squared=squared, whole=whole)
            for squared in (False, True)
        ]
        return np.stack([noise.corrected_r2(predicted, y), *halves])


def plan(
    recording: str, zoo: str, network: str, sessions: Sequence[str] = (), **settings: Any
) -> list[NoiseCorrection]:
    """Studies of sessions: those given, else those of v4 with repeats, or all of the recording."""
    asked = v4.REPEATED if recording == "v4" and not sessions else sessions
    those = studies.sessions_of(recording, asked)
    return [NoiseCorrection(recording, session, zoo, network, **settings) for session in those]


def predictions(features: Array, responses: Array, folds: int, seed: int) -> Array:
    """Each image predicted by ridge regression on the other folds, ``[image, neuron]``.

    One penalty for all neurons, the one whose median R2 over neurons is highest.
    """
    order = np.random.default_rng([seed, 0]).permutation(len(features))
    found = np.empty((len(studies.PENALTIES), *responses.shape))
    for left in np.array_split(order, folds):
        kept = np.setdiff1d(order, left)
        models = encoding.fit_each(features[kept], responses[kept], "ridge", studies.PENALTIES)
        for place, model in enumerate(models):
            found[place, left] = encoding.predict(model, features[left])
    medians = [np.nanmedian(encoding.explained(own, responses)) for own in found]
    return np.asarray(found[int(np.argmax(medians))])


# ---------------------------------------------------------------- what chapter 17 compares


def together(found: Sequence[xr.Dataset]) -> xr.Dataset:
    """Neurons of all sessions."""
    return xr.concat(list(found), "neuron", combine_attrs="drop")


def curves(whole: xr.Dataset, variable: str, less: xr.DataArray) -> dict[str, tuple[Array, Any]]:
    """Score less something [neuron] against the number of repeats, by name of the score.

    Means without the highest and lowest fifth of neurons; those without a score at some number of
    repeats are left out of them all.
    """
    few = whole.sel(repeats=[count for count in whole["repeats"].values if count != ALL])
    found = {}
    for name in SCORES:
        values = (few[variable].sel(estimator=name) - less).dropna("neuron")
        curve = stats.mean_curve(values.transpose("neuron", "repeats").values, trim=TRIM)
        found[name] = (few["repeats"].values, curve)
    return found


PLUGIN = NoiseCorrection
