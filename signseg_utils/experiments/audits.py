"""Everything that ships, drawn or made again in samples and compared: one table.

``python -m signseg_utils.experiments.audits`` prints it; it ends with 1 if anything differs by more
than the bounds that its variable declares.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from signseg_utils import zoos
from signseg_utils.experiments import (
    agreement,
    base,
    channel_maps,
    class_accuracy,
    diverse_images,
    factorial,
    feature_images,
    occlusion,
    races,
    sweep,
)
from signseg_utils.experiments.agreement import Comparison
from signseg_utils.experiments.base import Experiment
from signseg_utils.experiments.recorded import (
    ablated_models,
    encoding_accuracy,
    encoding_signs,
    localisation,
)
from signseg_utils.files import paths, weights
from signseg_utils.files.store import Store

# Known by the folder or by the beginning of a file's name; all others are shards of sweeps.
KINDS: tuple[type[Experiment], ...] = (
    factorial.Searches,
    occlusion.Occlusion,
    races.Race,
    ablated_models.AblatedModels,
    channel_maps.ChannelMaps,
    class_accuracy.ClassAccuracy,
    diverse_images.DiverseImages,
    encoding_accuracy.EncodingAccuracy,
    encoding_signs.EncodingSigns,
    feature_images.FeatureImages,
    localisation.Localisation,
)


def audit_everything(zoo: str = "", sample: int = 8, seed: int = 0) -> pd.DataFrame:
    """Audit all that ships, or what ships of one zoo.

    Parameters
    ----------
    zoo
        Name of a zoo; empty: all that ship.
    sample
        How many stored cells are made again of each kind of result and zoo. Of studies that fit
        models each is asked.
    seed
        Of these draws.

    Returns
    -------
    DataFrame
        One line a comparison: variable, where, cells, differing, stored, again, difference, outcome
        (one of `signseg_utils.experiments.agreement.OUTCOMES`). What takes recordings or images
        that are not on this machine has no line.
    """
    found: list[Comparison] = []
    kept = shipped()
    for name in (zoo,) if zoo else zoos.shipped():
        found += _drawn(name)
        opened = zoos.load_zoo(name)
        for kind in (sweep.Shard, *KINDS):
            own = [one for one in kept if type(one) is kind and one.zoo == name]
            found += _audited(own, opened, sample, seed)
    return pd.DataFrame(agreement.lines(found))


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
    for kind in KINDS:
        if folder.name == kind.FOLDER or (kind.KIND and key.startswith(f"{kind.KIND}-")):
            return kind
    return sweep.Shard


def _audited(
    plan: Sequence[Experiment], zoo: zoos.Zoo, sample: int, seed: int
) -> list[Comparison]:
    """An audit that reads no more results than it has cells to draw; studies one by one."""
    order = np.random.default_rng(seed).permutation(len(plan))
    chosen = [plan[i] for i in sorted(order[:sample].tolist())]
    groups = [[one] for one in plan] if plan and plan[0].ONE_AUDITED else [chosen]
    found: list[Comparison] = []
    for group in groups:
        if group:
            results = base.read(group, zoo, paths.results_folder("") / group[0].home)
            found += base.audit(group, results, zoo, sample=sample, seed=seed)
    return found


def _drawn(zoo: str) -> Iterator[Comparison]:
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m signseg_utils.experiments.audits", description="Audit all that ships."
    )
    parser.add_argument("--zoo", default="", help="what ships of one zoo (all)")
    parser.add_argument("--sample", type=int, default=8, help="cells of each kind of result")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    given = parser.parse_args(arguments)
    table = audit_everything(given.zoo, given.sample, given.seed)
    print(table.to_string(index=False, float_format="%.6g"))
    counts = table["outcome"].value_counts().to_dict()
    print("; ".join(f"{counts.get(word, 0)} {word}" for word in agreement.OUTCOMES))
    return int(counts.get(agreement.BEYOND, 0) > 0)


if __name__ == "__main__":
    sys.exit(main())
