"""Trust in stored results: render a sample of codes again and compare the activations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from signseg_utils import zoos
from signseg_utils.experiments.agreement import Agreement
from signseg_utils.experiments.sweep import layers
from signseg_utils.experiments.sweep.shards import READOUT, Shard, load
from signseg_utils.files import store
from signseg_utils.files.store import MissingShard, Store
from signseg_utils.refusals import Refusal
from signseg_utils.search import evolution
from signseg_utils.units.ablation import ablate
from signseg_utils.units.readout import concatenate

TOLERANCE = 1e-3  # of max(1, |activation|): float32 sums differ by up to 1e-4 between machines
AGREEMENT = Agreement(absolute=TOLERANCE, relative=TOLERANCE)


class AuditError(Refusal, ValueError):
    """Stored activations are not what their codes give; ``table`` holds the comparison."""

    def __init__(self, message: str, table: pd.DataFrame):
        super().__init__(message)
        self.table = table


def audit(
    results: Store | Path,
    shards: Sequence[Shard] | None = None,
    *,
    sample: int = 32,
    seed: int = 0,
    zoo_folder: Path | None = None,
    tolerance: float = TOLERANCE,
) -> pd.DataFrame:
    """Render a random sample of stored codes again, score them again, and compare.

    Parameters
    ----------
    shards
        What to draw from; default: all that the store holds.
    sample, seed
        How many runs to draw (at most all), and the seed of the draw.
    tolerance
        Allowed difference in units of max(1, \\|activation\\|): float32 sums in another order.

    Returns
    -------
    DataFrame
        One line a run: network, generator, unit, condition, seed, stored, rescored, difference,
        agrees.

    Raises
    ------
    AuditError
        If any activation disagrees.
    store.ShardError
        If a shard is missing, damaged or foreign.
    """
    folder = results if isinstance(results, Store) else Store(Path(results))
    if shards is None:
        found = (store.provenance(folder.read(key))["settings"] for key in folder.keys())
        shards = [Shard.from_settings(settings) for settings in found]
    if not shards:
        raise MissingShard(f"expected finished shards in {folder.folder} to audit; there are none")
    places = [
        (number, condition, run)
        for number, shard in enumerate(shards)
        for condition in range(len(shard.conditions))
        for run in range(len(shard.seeds))
    ]
    drawn = np.random.default_rng(seed).permutation(len(places))[:sample]
    lines: list[dict[str, Any]] = []
    for number in sorted({places[index][0] for index in drawn}):
        chosen = sorted(places[index][1:] for index in drawn if places[index][0] == number)
        lines += _audit_shard(shards[number], folder, chosen, zoo_folder)
    table = pd.DataFrame(lines)
    table["difference"] = table["rescored"] - table["stored"]
    allowed = tolerance * np.maximum(1.0, table["stored"].abs())
    table["agrees"] = table["difference"].abs() <= allowed  # NaN does not agree
    wrong = table[~table["agrees"]]
    if len(wrong):
        worst = wrong.iloc[wrong["difference"].abs().argmax()]
        raise AuditError(
            f"expected stored activations to be what their codes give, within {tolerance:g} of "
            f"max(1, |activation|); {len(wrong)} of {len(table)} differ, the most for "
            f"{worst['network']}, {worst['generator']}, {worst['unit']}, {worst['condition']}, "
            f"seed {worst['seed']}: stored {worst['stored']:.6g}, now {worst['rescored']:.6g}; "
            "the results do not belong to these weights or this code: recompute them",
            table,
        )
    return table


def _audit_shard(
    shard: Shard, folder: Store, chosen: list[tuple[int, int]], zoo_folder: Path | None
) -> list[dict[str, Any]]:
    zoo = zoos.load_zoo(shard.zoo, zoo_folder)
    identity = shard.identity(zoo)
    stored = folder.read(shard.key, identity)
    network, generator = load(
        zoo.name, zoo.folder, shard.network, shard.generator,
        identity["network_sha256"], identity["generator_sha256"],
    )  # fmt: skip
    codes = torch.from_numpy(stored["codes"].values.astype("float32"))
    if shard.layer == READOUT:
        unit = network.readout.rows([shard.unit])
        bank = concatenate([ablate(unit, shard.conditions[condition]) for condition, _ in chosen])
        drawn = torch.stack([codes[place] for place in chosen])
        again = evolution.rescore(bank, network.backbone, generator, drawn).tolist()
    else:
        again = layers.rescore(shard, network, generator, codes, chosen).tolist()
    return [
        {
            "network": shard.network,
            "generator": shard.generator,
            "unit": shard.unit,
            "condition": shard.conditions[condition].label,
            "seed": shard.seeds[run],
            "stored": float(stored["activation"].values[condition, run]),
            "rescored": value,
        }
        for (condition, run), value in zip(chosen, again, strict=True)
    ]
