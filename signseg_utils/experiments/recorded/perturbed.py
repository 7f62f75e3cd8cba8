"""Images changed a little against a model of a neuron, and what another model says of them.

In silico: nobody showed these images to a neuron. For each neuron that a linear model on features
of a network predicts, the judge, images are moved along the gradient of the neuron's twin, up or
down, until pixels differ by a threshold; then the judge is asked, which was fitted to the same
neuron in another way. The result holds numbers about models, no image and no response. ``signseg
experiment perturbed --recording v4`` computes what the store does not hold yet, neuron by neuron.

Source: Cowley et al., doi:10.1101/2023.11.22.568315, Fig. 2d-f; they showed them to neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn.functional import interpolate

from signseg_utils.basics import draws
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Option, State, forget
from signseg_utils.experiments.recorded import base as studies
from signseg_utils.neurons import encoding, features, recordings
from signseg_utils.neurons._base import Neurons
from signseg_utils.neurons.pictures import pictures
from signseg_utils.neurons.twins import twins
from signseg_utils.units.readout import Readout
from signseg_utils.zoos import Zoo

__all__ = ["KINDS", "WHO", "Perturbed", "moved", "plan"]

WHO = ("twin", "judge")
KINDS = ("plus", "minus", "plus turned", "minus turned", "noise")
STEP = 2 / 255  # root mean square of one step over pixels and colours
LONGEST = 3  # steps at most, in units of the way to the largest threshold


@dataclass(frozen=True)
class Perturbed(studies.OneLayer):
    """One session of one recording, and the network whose features the judges are linear in.

    Attributes
    ----------
    bases
        Images that are changed; no judge is fitted to them.
    thresholds
        Root mean square difference of pixels at which an image is taken, in grey levels of 255.
    least_fit
        Neurons whose judge has a lower R2 in cross-validation are left out.
    scale
        Images over which responses of twin and judge are brought to standard deviations.
    seed
        Of the choice of bases, folds and noise.
    """

    KIND: ClassVar[str] = "perturbed"
    VERSION: ClassVar[int] = 1
    WHAT: ClassVar[str] = "stored changes of responses, made again with their images"
    OTHERWISE: ClassVar[Agreement] = Agreement(0.02, 0.02)
    MOST_AUDITED: ClassVar[int] = 1

    bases: int = 4
    thresholds: tuple[float, ...] = (2.0, 4.0, 8.0)
    least_fit: float = 0.1
    scale: int = 40
    seed: int = 0

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        *studies.OPTIONS,
        Option("network", "its features are what judges are linear in", "resnet"),
        Option("layer", "of the network", studies.OneLayer.layer),
    )

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list[Perturbed]:
        return plan(given.recording, given.zoo, given.network, given.sessions, layer=given.layer)

    def measured(
        self,
        session: xr.Dataset,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
    ) -> xr.Dataset:
        """``change`` [who, kind, threshold, neuron], mean over bases, and ``fit`` [neuron].

        A change is from the response to the base, in standard deviations of the responses of twin
        or judge to images of the recording. Kinds: ``plus`` and ``minus`` along the twin's
        gradient; ``turned``, the same perturbation turned by half a circle; ``noise``, white and of
        the same size. ``fit``: R2 of the judge in cross-validation.

        Raises
        ------
        signseg_utils.neurons.recordings.RecordingError
            If no judge reaches ``least_fit``, or the recording has no twins.
        """
        own = _prepared(self, session, zoo)

        def of_neuron(number: int) -> dict[str, Tensor]:
            return {"change": _change(self, own, number)}

        state = studies.neuron_by_neuron(len(own.names), state, save, of_neuron)
        change = torch.stack([state[f"{n}.change"] for n in range(len(own.names))], -1)
        return xr.Dataset(
            {
                "change": (("who", "kind", "threshold", "neuron"), change.numpy()),
                "fit": ("neuron", own.fit.astype(np.float32)),
            },
            {
                "who": list(WHO),
                "kind": list(KINDS),
                "threshold": list(self.thresholds),
                "neuron": list(own.names),
            },
            {"of": session.sizes["neuron"]},
        )

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Neurons, if recording and twins are here."""
        try:
            self.recorded()
            there = twins(self.recording, self.session, stored["neuron"].values.tolist())
        except FileNotFoundError:
            return []
        return [] if there is None else [(n,) for n in range(stored.sizes["neuron"])]

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Fit the judges again, and perturb for some neurons."""
        own = _prepared(self, self.recorded(), zoo)
        names = stored["neuron"].values[[n for (n,) in sample]].tolist()
        again = torch.stack([_change(self, own, own.names.index(name)) for name in names], -1)
        kept = stored["change"].sel(neuron=names)
        return [self.compared("change", kept, again.numpy())]


def plan(
    recording: str, zoo: str, network: str, sessions: Sequence[str] = (), **settings: Any
) -> list[Perturbed]:
    """Studies of sessions: as of `signseg_utils.experiments.recorded.base.sessions_of`."""
    those = studies.sessions_of(recording, sessions)
    return [Perturbed(recording, session, zoo, network, **settings) for session in those]


# ---------------------------------------------------------------- one image after the other


def moved(model: nn.Module, images: Tensor, sign: int, thresholds: Sequence[float]) -> Tensor:
    """Perturbations that raise (sign 1) or lower (-1) a model's response.

    Steps along the normalised gradient, all pixels kept in 0..1, until the root mean square
    difference passes a threshold; then brought to it.

    Parameters
    ----------
    model
        Images [image, 3, height, width] in 0..1 to responses [image, 1].
    thresholds
        Rising, in grey levels of 255.

    Returns
    -------
    Tensor [threshold, image, 3, height, width]
        0 where the model has no gradient.
    """
    found = torch.zeros(len(thresholds), *images.shape)
    reached = torch.zeros(len(images), dtype=torch.long)  # thresholds passed
    now = images.clone()
    levels = torch.tensor(thresholds) / 255
    for _ in range(round(LONGEST * float(levels[-1]) / STEP)):
        now.requires_grad_(True)
        (gradient,) = torch.autograd.grad(model(now).sum(), now)
        size = _size(gradient)[:, None, None, None]
        step = torch.where(size > 0, gradient / size.clamp_min(1e-30), 0.0)
        now = (now.detach() + sign * STEP * step).clamp(0, 1)
        away = now - images
        length = _size(away)
        for image in range(len(images)):
            while reached[image] < len(levels) and length[image] >= levels[reached[image]]:
                place = int(reached[image])
                found[place, image] = away[image] * (levels[place] / length[image])
                reached[image] += 1
        if (reached == len(levels)).all():
            break
    for image in range(len(images)):  # what turned back before it came so far
        for place in range(int(reached[image]), len(levels)):
            found[place, image] = away[image] * (levels[place] / length[image].clamp_min(1e-30))
    return found


def _size(images: Tensor) -> Tensor:
    return images.square().mean((1, 2, 3)).sqrt()


class _Prepared(NamedTuple):
    """Twins and judges of the neurons that have both, in standard deviations, and images."""

    names: tuple[str, ...]
    cells: Neurons
    judges: Readout
    body: nn.Module
    side: int
    fit: np.ndarray[Any, Any]
    images: Tensor
    spread: np.ndarray[Any, Any]  # of the judges


def _prepared(study: Perturbed, session: xr.Dataset, zoo: Zoo) -> _Prepared:
    whole = recordings.complete(session)
    order = np.random.default_rng([study.seed, 0]).permutation(whole.sizes["image"])
    chosen, rest = order[: study.bases], order[study.bases :]
    network = zoo.network(study.network)
    inputs = studies.inputs(network, [study.layer], whole)[study.layer]
    responses = whole["response"].values[rest]
    table = encoding.cross_validate(
        inputs[rest], responses, "ridge", studies.PENALTIES, folds=5, seed=study.seed
    )
    best = int(np.median(table, axis=1).argmax())
    rows = studies.well_fitted(table[best], study.least_fit, study.session, "least_fit")
    names = tuple(whole["neuron"].values[rows].tolist())
    penalty = studies.PENALTIES[best]
    judges = encoding.fit(inputs[rest], responses[:, rows], "ridge", penalty, labels=names)
    spread = encoding.predict(judges, inputs[rest]).std(0)
    cells = twins(study.recording, study.session, names)
    if cells is None:
        raise recordings.RecordingError(
            f"expected twins of the neurons of {study.recording!r}, because images are changed "
            f"against them; session {study.session!r} has none; take v4 or simulated"
        )
    few = whole.isel(image=rest[: study.scale])
    cells = cells.standardised(*cells.statistics(pictures(few, cells.image_size)))
    side = int(getattr(network.backbone, "image_size", cells.image_size))
    images = pictures(whole.isel(image=chosen), cells.image_size).float() / 255
    body = features.Features(network, study.layer)
    return _Prepared(names, cells, judges, body, side, table[best][rows], images, spread)


def _change(study: Perturbed, own: _Prepared, number: int) -> Tensor:
    """``[who, kind, threshold]``: change of responses, mean over bases."""
    cell = own.cells.pick([number])
    up, down = (moved(cell, own.images, sign, study.thresholds) for sign in (1, -1))
    white = draws.normal(own.images.numel(), study.seed).view_as(own.images).float()
    white = white / _size(white)[:, None, None, None]
    noise = torch.stack([white * level / 255 for level in study.thresholds])
    kinds = (up, down, up.flip(3, 4), down.flip(3, 4), noise)
    shown = torch.stack([(own.images + away).clamp(0, 1) for away in kinds])
    with torch.inference_mode():
        before = _asked(own, cell, number, own.images)
        after = _asked(own, cell, number, shown.flatten(0, 2)).unflatten(1, shown.shape[:3])
    return (after - before[:, None, None]).mean(-1).float()


def _asked(own: _Prepared, cell: Neurons, number: int, images: Tensor) -> Tensor:
    """Responses ``[who, image]`` of twin and judge."""
    small = images
    if images.shape[-1] != own.side:
        small = interpolate(images, (own.side, own.side), mode="bilinear", antialias=True)
    seen = features.extract(own.body, small)
    judge = own.judges.rows([number]).responses(seen)[:, 0] / float(own.spread[number])
    return torch.stack([cell.responses(images)[:, 0].float(), judge.float()])


PLUGIN = Perturbed
