"""Everything that ships, drawn or made again in samples and compared: one table.

``python -m signseg_utils.experiments.audits`` prints it; it ends with 1 if anything differs by more
than the bounds that its variable declares.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from signseg_utils import zoos
from signseg_utils.experiments import agreement, races, sweep
from signseg_utils.experiments.agreement import Comparison
from signseg_utils.experiments.recorded import (
    ablated_models,
    base,
    encoding_accuracy,
    encoding_signs,
    localisation,
)
from signseg_utils.files import paths, weights
from signseg_utils.files.store import Store, provenance

RECORDINGS = ("simulated", "v4")
S = TypeVar("S")


def audit_everything(
    zoo: str = "", sample: int = 8, seed: int = 0, studies: int = 1
) -> pd.DataFrame:
    """Audit all that ships, or what ships of one zoo.

    Parameters
    ----------
    zoo
        Name of a zoo; empty: all that ship.
    sample
        How many stored codes are rendered and scored again: of each kind of result, and of each
        study of neurons that keeps codes.
    seed
        Of these draws.
    studies
        How many studies of each kind and recording are fitted again; 0: all.

    Returns
    -------
    DataFrame
        One line a comparison: variable, where, cells, differing, stored, again, difference, outcome
        (one of `signseg_utils.experiments.agreement.OUTCOMES`). Studies of recordings that are not
        on this machine have no line.
    """
    found: list[Comparison] = []
    for name in (zoo,) if zoo else zoos.shipped():
        found += [*_drawn(name), *_searches(name, sample, seed), *_races(name, sample, seed)]
    for recording in RECORDINGS:
        found += _recorded(recording, zoo, sample, seed, studies)
    return pd.DataFrame(agreement.lines(found))


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


def _searches(zoo: str, sample: int, seed: int) -> list[Comparison]:
    folder = paths.results_folder(zoo)
    store = Store(folder)
    found = [provenance(store.read(key)).get("settings") for key in store.keys()]
    shards = [sweep.Shard.from_settings(settings) for settings in found if settings]
    table = _tolerant(sweep.audit, folder, shards, sample=sample, seed=seed)
    return _of_table(table, f"searches of {zoo}")


def _races(zoo: str, sample: int, seed: int) -> list[Comparison]:
    folder = paths.results_folder(zoo) / races.FOLDER
    store = Store(folder)
    found = [provenance(store.read(key))["settings"] for key in store.keys()]
    planned = [_as(races.Race, settings) for settings in found]
    table = _tolerant(races.audit, planned, folder, sample=sample, seed=seed)
    return _of_table(table, f"races of {zoo}")


def _recorded(
    recording: str, zoo: str, sample: int, seed: int, some: int
) -> Iterator[Comparison]:
    store = Store(base.shipped_folder(recording))
    for kind in (encoding_accuracy, encoding_signs, ablated_models, localisation):
        keys = [key for key in store.keys() if key.startswith(f"{kind.Study.KIND}-")]
        results = [store.read(key) for key in keys]
        studies = [_as(kind.Study, provenance(result)) for result in results]
        pairs = [(s, r) for s, r in zip(studies, results, strict=True) if zoo in ("", s.zoo)]
        if not pairs:
            continue
        planned, found = map(list, zip(*pairs, strict=True))
        if kind is localisation:
            table = _tolerant(localisation.audit, found, planned, sample=sample, seed=seed)
            yield from _of_table(table, f"localisation, {recording}")
        elif kind is ablated_models:
            yield from ablated_models.audit(planned, found, sample, seed)
        else:
            drawn = np.random.default_rng(seed).permutation(len(planned))[: some or None]
            for one, result in [(planned[i], found[i]) for i in drawn]:
                yield from base.audit([one], [result], seed)


def _as(kind: type[S], settings: dict[str, Any]) -> S:
    """A study or a race with the settings that are stored with its result."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    values = {name: settings[name] for name in names}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _tolerant(audit: Any, *args: Any, **options: Any) -> pd.DataFrame:
    try:
        return audit(*args, **options)
    except sweep.AuditError as error:
        return error.table


def _of_table(table: pd.DataFrame, where: str) -> list[Comparison]:
    if not len(table):
        return []
    values = table["stored"], table["rescored"]
    return [agreement.compare("activation", *values, agreement=sweep.AGREEMENT, where=where)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m signseg_utils.experiments.audits", description="Audit all that ships."
    )
    parser.add_argument("--zoo", default="", help="what ships of one zoo (all)")
    parser.add_argument("--sample", type=int, default=8, help="codes of each kind of result")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--studies", type=int, default=1, help="fitted again; 0: all (1)")
    given = parser.parse_args(arguments)
    table = audit_everything(given.zoo, given.sample, given.seed, given.studies)
    print(table.to_string(index=False, float_format="%.6g"))
    counts = table["outcome"].value_counts().to_dict()
    print("; ".join(f"{counts.get(word, 0)} {word}" for word in agreement.OUTCOMES))
    return int(counts.get(agreement.BEYOND, 0) > 0)


if __name__ == "__main__":
    sys.exit(main())
