"""Where in an image neurons and models of them look: measured once, stored, read by a chapter.

A `Localisation` is one session of a recording and the models that one network makes of its
neurons. For each neuron that its model predicts, the preferred image of a stand-in that answers to
any image (its twin) and that of its model are searched, localised and cleared. The result holds
codes of these evolved images, masks, responses of twins and models to images made from them, and
weights of the models; no recorded image or response. So it can be shown where the recording and the
twins are not. ``signseg experiment localisation --recording v4`` computes
what the store does not hold yet; the same command continues an interrupted one, neuron by neuron.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from signseg_utils.analysis import localize
from signseg_utils.basics.progress import each
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Option, State, forget
from signseg_utils.experiments.recorded import base as studies
from signseg_utils.experiments.sweep.shards import ACTIVATION, TOLERANCE
from signseg_utils.neurons import encoding, features
from signseg_utils.neurons._base import Neurons
from signseg_utils.neurons.pictures import pictures
from signseg_utils.neurons.twins import twins
from signseg_utils.search.evolution import Search, evolve
from signseg_utils.units.readout import Readout
from signseg_utils.zoos import Zoo

__all__ = [
    "FRESH",
    "KINDS",
    "OWN",
    "SHUFFLES",
    "TOLERANCE",
    "WIDE",
    "Asked",
    "Localisation",
    "look",
    "measure",
    "plan",
]

KINDS = ("grey", "mean", "wide", "elsewhere")  # ways to clear the background
WIDE = 0.25  # the wide mask is where the map reaches this share of its maximum
FRESH = 100_000  # added to the seed of discs that the map has not seen
OWN = {"neuron": 0, "model": 10_000}  # likewise: whose image; masks are not alike by their discs
SCALE = ("centre", "spread")  # of a twin's own units
SHUFFLES = 20  # shuffled maps for each map

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]


@dataclass(frozen=True)
class Localisation(studies.Recorded):
    """One session of one recording, models of its neurons, and how they are searched.

    Attributes
    ----------
    generator
        Makes the images.
    images
        Number of images of one experiment, drawn at random; models are fitted to all of them.
    neurons
        At most so many, those that cross-validation ranks first.
    least_fit
        Neurons whose R2 in cross-validation on these images is lower are left out.
    generations, seeds, optimizer
        Of each search; the best of all seeds is taken.
    discs
        Shuffled discs of each image; as many again test the map.
    least_change
        As ``least`` of `signseg_utils.analysis.localize.locate`.
    layer
        Of the network; its readout's features by default, the paper's choice.
    seed
        Of the draw of images, folds and discs.
    """

    KIND: ClassVar[str] = "places"
    SAYS: ClassVar[int] = 32
    VERSION: ClassVar[int] = 1
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {"intact": ACTIVATION, "answers": ACTIVATION}

    generator: str
    images: int = 160
    neurons: int = 100
    least_fit: float = 0.1
    generations: int = 50
    seeds: tuple[int, ...] = (0,)
    optimizer: str = "cholesky_cma"
    discs: int = localize.COUNT
    least_change: float = 0.05
    layer: str = features.LAST
    seed: int = 0

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        *studies.OPTIONS,
        Option("network", "its features model the neurons", "alexnet"),
        Option("generator", "makes the images; default: the first of the zoo"),
        Option("images", "of one experiment", images),
        Option("neurons", "of a session, at most", neurons),
        Option("least_fit", "R2 of models", least_fit),
        Option("generations", "of each search", generations),
        Option("seeds", "searches: a list or a range", "0"),
    )

    def identity(self, zoo: Zoo) -> dict[str, Any]:
        weights = {name: zoo.fingerprint(name) for name in (self.network, self.generator)}
        return {**super().identity(zoo), "weights": weights}

    def measured(
        self,
        session: xr.Dataset,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
    ) -> xr.Dataset:
        return measure(session, self, zoo, state, save)

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list[Localisation]:
        return plan(
            given.recording,
            given.zoo,
            given.network,
            given.generator or zoo.generators[0],
            given.sessions,
            images=given.images,
            neurons=given.neurons,
            least_fit=given.least_fit,
            generations=given.generations,
            seeds=given.seeds,
        )

    def stand_ins(self, stored: xr.Dataset) -> Neurons | None:
        """Twins of the neurons, in the units of the result; None if they are not here."""
        try:
            cells = twins(self.recording, self.session, stored["neuron"].values.tolist())
        except FileNotFoundError:
            return None
        if cells is None:
            return None
        return cells.standardised(*(torch.from_numpy(stored[n].values) for n in SCALE))

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Images (whose, neuron): models are at hand with their weights, twins maybe."""
        who = stored["who"].values.tolist()
        asked = [name for name in who if name == "model" or self.stand_ins(stored) is not None]
        return [(who.index(name), n) for name in asked for n in range(stored.sizes["neuron"])]

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Render stored codes, show them with their discs again."""
        generator, cells = zoo.generator(self.generator), self.stand_ins(stored)
        body = features.Features(zoo.network(self.network), self.layer)
        again = []
        for whose, number in sample:
            mine = stored.isel(neuron=number)
            who = str(stored["who"].values[whose])
            if who == "model" or cells is None:
                weight, bias = (
                    torch.from_numpy(mine[n].values.reshape(1, -1)) for n in ("weight", "bias")
                )
                asked = Asked(Readout(weight, bias[0], (who,)), body, 0.0)
            else:
                one = cells.pick([number])
                asked = Asked(one.readout(), one, 0.0)
            with torch.inference_mode():
                image = generator(torch.from_numpy(mine["codes"].values[whose]).float()[None])[0]
            discs = localize.perturb(image, self.seed + number + OWN[who], count=self.discs)
            again.append(asked.respond(torch.cat([image[None], discs.images])).numpy())
        intact = [stored["intact"].values[cell] for cell in sample]
        answers = [stored["answers"].values[cell] for cell in sample]
        return [
            self.compared("intact", intact, [values[0] for values in again]),
            self.compared("answers", answers, [values[1:] for values in again]),
        ]


def plan(
    recording: str,
    zoo: str,
    network: str,
    generator: str,
    sessions: Sequence[str] = (),
    **settings: Any,
) -> list[Localisation]:
    """Studies of sessions: as of `signseg_utils.experiments.recorded.base.sessions_of`.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingMissing
        If the sessions must be read from a recording that is not here.
    """
    those = studies.sessions_of(recording, sessions)
    return [Localisation(recording, s, zoo, network, generator, **settings) for s in those]


@dataclass(frozen=True, eq=False)
class Asked:
    """Whom to show images: readout rows over a body, and the response that means nothing."""

    rows: Readout
    body: nn.Module
    floor: float

    @torch.inference_mode()
    def respond(self, images: Tensor) -> Tensor:
        """Response [image] to images [image, 3, h, w] in 0..1."""
        return self.rows.responses(self.body(images))[:, 0].float()


def look(asked: Asked, image: Tensor, study: Localisation, key: int) -> Arrays:
    """Localise in one image, test the map on discs it has not seen, and clear the background.

    Parameters
    ----------
    image
        ``[3, height, width]`` in 0..1.
    key
        Added to the study's seed: of the discs.

    Returns
    -------
    dict
        ``intact`` response; ``answers``, ``fresh`` [disc], responses to shuffled discs and to those
        the map has not seen; ``mask`` [row, column], nowhere if there is no place; ``cleared``
        [kind], responses with the background replaced (`KINDS`), NaN if there is no place;
        ``foretold`` [2]: correlation over fresh discs of the change they make with the mean of the
        map under them, for the map and (mean over `SHUFFLES`) for maps of shuffled changes.
    """
    first, second = (
        localize.perturb(image, study.seed + key + more, count=study.discs) for more in (0, FRESH)
    )
    values = asked.respond(torch.cat([image[None], first.images, second.images])).numpy()
    intact, answers, fresh = values[0], values[1 : study.discs + 1], values[study.discs + 1 :]

    def located(heard: Array, level: float = 0.5) -> localize.Location:
        return localize.locate(
            first, float(intact), heard, floor=asked.floor, level=level, least=study.least_change
        )

    place = located(answers)
    cleared = np.full(len(KINDS), np.nan, np.float32)
    if place.found:
        wide = located(answers, WIDE).mask
        away = localize.elsewhere(place.mask, study.seed + key)
        kept = {"grey": place.mask, "mean": place.mask, "wide": wide, "elsewhere": away}
        images = [
            localize.clear_background(image, kept[kind], "mean" if kind == "mean" else "grey")
            for kind in KINDS
        ]
        cleared = asked.respond(torch.stack(images)).numpy()
    rng = np.random.default_rng([study.seed, key])
    shuffled = [located(rng.permutation(answers)).map for _ in range(SHUFFLES)]
    foretold = [_foretold(m, second.discs, intact - fresh) for m in (place.map, *shuffled)]
    return {
        "intact": intact,
        "answers": answers,
        "fresh": fresh,
        "mask": place.mask.numpy(),
        "cleared": cleared,
        "foretold": np.array([foretold[0], np.mean(foretold[1:])], np.float32),
    }


def _foretold(height: Tensor, discs: Tensor, changes: Array) -> float:
    """Correlation over discs of the mean of a map under each with its change; 0 if one is flat."""
    under = torch.stack([height[disc].mean() for disc in discs]).numpy()
    return float(encoding.correlation(under[:, None], changes[:, None])[0])


def measure(
    found: xr.Dataset,
    study: Localisation,
    zoo: Zoo,
    known: State | None = None,
    save: Callable[[State], None] = forget,
) -> xr.Dataset:
    """Fit models, search, localise and clear, one neuron after the other.

    Parameters
    ----------
    known
        State of an interrupted measurement, as ``save`` was given it.
    save
        Called after each neuron.

    Returns
    -------
    xarray.Dataset
        Dims ``who`` (neuron, model; only model where there are no twins) and ``neuron``. What
        `look` gives for each; ``codes`` of the evolved images, ``floor`` (response that means
        nothing); ``natural`` [neuron, kind]: ``intact``, ``grey``, ``elsewhere`` of the twin for
        the image of the experiment that it prefers; ``fit`` (R2 in cross-validation), ``twin_r``
        (correlation of twin and recorded response over the experiment), ``centre`` and ``spread``
        of the twin's own units, ``weight`` and ``bias`` of the model.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingError
        If the session has fewer images than the experiment, or no neuron reaches ``least_fit``.
    FileNotFoundError
        If the twins are not here.
    """
    own = _modelled(found, study, zoo)
    generator = zoo.generator(study.generator)
    who = ("model",) if own.cells is None else ("neuron", "model")
    names = own.models.labels

    def of_neuron(number: int) -> dict[str, Tensor]:
        mine = _of_neuron(own, number, who, study, generator)
        return {name: torch.from_numpy(values) for name, values in mine.items()}

    state = studies.neuron_by_neuron(len(names), known, save, of_neuron)
    return _dataset(state, own.about, own.models, who, names, study)


class _Modelled(NamedTuple):
    """Neurons that their models predict, and how; ``best``: the natural image a twin prefers."""

    models: Readout
    body: nn.Module
    mean: Array
    about: Arrays
    cells: Neurons | None
    best: Tensor | None


def _modelled(found: xr.Dataset, study: Localisation, zoo: Zoo) -> _Modelled:
    whole, order = studies.one_experiment(found, study)
    whole = whole.isel(image=order[: study.images])
    body = features.Features(zoo.network(study.network), study.layer)
    seen = features.extract(body, pictures(whole, zoo.image_size)).double().numpy()
    told = whole["response"].values
    fit = encoding.cross_validate(seen, told, "pls", (1,), seed=study.seed)[0]
    chosen = studies.well_fitted(fit, study.least_fit, study.session, "least_fit")
    chosen = np.sort(chosen[np.argsort(-fit[chosen], kind="stable")[: study.neurons]])
    names = whole["neuron"].values[chosen].tolist()
    told, about = told[:, chosen], {"fit": fit[chosen]}
    models = encoding.fit(seen, told, "pls", 1, names).to(dtype=torch.float32)
    cells, best = twins(study.recording, study.session, names), None
    if cells is not None:
        natural = pictures(whole)
        own = torch.cat([cells.responses(part) for part in natural.split(16)]).numpy()
        about["twin_r"] = encoding.correlation(own, told)
        best = natural[own.argmax(0)].float() / 255
        if study.recording == "v4":  # their own units mean nothing; those of spikes do
            about["centre"], about["spread"] = own.mean(0), own.std(0)
        else:
            about["centre"], about["spread"] = np.zeros(len(names)), np.ones(len(names))
        cells = cells.standardised(*(torch.from_numpy(about[k]) for k in SCALE))
    mean = np.array([values.mean() for values in told.T])
    return _Modelled(models, body, mean, about, cells, best)


def _of_neuron(
    own: _Modelled, number: int, who: Sequence[str], study: Localisation, generator: nn.Module
) -> Arrays:
    """Search, localise and clear for one neuron and its model, each first axis."""
    model = own.models.rows([number])
    pairs = {"model": Asked(model, own.body, float(own.mean[number]))}
    if own.cells is not None:
        one = own.cells.pick([number])
        pairs["neuron"] = Asked(one.readout(), one, 0.0)
    pieces = []
    for name in each(who, "searches", fine=True):
        code = _search(pairs[name], generator, study)
        image = generator(code.float()[None])[0]
        seen = look(pairs[name], image, study, number + OWN[name])
        pieces.append({"codes": code.numpy(), **seen})
    mine = {key: np.stack([piece[key] for piece in pieces]) for key in pieces[0]}
    mine["floor"] = np.array([pairs[name].floor for name in who], np.float32)
    if own.best is not None:
        seen = look(pairs["neuron"], own.best[number], study, number)
        there = dict(zip(KINDS, seen["cleared"], strict=True))
        natural = [seen["intact"], there["grey"], there["elsewhere"]]
        mine["natural"] = np.array(natural, np.float32)
    return mine


def _dataset(
    state: Mapping[str, Tensor],
    found: Mapping[str, Array],
    models: Readout,
    who: Sequence[str],
    names: Sequence[str],
    study: Localisation,
) -> xr.Dataset:
    dims = {
        "codes": ("who", "neuron", "code"),
        "intact": ("who", "neuron"),
        "answers": ("who", "neuron", "disc"),
        "fresh": ("who", "neuron", "disc"),
        "mask": ("who", "neuron", "row", "column"),
        "cleared": ("who", "neuron", "kind"),
        "foretold": ("who", "neuron", "map"),
        "floor": ("who", "neuron"),
    }
    stacked = {
        key: (axes, np.stack([state[f"{n}.{key}"].numpy() for n in range(len(names))], 1))
        for key, axes in dims.items()
    }
    whole = xr.Dataset(
        stacked,
        {
            "who": list(who),
            "neuron": list(names),
            "kind": list(KINDS),
            "map": ["measured", "shuffled"],
        },
    )
    for key, values in found.items():
        whole[key] = ("neuron", np.asarray(values, np.float32))
    if "neuron" in who:
        natural = np.stack([state[f"{n}.natural"].numpy() for n in range(len(names))])
        whole["natural"] = (("neuron", "shown"), natural)
        whole = whole.assign_coords(shown=["intact", "grey", "elsewhere"])
    whole["weight"] = (("neuron", "feature"), models.weight.numpy())
    whole["bias"] = ("neuron", models.bias.numpy())
    return whole


def _search(asked: Asked, generator: nn.Module, study: Localisation) -> Tensor:
    """Code [code] float16 of the preferred image, the best of all seeds."""
    found = evolve(
        asked.rows.rows([0] * len(study.seeds)),
        asked.body,
        generator,
        study.seeds,
        Search(study.optimizer, study.generations),
    )
    return found.codes[found.activations.argmax()].half()


PLUGIN = Localisation
