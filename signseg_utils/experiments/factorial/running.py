"""Train, search, store: one network after the other, in pieces that survive being cut off."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from signseg_utils import zoos
from signseg_utils.analysis.by_sign import over_alphas
from signseg_utils.analysis.images import measure
from signseg_utils.experiments.factorial.design import FACTORS, Setting
from signseg_utils.experiments.factorial.world import World
from signseg_utils.experiments.sweep import (
    AGREEMENT,
    ALGORITHM_VERSION,
    TOLERANCE,
    AuditError,
    Shard,
)  # fmt: skip
from signseg_utils.experiments.sweep.shards import rows
from signseg_utils.files import weights
from signseg_utils.files.paths import results_folder
from signseg_utils.files.store import MissingShard, ShardError, Store
from signseg_utils.progress import Work
from signseg_utils.publishing import publish
from signseg_utils.search import evolution
from signseg_utils.training import classifier
from signseg_utils.units.ablation import ablate
from signseg_utils.units.readout import Readout, concatenate
from signseg_utils.units.signs import centre

GENERATOR = "scenes"
GAUGES = ("raw", "centred")


def gauges(setting: Setting) -> tuple[str, ...]:
    """Readouts that are searched: centring is a choice of gauge only under a softmax."""
    return GAUGES if setting.loss == "softmax" else GAUGES[:1]


def shipped_folder() -> Path:
    """Where the networks and searches lie that the book shows."""
    return results_folder("shapes") / "factorial"


def run(
    settings: Sequence[Setting],
    units: Sequence[str],
    template: Shard,
    folder: Path,
    *,
    checkpoint_seconds: float = 15.0,
    report: Any = print,
) -> xr.Dataset:
    """Train and search what ``folder`` does not hold yet, and read all of it.

    Killed at any moment and called again, it continues: a training from its last epoch, a search
    from its last checkpoint, everything else from what was finished.

    Parameters
    ----------
    units
        Classes that every world has (`signseg_utils.zoos.shapes.Shapes.default_units`).
    template
        Signs, strengths, seeds and search; its names are filled in here.

    Returns
    -------
    Dataset
        As `collect` gives it.
    """
    with Work(len(settings), "networks", "what decides", resumes=True) as work:
        for setting in settings:
            began = time.perf_counter()
            world = World(setting, folder)
            if not world.path(setting.key).exists():
                classifier.train(world, setting.key, world.recipe(), Path(folder) / "unfinished")
            trained = time.perf_counter()
            for gauge in gauges(setting):
                _search(world, gauge, units, template, Store(Path(folder)), checkpoint_seconds)
            searched = time.perf_counter() - trained
            report(f"{setting.key}: {trained - began:.0f} s training, {searched:.0f} s searches")
            work.advance()
    return collect(settings, units, template, folder)


def collect(
    settings: Sequence[Setting], units: Sequence[str], template: Shard, folder: Path
) -> xr.Dataset:
    """Finished searches of all networks, as `sweep.collect` gives those of a sweep.

    Network names are ``<key of the setting> <gauge>``.

    Raises
    ------
    FileNotFoundError, weights.DamagedWeights
        If a network is missing or damaged.
    store.MissingShard, store.DamagedShard, store.ForeignShard
        If its searches are missing, damaged or others.
    """
    pieces = []
    for setting in settings:
        world = World(setting, folder)
        for gauge in gauges(setting):
            identity = _identity(world, gauge, units, template)
            pieces.append(Store(Path(folder)).read(f"{setting.key}-{gauge}", identity))
    plain = [piece.drop_attrs() for piece in pieces]
    return xr.concat(plain, dim="shard", coords="minimal", compat="equals", join="exact")


def obtain(
    settings: Sequence[Setting],
    units: Sequence[str],
    template: Shard,
    results: str = "",
    recompute: bool = False,
) -> tuple[xr.Dataset, Path, str]:
    """What a chapter shows: shipped networks and searches where they fit, else new ones.

    Parameters
    ----------
    results
        Folder; empty: the shipped one, or ``runs/factorial`` if that does not fit.

    Returns
    -------
    Dataset, Path, str
        As `collect` gives it; the folder it lies in; ``"shipped"`` or ``"recomputed"``.
    """
    if not recompute and not results:
        try:
            return collect(settings, units, template, shipped_folder()), shipped_folder(), "shipped"
        except (ShardError, FileNotFoundError, weights.DamagedWeights):
            pass  # whatever is wrong with them, new ones are made
    folder = Path(results or "runs/factorial")
    return run(settings, units, template, folder, report=lambda line: None), folder, "recomputed"


def look(found: xr.Dataset, zoo: zoos.Zoo) -> xr.Dataset:
    """Measure the images: ``similarity``, ``presence``, ``objectness`` (network, unit, condition).

    ``similarity``: centred cosine to the network's own intact images, mean over the standard
    networks of ``zoo``, which judge alike for all networks of the experiment. ``presence``:
    opacity of the object, 0..1, read from the code. ``objectness``: confidence of the detector.
    """
    seen = measure(found, zoo, zoo.networks, progress=False)
    generator = zoo.generator(GENERATOR)
    codes = torch.from_numpy(found["codes"].values.astype(np.float32))
    opacity = generator.describe(codes.flatten(0, -2))["opacity"]  # type: ignore[operator]
    presence = found["activation"].copy(data=opacity.view(codes.shape[:-1]).numpy()).mean("seed")
    names = presence.set_index(shard=["network", "unit"]).unstack("shard")
    kept = seen["objectness"].isel(generator=0, drop=True).mean("seed")
    return xr.Dataset(
        {
            "similarity": seen["centred_similarity"].mean("judge"),
            "presence": names.reindex_like(kept).drop_vars(["zoo", "key"], errors="ignore"),
            "objectness": kept,
        }
    )


def searches(
    settings: Sequence[Setting], template: Shard, given: Any, chapter: str
) -> tuple[xr.Dataset, Path]:
    """Called by a chapter: the searches that it shows, audited, source and audit recorded.

    As `signseg_utils.publishing.publish.searches`, for networks that are in no zoo. ``given``: the
    chapter's parameters ``units``, ``results``, ``recompute``, ``audited`` and ``seed``. Also
    returns the folder of the networks.
    """
    found, folder, source = obtain(settings, given.units, template, given.results, given.recompute)
    store = Store(shipped_folder())
    keys = [f"{setting.key}-{gauge}" for setting in settings for gauge in gauges(setting)]
    checked = publish.tolerant(
        audit, found, settings, template, folder, sample=given.audited, seed=given.seed
    )
    agreed = int(checked["agrees"].sum())
    publish.record_audit(
        chapter, source=source, shards=len(settings),
        seed=given.seed, tolerance=TOLERANCE, damaged=store.damaged(keys),
        comparisons=publish.of_table(checked, AGREEMENT),
    )  # fmt: skip
    print(f"{found['activation'].size:,} searches in {len(settings)} networks, {source}; "
          f"{agreed} of {len(checked)} scored again agree")  # fmt: skip
    return found, folder


def table(seen: xr.Dataset, settings: Sequence[Setting], folder: Path) -> pd.DataFrame:
    """One line a network: levels of the factors, accuracy, sign ratio, and its asymmetries.

    Parameters
    ----------
    seen
        From `look`.

    Returns
    -------
    DataFrame
        ``similarity`` and ``presence``: under negative less under positive ablation, mean over
        strengths and units; the same with centred weights as ``..., centred``, NaN where centring
        is no choice of gauge. ``accuracy``: top-1 in the network's own world.
    """
    lines = []
    for setting in settings:
        card = World(setting, folder).card(setting.key)
        line: dict[str, Any] = {factor.name: getattr(setting, factor.name) for factor in FACTORS}
        line |= {"accuracy": card["accuracy"]["top1"], "sign ratio": card["sign_ratio"]["mean"]}
        for gauge in GAUGES:
            for kind in ("similarity", "presence"):
                column = kind if gauge == "raw" else f"{kind}, {gauge}"
                line[column] = float("nan")
                if gauge in gauges(setting):
                    values = seen[kind].sel(network=f"{setting.key} {gauge}")
                    gap = over_alphas(values, "negative") - over_alphas(values, "positive")
                    line[column] = float(gap.mean())
        lines.append(line)
    return pd.DataFrame(lines)


def audit(
    found: xr.Dataset, settings: Sequence[Setting], template: Shard, folder: Path, *,
    sample: int = 32, seed: int = 0,
) -> pd.DataFrame:
    """Render a random sample of stored codes again, score them again, and compare.

    Parameters
    ----------
    found, settings, template, folder
        As `collect` gives and takes them.
    sample, seed
        How many searches to draw (at most all), and the seed of the draw.

    Returns
    -------
    DataFrame
        One line a search: network, unit, condition, seed, stored, rescored, agrees.

    Raises
    ------
    sweep.AuditError
        If any activation is not what its code gives.
    """
    generator = zoos.load_zoo("shapes").generator(GENERATOR)
    worlds = {setting.key: World(setting, folder) for setting in settings}
    shape = found["activation"].transpose("shard", "condition", "seed").shape
    drawn = np.random.default_rng(seed).permutation(int(np.prod(shape)))[:sample]
    lines: list[dict[str, Any]] = []
    for shard, condition, number in zip(*np.unravel_index(np.sort(drawn), shape), strict=True):
        piece = found.isel(shard=int(shard), condition=int(condition), seed=int(number))
        name, unit = str(piece["network"].values), str(piece["unit"].values)
        key, gauge = name.split(" ")
        network = worlds[key].network(key)
        ablation = template.conditions[condition]
        chosen = ablate(_readout(network.readout, gauge).rows([unit]), ablation)
        code = torch.from_numpy(piece["codes"].values.astype(np.float32))[None]
        again = evolution.rescore(chosen, network.backbone, generator, code).item()
        stored = float(piece["activation"])
        lines.append(
            dict(
                network=name, unit=unit, condition=ablation.label,
                seed=int(piece["seed"]), stored=stored, rescored=again,
                agrees=abs(again - stored) <= TOLERANCE * max(1.0, abs(stored)),
            )
        )  # fmt: skip
    table = pd.DataFrame(lines)
    if not table["agrees"].all():
        wrong = table[~table["agrees"]].iloc[0]
        raise AuditError(
            f"expected stored activations to be what their codes give, within {TOLERANCE:g}; "
            f"{(~table['agrees']).sum()} of {len(table)} differ, first {wrong['network']}, "
            f"{wrong['unit']}, {wrong['condition']}: stored {wrong['stored']:.6g}, now "
            f"{wrong['rescored']:.6g}; recompute them",
            table,
        )
    return table


def _readout(readout: Readout, gauge: str) -> Readout:
    return centre(readout) if gauge == "centred" else readout


def _identity(
    world: World, gauge: str, units: Sequence[str], template: Shard
) -> dict[str, Any]:
    """What stored searches must agree in."""
    setting = world.setting
    return {
        "setting": asdict(setting),
        "gauge": gauge,
        "units": list(units),
        "sweep": template.settings,
        "network_sha256": world.card(setting.key)["sha256"],
        "algorithm_version": ALGORITHM_VERSION,
    }


def _search(
    world: World, gauge: str, units: Sequence[str], template: Shard, store: Store,
    checkpoint_seconds: float,
) -> None:
    """All searches of one network in one gauge, together, unless the store holds them."""
    name, identity = world.setting.key, _identity(world, gauge, units, template)
    key = f"{name}-{gauge}"
    try:
        store.read(key, identity)
        return
    except MissingShard:
        resume = _checkpoint(store, key, identity)
    except ShardError as error:
        warnings.warn(f"{error} (it is recomputed now)", stacklevel=2)
        resume = None
    network = world.network(name)
    readout = _readout(network.readout, gauge)
    shards = [
        replace(template, network=f"{name} {gauge}", generator=GENERATOR, unit=unit)
        for unit in units
    ]
    each = [rows(shard, readout.rows([shard.unit])) for shard in shards]
    last = time.monotonic()

    def checkpoint(state: dict[str, torch.Tensor]) -> None:
        nonlocal last
        if time.monotonic() - last >= checkpoint_seconds:
            store.write_partial(key, state, identity)
            last = time.monotonic()

    found = evolution.evolve(
        concatenate([bank for bank, _ in each]), network.backbone, world.generator(GENERATOR),
        [seed for _, seeds in each for seed in seeds], template.search,
        checkpoint=checkpoint, checkpoint_every=1, resume=resume,
    )  # fmt: skip
    store.write(key, _dataset(shards, found), {**identity, "code_version": weights.code_version()})


def _checkpoint(store: Store, key: str, identity: dict[str, Any]) -> dict | None:
    try:
        return store.read_partial(key, identity)
    except ShardError as error:
        warnings.warn(f"{error} (the searches start anew)", stacklevel=3)
        return None


def _dataset(shards: Sequence[Shard], found: evolution.Evolution) -> xr.Dataset:
    conditions, seeds = shards[0].conditions, shards[0].seeds
    shape = (len(shards), len(conditions), len(seeds))
    along = ("shard", "condition", "seed")
    codes = found.codes.numpy().reshape(*shape, -1).astype("float16")
    coords: dict[str, Any] = {
        "condition": [condition.label for condition in conditions],
        "sign": ("condition", [condition.sign for condition in conditions]),
        "alpha": ("condition", [condition.alpha for condition in conditions]),
        "seed": list(seeds),
        "code_size": ("shard", [codes.shape[-1]] * len(shards)),
    }
    for name in ("zoo", "network", "generator", "unit", "key"):
        coords[name] = ("shard", [getattr(shard, name) for shard in shards])
    activation = found.activations.numpy().reshape(shape).astype("float32")
    values = {"codes": ((*along, "code"), codes), "activation": (along, activation)}
    return xr.Dataset(values, coords)
