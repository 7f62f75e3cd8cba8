"""Optimisers side by side: the same units, seeds and number of evaluations, with noise or without.

A `Race` is one optimiser on all units of one network seen through one generator, under every level
of noise and every seed: rows of one bank. Stored are trajectories and not images: one file of
about ten kilobytes a race, in the subfolder ``races`` of a folder of results. Only the codes of
the first seed without noise are kept, so that a race can be audited.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from signseg_utils import zoos
from signseg_utils.basics import registry
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Experiment, State, forget
from signseg_utils.experiments.sweep.shards import ACTIVATION, cost, identify, load
from signseg_utils.search import evolution
from signseg_utils.search.evolution import Search
from signseg_utils.search.scoring import Scorer
from signseg_utils.units.readout import Readout, concatenate
from signseg_utils.zoos import Zoo

REFERENCE_IMAGES = 256  # random images whose responses say what one standard deviation is
MILESTONES = 50  # evaluations at which races are compared, equally spaced over the budget


@dataclass(frozen=True)
class Race(Experiment):
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

    FOLDER: ClassVar[str] = "races"
    UNIT: ClassVar[str] = "races"
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {"activation": ACTIVATION}

    zoo: str
    network: str
    generator: str
    optimizer: str
    units: tuple[str, ...]
    noises: tuple[float, ...]
    seeds: tuple[int, ...]
    evaluations: int

    @property
    def hashed(self) -> dict[str, Any]:
        return self.settings

    @property
    def names(self) -> tuple[str, ...]:
        return (self.network, self.generator, self.optimizer)

    def identity(self, zoo: Zoo) -> dict[str, Any]:
        """What a stored race must agree in: settings, weights, version of the algorithm."""
        return identify(self.settings, self.network, self.generator, zoo)

    def compute(
        self,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
        device: str = "cpu",
    ) -> xr.Dataset:
        """All runs of the race, rows of one bank.

        Returns
        -------
        Dataset
            ``activation`` [unit, noise, seed] of the image that a run ended with, without noise;
            ``trace`` [unit, noise, seed, generation] of the best so far; ``codes`` [unit, code]
            of the first seed and first noise; ``spread`` [unit] (see `spread`);
            ``evaluations`` [generation].
        """
        network, generator = load(zoo, self.network, self.generator)
        units = network.readout.rows(self.units)
        deviations = spread(units, network.backbone, generator)
        runs = [(u, n, s) for u in range(len(units)) for n in self.noises for s in self.seeds]
        counted = spent(self.optimizer, int(generator.code_size), self.evaluations)  # type: ignore[arg-type]
        counted = counted[counted <= self.evaluations]
        found = evolution.evolve(
            concatenate([units.rows([unit]) for unit, _, _ in runs]),
            network.backbone,
            generator,
            [seed for _, _, seed in runs],
            Search(self.optimizer, len(counted)),
            device=device,
            noise=[noise * float(deviations[unit]) for unit, noise, _ in runs],
            resume=state,
            checkpoint=save,
            checkpoint_every=1,
        )
        shape = (len(units), len(self.noises), len(self.seeds))

        def grid(values: Tensor, dtype: str) -> np.ndarray:
            return values.cpu().numpy().reshape(*shape, *values.shape[1:]).astype(dtype)

        along = ("unit", "noise", "seed")
        return xr.Dataset(
            {
                "activation": (along, grid(found.activations, "float32")),
                "trace": ((*along, "generation"), grid(found.trace, "float16")),
                "codes": (("unit", "code"), grid(found.codes, "float16")[:, 0, 0]),
                "spread": ("unit", deviations.numpy().astype("float32")),
            },
            {
                "unit": list(self.units),
                "noise": list(self.noises),
                "seed": list(self.seeds),
                "evaluations": ("generation", counted),
            },
            {"cost": cost(found)},
        )

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Units: of each one code is kept."""
        return [(unit,) for unit in range(len(self.units))]

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Render stored codes, score them again."""
        network, generator = load(zoo, self.network, self.generator)
        units = [unit for (unit,) in sample]
        codes = torch.from_numpy(stored["codes"].values[units].astype("float32"))
        bank = network.readout.rows([self.units[unit] for unit in units])
        again = evolution.rescore(bank, network.backbone, generator, codes).tolist()
        return [self.compared("activation", stored["activation"].values[units, 0, 0], again)]

    @classmethod
    def joined(cls, plan: Sequence["Race"], found: Sequence[xr.Dataset]) -> xr.Dataset:
        """Races as one dataset with a common clock.

        Returns
        -------
        Dataset
            ``activation`` (network, generator, optimizer, unit, noise, seed): of the image that
            the run ended with, without noise. ``trace`` (..., share): the same of the image it
            held when that share of the budget was spent; NaN before its first generation ended.
            ``codes`` (network, generator, optimizer, unit, code): float16 codes of the first seed
            and first noise, padded with NaN where generators differ in size.
        """
        names = ("network", "generator", "optimizer")
        widest = max(piece.sizes["code"] for piece in found)
        pieces = []
        for race, piece in zip(plan, found, strict=True):
            kept = piece.drop_attrs()[["activation", "codes"]]
            kept = kept.drop_vars("evaluations", errors="ignore").assign(trace=race._held(piece))
            missing = widest - kept.sizes["code"]
            codes = kept["codes"].pad(code=(0, missing), constant_values=float("nan"))
            where = {name: [getattr(race, name)] for name in names}
            pieces.append(kept.drop_vars("codes").assign(codes=codes).expand_dims(where))
        together = xr.combine_by_coords(pieces, compat="equals", join="exact")
        assert isinstance(together, xr.Dataset)
        return together.reindex(
            {n: list(dict.fromkeys(getattr(race, n) for race in plan)) for n in names}
        )

    def _held(self, stored: xr.Dataset) -> xr.DataArray:
        """The trace at equal shares of the budget, (unit, noise, seed, share)."""
        shares = np.arange(1, MILESTONES + 1) / MILESTONES
        clock = stored["evaluations"].values
        last = np.searchsorted(clock, self.evaluations * shares, "right") - 1
        held = stored["trace"].astype("float32").isel(generation=("share", np.maximum(last, 0)))
        held = held.where(xr.DataArray(last >= 0, dims="share")).drop_vars("evaluations")
        return held.assign_coords(share=shares).drop_attrs()


def plan(
    zoo: Zoo | str,
    networks: Sequence[str],
    generators: Sequence[str],
    units: Sequence[str],
    optimizers: Sequence[str],
    *,
    noises: Sequence[float] = (0.0,),
    seeds: Sequence[int] = (0, 1, 2, 3),
    generations: int = 25,
    reference: str = "cholesky_cma",
) -> list[Race]:
    """All combinations; the budget is what ``reference`` spends in so many generations."""
    opened = zoos.load_zoo(zoo) if isinstance(zoo, str) else zoo
    sizes = {name: int(opened.generator(name).code_size) for name in generators}  # type: ignore[arg-type]
    return [
        Race(
            opened.name,
            network,
            generator,
            optimizer,
            tuple(units),
            tuple(noises),
            tuple(seeds),
            int(spent(reference, sizes[generator], generations)[-1]),
        )
        for network in networks
        for generator in generators
        for optimizer in optimizers
    ]


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


PLUGIN = Race
