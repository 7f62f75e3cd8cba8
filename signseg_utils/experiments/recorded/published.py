"""How large the published models of V4 neurons are, and how well they predict.

A `Published` is one session of the V4 recordings of which compact models are public. Each model is
counted and asked about images that were recorded; beside it stands what another model of the same
neuron reaches, ridge regression from one layer of a network. The result holds numbers about models,
no weight of a model, no response and no image. ``signseg experiment published`` computes it.

Source: Cowley et al., doi:10.1101/2023.11.22.568315, Fig. 1h-i and 3a.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Option, State, forget
from signseg_utils.experiments.recorded import base as studies
from signseg_utils.neurons import compact, encoding, recordings
from signseg_utils.neurons._base import Neurons
from signseg_utils.neurons.pictures import pictures
from signseg_utils.neurons.twins import twins
from signseg_utils.zoos import Zoo

__all__ = ["Published", "plan"]

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Published(studies.OneLayer):
    """One session of V4, and the network whose features predict the same neurons.

    Attributes
    ----------
    images
        Recorded images that models are asked about, drawn by ``seed``.
    folds
        Of the cross-validation of ridge regression.
    """

    KIND: ClassVar[str] = "published"
    VERSION: ClassVar[int] = 1
    WHAT: ClassVar[str] = "sizes of published models, counted again, and R2, asked again"
    OTHERWISE: ClassVar[Agreement] = studies.NUMBERS
    MOST_AUDITED: ClassVar[int] = 2

    images: int = 240
    folds: int = 5
    seed: int = 0

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        *studies.OPTIONS,
        Option("network", "its features predict the same neurons", "resnet"),
        Option("layer", "of the network", studies.OneLayer.layer),
    )

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list[Published]:
        return plan(given.recording, given.zoo, given.network, given.sessions, layer=given.layer)

    def measured(
        self,
        session: xr.Dataset,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
    ) -> xr.Dataset:
        """``channels`` [layer, neuron], ``filters``, ``parameters``, ``r2`` and ``ridge`` [neuron].

        ``channels``: what each layer gives on; ``filters``: `compact.kernels`; ``r2``: squared
        correlation of the published model's answers with the recorded responses; ``ridge``: R2 of
        ridge regression in cross-validation, on all images.

        Raises
        ------
        signseg_utils.neurons.recordings.RecordingError
            If there are no published models of the recording's neurons.
        """
        whole, chosen = studies.one_experiment(session, self)
        names = whole["neuron"].values.tolist()
        models = self._models(names)
        few = whole.isel(image=np.sort(chosen[: self.images]))
        seen = pictures(few, models.image_size)

        def of_neuron(number: int) -> dict[str, Tensor]:
            responses = few["response"].values[:, [number]]
            return {"r2": torch.from_numpy(_r2(models.pick([number]), seen, responses))}

        state = studies.neuron_by_neuron(len(names), state, save, of_neuron)
        r2 = np.concatenate([state[f"{n}.r2"].numpy() for n in range(len(names))])
        network = zoo.network(self.network)
        inputs = studies.inputs(network, [self.layer], whole)[self.layer]
        responses, folds = whole["response"].values, self.folds
        table = encoding.cross_validate(
            inputs, responses, "ridge", studies.PENALTIES, folds=folds, seed=self.seed
        )
        found = _sizes(models.models).assign_coords(neuron=names)
        found["r2"] = "neuron", r2.astype(np.float32)
        found["ridge"] = "neuron", table[int(np.median(table, axis=1).argmax())].astype(np.float32)
        return found

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Neurons, if recording and models are here."""
        try:
            self.recorded()
            self._models(stored["neuron"].values.tolist())
        except FileNotFoundError:
            return []
        return [(n,) for n in range(stored.sizes["neuron"])]

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Count some models again, and ask them again."""
        whole, chosen = studies.one_experiment(self.recorded(), self)
        kept = stored.isel(neuron=[n for (n,) in sample])
        names = kept["neuron"].values.tolist()
        few = whole.isel(image=np.sort(chosen[: self.images])).sel(neuron=names)
        models = self._models(names)
        again = _sizes(models.models)
        r2 = _r2(models, pictures(few, models.image_size), few["response"].values)
        found = [self.compared(str(name), kept[name], own) for name, own in again.items()]
        return [*found, self.compared("r2", kept["r2"], r2)]

    def _models(self, names: Sequence[str]) -> compact.CompactNeurons:
        found = twins(self.recording, self.session, names)
        if not isinstance(found, compact.CompactNeurons):
            raise recordings.RecordingError(
                "expected a session of v4 with published models, because their size is asked for; "
                f"got session {self.session!r} of {self.recording!r}; take one of "
                f"{', '.join(studies.V4_SESSIONS)}"
            )
        return found


def _r2(cells: Neurons, seen: Tensor, responses: Array) -> Array:
    """Squared correlation [neuron] of answers with responses [image, neuron]."""
    return encoding.correlation(cells.responses(seen).double().numpy(), responses) ** 2


def _sizes(models: Any) -> xr.Dataset:
    each = [model.filters for model in models]
    return xr.Dataset(
        {
            "channels": (("layer", "neuron"), np.array(each).T),
            "filters": ("neuron", [compact.kernels(own) for own in each]),
            "parameters": ("neuron", [compact.parameters(own) for own in each]),
        },
        {"layer": range(1, compact.DEPTH + 1)},
    )


def plan(
    recording: str, zoo: str, network: str, sessions: Sequence[str] = (), **settings: Any
) -> list[Published]:
    """Studies of sessions: as of `signseg_utils.experiments.recorded.base.sessions_of`."""
    those = studies.sessions_of(recording, sessions)
    return [Published(recording, session, zoo, network, **settings) for session in those]


PLUGIN = Published
