"""Signed inputs of units in brains and networks: ablate by sign, search, compare.

A unit of a network is a row of weights over features. Take away the positive or the negative
weights, a share at a time, and ask which image the unit now likes best:

>>> from signseg_utils import Ablation, Search, ablate, evolve, load_zoo
>>> zoo = load_zoo("shapes")                               # networks and generators that ship
>>> network, generator = zoo.network("alexnet"), zoo.generator("scenes")
>>> unit = network.readout.rows(["red disc"])              # one row of weights
>>> half = ablate(unit, Ablation("positive", alpha=0.5))   # without half of its positive drive
>>> bool(half.weight.clamp(min=0).sum() <= 0.5 * unit.weight.clamp(min=0).sum())
True
>>> found = evolve(half, network.backbone, generator, seeds=[0], search=Search(generations=2))
>>> generator(found.codes).shape                           # the image that it now likes best
torch.Size([1, 3, 48, 48])

`wrap` cuts a classifier of your own before its last linear layer, so that its units become rows
of a `Readout`; `load_zoo` opens networks, generators and judges that belong together. The command
``signseg`` does the long work: ``signseg --help``.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["Ablation", "Readout", "Search", "ablate", "evolve", "load_zoo", "wrap"]

if TYPE_CHECKING:
    from signseg_utils.networks.wrapped import wrap
    from signseg_utils.search.evolution import Search, evolve
    from signseg_utils.units.ablation import Ablation, ablate
    from signseg_utils.units.readout import Readout
    from signseg_utils.zoos import load_zoo

_HOMES = {
    "Ablation": "units.ablation",
    "Readout": "units.readout",
    "Search": "search.evolution",
    "ablate": "units.ablation",
    "evolve": "search.evolution",
    "load_zoo": "zoos",
    "wrap": "networks.wrapped",
}


def __getattr__(name: str) -> Any:
    """Names of the front door, imported when first used: the package itself loads no PyTorch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
