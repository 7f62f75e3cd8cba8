"""Studies of recorded neurons through a network: measured once, stored, read by chapters.

One `Study` is one session of a recording seen through one network. Its result holds numbers about
fitted models only, no response and no image, so it can be shipped where the recording cannot.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from signseg_utils import zoos
from signseg_utils.experiments.agreement import Agreement, Comparison, compare
from signseg_utils.files import paths
from signseg_utils.files.store import ShardError, Store
from signseg_utils.networks import Network
from signseg_utils.neurons import features, recordings
from signseg_utils.neurons.pictures import pictures
from signseg_utils.progress import Work

V4_SESSIONS = ("190923", "210225")  # those of which compact models exist, too
TOLERANCE = 5e-3  # of an audit: numbers are stored in half precision
NUMBERS = Agreement(absolute=TOLERANCE, relative=TOLERANCE)
TRAINED = 0.8  # share of the images that models are fitted to (paper, A.1)


State = dict[str, Tensor]  # of an interrupted measurement


@dataclass(frozen=True)
class Stored:
    """What is measured on one session of a recording through one network, and stored.

    Attributes
    ----------
    recording, session, zoo, network
        Whose responses, and what models them.
    """

    KIND: ClassVar[str] = "study"  # begins the name of its file
    VERSION: ClassVar[int] = 0  # raised when the same study would give other numbers
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {}  # of variables that need not be `NUMBERS`

    recording: str
    session: str
    zoo: str
    network: str

    @property
    def names(self) -> tuple[str, ...]:
        """What its file is called after, besides the kind."""
        return (Path(self.recording).stem, self.session, self.zoo, self.network)

    @property
    def key(self) -> str:
        """Name of its file: readable, and other settings give another."""
        text = json.dumps({**asdict(self), "version": self.VERSION}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        name = "-".join(part for part in (self.KIND, *self.names, digest) if part)
        return "".join(c if c.isascii() and (c.isalnum() or c in "-_.+=") else "_" for c in name)

    @property
    def cost(self) -> float:
        """What it takes beside other studies of its plan, in any unit."""
        return 1.0

    def expected(self) -> dict[str, Any]:
        """What the provenance of its result must say; a subclass adds its weights."""
        asked = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}
        return {**asked, "version": self.VERSION}

    def measure(
        self,
        found: xr.Dataset,
        state: State | None = None,
        save: Callable[[State], object] = lambda state: None,
    ) -> xr.Dataset:
        """Result of the study from its session of the recording.

        Parameters
        ----------
        found
            The session, as `signseg_utils.neurons.recordings.load` gives it.
        state, save
            What ``save`` was last given when an earlier measurement was interrupted; short studies
            have none.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Study(Stored):
    """A study of several draws of images, each an experiment of the paper's size.

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

    images: int = 160
    draws: int = 5
    folds: int = 5
    seed: int = 0

    def expected(self) -> dict[str, Any]:
        weights = zoos.load_zoo(self.zoo).card(self.network)["sha256"]
        return {**super().expected(), "weights": weights}

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


def enough(whole: xr.Dataset, study: Any) -> None:
    """Refuse a session with fewer images than one experiment needs (RecordingError)."""
    if whole.sizes["image"] < study.images:
        raise recordings.RecordingError(
            f"expected {study.images} images in session {study.session!r}, the number of one "
            f"experiment; got {whole.sizes['image']}; ask for fewer with images="
        )


S = TypeVar("S", bound=Study)


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


def run(
    studies: Sequence[Stored],
    folder: Path,
    *,
    recompute: bool = False,
    report: Callable[[str], object] = lambda text: None,
) -> None:
    """Compute the studies that ``folder`` does not hold yet; one that was cut off goes on.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingMissing
        If one must be computed and its recording is not here.
    """
    store = Store(Path(folder))
    pending = []
    for study in studies:
        if not recompute and store.has(study.key, study.expected()):
            report(f"{study.key}: there")
        else:
            pending.append(study)
    title, costs = Path(studies[0].recording).stem, [study.cost for study in pending]
    with Work(len(pending), "studies", title, costs=costs, resumes=not recompute) as work:
        for study in pending:
            about = study.expected()
            start, busy = time.perf_counter(), time.process_time()
            found = recordings.load(study.recording, [study.session])
            try:
                state = None if recompute else store.read_partial(study.key, about)
            except ShardError:  # damaged, or of other settings: begin anew
                state = None
            save = partial(store.write_partial, study.key, provenance=about)
            measured = study.measure(found, state, save)
            digest = hashlib.sha256(np.ascontiguousarray(found["response"].values).tobytes())
            source = {name: found.attrs.get(name, "") for name in ("source", "licence")}
            store.write(
                study.key, measured, {**about, **source, "responses_sha256": digest.hexdigest()}
            )
            spent, busy = time.perf_counter() - start, time.process_time() - busy
            report(f"{study.key}: {spent:.0f} s, {busy:.0f} s of a core")
            work.advance()


def obtain(
    studies: Sequence[Stored], results: str = "", recompute: bool = False
) -> tuple[list[xr.Dataset], str]:
    """Results of studies in their order, and where from: ``shipped`` or ``recomputed``.

    Shipped ones are shown if all fit the settings and the weights; else those in ``results``
    (default ``runs/<recording>``) are, computed where they are missing.

    Raises
    ------
    signseg_utils.neurons.recordings.RecordingMissing
        If one must be computed and its recording is not here.
    """
    shipped = Store(shipped_folder(studies[0].recording))
    if not (results or recompute) and all(shipped.has(s.key, s.expected()) for s in studies):
        return [shipped.read(s.key, s.expected()) for s in studies], "shipped"
    folder = Path(results or Path("runs") / Path(studies[0].recording).stem)
    run(studies, folder, recompute=recompute)
    return [Store(folder).read(s.key, s.expected()) for s in studies], "recomputed"


def audit(
    studies: Sequence[Study], found: Sequence[xr.Dataset], seed: int = 0
) -> list[Comparison]:
    """Measure the first draw of one study again, and hold each of its variables against what was.

    Empty where its recording is not on this machine. Draws do not depend on how many there are.
    """
    place = int(np.random.default_rng(seed).integers(len(studies)))
    study = replace(studies[place], draws=1)
    try:
        recorded = recordings.load(study.recording, [study.session])
    except recordings.RecordingMissing:
        return []
    again, stored = study.measure(recorded), found[place].isel(draw=[0])
    return [
        compare(
            str(name), stored[name].values, values.values, study.AGREEMENT.get(str(name), NUMBERS),
            f"study {studies[place].key}",
        )
        for name, values in again.data_vars.items()
    ]


def damaged(studies: Sequence[Stored]) -> list[str]:
    """Names of shipped files of these studies that are damaged, so that others are shown."""
    return Store(shipped_folder(studies[0].recording)).damaged(one.key for one in studies)


def shipped_folder(recording: str) -> Path:
    """Where the results of a recording lie that ship with the book."""
    return paths.results_folder(Path(recording).stem)
