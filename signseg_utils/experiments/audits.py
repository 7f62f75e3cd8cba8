"""Everything that ships, drawn or made again in samples and compared: one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np

from signseg_utils import experiments, zoos
from signseg_utils.experiments import agreement, base, sweep
from signseg_utils.experiments.agreement import Comparison
from signseg_utils.experiments.base import Experiment
from signseg_utils.files import paths, weights
from signseg_utils.files.store import Store

# Known by the folder or by the beginning of a file's name; all others are shards of sweeps.
KINDS: tuple[type[Experiment], ...] = tuple(
    import_module(module).PLUGIN for module in experiments.modules().values()
)


def audit_everything(
    zoo: str = "", sample: int = 8, seed: int = 0, studies: int = 1
) -> list[Comparison]:
    """Audit all that ships, or what ships of one zoo.

    Parameters
    ----------
    zoo
        Name of a zoo; empty: all that ship, and others that are here and whose results ship.
    sample
        How many stored cells are made again of each kind of result and zoo.
    seed
        Of these draws.
    studies
        How many studies of each kind are fitted again, where that takes long; 0: all.

    Returns
    -------
    list of Comparison
        What takes recordings or images that are not on this machine is not among them.
    """
    found: list[Comparison] = []
    kept = shipped()
    others = sorted(name for name in {one.zoo for one in kept} if not zoos.load_zoo(name).absent())
    for name in (zoo,) if zoo else dict.fromkeys((*zoos.shipped(), *others)):
        found += drawn(name)
        opened = zoos.load_zoo(name)
        for kind in (sweep.Shard, *KINDS):
            own = [one for one in kept if type(one) is kind and one.zoo == name]
            found += _audited(own, opened, sample, seed, studies)
    return found


def shipped() -> list[Experiment]:
    """The experiments whose results ship, each from the provenance of its file."""
    root = paths.results_folder("")
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    return [
        _kind(folder, key).of_provenance(Store(folder).provenance_of(key))
        for folder in folders
        for key in Store(folder).keys()
    ]


def _kind(folder: Path, key: str) -> type[Experiment]:
    named = [kind for kind in KINDS if kind.FOLDER and folder.name == kind.FOLDER]
    named += [kind for kind in KINDS if kind.KIND and key.startswith(f"{kind.KIND}-")]
    return named[0] if named else sweep.Shard


def _audited(
    plan: Sequence[Experiment], zoo: zoos.Zoo, sample: int, seed: int, studies: int
) -> list[Comparison]:
    """An audit that reads no more results than it has cells to draw; studies one by one."""
    order = np.random.default_rng(seed).permutation(len(plan)).tolist()
    groups = [[plan[i] for i in sorted(order[:sample])]]
    if plan and plan[0].ONE_AUDITED:
        groups = [[plan[i]] for i in sorted(order[: studies or None])]
    found: list[Comparison] = []
    for group in groups:
        if group:
            results = base.read(group, zoo, paths.results_folder("") / group[0].home)
            found += base.audit(group, results, zoo, sample=sample, seed=seed)
    return found


def drawn(zoo: str) -> Iterator[Comparison]:
    """Networks of which only the seed ships: do all of their weights come out alike?"""
    opened = zoos.load_zoo(zoo)
    for name in opened.all_networks:
        if "drawn_sha256" in opened.card(name):
            try:
                opened.state(name)
                alike = True
            except weights.DamagedWeights:
                alike = False
            yield agreement.compare("drawn weights", [1], [alike], where=f"{zoo}, {name}")
