"""Images of units by gradient ascent: how strongly they drive the unit, and who recognises them.

What is stored of an ascent is the picture that it ends with, compressed (`files.images.encode`),
because a code without a generator is larger than that; and all that is measured is measured on the
stored picture. Two machines that climb from one seed part after some steps, as small differences
grow from step to step. So an audit looks at stored pictures again, and climbs the first steps only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from signseg_utils import selection, zoos
from signseg_utils.analysis.images import decoded
from signseg_utils.basics import registry
from signseg_utils.experiments.agreement import Agreement, Comparison
from signseg_utils.experiments.base import Cell, Experiment, Option, State, forget
from signseg_utils.experiments.sweep.shards import along_conditions
from signseg_utils.files import images as files
from signseg_utils.generators.pixels import Pixels
from signseg_utils.metrics import recognition
from signseg_utils.search.ascent import Ascended, Ascent, ascend
from signseg_utils.units.ablation import Ablation, ablate, conditions
from signseg_utils.units.readout import Readout, concatenate
from signseg_utils.zoos import Zoo

FREE = ""  # generator of ascents that have none, as results that ship name it
BEGUN = 2  # steps whose scores are stored, and climbed again
QUALITY = 80  # of stored pictures
ROWS = 5  # in one pass on a CPU: there 1.4 times as fast as one by one
# Chosen by eye on images of four units of lite0, before recognition was measured in the sweep.
VIEWED = Ascent(steps=44, jitter=0.125, zoom=0.2)
EXPONENT = 1.25
# Chosen by eye on images of eleven intact units of lite0, before any ablated one was climbed so.
PARTS = Ascent(steps=160, views=3, crop=0.35)
DETAILED = 1.1  # exponent for these

# Between processors, scores of one picture differ by some 1e-5. Adam's first step goes as far along
# small gradients as along large ones, and rounding may turn the sign of small ones: what a unit
# answers after it differs by .1, some steps later by 10.
SCORED = Agreement(absolute=1e-2, relative=1e-3)
RECOGNISED = Agreement(absolute=1e-2)
RANKED = Agreement(relative=0.02)
CLIMBED = Agreement(absolute=0.5, relative=0.05)


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
    ascent
        How it climbs.
    exponent
        Of `generators.pixels`, where there is no generator.
    """

    KIND: ClassVar[str] = "ascents"
    UNIT: ClassVar[str] = "sets of units"
    WHAT: ClassVar[str] = "stored pictures, scored again, and first steps, climbed again"
    AGREEMENT: ClassVar[Mapping[str, Agreement]] = {
        "activation": SCORED,
        "response": SCORED,
        "recognition": RECOGNISED,
        "rank": RANKED,
        "begun": CLIMBED,
    }
    VERSION: ClassVar[int] = 2
    MOST_AUDITED: ClassVar[int] = 12
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("zoo", "of the network", "efficientnet"),
        Option("networks", "whose units are climbed for; default: all of the zoo"),
        Option("units", "classes, or all; default: the zoo's choice"),
        Option("generator", "through whose code the gradient goes; default: none"),
        Option("seeds", "starts and views: a list or a range", "0-2"),
        Option("steps", "of each ascent", VIEWED.steps, "generations"),
        Option("starts", "codes that are tried first", 1, "generations"),
    )

    zoo: str
    network: str
    units: tuple[str, ...]
    witnesses: tuple[str, ...]
    generator: str = FREE
    signs: tuple[str, ...] = ("positive", "negative")
    alphas: tuple[float, ...] = (0.5, 1.0)
    seeds: tuple[int, ...] = (0,)
    ascent: Ascent = VIEWED
    exponent: float = EXPONENT

    @classmethod
    def of_provenance(cls, told: Mapping[str, Any]) -> Ascents:
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in told["settings"].items()
        }
        return cls(**{**values, "ascent": Ascent(**values["ascent"])})

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> Sequence[Ascents]:
        networks, units = given.networks or zoo.networks, given.units or zoo.default_units
        return plan(
            zoo,
            networks,
            units,
            generator=given.generator,
            seeds=tuple(given.seeds),
            steps=given.steps,
            starts=given.starts,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """All fields as plain values; of the ascent's later ones none that is as it was before."""
        plain = super().settings
        for name in ("starts", "views", "crop"):
            if plain["ascent"][name] == getattr(Ascent, name):
                del plain["ascent"][name]
        return plain

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
        self,
        zoo: Zoo,
        state: State | None = None,
        save: Callable[[State], None] = forget,
        device: str = "cpu",
    ) -> xr.Dataset:
        """Climb and measure.

        Returns
        -------
        Dataset
            ``picture`` [unit, condition, seed, byte] uint8, behind its end filled with 0, and
            ``length`` [unit, condition, seed], its bytes. Of the picture: ``activation`` [unit,
            condition, seed] of the ablated unit, ``response`` of the intact unit; ``recognition``
            and ``rank`` [unit, condition, seed, witness] of the unit's class. ``begun`` [unit,
            condition, seed, step]: what the ablated unit answered in the first steps.
        """
        generator = self._generator(zoo)
        cells = list(self._every())
        found = self._climbed(
            zoo, cells, device=device, resume=state, checkpoint=save, checkpoint_every=2
        )
        with torch.inference_mode():
            images = [generator(code[None])[0] for code in found.codes]
        packed = [np.frombuffer(files.encode(image, QUALITY), np.uint8) for image in images]
        pixels = torch.stack([files.decode(one.tobytes(), self.key) for one in packed])
        filled = np.zeros((len(packed), max(map(len, packed))), np.uint8)
        for row, one in zip(filled, packed, strict=True):
            row[: len(one)] = one
        cost = {
            "network_seconds": round(found.network_seconds, 2),
            "images": found.images_seen,
            "runs": len(cells),
        }
        return self._named(
            {
                **self._scored(zoo, pixels, cells),
                "begun": found.trace[:, :BEGUN].numpy(),
                "picture": filled,
                "length": np.array([len(one) for one in packed], np.int32),
            }
        ).assign_attrs(cost=cost)

    def _named(self, values: dict[str, Any]) -> xr.Dataset:
        """Values of all runs, one after the other, by unit, condition and seed."""
        shape = (len(self.units), len(self.conditions), len(self.seeds))
        further = {
            "recognition": ("witness",),
            "rank": ("witness",),
            "picture": ("byte",),
            "begun": ("step",),
        }
        runs = ("unit", "condition", "seed")
        return xr.Dataset(
            {
                name: ((*runs, *further.get(name, ())), own.reshape(*shape, *own.shape[1:]))
                for name, own in values.items()
            },
            {
                "unit": list(self.units),
                **along_conditions(self.conditions),
                "seed": list(self.seeds),
                "witness": list(self.witnesses),
            },
        )

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Pictures (unit, condition, seed); none where a network's package is not installed."""
        here = all(map(zoo.holds, (self.network, *self.witnesses)))
        return list(self._every()) if here else []

    def rescore(self, zoo: Zoo, stored: xr.Dataset, sample: Sequence[Cell]) -> list[Comparison]:
        """Look at stored pictures again; climb the first steps again from the seeds."""
        runs = [stored.isel(unit=u, condition=c, seed=s) for u, c, s in sample]
        pixels = torch.stack([decoded(one) for one in runs])
        again = self._scored(zoo, pixels, sample)
        few = replace(self.ascent, steps=min(BEGUN, self.ascent.steps))
        again["begun"] = self._climbed(zoo, sample, few, progress=False).trace.numpy()
        kept = {name: np.stack([one[name].values for one in runs]) for name in self.AGREEMENT}
        return [self.compared(name, own, again[name]) for name, own in kept.items()]

    @classmethod
    def joined(cls, plan: Sequence[Ascents], found: Sequence[xr.Dataset]) -> xr.Dataset:
        """All of a plan, along ``network`` and ``unit``; no network is its own witness: NaN.

        The coordinate ``generator`` names what the gradient went through, ``pixels`` if there is
        none; of several generators it is a dimension.
        """
        most = max(piece.sizes["byte"] for piece in found)
        through: dict[str, dict[str, list[xr.Dataset]]] = {}
        for one, piece in zip(plan, found, strict=True):
            wide = piece.drop_attrs().pad(byte=(0, most - piece.sizes["byte"]), constant_values=0)
            pieces = through.setdefault(one.generator or registry.PIXELS, {})
            pieces.setdefault(one.network, []).append(wide)
        wholes = [_of_networks(pieces).assign_coords(generator=g) for g, pieces in through.items()]
        return xr.concat(wholes, "generator") if len(wholes) > 1 else wholes[0]

    def _every(self) -> Iterator[Cell]:
        return np.ndindex(len(self.units), len(self.conditions), len(self.seeds))

    def _climbed(
        self, zoo: Zoo, cells: Sequence[Cell], ascent: Ascent | None = None, **options: Any
    ) -> Ascended:
        """Climb again from the seeds, or for the first time; ``options`` as `ascend` takes them."""
        network = zoos.kept(zoo, self.network)
        seeds = [self.seeds[s] for _, _, s in cells]
        bank = self._bank(network.readout, cells)
        generator = self._generator(zoo)
        options.setdefault("chunk", None if "cuda" in options.get("device", "cpu") else ROWS)
        return ascend(bank, network.backbone, generator, seeds, ascent or self.ascent, **options)

    def _bank(self, readout: Readout, cells: Sequence[Cell]) -> Readout:
        return concatenate(
            [
                ablate(readout.rows([self.units[unit]]), self.conditions[condition])
                for unit, condition, _ in cells
            ]
        )

    def _generator(self, zoo: Zoo) -> nn.Module:
        if self.generator:
            return zoo.generator(self.generator)
        return Pixels(zoo.image_size, exponent=self.exponent)

    @torch.inference_mode()
    def _scored(self, zoo: Zoo, pixels: Tensor, cells: Sequence[Cell]) -> dict[str, np.ndarray]:
        """What is measured of pictures ``[cell, 3, height, width]`` uint8, each looked at alone."""
        network = zoos.kept(zoo, self.network)
        intact = network.readout.rows([self.units[unit] for unit, _, _ in cells])
        labels = torch.tensor([zoo.classes.index(self.units[unit]) for unit, _, _ in cells])
        seen = [image[None] / 255 for image in pixels]
        features = torch.cat([network.backbone(image) for image in seen])[:, None]
        answers = []
        for witness in (zoos.kept(zoo, name) for name in self.witnesses):
            answers.append(torch.cat([witness.logits(image) for image in seen]))
        found = {
            "activation": self._bank(network.readout, cells).scores(features)[:, 0],
            "response": intact.scores(features)[:, 0],
            "recognition": torch.stack(
                [recognition.probability(own, labels) for own in answers], 1
            ),
            "rank": torch.stack([recognition.rank(own, labels) for own in answers], 1),
        }
        return {name: values.float().numpy() for name, values in found.items()}


def _of_networks(pieces: Mapping[str, Sequence[xr.Dataset]]) -> xr.Dataset:
    """Sets of units of each network as one, along ``unit`` and ``network``."""
    each = [xr.concat(own, "unit", join="exact") for own in pieces.values()]
    witnesses = dict.fromkeys(name for own in each for name in own["witness"].values.tolist())
    each = [own.reindex(witness=list(witnesses)) for own in each]
    return xr.concat(each, "network", join="exact").assign_coords(network=list(pieces))


def plan(
    zoo: Zoo,
    networks: Sequence[str],
    units: Sequence[str],
    *,
    generator: str = FREE,
    ascent: Ascent = VIEWED,
    together: int = 12,
    steps: int | None = None,
    starts: int = 1,
    **settings: Any,
) -> list[Ascents]:
    """Ascents of units of networks, ``together`` units of one network in one result.

    Witnesses are the other standard networks of the zoo. Through the code of a generator, which
    draws no patterns of single pixels, images are looked at as they are. ``steps``, if given, and
    ``starts`` change the ``ascent``; ``settings`` are further ones of `Ascents`.
    """
    still: dict[str, Any] = dict(jitter=0.0, zoom=0.0, views=1, crop=1.0) if generator else {}
    ascent = replace(ascent, steps=ascent.steps if steps is None else steps, starts=starts, **still)
    return [
        Ascents(
            zoo.name,
            network,
            tuple(units[first : first + together]),
            tuple(name for name in zoo.networks if name != network),
            generator,
            ascent=ascent,
            **settings,
        )
        for network in networks
        for first in range(0, len(units), together)
    ]


def in_parts(
    zoo: Zoo, networks: Sequence[str], units: Sequence[str], **settings: Any
) -> list[Ascents]:
    """The `plan` for pictures in which things can be named: ascents that look at parts of them."""
    return plan(zoo, networks, units, ascent=PARTS, exponent=DETAILED, **settings)


def swept(
    zoo: Zoo,
    *,
    networks: Sequence[str],
    units: Sequence[str],
    generators: Sequence[str] = (registry.PIXELS,),
    signs: Sequence[str] = ("positive", "negative", "random_magnitude"),
    alphas: Sequence[float] = (0.5, 1.0),
    seeds: Sequence[int] = (0, 1),
    rule: str = "smallest",
    **settings: Any,
) -> list[Ascents]:
    """The ascents that stand for a sweep: the same conditions, along the gradient.

    ``generators`` name codes that the gradient goes to, ``pixels`` the image itself; ``settings``
    are those of `plan`.

    Raises
    ------
    signseg_utils.selection.ParameterError
        For the rule ``largest``, by which ascents do not ablate.
    """
    if rule != "smallest":
        raise selection.ParameterError(
            f"expected rule smallest, because ascents ablate by no other; got {rule!r}; leave it"
        )
    strengths = tuple(float(alpha) for alpha in alphas if alpha > 0)
    return [
        one
        for name in generators
        for one in plan(
            zoo,
            networks,
            units,
            generator=FREE if name == registry.PIXELS else name,
            signs=tuple(signs),
            alphas=strengths,
            seeds=tuple(seeds),
            **settings,
        )
    ]


PLUGIN = Ascents
