"""Published models of V4 neurons against ridge regression from a network's features.

Both predict the same neurons for the same images, which the published models were not fitted to;
ridge regression predicts each without having seen it. The published models were distilled from the
source's ensemble, which is not public; a network that learned to name photographs is
``task-driven``. The result holds numbers about predictions, no response and no image.
``signseg experiment task_driven`` computes it.

Source: Cowley et al., doi:10.1101/2023.11.22.568315, Fig. 1b.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from signseg_utils import zoos
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Option, State, forget
from signseg_utils.experiments.recorded import base as studies
from signseg_utils.experiments.recorded.consolidation import FITTED
from signseg_utils.experiments.recorded.noise_correction import predictions
from signseg_utils.neurons import encoding, recordings
from signseg_utils.neurons._base import Neurons
from signseg_utils.neurons.pictures import pictures
from signseg_utils.neurons.twins import twins
from signseg_utils.selection import split

__all__ = ["LAYERS", "TaskDriven", "plan", "together"]

Array = np.ndarray[Any, np.dtype[np.float64]]
LAYERS = ("trunk.2/8", "trunk.4/8", "trunk.6/4")  # of EfficientNet-Lite: strides 8, 16 and 32


@dataclass(frozen=True)
class TaskDriven(studies.Recorded):
    """One session of V4, and the network whose features predict the same neurons.

    Attributes
    ----------
    layers
        Of the network, as `signseg_utils.neurons.features.Features` has them.
    images
        Of those that the published models were not fitted to; drawn by ``seed``. As many of the
        others are asked beside them.
    folds
        Of the cross-validation of ridge regression, over all images of the session.
    """

    KIND: ClassVar[str] = "task_driven"
    SAYS: ClassVar[int] = 32
    VERSION: ClassVar[int] = 1
    WHAT: ClassVar[str] = "r2 of published models and of ridge regression, asked again"
    OTHERWISE: ClassVar[Agreement] = studies.NUMBERS
    MOST_AUDITED: ClassVar[int] = 2
    ONE_AUDITED: ClassVar[bool] = True

    layers: tuple[str, ...] = LAYERS
    images: int = 400
    folds: int = 5
    seed: int = 0

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        *studies.OPTIONS,
        Option("network", "its features predict the neurons", "resnet"),
        Option("layers", "of the network, comma separated", "trunk.2/4"),
    )

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: zoos.Zoo) -> list[TaskDriven]:
        layers = split(given.layers, "layers")
        return plan(given.recording, given.zoo, given.network, layers, given.sessions)

    def opened(self, zoo: zoos.Zoo, folder: Path) -> zoos.Zoo:
        """A page of one zoo may show a network of another."""
        return zoo if zoo.name == self.zoo else zoos.load_zoo(self.zoo)

    def identity(self, zoo: zoos.Zoo) -> dict[str, Any]:
        return {**super().identity(zoo), "weights": zoo.fingerprint(self.network)}

    def measured(
        self,
        session: xr.Dataset,
        zoo: zoos.Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
    ) -> xr.Dataset:
        """Squared correlations with recorded responses, not corrected for noise.

        Returns
        -------
        Dataset
            ``published`` [neuron] of the published model's answers to images that it was not
            fitted to; ``linear`` [layer, neuron] of the predictions of ridge regression for these
            images; ``fitted`` [neuron] of the published model's answers to as many images of those
            that took part in fitting it.

        Raises
        ------
        signseg_utils.neurons.recordings.RecordingError
            If there are no published models of the neurons, or too few images.
        """
        whole, seen, later = self._images(session)
        names = whole["neuron"].values.tolist()
        models = self._models(names)
        return xr.Dataset(
            {
                "published": ("neuron", _asked(models, whole.isel(image=later))),
                "linear": (("layer", "neuron"), self._linear(whole, later, self.layers, zoo)),
                "fitted": ("neuron", _asked(models, whole.isel(image=seen))),
            },
            {"layer": list(self.layers), "neuron": names},
        ).astype(np.float32)

    def cells(self, zoo: zoos.Zoo, stored: xr.Dataset) -> list[Cell]:
        """Neurons, if recording, models and network are here."""
        if not zoo.holds(self.network) or zoo.absent():
            return []
        try:
            self.recorded()
            self._models(stored["neuron"].values.tolist())
        except FileNotFoundError:
            return []
        return [(n,) for n in range(stored.sizes["neuron"])]

    def rescore(
        self, zoo: zoos.Zoo, stored: xr.Dataset, sample: Sequence[Cell]
    ) -> list[Comparison]:
        """Ask some models again, and predict all neurons from the last layer again."""
        whole, _, later = self._images(self.recorded())
        kept = stored.isel(neuron=[n for (n,) in sample])
        few = whole.isel(image=later).sel(neuron=kept["neuron"].values)
        published = _asked(self._models(kept["neuron"].values.tolist()), few)
        last = self.layers[-1:]
        linear = self._linear(whole, later, last, zoo)
        return [
            self.compared("published", kept["published"], published),
            self.compared("linear", stored["linear"].sel(layer=list(last)), linear),
        ]

    def _images(self, session: xr.Dataset) -> tuple[xr.Dataset, Array, Array]:
        """Complete responses, and rows of images: that models were fitted to, and of the others."""
        whole = recordings.complete(session)
        first, count = FITTED.get(self.recording, 0), whole.sizes["image"]
        if min(first, count - first) < self.images or count < session.sizes["image"]:
            raise recordings.RecordingError(
                f"expected a session of v4 with a response to each image, {self.images} of them "
                f"behind those that published models were fitted to; got {count} images of session "
                f"{self.session!r} of {self.recording!r}; take one of "
                f"{', '.join(studies.V4_SESSIONS)}, or ask for fewer with images="
            )
        rng = np.random.default_rng([self.seed, 0])
        rows = [rng.permutation(np.arange(*ends)) for ends in ((0, first), (first, count))]
        seen, later = (np.sort(own[: self.images]) for own in rows)
        return whole, seen, later

    def _models(self, names: Sequence[str]) -> Neurons:
        found = twins(self.recording, self.session, names)
        if found is None:
            raise recordings.RecordingError(
                "expected a session of v4 with published models, because they predict it; got "
                f"{self.session!r}; take one of {', '.join(studies.V4_SESSIONS)}"
            )
        return found

    def _linear(
        self, whole: xr.Dataset, rows: Array, layers: Sequence[str], zoo: zoos.Zoo
    ) -> Array:
        """Squared correlation ``[layer, neuron]`` of predictions for these images."""
        responses = whole["response"].values
        inputs = studies.inputs(zoo.network(self.network), layers, whole)
        found = [predictions(inputs[name], responses, self.folds, self.seed) for name in layers]
        return np.stack([encoding.correlation(own[rows], responses[rows]) ** 2 for own in found])


def _asked(models: Neurons, few: xr.Dataset) -> Array:
    """Squared correlation ``[neuron]`` of answers with responses to the same images."""
    answers = models.responses(pictures(few, models.image_size)).double().numpy()
    return encoding.correlation(answers, few["response"].values) ** 2


def plan(
    recording: str,
    zoo: str,
    network: str,
    layers: Sequence[str] = LAYERS,
    sessions: Sequence[str] = (),
    **settings: Any,
) -> list[TaskDriven]:
    """Studies of sessions: as of `signseg_utils.experiments.recorded.base.sessions_of`."""
    those = studies.sessions_of(recording, sessions)
    return [
        TaskDriven(recording, session, zoo, network, tuple(layers), **settings) for session in those
    ]


def together(found: Sequence[xr.Dataset]) -> xr.Dataset:
    """Neurons of all sessions, and ``features`` [neuron]: of the layer whose median is highest.

    The layer is chosen by the numbers that are compared, which favours it.
    """
    whole = xr.concat(list(found), "neuron", combine_attrs="drop")
    best = int(whole["linear"].median("neuron").values.argmax())
    return whole.assign(features=whole["linear"].isel(layer=best))


PLUGIN = TaskDriven
