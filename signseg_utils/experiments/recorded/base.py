"""Experiments on recorded neurons through a network.

One `Recorded` is one session of a recording seen through one network. Its result holds numbers
about fitted models only, no response and no image, so it can be shipped where the recording cannot.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from signseg_utils.basics.progress import each
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import (
    Cell,
    Experiment,
    Option,
    State,
    audit,
    demand,
    forget,
)
from signseg_utils.networks import Network
from signseg_utils.neurons import features, recordings
from signseg_utils.neurons.pictures import pictures
from signseg_utils.zoos import Zoo

V4_SESSIONS = ("190923", "210225")  # those of which compact models exist, too
TOLERANCE = 5e-3  # of an audit: numbers are stored in half precision
NUMBERS = Agreement(absolute=TOLERANCE, relative=TOLERANCE)
PENALTIES = (0.01, 0.1, 1.0, 10.0)  # of ridge regression, in units of `encoding.ridge`
TRAINED = 0.8  # share of the images that models are fitted to (paper, A.1)
FEWEST_TESTED = 10  # images; on fewer neither R2 nor a correlation says anything


OPTIONS = (
    Option("recording", "v4, simulated, or a file", "v4"),
    Option("sessions", "comma separated; default: two of v4, else all"),
    Option("zoo", "zoo of the networks", "tinyimagenet"),
)


@dataclass(frozen=True)
class Recorded(Experiment):
    """What is measured on one session of a recording through one network.

    Attributes
    ----------
    recording, session, zoo, network
        Whose responses, and what models them.
    """

    UNIT: ClassVar[str] = "studies"
    SAYS: ClassVar[int] = 0  # cells that its command makes again, to say that they agree

    recording: str
    session: str
    zoo: str
    network: str

    @property
    def names(self) -> tuple[str, ...]:
        return (Path(self.recording).stem, self.session, self.zoo, self.network)

    @property
    def home(self) -> Path:
        """Results lie by recording."""
        return Path(Path(self.recording).stem)

    def identity(self, zoo: Zoo) -> dict[str, Any]:
        """What a stored result must agree in; a subclass adds its weights."""
        return {**self.settings, "version": self.VERSION}

    @classmethod
    def told(cls, plan: Sequence[Any], found: Sequence[xr.Dataset], zoo: Zoo) -> str:
        """How many stored numbers an audit made again; AuditError if they do not agree."""
        if not cls.SAYS:
            return super().told(plan, found, zoo)
        return f"audit: {demand(audit(plan, found, zoo, sample=cls.SAYS))} stored numbers agree"

    def recorded(self) -> xr.Dataset:
        """The session; RecordingMissing if it is not on this machine."""
        return recordings.load(self.recording, [self.session])

    def here(self) -> bool:
        """Whether the session is on this machine."""
        try:
            self.recorded()
        except recordings.RecordingMissing:
            return False
        return True

    def compute(
        self,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
        device: str = "cpu",
    ) -> xr.Dataset:
        """As `measured`, and with what is told of the recording.

        Raises
        ------
        signseg_utils.neurons.recordings.RecordingMissing
            If the recording is not on this machine.
        """
        session = self.recorded()
        result = self.measured(session, zoo, state, save)
        responses = np.ascontiguousarray(session["response"].values).tobytes()
        result.attrs["origin"] = {
            "source": session.attrs.get("source", ""),
            "licence": session.attrs.get("licence", ""),
            "responses_sha256": hashlib.sha256(responses).hexdigest(),
        }
        return result

    @abstractmethod
    def measured(
        self,
        session: xr.Dataset,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
    ) -> xr.Dataset:
        """The result from a session, as `signseg_utils.neurons.recordings.load` gives it."""


@dataclass(frozen=True)
class Drawn(Recorded):
    """Several draws of images, each an experiment of the paper's size.

    Attributes
    ----------
    images
        Number of images of one experiment: 80 % to fit, 20 % to test (paper: 160).
    draws
        Random choices of these images; alike for all networks.
    folds
        Of the cross-validation on training images.
    seed
        Of draws, folds and whatever else is random.
    """

    WHAT: ClassVar[str] = "stored numbers of one draw of one study, fitted again"
    OTHERWISE: ClassVar[Agreement] = NUMBERS
    ONE_AUDITED: ClassVar[bool] = True

    images: int = 160
    draws: int = 5
    folds: int = 5
    seed: int = 0

    def identity(self, zoo: Zoo) -> dict[str, Any]:
        return {**super().identity(zoo), "weights": zoo.card(self.network)["sha256"]}

    def drawn(
        self, draw: int, count: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
        """Rows of one draw out of ``count`` images: to fit, to test, left over; and its generator.

        The generator has drawn the rows and can go on to draw what else the draw needs.
        """
        rng = np.random.default_rng([self.seed, draw])
        order = rng.permutation(count)
        fit, test, fresh = np.split(order, [round(TRAINED * self.images), self.images])
        return fit, test, fresh, rng

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """The first draw, if the recording is here: draws do not depend on how many there are."""
        return [(0,)] if self.here() else []

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Measure the first draw again, and compare all of its numbers."""
        again = replace(self, draws=1).measured(self.recorded(), zoo)
        first = stored.isel(draw=[0])
        return [self.compared(str(n), first[n], own) for n, own in again.data_vars.items()]


@dataclass(frozen=True)
class OneLayer(Recorded):
    """Neurons predicted by ridge regression from one layer of the network.

    Attributes
    ----------
    layer
        As `signseg_utils.neurons.features.Features` has it.
    """

    ONE_AUDITED: ClassVar[bool] = True
    SAYS: ClassVar[int] = 32

    layer: str = "trunk.1/8"

    def identity(self, zoo: Zoo) -> dict[str, Any]:
        return {**super().identity(zoo), "weights": zoo.fingerprint(self.network)}


def enough(whole: xr.Dataset, study: Any) -> None:
    """Refuse a session with fewer images than one experiment needs (RecordingError)."""
    if whole.sizes["image"] < study.images:
        raise recordings.RecordingError(
            f"expected {study.images} images in session {study.session!r}, the number of one "
            f"experiment; got {whole.sizes['image']}; ask for fewer with images="
        )


def one_experiment(session: xr.Dataset, study: Any) -> tuple[xr.Dataset, np.ndarray]:
    """Complete responses of a session, and all its images in random order.

    The first ``study.images`` of that order are those of one experiment, drawn by the study's
    seed; the rest are left over. RecordingError as of `enough`.
    """
    whole = recordings.complete(session)
    enough(whole, study)
    return whole, np.random.default_rng([study.seed, 0]).permutation(whole.sizes["image"])


def well_fitted(r2: np.ndarray, least: float, session: str, option: str) -> np.ndarray:
    """Rows of the neurons that their models predict: R2 ``[neuron]`` of at least ``least``.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingError
        If there is none; ``option`` names the setting that asks for less.
    """
    rows = np.flatnonzero(r2 >= least)
    if not len(rows):
        raise recordings.RecordingError(
            f"expected a neuron of session {session!r} whose model reaches R2 = {least:g} in "
            f"cross-validation; got {r2.max():.2f} at most; ask for less with {option}=, or "
            "record more images or repeats"
        )
    return rows


def row_labels(neurons: Sequence[str]) -> list[str]:
    """Names of neurons, short enough to stand beside their images: ``simulated-7`` is neuron 7."""
    return [name.replace("simulated-", "neuron ") for name in neurons]


def neuron_by_neuron(
    count: int,
    known: State | None,
    save: Callable[[State], None],
    measured: Callable[[int], Mapping[str, Tensor]],
) -> State:
    """Measure one neuron after the other, and tell ``save`` after each what there is so far.

    Parameters
    ----------
    known
        State of an interrupted measurement, as ``save`` was given it; neurons in it are kept.
    measured
        Number of a neuron to its values by name; in the state they are ``<number>.<name>``.
    """
    state = dict(known or {})
    there = {name.partition(".")[0] for name in state}
    pending = [number for number in range(count) if str(number) not in there]
    for number in each(pending, "neurons", there=count - len(pending), resumes=True):
        state |= {f"{number}.{name}": values for name, values in measured(number).items()}
        save(state)
    return state


S = TypeVar("S", bound=Drawn)


def plan(
    kind: type[S],
    recording: str,
    zoo: str,
    networks: Sequence[str],
    sessions: Sequence[str] = (),
    **settings: Any,
) -> list[S]:
    """Studies of all networks; sessions: those given, else `V4_SESSIONS` or all of the recording.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingMissing
        If the sessions must be read from a recording that is not here.
    """
    those = sessions_of(recording, sessions)
    return [kind(recording, s, zoo, n, **settings) for s in those for n in networks]


def sessions_of(recording: str, asked: Sequence[str] = ()) -> tuple[str, ...]:
    """Sessions asked for, else `V4_SESSIONS` or all of the recording; errors as in `plan`."""
    if not asked and recording == "v4":
        asked = V4_SESSIONS
    if not asked:
        asked = recordings.load(recording)["session"].values.tolist()
    return tuple(dict.fromkeys(asked))


def inputs(network: Network, layers: Sequence[str], whole: xr.Dataset) -> dict[str, np.ndarray]:
    """Features of the images of a recording: layer -> ``[image, feature]`` float64."""
    size = getattr(network.backbone, "image_size", None)
    seen = features.extract_layers(network, layers, pictures(whole, size))
    return {name: values.to(torch.float64).numpy() for name, values in seen.items()}


def by_network(plan: Sequence[S], found: Sequence[xr.Dataset]) -> dict[str, list[xr.Dataset]]:
    """Results of a plan by network: those of its sessions, in their order."""
    fits: dict[str, list[xr.Dataset]] = {}
    for study, own in zip(plan, found, strict=True):
        fits.setdefault(study.network, []).append(own)
    return fits


def neurons_of(recording: str) -> str:
    """Whose answers a recording holds, in words for a sentence: ``"V4 neurons"``."""
    known = {"v4": "V4 neurons", "simulated": "simulated neurons"}
    return known.get(recording, f"neurons of {Path(recording).stem}")


def elsewhere(effects: Mapping[str, Mapping[str, Any]], network: str, id: str) -> str:
    """What the other networks give for a claim, to end a sentence about one: ``"; vgg: 0.13"``.

    Parameters
    ----------
    effects
        Network to claim to values ``[neuron]``, an estimate, or None where there is none.
    """
    own = {name: of[id] for name, of in effects.items() if name != network and id in of}
    means = {n: getattr(v, "value", v) for n, v in own.items() if v is not None}
    told = ", ".join(f"{name}: {np.mean(value):.2g}" for name, value in means.items())
    return f"; {told}".replace("-", "\N{MINUS SIGN}") if told else ""
