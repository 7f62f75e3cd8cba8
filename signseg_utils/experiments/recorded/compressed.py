"""How small a model of a neuron can be made: distilled from a large one, then pruned.

A `Compressed` is one session of a recording. A teacher answers to images that nobody recorded:
ridge regression from a layer of a network, or the neuron itself where it is simulated. Students of
five layers learn these answers and are pruned, in the source's order of layers, in reverse and
without a floor; others are small from the start. The result holds numbers about students and the
weights of the pruned ones, no response and no image. ``signseg experiment compressed`` makes it.

Source: Cowley et al., doi:10.1101/2023.11.22.568315, Fig. 1g-i and ED Fig. 1h.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from signseg_utils.basics.progress import each
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Option, State, forget
from signseg_utils.experiments.recorded import base as studies
from signseg_utils.files.images import sized
from signseg_utils.neurons import compact, encoding, features, recordings, subunits
from signseg_utils.neurons.pictures import pictures
from signseg_utils.training import students
from signseg_utils.training.students import Course, Lessons, Students
from signseg_utils.zoos import Zoo

__all__ = ["STUDENTS", "Compressed", "plan"]

# pruned: from the last layer to the first, as the source does it, and with its floor
STUDENTS = ("unpruned", "pruned", "reversed", "no floor", "small from the start")
TEACHER = "teacher"
LATE_FIRST = tuple(reversed(range(compact.DEPTH)))
HELD = 512  # unlabelled images that decide what may go, and as many that measure what is left
FLOOR = 3  # of channels in a layer (source)


@dataclass(frozen=True)
class Compressed(studies.OneLayer):
    """One session of one recording, and the network whose features the teacher is linear in.

    Attributes
    ----------
    neurons
        Recorded ones: those that the teacher predicts best in cross-validation. Simulated ones:
        as many, with 1, 2, 4 or 8 subunits.
    channels
        Of each layer of a student before it is pruned.
    images
        Unlabelled ones that students learn from.
    epochs, retrained
        Over these images at first, and steps after each try to prune.
    keep
        Share of the agreement with the teacher that a pruned student keeps.
    seed
        Of images, weights and order of learning.
    """

    KIND: ClassVar[str] = "compressed"
    VERSION: ClassVar[int] = 1
    WHAT: ClassVar[str] = "stored pruned students, asked again about recorded images"
    OTHERWISE: ClassVar[Agreement] = studies.NUMBERS

    neurons: int = 12
    channels: int = 16
    images: int = 4096
    epochs: int = 5
    retrained: int = 40
    keep: float = 0.9
    seed: int = 0

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        *studies.OPTIONS,
        Option("network", "its features are what the teacher is linear in", "resnet"),
        Option("layer", "of the network", studies.OneLayer.layer),
        Option("neurons", "of each session", 12),
    )

    def recorded(self) -> xr.Dataset:
        """The session; of simulated neurons those whose subunits are known."""
        if self.recording == "simulated":
            return subunits.read(self.neurons, self.seed)
        return super().recorded()

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list[Compressed]:
        own = dict(layer=given.layer, neurons=given.neurons)
        return plan(given.recording, given.zoo, given.network, given.sessions, **own)

    def measured(
        self,
        session: xr.Dataset,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
    ) -> xr.Dataset:
        """Sizes of the `STUDENTS`, and how well they predict.

        Returns
        -------
        Dataset
            ``channels`` [student, layer, neuron]; ``filters``, ``parameters``, and ``followed``,
            squared correlation with the teacher for images that had no part in learning or pruning,
            [student, neuron]; ``r2`` [model, neuron], squared correlation of teacher and students
            with recorded responses to images that nothing was fitted to; ``weights`` [number] of
            the pruned students; ``subunits`` [neuron] where they are known.

        Raises
        ------
        signseg_utils.neurons.recordings.RecordingError
            If the session has too few images or neurons.
        signseg_utils.zoos.DatasetMissing
            If the zoo's images are not on this machine.
        """
        own = _taught(self, session, zoo)
        state = dict(state or {})
        made: dict[str, Students] = {}
        for name in each(STUDENTS, "students"):
            if name not in state:
                state[name] = _student(self, name, own, made).packed()
                save(state)
            made[name] = Students.unpacked(state[name], len(own.names), self.channels)
        channels = np.stack([one.widths.numpy() for one in made.values()])
        r2 = np.stack([_r2(one, own.shown, own.responses) for one in made.values()])
        teacher = encoding.correlation(own.expected, own.responses) ** 2
        followed = np.stack([students.agreement(one, own.test).numpy() for one in made.values()])
        count = [[compact.kernels(k) for k in of.T.tolist()] for of in channels]
        numbers = [[compact.parameters(k, students.SIDE) for k in of.T.tolist()] for of in channels]
        along = ("student", "neuron")
        found = xr.Dataset(
            {
                "channels": (("student", "layer", "neuron"), channels),
                "filters": (along, count),
                "parameters": (along, numbers),
                "followed": (along, followed.astype(np.float32)),
                "r2": (("model", "neuron"), np.concatenate([teacher[None], r2]).astype("f4")),
                "weights": ("number", state["pruned"].numpy()),
            },
            {
                "student": list(STUDENTS),
                "model": [TEACHER, *STUDENTS],
                "layer": range(1, compact.DEPTH + 1),
                "neuron": list(own.names),
            },
        )
        if "subunits" in session:
            found["subunits"] = "neuron", session["subunits"].sel(neuron=list(own.names)).values
        return found

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """The session, if it is here."""
        return [(0,)] if self.here() else []

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Build the pruned students of their stored weights, and ask them again."""
        names = stored["neuron"].values.tolist()
        whole = recordings.complete(self.recorded())
        _, tested = _split(self, whole)
        few = whole.isel(image=tested)
        weights = torch.from_numpy(stored["weights"].values)
        again = Students.unpacked(weights, len(names), self.channels)
        responses = few["response"].sel(neuron=names).values
        kept = stored.sel(student="pruned", model="pruned")
        return [
            self.compared("channels", kept["channels"], again.widths.numpy()),
            self.compared("r2", kept["r2"], _r2(again, pictures(few, students.SIZE), responses)),
        ]


def plan(
    recording: str, zoo: str, network: str, sessions: Sequence[str] = (), **settings: Any
) -> list[Compressed]:
    """Studies of sessions: as of `signseg_utils.experiments.recorded.base.sessions_of`."""
    those = studies.sessions_of(recording, sessions)
    return [Compressed(recording, session, zoo, network, **settings) for session in those]


# ---------------------------------------------------------------- what is taught


class _Taught(NamedTuple):
    """Lessons, and the recorded images that neither teacher nor students were fitted to."""

    names: tuple[str, ...]
    seen: Lessons
    held: Lessons
    test: Lessons
    shown: Tensor  # [image, 3, SIZE, SIZE] uint8
    responses: np.ndarray[Any, Any]  # [image, neuron]
    expected: np.ndarray[Any, Any]  # what the teacher says of these


def _split(study: Compressed, whole: xr.Dataset) -> tuple[Any, Any]:
    """Rows of recorded images: for the teacher to be fitted to, and to test with."""
    order = np.random.default_rng([study.seed, 0]).permutation(whole.sizes["image"])
    known = 0 if study.recording == "simulated" else round(studies.TRAINED * len(order))
    return np.sort(order[:known]), np.sort(order[known:])


def _taught(study: Compressed, session: xr.Dataset, zoo: Zoo) -> _Taught:
    whole = recordings.complete(session)
    fitted, tested = _split(study, whole)
    shown = pictures(whole.isel(image=tested), students.SIZE)
    pool = 2 * HELD + study.images
    if study.recording == "simulated":
        names = tuple(whole["neuron"].values.tolist())
        images = subunits.pictures(pool, study.seed, 2)
        answers = subunits.population(study.neurons, study.seed).responses(images)
        expected = session["rate"].isel(image=tested).sel(neuron=list(names)).values
    else:
        images, answers, expected, names = _by_ridge(study, whole, zoo, fitted, tested, pool)
    answers = ((answers - answers.mean(0)) / answers.std(0)).float()
    ends = (slice(2 * HELD, None), slice(HELD), slice(HELD, 2 * HELD))
    seen, held, test = (Lessons(images[rows], answers[rows]) for rows in ends)
    responses = whole["response"].isel(image=tested).sel(neuron=list(names)).values
    return _Taught(names, seen, held, test, shown, responses, expected)


def _by_ridge(
    study: Compressed, whole: xr.Dataset, zoo: Zoo, fitted: Any, tested: Any, pool: int
) -> tuple[Tensor, Tensor, np.ndarray[Any, Any], tuple[str, ...]]:
    """Unlabelled images, the teacher's answers to them and to tested ones, and whose they are."""
    if whole.sizes["neuron"] < study.neurons:
        raise recordings.RecordingError(
            f"expected {study.neurons} neurons in session {study.session!r}, so many as are "
            f"modelled; got {whole.sizes['neuron']}; ask for fewer with neurons="
        )
    network = zoo.network(study.network)
    inputs = studies.inputs(network, [study.layer], whole)[study.layer]
    responses = whole["response"].values
    table = encoding.cross_validate(
        inputs[fitted], responses[fitted], "ridge", studies.PENALTIES, folds=5, seed=study.seed
    )
    best = int(np.median(table, axis=1).argmax())
    rows = np.sort(np.argsort(-table[best], kind="stable")[: study.neurons])
    names = tuple(whole["neuron"].values[rows].tolist())
    teacher = encoding.fit(
        inputs[fitted], responses[fitted][:, rows], "ridge", studies.PENALTIES[best], labels=names
    )
    images = zoo.images("train", pool).pixels
    seen = features.extract(features.Features(network, study.layer), images)
    answers = torch.from_numpy(encoding.predict(teacher, seen.double().numpy()))
    return sized(images, students.SIZE), answers, encoding.predict(teacher, inputs[tested]), names


# ---------------------------------------------------------------- students


def _student(study: Compressed, name: str, own: _Taught, made: dict[str, Students]) -> Students:
    """One of `STUDENTS`; those that it builds on are made already."""
    course = Course(study.epochs, study.retrained, seed=study.seed)
    count, channels = len(own.names), study.channels
    if name == "unpruned":
        found = students.new(count, channels, study.seed)
        students.distil(found, own.seen, course)
        return found
    if name == "small from the start":
        found = students.small(made["pruned"].widths, channels, study.seed + 1)
        tries = len(students.ladder(channels, FLOOR)) * compact.DEPTH
        first = study.epochs * (study.images // course.batch)
        longer = first + tries * study.retrained
        students.distil(found, own.seen, course, longer)
        return found
    order = LATE_FIRST[::-1] if name == "reversed" else LATE_FIRST
    floor = 1 if name == "no floor" else FLOOR
    return students.prune(made["unpruned"], own.seen, own.held, course, order, floor, study.keep)


def _r2(found: Students, shown: Tensor, responses: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    answers = found.asked(shown).double().numpy()
    return encoding.correlation(answers, responses) ** 2


PLUGIN = Compressed
