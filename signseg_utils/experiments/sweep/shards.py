"""One shard of a sweep: what it is, how it is searched, and how stored codes are scored again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import nn

from signseg_utils import selection
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Experiment, State, digest, forget
from signseg_utils.experiments.sweep import layers
from signseg_utils.networks import Network
from signseg_utils.search import evolution
from signseg_utils.search.evolution import Search
from signseg_utils.units.ablation import Ablation, ablate, conditions
from signseg_utils.units.readout import Readout, concatenate
from signseg_utils.zoos import Zoo

# Raise by hand when a change of evolution, ablation, optimisers or code-only generators changes
# results: every stored shard is then foreign. Hashes of the sources are recorded, not compared.
ALGORITHM_VERSION = 1

ALPHAS = tuple(step / 10 for step in range(11))
SIGNS = ("positive", "negative", "random_magnitude")
READOUT = "readout"
TOLERANCE = 1e-3  # of max(1, |activation|): float32 sums differ by up to 1e-4 between machines
ACTIVATION = Agreement(absolute=TOLERANCE, relative=TOLERANCE)


@dataclass(frozen=True)
class Shard(Experiment):
    """One unit under all conditions and seeds.

    Attributes
    ----------
    zoo, network, generator, unit
        Names; ``unit`` is a label of the network's readout.
    signs, alphas
        The conditions are their product, and the intact unit once.
    seeds
        Starting codes and noise; the same for every condition (paired runs).
    rule, reference, control_seed
        Of the ablation; see `signseg_utils.units.ablation.Ablation`.
    search
        Optimiser and budget.
    dtype
        Precision of the search; stored activations are float32 in any case.
    layer
        What is ablated: the unit's weights in the readout, or channels of this layer of the
        backbone by their contribution (see `signseg_utils.units.contributions`).
    """

    UNIT: ClassVar[str] = "shards"
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {"activation": ACTIVATION}

    zoo: str
    network: str
    generator: str
    unit: str
    signs: tuple[str, ...] = SIGNS
    alphas: tuple[float, ...] = ALPHAS
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    rule: str = "smallest"
    reference: str = "positive"
    control_seed: int = 0
    search: Search = field(default_factory=Search)
    dtype: str = "float32"
    layer: str = READOUT

    @property
    def conditions(self) -> tuple[Ablation, ...]:
        """Ablations, the intact unit first."""
        return conditions(
            self.signs,
            self.alphas,
            rule=self.rule,
            reference=self.reference,
            seed=self.control_seed,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """All fields as plain values; the layer only where it is not the readout.

        So shards of the readout are what they were before there was a choice of layer.
        """
        plain = super().settings
        return {key: value for key, value in plain.items() if (key, value) != ("layer", READOUT)}

    @classmethod
    def of_provenance(cls, told: Mapping[str, Any]) -> "Shard":
        return cls.from_settings(told["settings"])

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Shard":
        """The shard whose `settings` these are."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in settings.items()
        }
        return cls(**{**values, "search": Search(**settings["search"])})

    @property
    def hashed(self) -> dict[str, Any]:
        return self.settings

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(_slug(name) for name in (self.network, self.generator, self.unit))

    def identity(self, zoo: Zoo) -> dict[str, Any]:
        """What a stored shard must agree in: settings, weights, version of the algorithm."""
        return identify(self.settings, self.network, self.generator, zoo)

    def compute(
        self,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
        device: str = "cpu",
    ) -> xr.Dataset:
        """Searches of all conditions and seeds; of a shard that ablates channels no checkpoint.

        Returns
        -------
        Dataset
            ``codes`` [condition, seed, code] float16; ``activation`` [condition, seed] of the
            ablated unit for its own image, ``response`` of the intact unit for the same; ``trace``
            [condition, seed, generation], best so far.
        """
        network, generator = load(zoo, self.network, self.generator)
        unit = network.readout.rows([self.unit])
        if self.layer == READOUT:
            bank, seeds = rows(self, unit)
            found = evolution.evolve(
                bank,
                network.backbone,
                generator,
                seeds,
                self.search,
                device=device,
                dtype=getattr(torch, self.dtype),
                resume=state,
                checkpoint=save,
                checkpoint_every=1,
            )
        else:
            found = layers.search(self, network, generator, device=device)
        intact = concatenate([unit] * len(found.codes))
        responses = evolution.rescore(
            intact, network.backbone, generator, found.codes, device=device
        )
        return self._dataset(found, responses)

    def _dataset(self, found: evolution.Evolution, responses: torch.Tensor) -> xr.Dataset:
        shape = (len(self.conditions), len(self.seeds))

        def grid(values: torch.Tensor, dtype: str) -> np.ndarray:
            return values.cpu().numpy().reshape(*shape, *values.shape[1:]).astype(dtype)

        runs = ("condition", "seed")
        return xr.Dataset(
            {
                "codes": ((*runs, "code"), grid(found.codes, "float16")),
                "activation": (runs, grid(found.activations, "float32")),
                "response": (runs, grid(responses, "float32")),
                "trace": ((*runs, "generation"), grid(found.trace, "float32")),
            },
            {**along_conditions(self.conditions), "seed": list(self.seeds)},
            {"cost": cost(found)},
        )

    def unaudited(self, zoo: Zoo) -> str:
        return f"the weights of {self.network} do not ship" if zoo.told_only(self.network) else ""

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Runs (condition, seed); none of a network whose weights are not here."""
        if self.unaudited(zoo):
            return []
        return [(c, s) for c in range(len(self.conditions)) for s in range(len(self.seeds))]

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Render stored codes, score them with the ablated unit."""
        network, generator = load(zoo, self.network, self.generator)
        codes = torch.from_numpy(stored["codes"].values.astype("float32"))
        if self.layer == READOUT:
            unit = network.readout.rows([self.unit])
            bank = concatenate([ablate(unit, self.conditions[c]) for c, _ in sample])
            drawn = torch.stack([codes[cell] for cell in sample])
            again = evolution.rescore(bank, network.backbone, generator, drawn).tolist()
        else:
            again = layers.rescore(self, network, generator, codes, sample).tolist()
        kept = [stored["activation"].values[cell] for cell in sample]
        return [self.compared("activation", kept, again)]

    @classmethod
    def joined(cls, plan: Sequence["Shard"], found: Sequence[xr.Dataset]) -> xr.Dataset:
        """Shards as one dataset.

        Returns
        -------
        Dataset
            Dimensions (shard, condition, seed, code, generation). Along ``shard``: zoo, network,
            generator, unit, key, code_size; along ``condition``: sign, alpha. Variables as of
            `compute`; ``codes`` padded with NaN where generators differ in size.

        Raises
        ------
        ValueError
            If the shards have different conditions or seeds.
        """
        if not plan:
            raise ValueError("expected at least one shard in the plan; got none")
        kinds = {(one.conditions, one.seeds, one.search.generations, one.layer) for one in plan}
        if len(kinds) > 1:
            raise ValueError(
                "expected shards with the same conditions, seeds, generations and layer, because "
                f"they become one array; got {len(kinds)} different ones; collect them separately"
            )
        widest = max(piece.sizes["code"] for piece in found)
        pieces = []
        for shard, piece in zip(plan, found, strict=True):
            size = piece.sizes["code"]
            names = ("zoo", "network", "generator", "unit", "key")
            along: dict[str, Any] = {n: ("shard", [getattr(shard, n)]) for n in names}
            along["code_size"] = ("shard", [size])
            if size < widest:
                piece = piece.pad(code=(0, widest - size), constant_values=float("nan"))
            pieces.append(piece.drop_attrs().expand_dims("shard").assign_coords(along))
        together = xr.concat(pieces, dim="shard", coords="minimal", compat="equals", join="exact")
        together.attrs = {"algorithm_version": ALGORITHM_VERSION, "shards": len(plan)}
        return together


def identify(settings: Mapping[str, Any], network: str, generator: str, zoo: Zoo) -> dict[str, Any]:
    """What a stored search of these settings must agree in, and a fingerprint of it all."""
    found = {
        "settings": dict(settings),
        "network_sha256": zoo.fingerprint(network),
        "generator_sha256": zoo.fingerprint(generator),
        "algorithm_version": ALGORITHM_VERSION,
    }
    return {**found, "fingerprint": digest(found)}


def along_conditions(ablations: Sequence[Ablation]) -> dict[str, Any]:
    """Coordinates along ``condition``: label, sign, alpha."""
    return {
        "condition": [ablation.label for ablation in ablations],
        "sign": ("condition", [ablation.sign for ablation in ablations]),
        "alpha": ("condition", [ablation.alpha for ablation in ablations]),
    }


def cost(found: evolution.Evolution) -> dict[str, Any]:
    """What searches took."""
    return {
        "network_seconds": round(found.network_seconds, 2),
        "images": found.images_seen,
        "runs": len(found.codes),
    }


def plan(
    zoo: str,
    networks: Sequence[str] | None = None,
    generators: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
    **settings: Any,
) -> list[Shard]:
    """The shards of a full grid; ``None`` stands for all (units: the zoo's default ones).

    Parameters
    ----------
    settings
        Other fields of `Shard`, the same for all.

    Raises
    ------
    selection.ParameterError
        For a name that the zoo does not have.
    """
    named = {
        name: ",".join(values or ())
        for name, values in (("networks", networks), ("generators", generators), ("units", units))
    }
    known = selection.parse({"zoo": zoo, **named})
    for name, value in settings.items():
        if isinstance(value, list):
            settings[name] = tuple(value)
    return [
        Shard(zoo, network, generator, unit, **settings)
        for network in known.networks
        for generator in known.generators
        for unit in known.units
    ]


def rows(shard: Shard, unit: Readout) -> tuple[Readout, list[int]]:
    """The bank of all runs, condition after condition, and the seed of each row."""
    rows = [
        Readout(bank.weight, bank.bias, (f"{shard.unit}: {condition.label}",))
        for condition in shard.conditions
        for bank in [ablate(unit, condition)]
        for _ in shard.seeds
    ]
    return concatenate(rows), list(shard.seeds) * len(shard.conditions)


_kept: dict[tuple[Any, ...], tuple[Network, nn.Module]] = {}


def load(zoo: Zoo, network: str, generator: str) -> tuple[Network, nn.Module]:
    """Network and generator, kept for the next shards (two pairs of them)."""
    names = (network, generator)
    wanted = (zoo.name, zoo.folder, *names, *(zoo.fingerprint(name) for name in names))
    if wanted not in _kept:
        for old in list(_kept)[:-1]:
            _kept.pop(old, None)
        _kept[wanted] = (zoo.network(network), zoo.generator(generator))
    return _kept[wanted]


def _slug(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in name)
