"""Images of ablated neuron models, shown to the neurons: computed once, stored, read by chapters.

A neuron is modelled by a readout row over features of a network; the row is ablated by sign; an
image is evolved for each ablated row and shown to the neuron, or to what stands in for it (paper,
section 4.4, Fig. 8 to 10). An `AblatedModels` does so for all well-fitted neurons of one session.
Its result holds codes of evolved images and numbers, no response to and no pixel of a recorded
image. ``signseg experiment ablated_models --recording v4`` computes what the store does not hold
yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from signseg_utils import zoos
from signseg_utils.analysis.similarity import cosine_similarity, ensemble_features
from signseg_utils.basics.refusals import UnknownName
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Option, State, forget
from signseg_utils.experiments.recorded import base as studies
from signseg_utils.neurons import encoding, features, recordings, stimuli
from signseg_utils.neurons._base import Neurons
from signseg_utils.neurons.pictures import pictures
from signseg_utils.neurons.twins import twins
from signseg_utils.search.evolution import Search, evolve
from signseg_utils.units.ablation import Ablation, ablate, conditions
from signseg_utils.units.readout import Readout, concatenate
from signseg_utils.zoos import Zoo

__all__ = [
    "CHOSEN",
    "OVERSIZE",
    "TOLERANCE",
    "WAYS",
    "AblatedModels",
    "Fit",
    "alike",
    "bank",
    "by_kind",
    "fit",
    "measure",
    "of_kind",
    "plan",
    "predicted",
    "rendered",
    "searched",
    "show",
    "write_images",
]

CHOSEN = "chosen"  # the layer that cross-validation on training images prefers
WAYS = ("as is", "held")  # held: luminance and RMS contrast are those of natural images
TOLERANCE = 0.02  # of an audit, in standard deviations: results are stored in half precision
OVERSIZE = 2e-3  # and relative

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class AblatedModels(studies.Recorded):
    """All well-fitted neurons of one session, modelled on one layer of one network.

    Attributes
    ----------
    layer
        ``features``: what the network's own readout weighs (the paper's choice); ``chosen``: the
        layer that predicts training images best in cross-validation, maps averaged to side x side.
    fitted_by
        The network whose penultimate features decide which neurons are well-fitted: alike for all
        studies that are to be compared.
    least
        R2 in cross-validation on training images from which on a neuron is well-fitted.
    images
        Images, drawn at random, that models are fitted to; all of them are training images.
    generator, optimizer, generations, seeds
        Of the searches.
    signs, alphas, rule
        Of the ablations (`signseg_utils.units.ablation`).
    everybody
        Whether images are shown to all neurons of the session, too (those of the first seed).
    side, folds
        Of layers that are maps; of the cross-validation.
    seed
        Of images, folds and random ablations.
    """

    KIND: ClassVar[str] = "shown"
    VERSION: ClassVar[int] = 1
    OTHERWISE: ClassVar[Agreement] = Agreement(absolute=TOLERANCE, relative=OVERSIZE)
    ONE_AUDITED: ClassVar[bool] = True

    layer: str = features.LAST
    fitted_by: str = ""
    least: float = 0.05
    images: int = 160
    generator: str = "decoder"
    optimizer: str = "sphere_cma"
    generations: int = 12
    seeds: tuple[int, ...] = (0, 1, 2)
    signs: tuple[str, ...] = ("positive", "negative", "random_magnitude")
    alphas: tuple[float, ...] = (0.0, 0.5, 1.0)
    rule: str = "smallest"
    everybody: bool = True
    side: int = 4
    folds: int = 5
    seed: int = 0

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        *studies.OPTIONS,
        Option("networks", "comma separated", "alexnet,alexnet-untrained"),
        Option("generator", "makes the images", generator),
        Option("images", "to fit models to", images),
        Option("generations", "of each search", generations),
    )

    @property
    def judge(self) -> str:
        """The network that decides which neurons are well-fitted."""
        return self.fitted_by or self.network

    @property
    def conditions(self) -> tuple[Ablation, ...]:
        """Intact first, then each sign with each strength."""
        return conditions(self.signs, self.alphas, rule=self.rule, seed=self.seed)

    @property
    def names(self) -> tuple[str, ...]:
        return (Path(self.recording).stem, self.session, self.network, self.layer)

    def identity(self, zoo: Zoo) -> dict[str, Any]:
        file = Path(self.recording)
        used = sorted({self.network, self.judge, *zoo.networks})
        return {
            **super().identity(zoo),
            "weights": {name: zoo.card(name)["sha256"] for name in used},
            "generator_weights": zoo.fingerprint(self.generator),
            "file": hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None,
        }

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list[AblatedModels]:
        return plan(
            given.recording,
            given.zoo,
            given.networks,
            given.sessions,
            generator=given.generator,
            images=given.images,
            generations=given.generations,
        )

    @property
    def cost(self) -> float:
        return len(self.conditions) * len(self.seeds)

    def measured(
        self,
        session: xr.Dataset,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
    ) -> xr.Dataset:
        return measure(session, self, zoo, state, save)

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Images (neuron, condition, seed), if the recording and its twins are here."""
        try:
            names = recordings.complete(self.recorded())["neuron"].values.tolist()
            twins(self.recording, self.session, names)
        except FileNotFoundError:
            return []
        return list(np.ndindex(stored["predicted"].shape))

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Fit again, render codes, ask models and stand-ins again."""
        session = self.recorded()
        own = fit(session, self, zoo)
        names = recordings.complete(session)["neuron"].values.tolist()
        there = twins(self.recording, self.session, names)
        if there is not None:
            there = there.pick(list(dict.fromkeys(own.models.labels[cell[0]] for cell in sample)))
            there = there.standardised(*there.statistics(own.natural))
        predictions, responses = [], []
        for neuron, condition, seed in sample:
            image = rendered(self, stored["codes"].values[neuron, condition, seed][None], zoo)
            predictions.append(predicted(own.one(neuron), image[None])[0, 0].item())
            if there is not None:
                one = there.pick([own.models.labels[neuron]])
                responses.append(one.responses(image).item())
        kept = [float(stored["predicted"].values[cell]) for cell in sample]
        compared = [self.compared("predicted", kept, predictions)]
        if responses:
            kept = [float(stored["response"].values[(0, *cell)]) for cell in sample]
            compared.append(self.compared("response", kept, responses))
        return compared


def plan(
    recording: str, zoo: str, networks: Sequence[str], sessions: Sequence[str] = (), **settings: Any
) -> list[AblatedModels]:
    """Studies that belong together, by session.

    Of the first network, the penultimate layer under all ablations and the layer chosen on training
    images; of each further network the penultimate layer, without random ablations. All but the
    first study of a session ablate at the largest strength only, show images to the neuron itself
    only, and take the neurons that are well-fitted by the first.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingMissing
        If the sessions must be read from a recording that is not here.
    """
    strongest = (0.0, max(settings.get("alphas", AblatedModels.alphas)))
    also = {**settings, "alphas": strongest, "everybody": False, "fitted_by": networks[0]}
    plain = {**also, "signs": ("positive", "negative")}
    return [
        study
        for session in studies.sessions_of(recording, sessions)
        for study in (
            AblatedModels(recording, session, zoo, networks[0], **settings),
            AblatedModels(recording, session, zoo, networks[0], CHOSEN, **also),
            *(AblatedModels(recording, session, zoo, name, **plain) for name in networks[1:]),
        )
    ]


@dataclass(frozen=True, eq=False)
class Fit:
    """Models of the well-fitted neurons of a session.

    Attributes
    ----------
    models
        A row a neuron.
    layer, backbone
        What they weigh.
    rows
        Numbers of these neurons among those of the recording.
    cv, fresh
        R2 in cross-validation on training images, and correlation on all other images (NaN where
        there are none), ``[neuron]``; ``cv`` is that of the penultimate model that decided.
    centre, spread
        Mean and standard deviation of the recorded responses to the training images, ``[neuron]``.
    natural
        The training images, ``[image, 3, size, size]`` uint8, at the size of evolved ones.
    """

    models: Readout
    layer: str
    backbone: features.Features
    rows: list[int]
    cv: Array
    fresh: Array
    centre: Array
    spread: Array
    natural: Tensor

    def one(self, number: int) -> Fit:
        """That of one neuron."""
        rows = [self.rows[number]]
        numbers = {n: getattr(self, n)[[number]] for n in ("cv", "fresh", "centre", "spread")}
        return replace(self, models=self.models.rows([number]), rows=rows, **numbers)


def fit(found: xr.Dataset, study: AblatedModels, zoo: Zoo | None = None) -> Fit:
    """Fit one PLS component to each neuron of a session, and keep those that are well-fitted.

    Which neurons are, and which layer is chosen, is decided in cross-validation on training images.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingError
        If the session has fewer images than asked for, or no neuron is well-fitted.
    """
    whole, order = studies.one_experiment(found, study)
    y, zoo = whole["response"].values, zoo or zoos.load_zoo(study.zoo)
    shown = pictures(whole, zoo.image_size)
    train, fresh = order[: study.images], order[study.images :]
    folds, seed = study.folds, study.seed
    last = features.extract_layers(zoo.network(study.judge), [features.LAST], shown[train])
    cv = encoding.cross_validate(last[features.LAST].double(), y[train], folds=folds, seed=seed)[0]
    rows = studies.well_fitted(cv, study.least, study.session, "least").tolist()
    network = zoo.network(study.network)
    maps = [f"{n}/{study.side}" for n in features.layers(network) if n != features.LAST]
    names = [features.LAST] if study.layer != CHOSEN else [*maps, features.LAST]
    seen = features.extract_layers(network, names, shown)
    x = {name: values.double().numpy() for name, values in seen.items()}
    inside = {name: values[train] for name, values in x.items()}
    layer = names[0]
    if len(names) > 1:
        layer = encoding.choose(inside, y[train], "pls", (1,), folds=folds, seed=seed).layer
    labels = whole["neuron"].values[rows].tolist()
    models = encoding.fit(inside[layer], y[train][:, rows], "pls", 1, labels)
    told = np.full(len(rows), np.nan)
    if len(fresh) > 1:
        guess = encoding.predict(models, x[layer][fresh])
        told = encoding.correlation(guess, y[fresh][:, rows])
    size = int(zoo.generator(study.generator).image_size)  # type: ignore[arg-type]
    return Fit(
        models.to(dtype=torch.float32),
        layer,
        features.Features(network, layer),
        rows,
        cv[rows],
        told,
        y[train][:, rows].mean(0),
        y[train][:, rows].std(0),
        pictures(whole.isel(image=train), size),
    )


def bank(models: Readout, study: AblatedModels) -> tuple[Readout, list[int]]:
    """Rows neuron x condition x seed, the last varying fastest, and the seed of each row."""
    ablated = [ablate(models, condition) for condition in study.conditions]
    rows = [own.rows([i] * len(study.seeds)) for i in range(len(models)) for own in ablated]
    return concatenate(rows), list(study.seeds) * (len(models) * len(ablated))


def searched(
    own: Fit, study: AblatedModels, zoo: Zoo, known: State | None, save: Callable[[State], None]
) -> tuple[Tensor, Tensor]:
    """Codes [neuron, condition, seed, code] of evolved images, and scores of their own rows.

    One neuron after the other, and ``save`` is told after each; those in ``known`` are there.
    """
    generator = zoo.generator(study.generator)
    rows, seeds = bank(own.models, study)
    shape, count = (len(study.conditions), len(study.seeds)), len(own.models)

    def of_neuron(number: int) -> dict[str, Tensor]:
        its = range(number * len(rows) // count, (number + 1) * len(rows) // count)
        found = evolve(
            rows.rows(its),
            own.backbone,
            generator,
            [seeds[row] for row in its],
            Search(study.optimizer, study.generations),
        )
        scores = found.activations.cpu().reshape(shape)
        return {"codes": found.codes.reshape(*shape, -1), "scores": scores}

    state = studies.neuron_by_neuron(count, known, save, of_neuron)
    codes, scores = (
        torch.stack([state[f"{number}.{name}"] for number in range(count)])
        for name in ("codes", "scores")
    )
    return codes, scores


@torch.inference_mode()
def rendered(study: AblatedModels, codes: Any, zoo: Zoo | None = None) -> Tensor:
    """Images ``[..., 3, height, width]`` in 0..1 of stored codes ``[..., code]``."""
    values = torch.from_numpy(np.asarray(codes, dtype=np.float32))
    generator = (zoo or zoos.load_zoo(study.zoo)).generator(study.generator)
    images = torch.cat([generator(part) for part in values.flatten(0, -2).split(32)])
    return images.unflatten(0, values.shape[:-1])


@torch.inference_mode()
def predicted(own: Fit, images: Tensor) -> Tensor:
    """What each neuron's intact model predicts for its images, in s.d. of recorded responses.

    ``[neuron, ..., 3, height, width] -> [neuron, ...]``; 0 is the mean response to training images.
    """
    seen = features.extract(own.backbone, images.flatten(0, -4)).unflatten(0, images.shape[:-3])
    scores = own.models.scores(seen.flatten(1, -2)).unflatten(1, images.shape[1:-3])
    centre, spread = (torch.from_numpy(v).float() for v in (own.centre, own.spread))
    shape = (-1, *[1] * (scores.ndim - 1))
    return (scores - centre.reshape(shape)) / spread.reshape(shape)


def measure(
    found: xr.Dataset,
    study: AblatedModels,
    zoo: Zoo,
    known: State | None = None,
    save: Callable[[State], None] = forget,
) -> xr.Dataset:
    """Fit, ablate, evolve, and show the images to models and stand-ins.

    Parameters
    ----------
    known
        State of an interrupted measurement, as ``save`` was given it.
    save
        Called after each neuron.

    Returns
    -------
    xarray.Dataset
        With ``condition`` (coordinates ``sign``, ``alpha``; intact first), in standard deviations:

        - ``codes`` [neuron, condition, seed, code];
        - ``own`` [neuron, condition, seed]: score of the (ablated) model that was searched for;
          ``predicted``: that of the intact model, both in s.d. of recorded responses;
        - ``response`` [way, neuron, condition, seed]: of the neuron's stand-in, in s.d. of its
          responses to training images, from their mean; ``others`` [way, neuron, condition]: mean
          of all other neurons of the session, first seed; ``strangers`` [way, neuron]: the
          neuron's mean response to intact images of the other models. NaN without stand-ins, and
          the last two also where ``everybody`` is not asked for;
        - ``luminance``, ``contrast`` [way, neuron, condition, seed];
        - ``similarity``, ``centred`` [neuron, condition, judge]: to intact images of the same
          model from other seeds, in networks that did not model the neuron;
        - ``cv``, ``fresh`` [neuron]: how well models predict (`Fit`).
    """
    own = fit(found, study, zoo)
    codes, scores = searched(own, study, zoo, known, save)
    images = rendered(study, codes.numpy(), zoo)
    natural = own.natural.float() / 255
    light, spread = (values.mean().item() for values in stimuli.luminance_and_contrast(natural))
    ways = {"as is": images, "held": stimuli.held(images, light, spread)}
    whole = recordings.complete(found)
    population = twins(study.recording, study.session, whole["neuron"].values.tolist())
    judges = [name for name in zoo.networks if name not in (study.network, study.judge)]
    raw, centred = alike(images, {name: zoo.network(name).backbone for name in judges})
    dims = ("neuron", "condition", "seed")
    standard = (scores.numpy() - own.centre[:, None, None]) / own.spread[:, None, None]
    values: dict[str, tuple[Sequence[str], Any]] = {
        "own": (dims, standard),
        "predicted": (dims, predicted(own, images).numpy()),
        **_answers(population, own, ways, natural, study.everybody),
        **_light(ways),
        "similarity": ((*dims[:2], "judge"), raw),
        "centred": ((*dims[:2], "judge"), centred),
        "cv": (dims[:1], own.cv),
        "fresh": (dims[:1], own.fresh),
    }
    return xr.Dataset(
        {
            "codes": ((*dims, "code"), codes.numpy().astype(np.float16)),
            **{n: (along, np.asarray(v, dtype=np.float16)) for n, (along, v) in values.items()},
        },
        {
            "neuron": np.asarray(own.models.labels, dtype=str),
            "sign": ("condition", [one.sign for one in study.conditions]),
            "alpha": ("condition", [one.alpha for one in study.conditions]),
            "seed": list(study.seeds),
            "way": list(WAYS),
            "judge": judges,
        },
        {
            "layer": own.layer,
            "of": whole.sizes["neuron"],
            "excluded": whole.attrs["excluded"],
            "natural_luminance": light,
            "natural_contrast": spread,
            "population": 0 if population is None else whole.sizes["neuron"],
        },
    )


def _light(ways: dict[str, Tensor]) -> dict[str, tuple[Sequence[str], Array]]:
    """Luminance and contrast of the images each way, as variables of `measure`."""
    dims = ("way", "neuron", "condition", "seed")
    seen = zip(*(stimuli.luminance_and_contrast(ways[way]) for way in WAYS), strict=True)
    named = zip(("luminance", "contrast"), seen, strict=True)
    return {name: (dims, torch.stack(values).numpy()) for name, values in named}


def _answers(
    population: Neurons | None,
    own: Fit,
    ways: dict[str, Tensor],
    natural: Tensor,
    everybody: bool,
) -> dict[str, tuple[Sequence[str], Array]]:
    """What stand-ins answer to images each way, as variables of `measure`; NaN without any."""
    dims = ("way", "neuron", "condition", "seed")
    names = {"response": dims, "others": dims[:3], "strangers": dims[:2]}
    shape = (len(WAYS), *ways[WAYS[0]].shape[:3])
    answers = {name: np.full(shape[: len(along)], np.nan) for name, along in names.items()}
    if population is not None:
        population = population.standardised(*population.statistics(natural))
        for place, way in enumerate(WAYS):
            for name, told in show(population, ways[way], own.rows, everybody).items():
                answers[name][place] = told
    return {name: (along, answers[name]) for name, along in names.items()}


def show(
    population: Neurons, images: Tensor, rows: Sequence[int], everybody: bool = True
) -> dict[str, Array]:
    """Show images ``[neuron, condition, seed, 3, height, width]`` to the neurons ``rows``.

    Returns
    -------
    dict
        ``response`` [neuron, condition, seed]: of the neuron whose model an image was made for;
        with ``everybody`` also ``others`` and ``strangers``, as `measure` describes them.
    """
    one_by_one = [population.pick([row]) for row in rows]
    told = [
        one.responses(own.flatten(0, 1)).reshape(images.shape[1:3])
        for one, own in zip(one_by_one, images, strict=True)
    ]
    result = {"response": torch.stack(told).numpy()}
    if everybody:
        first = population.responses(images[:, :, 0].flatten(0, 1))
        first = first.unflatten(0, images.shape[:2])  # [neuron, condition, twin]
        mine = first[torch.arange(len(rows)), :, list(rows)]
        result["others"] = ((first.sum(-1) - mine) / max(len(population) - 1, 1)).numpy()
        intact = first[:, 0, list(rows)]  # [model, neuron]
        rest = intact.sum(0) - intact.diagonal()
        result["strangers"] = (rest / max(len(rows) - 1, 1)).numpy()
    return result


@torch.inference_mode()
def alike(images: Tensor, judges: dict[str, Any]) -> tuple[Array, Array]:
    """Similarity of images [neuron, condition, seed, 3, h, w] to intact ones, raw and centred.

    Mean over pairs of the cosine of features (paper, section 3), ``[neuron, condition, judge]``;
    centred: less the mean feature of all intact images. Searches of one seed share their noise, so
    pairs of one seed are left out: an intact image is not compared with itself, nor an ablated one
    with its twin. A single seed has no other pairs; then intact images have no value (NaN).
    """
    seen = ensemble_features(images.flatten(0, 2), judges, 32)
    tables = []
    for centring in (False, True):
        columns = []
        for values in seen.values():
            each = values.unflatten(0, images.shape[:3])
            centre = each[:, 0].flatten(0, 1).mean(0) if centring else None
            every = cosine_similarity(each[:, :1], each, centre)
            seeds = images.shape[2]
            own = [slice(seed, seed + 1) for seed in range(seeds)]
            same = [cosine_similarity(each[:, :1, at], each[:, :, at], centre) for at in own]
            others = (seeds**2 * every - sum(same)) / max(seeds * (seeds - 1), 1)
            if seeds == 1:
                others, others[:, 0] = every, torch.nan
            columns.append(others.numpy())
        tables.append(np.stack(columns, -1))
    return tables[0], tables[1]


def of_kind(
    planned: Sequence[AblatedModels],
    found: Sequence[xr.Dataset],
    network: str,
    layer: str = features.LAST,
) -> xr.Dataset:
    """Results of one network and layer, the neurons of all sessions together.

    The attribute ``of`` is the number of recorded neurons; some are not well-fitted.
    """
    own = [
        result
        for study, result in zip(planned, found, strict=True)
        if (study.network, study.layer) == (network, layer)
    ]
    if not own:
        raise UnknownName(
            f"expected a study of {network}, layer {layer}; there is none in this plan"
        )
    joined: xr.Dataset = xr.concat(
        own,
        "neuron",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="drop",
    )
    joined = joined.map(lambda values: values if values.name == "codes" else values.astype(float))
    return joined.assign_attrs(of=sum(result.attrs["of"] for result in own))


def by_kind(
    planned: Sequence[AblatedModels], found: Sequence[xr.Dataset]
) -> tuple[xr.Dataset, xr.Dataset, dict[str, xr.Dataset]]:
    """Results of a `plan`: of the first network, of its chosen layer, of each further network."""
    first, *further = dict.fromkeys(study.network for study in planned)
    main, layer = (of_kind(planned, found, first, name) for name in (features.LAST, CHOSEN))
    return main, layer, {name: of_kind(planned, found, name) for name in further}


def write_images(
    planned: Sequence[AblatedModels], found: Sequence[xr.Dataset], folder: str | Path
) -> None:
    """Write all evolved images as PNG files, a folder a study, to show them to neurons.

    Files are named by neuron, ablation and search, such as ``7_positive0.5_seed0.png``.
    """
    for study, own in zip(planned, found, strict=True):
        ablations = zip(own["sign"].values, own["alpha"].values, strict=True)
        cells = product(own["neuron"].values, ablations, own["seed"].values)
        names = [f"{neuron}_{sign}{alpha:g}_seed{seed}" for neuron, (sign, alpha), seed in cells]
        images = rendered(study, own["codes"]).flatten(0, 2)
        stimuli.write_images(images, names, Path(folder) / study.key)


PLUGIN = AblatedModels
