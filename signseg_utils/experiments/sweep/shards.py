"""One shard of a sweep: what it is, and what a stored one must agree in."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from signseg_utils import zoos
from signseg_utils.chapter import parameters
from signseg_utils.networks import Network
from signseg_utils.search.evolution import Search
from signseg_utils.units.ablation import Ablation, ablate, conditions
from signseg_utils.units.readout import Readout, concatenate

# Raise by hand when a change of evolution, ablation, optimisers or code-only generators changes
# results: every stored shard is then foreign. Hashes of the sources are recorded, not compared.
ALGORITHM_VERSION = 1

ALPHAS = tuple(step / 10 for step in range(11))
SIGNS = ("positive", "negative", "random_magnitude")
READOUT = "readout"


@dataclass(frozen=True)
class Shard:
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
        plain = json.loads(json.dumps(asdict(self)))
        return {key: value for key, value in plain.items() if (key, value) != ("layer", READOUT)}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Shard":
        """The shard whose `settings` these are."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in settings.items()
        }
        return cls(**{**values, "search": Search(**settings["search"])})

    @property
    def key(self) -> str:
        """Name of its file: readable, and different for different settings."""
        names = "-".join(_slug(name) for name in (self.network, self.generator, self.unit))
        return f"{names}-{digest(self.settings)[:10]}"

    def identity(self, zoo: zoos.Zoo) -> dict[str, Any]:
        """What a stored shard must agree in: settings, weights, version of the algorithm."""
        return identify(self.settings, self.network, self.generator, zoo)


def identify(
    settings: Mapping[str, Any], network: str, generator: str, zoo: zoos.Zoo
) -> dict[str, Any]:
    """What a stored result of these settings must agree in, and a fingerprint of it all."""
    found = {
        "settings": dict(settings),
        "network_sha256": zoo.fingerprint(network),
        "generator_sha256": zoo.fingerprint(generator),
        "algorithm_version": ALGORITHM_VERSION,
    }
    return {**found, "fingerprint": digest(found)}


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
    parameters.ParameterError
        For a name that the zoo does not have.
    """
    named = {
        name: ",".join(values or ())
        for name, values in (("networks", networks), ("generators", generators), ("units", units))
    }
    known = parameters.parse({"zoo": zoo, **named})
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


@lru_cache(maxsize=2)
def load(
    zoo: str, folder: Path, network: str, generator: str, *hashes: str | None
) -> tuple[Network, nn.Module]:
    """Network and generator, kept for the next shard; ``hashes`` tell versions apart."""
    opened = zoos.load_zoo(zoo, folder)
    return opened.network(network), opened.generator(generator)


def digest(value: Any) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _slug(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in name)
