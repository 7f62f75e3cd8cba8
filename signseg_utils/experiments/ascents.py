"""Images of units by gradient ascent: how strongly they drive the unit, and who recognises them.

Nothing of an image is stored, neither pixels nor code, because a code without a generator is as
large as the image: `images` makes any of them again from its seed, and an audit does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Experiment, Option, State, forget
from signseg_utils.experiments.sweep.shards import along_conditions
from signseg_utils.generators.pixels import Pixels
from signseg_utils.metrics import recognition
from signseg_utils.search.ascent import Ascended, Ascent, ascend
from signseg_utils.search.scoring import rescore
from signseg_utils.units.ablation import Ablation, ablate, conditions
from signseg_utils.units.readout import Readout, concatenate
from signseg_utils.zoos import Zoo

PIXELS = ""  # generator of ascents that have none

# A climb of some sixty steps makes rounding larger: images of two machines are alike, not equal.
CLIMBED = Agreement(absolute=0.5, relative=0.05)
RECOGNISED = Agreement(absolute=0.1)


@dataclass(frozen=True)
class Ascents(Experiment):
    """Some units of a network under all conditions and seeds.

    Attributes
    ----------
    units
        Labels of the network's readout.
    witnesses
        Networks of the zoo that are asked what is in the images; the unit's own is none.
    generator
        Through whose code the gradient goes; empty: none, the pixels themselves.
    signs, alphas
        The conditions are their product, and the intact unit once.
    seeds
        Starts and views; the same for every condition.
    """

    KIND: ClassVar[str] = "ascents"
    UNIT: ClassVar[str] = "sets of units"
    WHAT: ClassVar[str] = "images climbed again from their seeds"
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {
        "activation": CLIMBED, "recognition": RECOGNISED,
    }  # fmt: skip
    MOST_AUDITED: ClassVar[int] = 8
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("zoo", "of the network", "efficientnet"),
        Option("network", "whose units are climbed for", "lite0"),
        Option("units", "classes; default: all"),
        Option("generator", "through whose code the gradient goes; default: none"),
        Option("seeds", "starts and views: a list or a range", "0"),
        Option("steps", "of each ascent", Ascent.steps, "generations"),
    )

    zoo: str
    network: str
    units: tuple[str, ...]
    witnesses: tuple[str, ...]
    generator: str = PIXELS
    signs: tuple[str, ...] = ("positive", "negative")
    alphas: tuple[float, ...] = (0.5, 1.0)
    seeds: tuple[int, ...] = (0,)
    ascent: Ascent = field(default_factory=Ascent)

    @classmethod
    def of_provenance(cls, told: Mapping[str, Any]) -> Ascents:
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in told["settings"].items()
        }
        return cls(**{**values, "ascent": Ascent(**values["ascent"])})

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> list[Ascents]:
        still = dict(jitter=0.0, zoom=0.0) if given.generator else {}  # a code keeps no patterns
        return plan(
            zoo, given.network, given.units, generator=given.generator, seeds=tuple(given.seeds),
            ascent=Ascent(steps=given.steps, **still),
        )  # fmt: skip

    @property
    def names(self) -> tuple[str, ...]:
        return (self.network, self.generator, self.units[0])

    @property
    def cost(self) -> float:
        return float(len(self.units))

    @property
    def conditions(self) -> tuple[Ablation, ...]:
        """Ablations, the intact unit first."""
        return conditions(self.signs, self.alphas)

    def identity(self, zoo: Zoo) -> dict[str, Any]:
        through = zoo.fingerprint(self.generator) if self.generator else f"{zoo.image_size} px"
        return {
            "settings": self.settings,
            "version": self.VERSION,
            "network_sha256": zoo.fingerprint(self.network),
            "witnesses_sha256": [zoo.fingerprint(name) for name in self.witnesses],
            "generator_sha256": through,
        }

    def compute(
        self, zoo: Zoo, state: State | None = None, save: Callable[[State], None] = forget,
        device: str = "cpu",
    ) -> xr.Dataset:
        """Climb and measure.

        Returns
        -------
        Dataset
            ``activation`` [unit, condition, seed] of the ablated unit for its own image,
            ``response`` of the intact unit for the same; ``recognition`` and ``rank`` [unit,
            condition, seed, witness] of the unit's class.
        """
        network, generator = zoo.network(self.network), self._generator(zoo)
        cells = self.cells(zoo, xr.Dataset())
        found = self._climbed(
            zoo, cells, device=device, resume=state, checkpoint=save, checkpoint_every=8
        )
        intact = network.readout.rows([self.units[unit] for unit, _, _ in cells])
        response = rescore(intact, network.backbone, generator, found.codes, device=device)
        named, rank = self._recognised(zoo, generator, found.codes, cells)
        shape = (len(self.units), len(self.conditions), len(self.seeds))

        def grid(values: Tensor) -> np.ndarray:
            return values.reshape(*shape, *values.shape[1:]).float().cpu().numpy()

        runs = ("unit", "condition", "seed")
        return xr.Dataset(
            {
                "activation": (runs, grid(found.activations)),
                "response": (runs, grid(response)),
                "recognition": ((*runs, "witness"), grid(named)),
                "rank": ((*runs, "witness"), grid(rank)),
            },
            {
                "unit": list(self.units), **along_conditions(self.conditions),
                "seed": list(self.seeds), "witness": list(self.witnesses),
            },
            {"cost": {"network_seconds": round(found.network_seconds, 2),
                      "images": found.images_seen, "runs": len(cells)}},
        )  # fmt: skip

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Climbs (unit, condition, seed)."""
        return list(np.ndindex(len(self.units), len(self.conditions), len(self.seeds)))

    def rescore(
        self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]
    ) -> list[Comparison]:
        """Climb again from the seeds."""
        found = self._climbed(zoo, sample)
        named, _ = self._recognised(zoo, self._generator(zoo), found.codes, sample)
        kept = [stored["activation"].values[cell] for cell in sample]
        recognised = [stored["recognition"].values[cell] for cell in sample]
        return [
            self.compared("activation", kept, found.activations.tolist()),
            self.compared("recognition", np.stack(recognised), named.numpy()),
        ]

    def images(self, zoo: Zoo, cells: Sequence[Cell]) -> Tensor:
        """Images [cell, 3, height, width] in 0..1 of some climbs, made again from their seeds."""
        codes, generator = self._climbed(zoo, cells).codes, self._generator(zoo)
        with torch.inference_mode():
            return torch.cat([generator(code[None]) for code in codes])

    @classmethod
    def joined(cls, plan: Sequence[Ascents], found: Sequence[xr.Dataset]) -> xr.Dataset:
        """All units of a plan of one network, along ``unit``."""
        return xr.concat([piece.drop_attrs() for piece in found], "unit", join="exact")

    def _climbed(self, zoo: Zoo, cells: Sequence[Cell], **options: Any) -> Ascended:
        """Climb again from the seeds, or for the first time; ``options`` as `ascend` takes them."""
        network = zoo.network(self.network)
        seeds = [self.seeds[s] for _, _, s in cells]
        bank = self._bank(network.readout, cells)
        return ascend(
            bank, network.backbone, self._generator(zoo), seeds, self.ascent, **options
        )

    def _bank(self, readout: Readout, cells: Sequence[Cell]) -> Readout:
        return concatenate([
            ablate(readout.rows([self.units[unit]]), self.conditions[condition])
            for unit, condition, _ in cells
        ])  # fmt: skip

    def _generator(self, zoo: Zoo) -> nn.Module:
        return zoo.generator(self.generator) if self.generator else Pixels(zoo.image_size)

    @torch.inference_mode()
    def _recognised(
        self, zoo: Zoo, generator: nn.Module, codes: Tensor, cells: Sequence[Cell]
    ) -> tuple[Tensor, Tensor]:
        """Probability and rank [cell, witness] of each unit's class."""
        witnesses = [zoo.network(name) for name in self.witnesses]
        labels = torch.tensor([zoo.classes.index(self.units[unit]) for unit, _, _ in cells])
        answers: list[list[Tensor]] = [[] for _ in witnesses]
        for code in codes:
            image = generator(code[None])
            for own, witness in zip(answers, witnesses, strict=True):
                own.append(witness.logits(image))
        logits = [torch.cat(own) for own in answers]
        return (
            torch.stack([recognition.probability(own, labels) for own in logits], 1),
            torch.stack([recognition.rank(own, labels) for own in logits], 1),
        )


def plan(
    zoo: Zoo, network: str, units: Sequence[str] = (), together: int = 10, **settings: Any
) -> list[Ascents]:
    """Ascents of units (default: all classes), ``together`` in one result.

    Witnesses are the other standard networks of the zoo; ``settings`` are further ones of
    `Ascents`.
    """
    names = tuple(units) or zoo.classes
    others = tuple(name for name in zoo.networks if name != network)
    return [
        Ascents(zoo.name, network, names[first : first + together], others, **settings)
        for first in range(0, len(names), together)
    ]


PLUGIN = Ascents
