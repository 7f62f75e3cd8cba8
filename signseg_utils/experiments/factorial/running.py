"""The searches in the networks of the factorial design: trained where they are not, and stored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import xarray as xr

from signseg_utils import zoos
from signseg_utils.analysis.by_sign import over_alphas
from signseg_utils.analysis.images import measure
from signseg_utils.basics.refusals import UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Experiment, Option, State, forget
from signseg_utils.experiments.factorial.design import FACTORS, IMAGES, UNITS, Setting, settings
from signseg_utils.experiments.factorial.world import World
from signseg_utils.experiments.sweep import ALGORITHM_VERSION, Shard
from signseg_utils.experiments.sweep.shards import ACTIVATION, along_conditions, cost, rows
from signseg_utils.generators.scenes import SHAPES
from signseg_utils.search import evolution
from signseg_utils.search.evolution import Search
from signseg_utils.selection import integers
from signseg_utils.training import classifier
from signseg_utils.units.ablation import ablate
from signseg_utils.units.readout import Readout, concatenate
from signseg_utils.units.signs import centre
from signseg_utils.zoos import Zoo

GENERATOR = "scenes"
KINDS = ("similarity", "presence", "shape")  # of responses, as tables name them
GAUGES = ("raw", "centred")


def gauges(setting: Setting) -> tuple[str, ...]:
    """Readouts that are searched: centring is a choice of gauge only under a softmax.

    Under Dale's law there is none either: centred weights would break it.
    """
    return GAUGES if setting.loss == "softmax" and not setting.dale else GAUGES[:1]


@dataclass(frozen=True)
class Searches(Experiment):
    """All searches of one network of the design, in one gauge.

    The network lies beside the result: if it is not there, it is trained first.

    Attributes
    ----------
    setting
        Whose network.
    gauge
        ``raw`` weights, or ``centred`` ones.
    units
        Classes that every world has (`signseg_utils.zoos.shapes.Shapes.default_units`).
    sweep
        Signs, strengths, seeds and search; its names are filled in here.
    """

    FOLDER: ClassVar[str] = "factorial"
    UNIT: ClassVar[str] = "networks and gauges"
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {"activation": ACTIVATION}
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("images", "each network learns from", IMAGES, checked_as="learned"),
        Option("replicates", "networks of each setting", 1),
        Option("units", "classes, comma separated", UNITS),
        Option("alphas", "list, or start:stop:step", "0,1"),
        Option("seeds", "searches of each condition", "0-1"),
        Option("generations", "of each search", 25),
        Option("control", "random_magnitude or random_count", "random_magnitude"),
        Option("rows", "of the design, such as 0-7; default: all"),
    )

    setting: Setting
    gauge: str
    units: tuple[str, ...]
    sweep: Shard
    zoo: str = "shapes"

    @classmethod
    def of_provenance(cls, told: Mapping[str, Any]) -> "Searches":
        sweep = Shard.from_settings(told["sweep"])
        return cls(Setting(**told["setting"]), told["gauge"], tuple(told["units"]), sweep)

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list["Searches"]:
        """All rows of the design, or some of them."""
        chosen = settings(given.images, given.replicates)
        known = sorted({one.row for one in chosen})
        wanted = integers(given.rows, "rows") if given.rows else known
        for row in wanted:
            if row not in known:
                raise UnknownName(unknown("number in rows", str(row), [*map(str, known)]))
        sweep = Shard(
            "factorial",
            "",
            "",
            "",
            signs=("positive", "negative", given.control),
            alphas=given.alphas,
            seeds=given.seeds,
            search=Search(generations=given.generations),
        )
        return plan([one for one in chosen if one.row in wanted], given.units, sweep)

    @property
    def key(self) -> str:
        """Name of its file."""
        return f"{self.setting.key}-{self.gauge}"

    @property
    def shards(self) -> list[Shard]:
        """Of each unit the shard of a sweep that it amounts to."""
        name = f"{self.setting.key} {self.gauge}"
        return [
            replace(self.sweep, network=name, generator=GENERATOR, unit=unit) for unit in self.units
        ]

    def opened(self, zoo: Zoo, folder: Path) -> World:
        """The world of the setting, whose network lies in ``folder``."""
        return World(self.setting, folder)

    def prepare(self, zoo: Zoo) -> None:
        """Train the network unless it is there; a training that was cut off goes on."""
        key = self.setting.key
        if not zoo.path(key).exists():
            world = World(self.setting, zoo.folder)
            classifier.train(world, key, world.recipe(), zoo.folder / "unfinished")

    def identity(self, zoo: Zoo) -> dict[str, Any]:
        """What stored searches must agree in."""
        there = zoo.path(self.setting.key).exists()
        return {
            "setting": asdict(self.setting),
            "gauge": self.gauge,
            "units": list(self.units),
            "sweep": self.sweep.settings,
            "network_sha256": zoo.card(self.setting.key)["sha256"] if there else None,
            "algorithm_version": ALGORITHM_VERSION,
        }

    def readout(self, whole: Readout) -> Readout:
        """The network's readout in this gauge."""
        return centre(whole) if self.gauge == "centred" else whole

    def compute(
        self,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
        device: str = "cpu",
    ) -> xr.Dataset:
        """``codes`` and ``activation`` [shard, condition, seed], one shard a unit."""
        network = zoo.network(self.setting.key)
        readout = self.readout(network.readout)
        each = [rows(shard, readout.rows([shard.unit])) for shard in self.shards]
        found = evolution.evolve(
            concatenate([bank for bank, _ in each]),
            network.backbone,
            zoo.generator(GENERATOR),
            [seed for _, seeds in each for seed in seeds],
            self.sweep.search,
            device=device,
            resume=state,
            checkpoint=save,
            checkpoint_every=1,
        )
        conditions, seeds = self.shards[0].conditions, self.sweep.seeds
        shape = (len(self.units), len(conditions), len(seeds))
        along = ("shard", "condition", "seed")
        codes = found.codes.numpy().reshape(*shape, -1).astype("float16")
        activation = found.activations.numpy().reshape(shape).astype("float32")
        names = {
            name: ("shard", [getattr(shard, name) for shard in self.shards])
            for name in ("zoo", "network", "generator", "unit", "key")
        }
        size = {"code_size": ("shard", [codes.shape[-1]] * len(self.units))}
        return xr.Dataset(
            {"codes": ((*along, "code"), codes), "activation": (along, activation)},
            {**along_conditions(conditions), "seed": list(seeds), **names, **size},
            {"cost": cost(found)},
        )

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Searches (unit, condition, seed)."""
        return list(np.ndindex(stored["activation"].shape))

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Render stored codes, score them again with the ablated unit."""
        network, conditions = zoo.network(self.setting.key), self.shards[0].conditions
        readout, generator = self.readout(network.readout), zoo.generator(GENERATOR)
        again = []
        for unit, condition, seed in sample:
            chosen = ablate(readout.rows([self.units[unit]]), conditions[condition])
            code = stored["codes"].values[unit, condition, seed].astype(np.float32)
            again.append(
                evolution.rescore(
                    chosen, network.backbone, generator, torch.from_numpy(code)[None]
                ).item()
            )
        kept = [stored["activation"].values[cell] for cell in sample]
        return [self.compared("activation", kept, again)]

    @classmethod
    def joined(cls, plan: Sequence[Any], found: Sequence[xr.Dataset]) -> xr.Dataset:
        """Searches of all networks, as `sweep.Shard.joined` gives those of a sweep.

        Network names are ``<key of the setting> <gauge>``.
        """
        plain = [piece.drop_attrs() for piece in found]
        return xr.concat(plain, dim="shard", coords="minimal", compat="equals", join="exact")


def plan(settings: Sequence[Setting], units: Sequence[str], sweep: Shard) -> list[Searches]:
    """The searches of all networks in all their gauges; ``sweep``: as of `Searches`."""
    return [
        Searches(setting, gauge, tuple(units), sweep)
        for setting in settings
        for gauge in gauges(setting)
    ]


def look(found: xr.Dataset, zoo: zoos.Zoo) -> xr.Dataset:
    """Measure the images: (network, unit, condition), mean over searches.

    ``similarity``: centred cosine to the network's own intact images, mean over the standard
    networks of ``zoo``, which judge alike for all networks of the experiment. ``objectness``:
    confidence of the detector. Two are read from the code, and need no judge: ``presence``, opacity
    of the object, 0..1, whatever it is; ``shape``, the same times the share of its outline that is
    the unit's own shape.
    """
    seen = measure(found, zoo, zoo.networks, progress=False)
    kept = seen["objectness"].isel(generator=0, drop=True).mean("seed")
    told = _read(found, zoo.generator(GENERATOR)).reindex_like(kept)
    return told.assign(similarity=seen["centred_similarity"].mean("judge"), objectness=kept)


def _read(found: xr.Dataset, generator: Any) -> xr.Dataset:
    """``presence`` and ``shape`` as the codes have them: (network, unit, condition)."""
    codes = torch.from_numpy(found["codes"].values.astype(np.float32))
    scenes = generator.describe(codes.flatten(0, -2))
    own = [SHAPES.index(str(unit).split()[-1]) for unit in found["unit"].values]
    shares = scenes["shape"].unflatten(0, codes.shape[:-1])
    opacity = scenes["opacity"].view(codes.shape[:-1])
    outline = shares[torch.arange(len(own)), ..., own]
    values = {"presence": opacity, "shape": opacity * outline}
    along = xr.Dataset(
        {
            name: found["activation"].copy(data=value.numpy()).mean("seed")
            for name, value in values.items()
        }
    )
    names = along.set_index(shard=["network", "unit"]).unstack("shard")
    return names.drop_vars(["zoo", "key"], errors="ignore")


def table(seen: xr.Dataset, settings: Sequence[Setting], folder: Path) -> pd.DataFrame:
    """One line a network: levels of the factors, accuracy, sign ratio, and its responses.

    Parameters
    ----------
    seen
        From `look`.

    Returns
    -------
    DataFrame
        Each of `KINDS`: under negative less under positive ablation, mean over strengths and
        units; the same with centred weights as ``similarity, centred``, NaN where centring is no
        choice of gauge. ``presence intact`` and ``presence without positive`` (negative, random)
        are the means under each ablation, and those of ``shape``, with raw weights. ``accuracy``:
        top-1 in the network's own world.
    """
    signs = dict.fromkeys(str(sign) for sign in seen["sign"].values if sign != "none")
    lines = []
    for setting in settings:
        card = World(setting, folder).card(setting.key)
        line: dict[str, Any] = {factor.name: getattr(setting, factor.name) for factor in FACTORS}
        line |= {"accuracy": card["accuracy"]["top1"], "sign ratio": card["sign_ratio"]["mean"]}
        own = seen.sel(network=f"{setting.key} raw")
        line |= {kind: _asymmetry(own[kind]) for kind in KINDS}
        for kind in KINDS:
            centred = float("nan")
            if GAUGES[1] in gauges(setting):
                centred = _asymmetry(seen[kind].sel(network=f"{setting.key} {GAUGES[1]}"))
            line[f"{kind}, {GAUGES[1]}"] = centred
        for kind in KINDS[1:]:
            line[f"{kind} intact"] = float(own[kind].isel(condition=0).mean())
            for sign in signs:
                word = sign.split("_")[0]
                line[f"{kind} without {word}"] = float(over_alphas(own[kind], sign).mean())
        lines.append(line)
    return pd.DataFrame(lines)


def _asymmetry(values: xr.DataArray) -> float:
    return float((over_alphas(values, "negative") - over_alphas(values, "positive")).mean())
