"""Every output unit of a network, climbed for once in each condition; few pictures are kept.

The ascent is that of `experiments.ascents`, with one start. Pictures of a thousand units would be
too large to ship: what is measured is kept of all units, the pictures of a few in each set. These
are what an audit looks at again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from signseg_utils.experiments import ascents
from signseg_utils.experiments.ascents import VIEWED, Ascents
from signseg_utils.experiments.base import Cell, Option, State, forget
from signseg_utils.zoos import Zoo

TOGETHER = 50  # units of one result


@dataclass(frozen=True)
class AllUnits(Ascents):
    """Some units of a network, all conditions, with pictures of the first few only.

    Attributes
    ----------
    pictured
        Units whose pictures are kept, the first ones of `units`, which come in random order.
    """

    KIND: ClassVar[str] = "all_units"
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("zoo", "of the networks", "efficientnet"),
        Option("networks", "whose units are climbed for; default: all of the zoo"),
        Option("count", "units of each network, in random order; 0: all", 0),
        Option("seeds", "starts and views: a list or a range", "0"),
        Option("steps", "of each ascent", VIEWED.steps, "generations"),
    )

    pictured: int = 2

    @classmethod
    def asked(cls, given: SimpleNamespace, zoo: Zoo) -> Sequence[AllUnits]:
        chosen = zoo.in_random_order(given.count)
        networks = given.networks or zoo.networks
        return plan(zoo, networks, chosen, seeds=tuple(given.seeds), steps=given.steps)

    def compute(
        self, zoo: Zoo, state: State | None = None, save: Any = forget, device: str = "cpu"
    ) -> xr.Dataset:
        """As `Ascents.compute`; pictures of other units than the first have the length 0."""
        found = super().compute(zoo, state, save, device)
        kept = xr.DataArray(np.arange(found.sizes["unit"]) < self.pictured, dims="unit")
        return found.assign(
            {
                name: found[name].where(kept, 0).astype(found[name].dtype)
                for name in ("picture", "length")
            }
        )

    def cells(self, zoo: Zoo, stored: xr.Dataset) -> list[Cell]:
        """Pictures that were kept (unit, condition, seed)."""
        return [cell for cell in super().cells(zoo, stored) if cell[0] < self.pictured]


def plan(
    zoo: Zoo, networks: Sequence[str], units: Sequence[str], *, pictured: int = 2, **settings: Any
) -> Sequence[AllUnits]:
    """All units of networks, a set of each network in turn, so that what is cut off is balanced."""
    each = [ascents.plan(zoo, [name], units, together=TOGETHER, **settings) for name in networks]
    turns = zip(*each, strict=True)
    return [AllUnits(**vars(one), pictured=pictured) for turn in turns for one in turn]


PLUGIN = AllUnits
