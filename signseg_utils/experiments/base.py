"""Experiments: computed once, stored with what made them, continued where cut off, audited.

An `Experiment` is a frozen dataclass of settings. It says what file its result has, what that
result must agree in (settings, weights, version), how it is computed, and how some of it is made
again. All else is the same for every experiment, and stands here once: `obtain`, `run`, `audit`.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple, Self, get_args, get_type_hints

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor

from signseg_utils import __version__
from signseg_utils.basics.progress import Work, each
from signseg_utils.basics.refusals import Refusal
from signseg_utils.experiments import agreement
from signseg_utils.experiments.agreement import EXACTLY, Agreement, Comparison, compare
from signseg_utils.experiments.cluster import connected
from signseg_utils.files import reads
from signseg_utils.files.paths import results_folder
from signseg_utils.files.store import MissingShard, ShardError, Store
from signseg_utils.selection import split
from signseg_utils.zoos import Zoo

State = dict[str, Tensor]  # of a computation that was cut off
Cell = tuple[int, ...]  # where in a result lies what can be made again by itself

TIMINGS = "timings.jsonl"
CHECKPOINT_SECONDS = 15.0  # at least so long between two checkpoints


def forget(state: State) -> None:
    """Keep no checkpoint."""


class AuditError(Refusal, ValueError):
    """What is stored does not come out again, beyond what its variables allow."""


# ---------------------------------------------------------------- the contract


@dataclass(frozen=True)
class Option:
    """What a command may ask of an experiment: ``signseg experiment NAME --name value``.

    Attributes
    ----------
    name
        As in `signseg_utils.selection`, which checks and parses what is given.
    meaning
        For whoever asks what there is.
    default
        Text or a number; None: it must be given.
    checked_as
        Name by whose rule a number is checked; default: its own.
    """

    name: str
    meaning: str
    default: str | float | None = ""
    checked_as: str = ""


class Experiment(ABC):
    """What is computed once and stored; subclasses are frozen dataclasses of settings."""

    KIND: ClassVar[str] = ""  # begins the name of its file
    VERSION: ClassVar[int] = 1  # raised by hand when the same settings would give other numbers
    FOLDER: ClassVar[str] = ""  # below the results of its zoo
    UNIT: ClassVar[str] = "experiments"  # what a plan holds many of
    WHAT: ClassVar[str] = "stored codes, rendered and scored again"  # what an audit compares
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {}  # how exactly variables come out again
    OTHERWISE: ClassVar[Agreement] = EXACTLY  # of variables that AGREEMENT does not name
    MOST_AUDITED: ClassVar[int] = 1_000_000  # cells of one audit, where one takes long
    ONE_AUDITED: ClassVar[bool] = False  # whether an audit keeps to one result, where that does
    # What `signseg experiment` may ask, and `asked` is told; none: an option for each setting.
    OPTIONS: ClassVar[tuple[Option, ...]] = ()

    zoo: str

    @property
    def settings(self) -> dict[str, Any]:
        """All fields as plain values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))  # type: ignore[call-overload]
        return plain

    @property
    def names(self) -> tuple[str, ...]:
        """What a reader knows its file by, besides the kind."""
        raise NotImplementedError

    @property
    def hashed(self) -> Mapping[str, Any]:
        """What makes another file."""
        return {**self.settings, "version": self.VERSION}

    @property
    def key(self) -> str:
        """Name of its file: readable, and other settings give another."""
        name = "-".join(part for part in (self.KIND, *self.names, digest(self.hashed)[:10]) if part)
        return "".join(c if c.isascii() and (c.isalnum() or c in "-_.+=") else "_" for c in name)

    @property
    def tolerance(self) -> float:
        """The largest difference at which a number agrees, relative or absolute."""
        declared = (self.OTHERWISE, *self.AGREEMENT.values())
        return max(max(one.absolute, one.relative) for one in declared)

    @property
    def cost(self) -> float:
        """What it takes beside others of its plan, in any unit."""
        return 1.0

    @property
    def home(self) -> Path:
        """Folder of its result, below that of all results or of ``runs``."""
        return Path(self.zoo) / self.FOLDER

    @classmethod
    def of_provenance(cls, told: Mapping[str, Any]) -> Self:
        """The experiment of a stored result, from its provenance."""
        values = told.get("settings", told)
        names = [own.name for own in fields(cls) if own.name in values]  # type: ignore[arg-type]
        return cls(**{n: tuple(v) if isinstance(v := values[n], list) else v for n in names})

    def opened(self, zoo: Zoo, folder: Path) -> Zoo:
        """The zoo that it takes place in, if its result lies in ``folder``; mostly ``zoo``."""
        return zoo

    def prepare(self, zoo: Zoo) -> None:  # noqa: B027
        """Make what it needs in the zoo and its identity rests on; mostly nothing."""

    @abstractmethod
    def identity(self, zoo: Zoo) -> dict[str, Any]:
        """What a stored result must agree in: settings, weights, version."""

    @abstractmethod
    def compute(
        self,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
        device: str = "cpu",
    ) -> xr.Dataset:
        """The result.

        Two attributes, dictionaries, are taken off it: ``cost`` is what differs between two
        computations, such as seconds, and is noted beside it; ``origin`` is told with its
        provenance and not compared, such as the source of a recording.

        Parameters
        ----------
        state
            What ``save`` was last given before an earlier computation was cut off.
        save
            Told, as often as one likes, from what the computation can go on.
        """

    def unaudited(self, zoo: Zoo) -> str:
        """What keeps an audit from it on every machine, for the page; mostly nothing."""
        return ""

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> Sequence[Cell]:
        """Cells of a result that can be made again one by one; none if what for is not here."""
        return []

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Make some of the `cells` again and hold them against what is stored (see `compared`)."""
        raise NotImplementedError

    def compared(
        self, variable: str, stored: ArrayLike, again: ArrayLike, where: str = ""
    ) -> Comparison:
        """Stored values of a variable against the same made again, as its agreement asks."""
        exactly = self.AGREEMENT.get(variable, self.OTHERWISE)
        return compare(variable, stored, again, exactly, f"{self.key} {where}".strip())

    @classmethod
    def options(cls) -> tuple[Option, ...]:
        """What a command may ask: `OPTIONS`, or each setting; lists are comma separated."""
        found = []
        for own in fields(cls):  # type: ignore[arg-type]
            default = None if own.default is MISSING else own.default
            if isinstance(default, tuple):
                default = ",".join(map(str, default))
            found.append(Option(own.name, "as in the settings", default))
        return cls.OPTIONS or tuple(found)

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> Sequence[Self]:
        """The plan that a command asks for; by default one, of these settings.

        Parameters
        ----------
        given
            Values of `options` by name, parsed; what was left empty is ``""``.
        """
        types, values = get_type_hints(cls), {}
        for own in fields(cls):  # type: ignore[arg-type]
            kind, value = types[own.name], getattr(given, own.name)
            if inner := get_args(kind)[:1]:
                each = split(value, own.name) if isinstance(value, str) else value
                value = tuple(inner[0](one) for one in each)
            values[own.name] = value if inner else kind(value)
        return [cls(**values)]

    @classmethod
    def told(cls, plan: Sequence[Any], found: Sequence[xr.Dataset], zoo: Zoo) -> str:
        """What such a command says of the results of its plan, besides where they lie."""
        return ""

    @classmethod
    def joined(cls, plan: Sequence[Any], found: Sequence[xr.Dataset]) -> Any:
        """The results of a plan as a chapter reads them; default: one after the other."""
        return list(found)


def digest(value: Any) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


# ---------------------------------------------------------------- obtain, run, audit


class Results(NamedTuple):
    """Results of a plan.

    Attributes
    ----------
    found
        In the order of the plan.
    folder
        Where they lie, or new ones of them.
    new
        How many of them do not ship.
    damaged, unfit
        Names of files that ship and could not be used, so that others are shown: they are not
        whole, or of other weights.
    """

    found: list[xr.Dataset]
    folder: Path
    new: int = 0
    damaged: Sequence[str] = ()
    unfit: Sequence[str] = ()

    @property
    def source(self) -> str:
        """``shipped`` if all of them are, else ``recomputed``."""
        return "recomputed" if self.new else "shipped"

    @property
    def told(self) -> str:
        """Where they come from, in words."""
        some = 0 < self.new < len(self.found)
        return f"shipped but for {self.new}" if some else self.source


def obtain(
    plan: Sequence[Experiment],
    zoo: Zoo,
    results: str | Path = "",
    recompute: bool = False,
    cluster: str = "",
    **options: Any,
) -> Results:
    """What a chapter shows: each result that ships, else one of ``results``, else a new one.

    The same call continues an interrupted one. A file that ships is never written over.

    Parameters
    ----------
    results
        Folder of results of one's own, which are used instead of those that ship; default for new
        ones: ``runs/<home of the experiment>``.
    recompute
        Use none that ships.
    cluster
        Address of a Dask cluster that computes (`signseg_utils.experiments.cluster.connected`);
        empty: this process.
    options
        Further ones of `run`.
    """
    home = plan[0].home
    shipped = results_folder("") / home
    if not (results or recompute):
        reads.tell(Store(shipped).path(one.key) for one in plan)
    folder = Path(results) / plan[0].FOLDER if results else Path("runs") / home
    found = [None if results or recompute else stored(one, zoo, shipped) for one in plan]
    missing = [one for one, its in zip(plan, found, strict=True) if its is None]
    if not missing:
        return Results([its for its in found if its is not None], shipped)
    if cluster:
        with connected(cluster) as executor:  # workers may stand in another folder
            made = run(missing, zoo, folder.resolve(), executor, threads=1, **options)
    else:
        made = run(missing, zoo, folder, **options)
    new = iter(made)
    together = [next(new) if its is None else its for its in found]
    if results or recompute:
        return Results(together, folder, len(missing))
    store = Store(shipped)
    damaged = store.damaged(one.key for one in missing)
    refused = [path.name for one in missing if (path := store.path(one.key)).exists()]
    unfit = [name for name in refused if name not in damaged]
    return Results(together, folder, len(missing), damaged, unfit)


def run(
    plan: Sequence[Experiment],
    zoo: Zoo,
    folder: Path,
    executor: concurrent.futures.Executor | None = None,
    *,
    recompute: bool = False,
    speaks: bool = True,
    **options: Any,
) -> list[xr.Dataset]:
    """Compute what a folder does not hold yet, and read all of the plan.

    Killed at any moment and called again, it goes on from what was finished and from the last
    checkpoints, and ends in the same files.

    Parameters
    ----------
    executor
        Anything with the interface of `concurrent.futures` (threads, processes, a Dask client's
        ``get_executor()``); None computes here, one after the other. Workers must see the same
        folders.
    recompute
        Compute even what is there.
    speaks
        Whether it says what is done and left, if it takes long (`signseg_utils.basics.progress`).
    options
        Further ones of `compute_one`: device, threads, checkpoint_seconds.

    Raises
    ------
    Exception
        The first error of an experiment, with its key; what was finished is kept.
    """
    folder = Path(folder)
    found = [None if recompute else stored(one, zoo, folder) for one in plan]
    pending = [one for one, its in zip(plan, found, strict=True) if its is None]
    options = {**options, "recompute": recompute}
    if pending:
        there = [one for one, its in zip(plan, found, strict=True) if its is not None]
        with Work(
            len(plan),
            plan[0].UNIT,
            str(plan[0].home),
            there=len(there),
            costs=[one.cost for one in [*there, *pending]],
            resumes=not recompute,
            speaks=speaks,
        ) as work:
            for _ in _each(pending, zoo, folder, executor, options):
                work.advance()
    return [
        _read(one, zoo, folder) if its is None else its
        for one, its in zip(plan, found, strict=True)
    ]


def compute_one(
    experiment: Experiment,
    zoo: Zoo,
    folder: Path,
    *,
    device: str = "cpu",
    threads: int | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    recompute: bool = False,
) -> str:
    """Compute and store one experiment, in this process; return its key.

    Parameters
    ----------
    device
        Where networks run.
    threads
        Of torch; results may differ in the last bits between numbers of threads.
    checkpoint_seconds
        At least so long between two checkpoints.
    recompute
        Begin anew, whatever checkpoint there is.

    Raises
    ------
    signseg_utils.files.store.UnwritableStore
        If the disk is full or the folder cannot be written; the last checkpoint stays.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    zoo, store, key = experiment.opened(zoo, folder), Store(Path(folder)), experiment.key
    experiment.prepare(zoo)
    identity = experiment.identity(zoo)
    begun = last = time.monotonic()

    def save(state: State) -> None:
        nonlocal last
        if time.monotonic() - last >= checkpoint_seconds:
            store.write_partial(key, state, identity)
            last = time.monotonic()

    state = None if recompute else _checkpoint(store, key, identity)
    result = experiment.compute(zoo, state, save, device)
    cost = {"seconds": round(time.monotonic() - begun, 2), **result.attrs.pop("cost", {})}
    versions = {"package_version": __version__, "torch_version": str(torch.__version__)}
    store.write(key, result, {**identity, **versions, **result.attrs.pop("origin", {})})
    _note(store, key, cost)
    return key


def audit(
    plan: Sequence[Experiment],
    found: Sequence[xr.Dataset],
    zoo: Zoo,
    *,
    sample: int = 32,
    seed: int = 0,
) -> list[Comparison]:
    """Make a random sample of stored cells again, and compare.

    Parameters
    ----------
    found
        Results of the plan, from `obtain` or `run`.
    sample, seed
        How many cells to draw, of all results together (at most all, and at most what an
        experiment allows), and the seed of the draw.

    Returns
    -------
    list of Comparison
        One for each variable of each result that was drawn; none if what is needed to make them
        again is not on this machine. `demand` raises where they differ too much.
    """
    rng = np.random.default_rng(seed)
    zoos = [one.opened(zoo, _folder(one, its)) for one, its in zip(plan, found, strict=True)]
    numbers = [int(rng.integers(len(plan)))] if plan[0].ONE_AUDITED else range(len(plan))
    cells = [
        (number, cell)
        for number in numbers
        for cell in plan[number].cells(zoos[number], found[number])
    ]
    most = min(sample, plan[0].MOST_AUDITED)
    drawn = [cells[i] for i in rng.permutation(len(cells))[:most]]
    comparisons: list[Comparison] = []
    for number in each(sorted({number for number, _ in drawn}), "results", "audit"):
        chosen = sorted(cell for of, cell in drawn if of == number)
        comparisons += plan[number].rescore(zoos[number], found[number], chosen)
    return comparisons


def demand(comparisons: Sequence[Comparison]) -> int:
    """How many stored numbers an audit has made again, if all of them agree.

    Raises
    ------
    AuditError
        If a variable differs by more than it may; the message names the largest difference.
    """
    if agreement.worst(comparisons) == agreement.BEYOND:
        raise AuditError(
            f"expected what is stored; {agreement.notes(comparisons)[0]} The results do not belong "
            "to these weights, these data or this code: recompute them, or restore them"
        )
    return sum(one.cells for one in comparisons)


def read(plan: Sequence[Experiment], zoo: Zoo, folder: Path) -> list[xr.Dataset]:
    """Results that a folder holds.

    Raises
    ------
    signseg_utils.files.store.ShardError
        If one is missing, damaged or of other settings or weights; the message names it.
    """
    return [_read(one, zoo, folder) for one in plan]


def stored(experiment: Experiment, zoo: Zoo, folder: Path) -> xr.Dataset | None:
    """A result, if a folder holds it whole and with these weights; else it is warned why not."""
    try:
        return _read(experiment, zoo, folder)
    except MissingShard:
        return None
    except ShardError as error:
        warnings.warn(f"{error} (it is recomputed now)", stacklevel=3)
        return None


def _read(experiment: Experiment, zoo: Zoo, folder: Path) -> xr.Dataset:
    store = Store(Path(folder))
    if not store.path(experiment.key).exists():  # before the weights are asked for
        return store.read(experiment.key)
    found = store.read(experiment.key, experiment.identity(experiment.opened(zoo, folder)))
    found.encoding["source"] = str(store.path(experiment.key))
    return found


def _folder(experiment: Experiment, found: xr.Dataset) -> Path:
    """Where a result was read from."""
    source = found.encoding.get("source")
    return Path(source).parent if source else results_folder("") / experiment.home


def timings(folder: Path) -> pd.DataFrame:
    """What each result of a folder cost when it was computed here: seconds, images, threads, ..."""
    file = Path(folder) / TIMINGS
    lines = file.read_text().splitlines() if file.exists() else []
    table = pd.DataFrame([json.loads(line) for line in lines])
    return table.drop_duplicates("key", keep="last") if len(table) else table


def _each(
    pending: Sequence[Experiment],
    zoo: Zoo,
    folder: Path,
    executor: concurrent.futures.Executor | None,
    options: Mapping[str, Any],
) -> Iterator[None]:
    """Compute, here or on an executor; yield after each."""
    if executor is None:
        for one in pending:
            with _named(one):
                compute_one(one, zoo, folder, **options)
            yield
        return
    futures = {executor.submit(_silently, one, zoo, folder, options): one for one in pending}
    try:
        for future in concurrent.futures.as_completed(futures):
            with _named(futures[future]):
                future.result()
            yield
    finally:
        for future in futures:
            future.cancel()


def _silently(experiment: Experiment, zoo: Zoo, folder: Path, options: Mapping[str, Any]) -> str:
    """Compute one in a worker, which leaves it to others to say how far all is."""
    with Work(1, experiment.UNIT, speaks=False):
        return compute_one(experiment, zoo, folder, **options)


@contextmanager
def _named(experiment: Experiment) -> Iterator[None]:
    """Add the experiment to an error that leaves the block."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in {experiment.key}; what was finished and checkpoints are kept")
        raise


def _checkpoint(store: Store, key: str, identity: Mapping[str, Any]) -> State | None:
    try:
        return store.read_partial(key, identity)
    except ShardError as error:
        warnings.warn(f"{error} (it starts anew)", stacklevel=3)
        return None


def _note(store: Store, key: str, cost: Mapping[str, Any]) -> None:
    """What may differ goes beside the result, not into it: equal results are equal files."""
    about = {"threads": torch.get_num_threads(), "source_sha256": _sources()}
    try:
        with open(Path(store.folder) / TIMINGS, "a") as file:
            file.write(json.dumps({"key": key, **cost, **about}) + "\n")
    except OSError as error:  # the result itself is safe
        warnings.warn(f"the cost of {key} was not recorded: {error}", stacklevel=2)


@lru_cache(maxsize=1)
def _sources() -> str:
    """Hash of the sources that results depend on: recorded beside them, never compared."""
    package = Path(__file__).parents[1]
    units = [package / "units" / f"{name}.py" for name in ("ablation", "contributions", "readout")]
    sources = units + [package / "search" / f"{name}.py" for name in ("evolution", "scoring")]
    for folder in ("optimizers", "generators", "networks"):
        sources += sorted((package / folder).glob("*.py"))
    total = hashlib.sha256()
    for file in sources:
        total.update(file.name.encode() + file.read_bytes())
    return total.hexdigest()
