"""Neurons shown images that were made with models: matched, and how far the images drove them.

A `Driven` is one session of `signseg_utils.neurons.causal`. Each neuron is matched to the model
whose predictions go along best with its responses, by natural images alone; then it is asked how it
answered to other images, those that this model likes best. The result holds numbers about neurons
and models, no response to an image and no image. ``signseg experiment driven --recording v4``
computes what the store does not hold yet, model by model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from signseg_utils.basics.progress import each
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Option, State, forget
from signseg_utils.experiments.recorded import base as studies
from signseg_utils.neurons import causal, recordings
from signseg_utils.neurons.pictures import pictures
from signseg_utils.zoos import Zoo

__all__ = ["OWN", "SETS", "SMOOTHED", "Driven", "measures", "permutation_level", "plan"]

SETS = ("maximising", "synthesised first", "synthesised second")  # blocks of images made to drive
OWN = (5, 1)  # images of a set of fifty that count as a model's own
SMOOTHED = ("smoothed first", "smoothed second")  # of the block `maximising`

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Driven(studies.Recorded):
    """One session; ``network`` is not used.

    Attributes
    ----------
    own
        So many images of a set of fifty, those that a model predicts highest, count as its own.
    permutations
        Of images, for the level that the best match reaches by chance.
    seed
        Of the permutations.
    """

    KIND: ClassVar[str] = "driven"
    VERSION: ClassVar[int] = 1
    WHAT: ClassVar[str] = "stored numbers of neurons, measured again with their models"
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {"percent": Agreement(0.1, 5e-3)}
    OTHERWISE: ClassVar[Agreement] = studies.NUMBERS
    SAYS: ClassVar[int] = 2

    network: str = ""
    own: int = OWN[0]
    permutations: int = 1000
    seed: int = 0

    OPTIONS: ClassVar[tuple[Option, ...]] = (studies.OPTIONS[0], studies.OPTIONS[2])

    def recorded(self) -> xr.Dataset:
        return causal.load(self.recording)

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list[Driven]:
        return plan(given.recording, given.zoo)

    def measured(
        self,
        session: xr.Dataset,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
    ) -> xr.Dataset:
        """The result; see `measures` for what it holds of each neuron.

        Besides: ``r`` [neuron, model], correlation of predictions with responses to the matching
        images; ``level`` [neuron], see `permutation_level`; ``fall`` [smoothed, model], predicted
        change from a model's own maximising images to their smoothed versions, in standard
        deviations; attribute ``salient``: which of the two falls more, mean over models.
        """
        names = causal.models(self.recording)
        known = dict(state or {})
        pending = [name for name in names if name not in known]
        shown = pictures(session)
        for name in each(pending, "models", there=len(names) - len(pending), resumes=True):
            known[name] = causal.population(self.recording, [name]).responses(shown)[:, 0]
            save(known)
        predicted = torch.stack([known[name] for name in names], 1).double().numpy()
        responses = session["response"].values
        r, level = matched(predicted, responses, self.permutations, self.seed)
        z = in_deviations(predicted)
        fall = np.array([_change(z, z, which, self.own) for which in SMOOTHED])
        salient = SMOOTHED[int(fall.mean(1).argmin())]
        best = r.argmax(1)
        found = measures(responses, predicted[:, best], salient, self.own)
        found = found.assign_coords(neuron=session["neuron"].values, model=list(names))
        found["r"] = (("neuron", "model"), r)
        found["level"] = ("neuron", level)
        found["fall"] = (("smoothed", "model"), fall)
        return found.astype(np.float32).assign_attrs(salient=salient)

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Neurons, if the recording and the models are here."""
        try:
            here = causal.load(self.recording)["neuron"].values.tolist()
            there = causal.models(self.recording)
        except recordings.RecordingMissing:
            return []
        same = here == stored["neuron"].values.tolist()
        whole = set(stored["model"].values.tolist()) <= set(there)
        return [(n,) for n in range(len(here))] if same and whole else []

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Ask the matched models again, and measure their neurons."""
        session, rows = self.recorded(), [n for (n,) in sample]
        kept = stored.isel(neuron=rows)
        best = kept["r"].argmax("model").values
        names = stored["model"].values[best].tolist()
        distinct = list(dict.fromkeys(names))
        answers = causal.population(self.recording, distinct).responses(pictures(session))
        predicted = answers[:, [distinct.index(name) for name in names]].double().numpy()
        responses = session["response"].values[:, rows]
        again = measures(responses, predicted, stored.attrs["salient"], self.own)
        places = _matching()
        pairs = zip(_standard(predicted[places]).T, _standard(responses[places]).T, strict=True)
        r = [float((one * two).mean()) for one, two in pairs]
        held = [self.compared("r", kept["r"].max("model"), r)]
        return held + [self.compared(str(n), kept[n], own) for n, own in again.data_vars.items()]


def plan(recording: str, zoo: str, own: Sequence[int] = OWN, **settings: Any) -> list[Driven]:
    """The one session that a recording has, once for each number of images that count as own.

    RecordingError if there is no such session.
    """
    if recording not in causal.SESSION:
        causal.load(recording)  # which says why
    session = causal.SESSION[recording]
    return [Driven(recording, session, zoo, own=count, **settings) for count in own]


# ---------------------------------------------------------------- matching


def matched(
    predicted: Array, responses: Array, permutations: int, seed: int
) -> tuple[Array, Array]:
    """How well each model goes along with each neuron, and what the best reaches by chance.

    Parameters
    ----------
    predicted, responses
        ``[image, model]`` and ``[image, neuron]``, all images of the session.

    Returns
    -------
    r, level
        Correlations ``[neuron, model]`` over the matching images, and `permutation_level`.
    """
    places = _matching()
    first, second = _standard(predicted[places]), _standard(responses[places])
    return second.T @ first / len(first), permutation_level(first, second, permutations, seed)


def permutation_level(
    predicted: Array, responses: Array, permutations: int, seed: int, level: float = 0.95
) -> Array:
    """The correlation that the best of all models reaches by chance, ``[neuron]``.

    The quantile over permutations of natural images, each of which moves with its two smoothed
    versions, for these are nearly one image. Arrays standardised, ``[image, model or neuron]``.
    """
    rng = np.random.default_rng([seed, 1])
    count = len(predicted) // causal.SIZE
    best = np.empty((permutations, responses.shape[1]))
    for number in range(permutations):
        order = rng.permutation(causal.SIZE)
        moved = np.concatenate([predicted[causal.SIZE * k + order] for k in range(count)])
        best[number] = (responses.T @ moved).max(1) / len(predicted)
    return np.asarray(np.quantile(best, level, axis=0))


def _matching() -> np.ndarray[Any, np.dtype[np.intp]]:
    numbers = np.arange(causal.SIZE * len(causal.BLOCKS))
    return np.concatenate([numbers[causal.block(name)] for name in causal.MATCHING])


# ---------------------------------------------------------------- what neurons did


def measures(responses: Array, predicted: Array, salient: str, own: int) -> xr.Dataset:
    """What images of its own model did to each neuron.

    Parameters
    ----------
    responses, predicted
        ``[image, neuron]``: of the neuron, and of its model.
    salient
        Which of `SMOOTHED` hides what models look at.
    own
        Images of a set that count as the model's own.

    Returns
    -------
    Dataset
        In standard deviations of responses to natural images, from their mean: ``drive`` and
        ``others`` [set, neuron], mean response to own images of a set and to its others;
        ``foretold`` [set, neuron], correlation of prediction and response over its images;
        ``change`` and ``change_others`` [kind, neuron], from own maximising images (or the others)
        to the same smoothed (kind: salient, random). ``predicted`` [set, neuron] and
        ``predicted_change`` [kind, neuron]: ``drive`` and ``change`` as the model has it.
        ``percent`` [set, neuron], ``percent_change`` [kind, neuron]: the same of spikes, in per
        cent of the mean response to natural images or to the images as they were.
    """
    z, foretold = in_deviations(responses), in_deviations(predicted)
    natural = responses[causal.block("natural")].mean(0)
    found: dict[str, list[Array]] = {
        name: [] for name in ("drive", "others", "foretold", "predicted", "percent")
    }
    for name in SETS:
        place = causal.block(name)
        mask = _own(predicted[place], own)
        drive = _over(z[place], mask)
        found["drive"].append(drive)
        found["others"].append(_over(z[place], ~mask))
        found["predicted"].append(_over(foretold[place], mask))
        found["percent"].append(100 * (_over(responses[place], mask) / natural - 1))
        along = _standard(predicted[place]) * _standard(responses[place])
        found["foretold"].append(along.mean(0))
    kinds = (salient, next(name for name in SMOOTHED if name != salient))
    mask = _own(predicted[causal.block("maximising")], own)
    before = _over(responses[causal.block("maximising")], mask)
    changes = {
        "change": [_change(z, foretold, which, own) for which in kinds],
        "change_others": [_change(z, foretold, which, own, others=True) for which in kinds],
        "predicted_change": [_change(foretold, foretold, which, own) for which in kinds],
        "percent_change": [
            100 * (_over(responses[causal.block(which)], mask) / before - 1) for which in kinds
        ],
    }
    variables = {name: (("set", "neuron"), np.stack(rows)) for name, rows in found.items()}
    variables |= {name: (("kind", "neuron"), np.stack(rows)) for name, rows in changes.items()}
    return xr.Dataset(
        variables, {"set": list(SETS), "kind": ["salient", "random"], "smoothed": list(SMOOTHED)}
    )


def in_deviations(values: Array) -> Array:
    """Values ``[image, neuron]`` less their mean over natural images, in standard deviations."""
    natural = values[causal.block("natural")]
    spread = natural.std(0, ddof=1)
    silent = np.flatnonzero(spread <= 0).tolist()
    if silent:
        raise recordings.RecordingError(
            "expected responses to natural images that differ, because responses are told in their "
            f"standard deviations; got none in neurons {silent}; leave them out"
        )
    return np.asarray((values - natural.mean(0)) / spread)


def _change(z: Array, predicted: Array, which: str, own: int, others: bool = False) -> Array:
    """Mean change ``[neuron]`` from own maximising images to the same smoothed."""
    place = causal.block("maximising")
    mask = _own(predicted[place], own)
    return _over(z[causal.block(which)] - z[place], ~mask if others else mask)


def _own(predicted: Array, own: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which images ``[image, neuron]`` a model predicts highest."""
    order = np.argsort(-predicted, axis=0, kind="stable")
    mask = np.zeros(predicted.shape, dtype=bool)
    np.put_along_axis(mask, order[:own], True, axis=0)
    return mask


def _over(values: Array, mask: np.ndarray[Any, np.dtype[np.bool_]]) -> Array:
    """Mean ``[neuron]`` of values ``[image, neuron]`` where the mask is."""
    return np.asarray(np.where(mask, values, 0).sum(0) / mask.sum(0))


def _standard(values: Array) -> Array:
    """Columns less their mean, over their standard deviation; a constant one is 0."""
    centred = values - values.mean(0)
    spread = centred.std(0)
    return np.asarray(np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0))


PLUGIN = Driven
