"""Optimisers side by side: the same units, seeds and number of evaluations, with noise or without.

A `Race` is one optimiser on all units of one network seen through one generator, under every level
of noise and every seed: rows of one bank. Stored are trajectories and not images: one file of
about ten kilobytes a race, in the subfolder ``races`` of a folder of results. Only the codes of
the first seed without noise are kept, so that a race can be audited.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor, nn

from signseg_utils import registry, zoos
from signseg_utils.experiments.sweep.auditing import TOLERANCE, AuditError
from signseg_utils.experiments.sweep.running import with_checkpoints
from signseg_utils.experiments.sweep.shards import digest, identify, load
from signseg_utils.files.paths import results_folder
from signseg_utils.files.store import Store
from signseg_utils.networks import Network
from signseg_utils.progress import Work
from signseg_utils.search import evolution
from signseg_utils.search.evolution import Search
from signseg_utils.search.scoring import Scorer
from signseg_utils.units.readout import Readout, concatenate

FOLDER = "races"
REFERENCE_IMAGES = 256  # random images whose responses say what one standard deviation is
MILESTONES = 50  # evaluations at which races are compared, equally spaced over the budget


@dataclass(frozen=True)
class Race:
    """One optimiser on all units of one network, through one generator.

    Attributes
    ----------
    zoo, network, generator, optimizer
        Names.
    units, noises, seeds
        Every combination is one run; noise in standard deviations of the unit's responses to
        random images (see `spread`).
    evaluations
        Budget: as many whole generations are run as it holds.
    """

    zoo: str
    network: str
    generator: str
    optimizer: str
    units: tuple[str, ...]
    noises: tuple[float, ...]
    seeds: tuple[int, ...]
    evaluations: int

    @property
    def settings(self) -> dict[str, Any]:
        """All fields as plain values."""
        return json.loads(json.dumps(asdict(self)))

    @property
    def key(self) -> str:
        """Name of its file: readable, and different for different settings."""
        names = (self.network, self.generator, self.optimizer, digest(self.settings)[:10])
        return "-".join(names)

    def identity(self, zoo: zoos.Zoo) -> dict[str, Any]:
        """What a stored race must agree in: settings, weights, version of the algorithm."""
        return identify(self.settings, self.network, self.generator, zoo)


def plan(
    zoo: str,
    networks: Sequence[str],
    generators: Sequence[str],
    units: Sequence[str],
    optimizers: Sequence[str],
    *,
    noises: Sequence[float] = (0.0,),
    seeds: Sequence[int] = (0, 1, 2, 3),
    generations: int = 25,
    reference: str = "cholesky_cma",
    zoo_folder: Path | None = None,
) -> list[Race]:
    """All combinations; the budget is what ``reference`` spends in so many generations."""
    opened = zoos.load_zoo(zoo, zoo_folder)
    sizes = {name: int(opened.generator(name).code_size) for name in generators}  # type: ignore[arg-type]
    return [
        Race(
            zoo, network, generator, optimizer, tuple(units), tuple(noises), tuple(seeds),
            int(spent(reference, sizes[generator], generations)[-1]),
        )
        for network in networks
        for generator in generators
        for optimizer in optimizers
    ]  # fmt: skip


def spent(optimizer: str, code_size: int, generations: int) -> np.ndarray:
    """Evaluations [generation] that a run has spent at the end of each generation."""
    start = torch.zeros(1, code_size)
    made = registry.load("optimizers", optimizer)(start, 1.0, (0,), generations=generations)
    return np.cumsum([made.candidates(generation) for generation in range(generations)])


def spread(
    readout: Readout, backbone: nn.Module, generator: nn.Module, images: int = REFERENCE_IMAGES
) -> Tensor:
    """Standard deviation [row] of each row's responses to random images of a generator.

    Codes are drawn from N(0, sigma^2 I) with the generator's own step size and a fixed seed: what
    a search sees first, and what an experimenter can measure before it.
    """
    sigma, size = float(generator.initial_sigma), int(generator.code_size)  # type: ignore[arg-type]
    drawn = np.random.default_rng(0).standard_normal((images, size), np.float32)
    codes = torch.from_numpy(sigma * drawn)
    scorer = Scorer(backbone, generator)
    with torch.inference_mode():
        rows = [
            scorer.scores(readout.rows([row]), codes[None])[0].std() for row in range(len(readout))
        ]
    return torch.stack(rows)


def run_race(
    race: Race, folder: Path, *, zoo_folder: Path | None = None, checkpoint_seconds: float = 15.0
) -> str:
    """Compute one race unless the folder holds it; return its key.

    Killed at any moment and called again, it continues from its last checkpoint and ends in the
    same file.

    Raises
    ------
    store.UnwritableStore
        If the disk is full or the folder cannot be written; the last checkpoint stays.
    """
    zoo = zoos.load_zoo(race.zoo, zoo_folder)
    results, identity = Store(Path(folder)), race.identity(zoo)
    if results.has(race.key, identity):
        return race.key
    network, generator = _loaded(race, zoo, identity)
    units = network.readout.rows(race.units)
    deviations = spread(units, network.backbone, generator)
    runs = [
        (place, noise, seed)
        for place in range(len(units)) for noise in race.noises for seed in race.seeds
    ]  # fmt: skip
    bank = concatenate([units.rows([place]) for place, _, _ in runs])
    counted = spent(race.optimizer, int(generator.code_size), race.evaluations)  # type: ignore[arg-type]
    counted = counted[counted <= race.evaluations]
    found = with_checkpoints(
        results, race.key, identity, checkpoint_seconds, bank, network.backbone, generator,
        [seed for _, _, seed in runs], Search(race.optimizer, len(counted)),
        noise=[noise * float(deviations[place]) for place, noise, _ in runs],
    )  # fmt: skip
    shape = (len(units), len(race.noises), len(race.seeds))

    def grid(values: Tensor, dtype: str) -> np.ndarray:
        return values.cpu().numpy().reshape(*shape, *values.shape[1:]).astype(dtype)

    along = ("unit", "noise", "seed")
    dataset = xr.Dataset(
        {
            "activation": (along, grid(found.activations, "float32")),
            "trace": ((*along, "generation"), grid(found.trace, "float16")),
            "codes": (("unit", "code"), grid(found.codes, "float16")[:, 0, 0]),
            "spread": ("unit", deviations.numpy().astype("float32")),
        },
        {"unit": list(race.units), "noise": list(race.noises), "seed": list(race.seeds),
         "evaluations": ("generation", counted)},
    )  # fmt: skip
    results.write(race.key, dataset, identity)
    return race.key


def obtain(
    races: Sequence[Race],
    results: str | Path = "",
    recompute: bool = False,
    *,
    zoo_folder: Path | None = None,
) -> tuple[xr.Dataset, Path, str]:
    """What a chapter shows: the shipped races where they fit the plan, else new ones.

    Arguments and the last two values as of `signseg_utils.experiments.sweep.obtain`; races lie in
    the subfolder ``races``. The same call continues an interrupted one.

    Returns
    -------
    Dataset
        Of `collect`.
    Path, str
        Folder; ``"shipped"`` or ``"recomputed"``.
    """
    zoo = zoos.load_zoo(races[0].zoo, zoo_folder)
    shipped = results_folder(zoo.name) / FOLDER
    fits = all(Store(shipped).has(race.key, race.identity(zoo)) for race in races)
    stored = fits and not recompute and not results
    folder = shipped if stored else Path(results or f"runs/{zoo.name}") / FOLDER
    if not stored:
        store = Store(folder)
        pending = [race for race in races if not store.has(race.key, race.identity(zoo))]
        there = len(races) - len(pending)
        with Work(len(races), "races", there=there, resumes=True) as work:
            for race in pending:
                run_race(race, folder, zoo_folder=zoo_folder)
                work.advance()
    return (
        collect(races, folder, zoo_folder=zoo_folder),
        folder,
        "shipped" if stored else "recomputed",
    )


def damaged(races: Sequence[Race]) -> list[str]:
    """Names of shipped files of races that are damaged, so that others are shown."""
    return Store(results_folder(races[0].zoo) / FOLDER).damaged(race.key for race in races)


def collect(races: Sequence[Race], folder: Path, *, zoo_folder: Path | None = None) -> xr.Dataset:
    """Read finished races into one dataset with a common clock.

    Returns
    -------
    Dataset
        ``activation`` (network, generator, optimizer, unit, noise, seed): of the image that the
        run ended with, without noise. ``trace`` (..., share): the same of the image it held when
        that share of the budget was spent; NaN before its first generation ended. ``codes``
        (network, generator, optimizer, unit, code): float16 codes of the first seed and first
        noise, padded with NaN where generators differ in size.

    Raises
    ------
    store.ShardError
        If a race is missing, damaged or foreign; the message names it.
    """
    zoo = zoos.load_zoo(races[0].zoo, zoo_folder)
    widest = max(int(zoo.generator(race.generator).code_size) for race in races)  # type: ignore[arg-type]
    pieces = []
    for race in races:
        piece = Store(folder).read(race.key, race.identity(zoo)).drop_attrs()
        shares = np.arange(1, MILESTONES + 1) / MILESTONES
        last = np.searchsorted(piece["evaluations"].values, race.evaluations * shares, "right") - 1
        held = piece["trace"].astype("float32").isel(generation=("share", np.maximum(last, 0)))
        held = held.where(xr.DataArray(last >= 0, dims="share")).drop_vars("evaluations")
        names = {n: [getattr(race, n)] for n in ("network", "generator", "optimizer")}
        kept = piece[["activation", "codes"]].drop_vars("evaluations", errors="ignore")
        kept = kept.assign(trace=held.assign_coords(share=shares))
        missing = widest - kept.sizes["code"]
        codes = kept["codes"].pad(code=(0, missing), constant_values=float("nan"))
        pieces.append(kept.drop_vars("codes").assign(codes=codes).expand_dims(names))
    orders = {
        name: list(dict.fromkeys(getattr(race, name) for race in races))
        for name in ("network", "generator", "optimizer")
    }
    together = xr.combine_by_coords(pieces, compat="equals", join="exact")
    assert isinstance(together, xr.Dataset)
    return together.reindex(orders)


def to_target(found: xr.Dataset, target: float, reference: str = "cholesky_cma") -> xr.DataArray:
    """Share of the budget after which a run holds an image as good as the target.

    The target is ``target`` times what ``reference`` ends with without noise, mean over seeds, for
    the same network, generator and unit. A run that never gets there counts as 1, and so do all
    runs where that end is not above 0.
    """
    end = found["activation"].sel(optimizer=reference, noise=0).mean("seed")
    there = found["trace"] >= target * end
    first = found["share"].isel(share=there.argmax("share"))
    return first.where(there.any("share") & (end > 0), 1.0).drop_vars("share").rename("to_target")


def audit(
    races: Sequence[Race],
    folder: Path,
    *,
    sample: int = 32,
    seed: int = 0,
    zoo_folder: Path | None = None,
    tolerance: float = TOLERANCE,
) -> pd.DataFrame:
    """Render a random sample of the stored codes again, score them again, and compare.

    Returns
    -------
    DataFrame
        One line a run: network, generator, optimizer, unit, stored, rescored, agrees.

    Raises
    ------
    AuditError
        If any activation disagrees by more than ``tolerance`` of max(1, \\|activation\\|).
    """
    places = [(i, unit) for i, race in enumerate(races) for unit in range(len(race.units))]
    drawn = np.random.default_rng(seed).permutation(len(places))[:sample]
    lines = []
    for number in sorted({places[index][0] for index in drawn}):
        race = races[number]
        zoo = zoos.load_zoo(race.zoo, zoo_folder)
        identity = race.identity(zoo)
        stored = Store(folder).read(race.key, identity)
        network, generator = _loaded(race, zoo, identity)
        chosen = sorted(places[index][1] for index in drawn if places[index][0] == number)
        codes = torch.from_numpy(stored["codes"].values[chosen].astype("float32"))
        bank = network.readout.rows([race.units[unit] for unit in chosen])
        again = evolution.rescore(bank, network.backbone, generator, codes).tolist()
        ends = stored["activation"].values[chosen, 0, 0].tolist()
        lines += [
            dict(network=race.network, generator=race.generator, optimizer=race.optimizer,
                 unit=race.units[unit], stored=end, rescored=value,
                 agrees=abs(value - end) <= tolerance * max(1.0, abs(end)))
            for unit, end, value in zip(chosen, ends, again, strict=True)
        ]  # fmt: skip
    table = pd.DataFrame(lines)
    if not table["agrees"].all():
        wrong = table[~table["agrees"]].iloc[0]
        raise AuditError(
            f"expected stored activations to be what their codes give, within {tolerance:g} of "
            f"max(1, |activation|); {(~table['agrees']).sum()} of {len(table)} differ, such as "
            f"{wrong['network']}, {wrong['generator']}, {wrong['optimizer']}, {wrong['unit']}: "
            f"stored {wrong['stored']:.6g}, now {wrong['rescored']:.6g}; recompute them",
            table,
        )
    return table


def _loaded(
    race: Race, zoo: zoos.Zoo, identity: Mapping[str, Any]
) -> tuple[Network, nn.Module]:
    return load(
        zoo.name, zoo.folder, race.network, race.generator,
        identity["network_sha256"], identity["generator_sha256"],
    )  # fmt: skip
