"""Experiments on recorded neurons through a network.

One `Recorded` is one session of a recording seen through one network. Its result holds numbers
about fitted models only, no response and no image, so it can be shipped where the recording cannot.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
import xarray as xr

from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Experiment, Option, State, forget
from signseg_utils.files import paths
from signseg_utils.networks import Network
from signseg_utils.neurons import features, recordings
from signseg_utils.neurons.pictures import pictures
from signseg_utils.zoos import Zoo

V4_SESSIONS = ("190923", "210225")  # those of which compact models exist, too
TOLERANCE = 5e-3  # of an audit: numbers are stored in half precision
NUMBERS = Agreement(absolute=TOLERANCE, relative=TOLERANCE)
TRAINED = 0.8  # share of the images that models are fitted to (paper, A.1)


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

    def recorded(self) -> xr.Dataset:
        """The session; RecordingMissing if it is not on this machine."""
        return recordings.load(self.recording, [self.session])

    def compute(
        self, zoo: Zoo, state: State | None = None, save: Callable[[State], None] = forget,
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
        self, session: xr.Dataset, zoo: Zoo, state: State | None = None,
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
        try:
            self.recorded()
        except recordings.RecordingMissing:
            return []
        return [(0,)]

    def rescore(
        self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]
    ) -> list[Comparison]:
        """Measure the first draw again, and compare all of its numbers."""
        again = replace(self, draws=1).measured(self.recorded(), zoo)
        first = stored.isel(draw=[0])
        return [self.compared(str(n), first[n], own) for n, own in again.data_vars.items()]


def enough(whole: xr.Dataset, study: Any) -> None:
    """Refuse a session with fewer images than one experiment needs (RecordingError)."""
    if whole.sizes["image"] < study.images:
        raise recordings.RecordingError(
            f"expected {study.images} images in session {study.session!r}, the number of one "
            f"experiment; got {whole.sizes['image']}; ask for fewer with images="
        )


S = TypeVar("S", bound=Drawn)


def plan(
    kind: type[S], recording: str, zoo: str, networks: Sequence[str],
    sessions: Sequence[str] = (), **settings: Any,
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


def shipped_folder(recording: str) -> Path:
    """Where the results of a recording lie that ship with the book."""
    return paths.results_folder(Path(recording).stem)
