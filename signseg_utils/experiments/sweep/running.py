"""Compute what the store does not hold yet, in pieces that survive anything; read the rest."""

import concurrent.futures
import hashlib
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import nn

from signseg_utils import __version__, zoos
from signseg_utils.experiments.sweep import layers
from signseg_utils.experiments.sweep.cluster import connected
from signseg_utils.experiments.sweep.shards import ALGORITHM_VERSION, READOUT, Shard, load, rows
from signseg_utils.files.paths import results_folder
from signseg_utils.files.store import MissingShard, ShardError, Store
from signseg_utils.progress import Work
from signseg_utils.search import evolution
from signseg_utils.units.readout import Readout, concatenate

TIMINGS = "timings.jsonl"


def run_shard(
    shard: Shard,
    folder: Path,
    *,
    zoo_folder: Path | None = None,
    device: str = "cpu",
    threads: int | None = None,
    checkpoint_seconds: float = 15.0,
    progress: bool = True,
    warn: bool = True,
) -> str:
    """Compute one shard unless the store holds it; return its key.

    Killed at any moment and called again, it continues from its last checkpoint (a shard that
    ablates channels: from its beginning) and ends in the same file. Damaged or foreign files are
    named in a warning and replaced.

    Parameters
    ----------
    folder
        Of the store.
    zoo_folder
        Weights of the zoo, if not the shipped ones.
    threads
        For torch, in this process; results may differ in the last bits between numbers of threads.
    checkpoint_seconds
        At least so long between two checkpoints.
    progress
        Whether it says what is done and left (`signseg_utils.progress`).
    warn
        Whether to name a damaged or foreign shard.

    Raises
    ------
    store.UnwritableStore
        If the disk is full or the folder cannot be written; the last checkpoint stays.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    zoo = zoos.load_zoo(shard.zoo, zoo_folder)
    results, identity = Store(Path(folder)), shard.identity(zoo)
    if _usable(results, shard.key, identity, warn=warn):
        return shard.key
    network, generator = load(
        zoo.name, zoo.folder, shard.network, shard.generator,
        identity["network_sha256"], identity["generator_sha256"],
    )  # fmt: skip
    versions = {"package_version": __version__, "torch_version": str(torch.__version__)}
    sources = _sources()
    if shard.layer == READOUT:
        bank, seeds = rows(shard, network.readout.rows([shard.unit]))
        found = with_checkpoints(
            results, shard.key, identity, checkpoint_seconds, bank, network.backbone, generator,
            seeds, shard.search,
            progress=progress, device=device, dtype=getattr(torch, shard.dtype),
        )  # fmt: skip
    else:
        found = layers.search(shard, network, generator, device=device, progress=progress)
    intact = concatenate([network.readout.rows([shard.unit])] * len(found.codes))
    responses = evolution.rescore(intact, network.backbone, generator, found.codes, device=device)
    dataset = _dataset(shard, found, responses)
    results.write(shard.key, dataset, {**identity, **versions})
    _note(results, shard, found, sources)
    return shard.key


def with_checkpoints(
    results: Store,
    key: str,
    identity: Mapping[str, Any],
    seconds: float,
    bank: Readout,
    backbone: nn.Module,
    generator: nn.Module,
    seeds: Sequence[int],
    search: evolution.Search,
    **options: Any,
) -> evolution.Evolution:
    """Evolve from the store's checkpoint of ``key`` on, if it has one, and leave others.

    Parameters
    ----------
    seconds
        At least so long between two checkpoints.
    options
        Further arguments of `signseg_utils.search.evolution.evolve`.
    """
    last = time.monotonic()
    resume = _checkpoint(results, key, identity)

    def checkpoint(state: dict[str, torch.Tensor]) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            results.write_partial(key, state, identity)
            last = time.monotonic()

    return evolution.evolve(
        bank, backbone, generator, seeds, search,
        checkpoint=checkpoint, checkpoint_every=1, resume=resume, **options,
    )  # fmt: skip


def run(
    plan: Sequence[Shard],
    results: Store | Path,
    executor: concurrent.futures.Executor | None = None,
    *,
    zoo_folder: Path | None = None,
    progress: bool = True,
    **options: Any,
) -> xr.Dataset:
    """Compute the shards of a plan that the store does not hold, and read all of them.

    Parameters
    ----------
    executor
        Anything with the interface of `concurrent.futures` (threads, processes, a Dask client's
        ``get_executor()``); ``None`` computes here, one shard after the other. Workers must see
        the same folders.
    options
        Further arguments of `run_shard` (device, threads, checkpoint_seconds).

    Returns
    -------
    Dataset
        As `collect` gives it.

    Raises
    ------
    Exception
        The first error of a shard, with its key; shards that were finished are kept.
    """
    folder = results.folder if isinstance(results, Store) else Path(results)
    opened = {shard.zoo: zoos.load_zoo(shard.zoo, zoo_folder) for shard in plan}
    store = Store(folder)
    pending = [
        shard
        for shard in plan
        if not _usable(store, shard.key, shard.identity(opened[shard.zoo]), warn=True)
    ]
    if pending:
        _compute(pending, len(plan), folder, executor, progress, zoo_folder, options)
    return collect(plan, folder, zoo_folder=zoo_folder)


def obtain(
    plan: Sequence[Shard], results: str | Path = "", recompute: bool = False, cluster: str = ""
) -> tuple[xr.Dataset, Path, str]:
    """What a chapter shows: the shipped searches where they fit the plan, else new ones.

    Parameters
    ----------
    plan
        Of one zoo.
    results
        Folder of searches; empty: the shipped ones, or ``runs/<zoo>`` if those do not fit.
    recompute
        Search even where shipped results fit.
    cluster
        Address of a Dask cluster that searches (see
        `signseg_utils.experiments.sweep.cluster.connected`); empty: this process.

    Returns
    -------
    Dataset, Path, str
        As `collect` gives it; the folder it lies in; ``"shipped"`` or ``"recomputed"``.
    """
    zoo = plan[0].zoo
    shipped = results_folder(zoo)
    stored = not recompute and not results and holds(plan, shipped)
    folder = shipped if stored else Path(results or f"runs/{zoo}")
    if stored or not cluster:
        return run(plan, folder), folder, "shipped" if stored else "recomputed"
    with connected(cluster) as executor:  # workers may stand in another folder
        return run(plan, folder.resolve(), executor, threads=1), folder, "recomputed"


def damaged(plan: Sequence[Shard]) -> list[str]:
    """Names of shipped files of a plan that are damaged, so that others are shown."""
    return Store(results_folder(plan[0].zoo)).damaged(shard.key for shard in plan)


def holds(plan: Sequence[Shard], results: Store | Path, *, zoo_folder: Path | None = None) -> bool:
    """Whether a store has every shard of the plan, whole and made with the present weights."""
    folder = results if isinstance(results, Store) else Store(Path(results))
    opened = {shard.zoo: zoos.load_zoo(shard.zoo, zoo_folder) for shard in plan}
    return all(
        _usable(folder, shard.key, shard.identity(opened[shard.zoo]), warn=False) for shard in plan
    )


def collect(
    plan: Sequence[Shard], results: Store | Path, *, zoo_folder: Path | None = None
) -> xr.Dataset:
    """Read finished shards into one dataset.

    Returns
    -------
    Dataset
        Dimensions (shard, condition, seed, code, generation). Along ``shard``: zoo, network,
        generator, unit, key, code_size; along ``condition``: sign, alpha. Variables: ``codes``
        (float16, padded with NaN where generators differ in size), ``activation`` (of the ablated
        unit for its own image), ``response`` (of the intact unit for the same image), ``trace``
        (best so far).

    Raises
    ------
    store.MissingShard, store.DamagedShard, store.ForeignShard
        The message names the shard.
    ValueError
        If the shards have different conditions or seeds.
    """
    if not plan:
        raise ValueError("expected at least one shard in the plan; got none")
    shared = {
        (shard.conditions, shard.seeds, shard.search.generations, shard.layer) for shard in plan
    }
    if len(shared) > 1:
        raise ValueError(
            "expected shards with the same conditions, seeds, generations and layer, because they "
            f"become one array; got {len(shared)} different ones; collect them separately"
        )
    folder = results if isinstance(results, Store) else Store(Path(results))
    opened = {shard.zoo: zoos.load_zoo(shard.zoo, zoo_folder) for shard in plan}
    pieces: list[xr.Dataset] = []
    widest = 0
    for shard in plan:
        piece = folder.read(shard.key, shard.identity(opened[shard.zoo])).drop_attrs()
        names = {"zoo": shard.zoo, "network": shard.network, "generator": shard.generator}
        names |= {"unit": shard.unit, "key": shard.key}
        along: dict[str, Any] = {name: ("shard", [value]) for name, value in names.items()}
        along["code_size"] = ("shard", [piece.sizes["code"]])
        widest = max(widest, piece.sizes["code"])
        pieces.append(piece.expand_dims("shard").assign_coords(along))
    padded = [
        piece.pad(code=(0, widest - piece.sizes["code"]), constant_values=float("nan"))
        if piece.sizes["code"] < widest
        else piece
        for piece in pieces
    ]
    together = xr.concat(padded, dim="shard", coords="minimal", compat="equals", join="exact")
    together.attrs = {"algorithm_version": ALGORITHM_VERSION, "shards": len(plan)}
    return together


def timings(results: Store | Path) -> pd.DataFrame:
    """What each shard cost when it was computed: seconds, share in networks, images, runs."""
    folder = results.folder if isinstance(results, Store) else Path(results)
    file = folder / TIMINGS
    lines = file.read_text().splitlines() if file.exists() else []
    columns = ["key", "seconds", "network_seconds", "images", "runs", "threads", "source_sha256"]
    return pd.DataFrame([json.loads(line) for line in lines], columns=columns).drop_duplicates(
        "key", keep="last"
    )


def _dataset(shard: Shard, found: evolution.Evolution, responses: torch.Tensor) -> xr.Dataset:
    shape = (len(shard.conditions), len(shard.seeds))

    def grid(values: torch.Tensor, dtype: str) -> np.ndarray:
        return values.cpu().numpy().reshape(*shape, *values.shape[1:]).astype(dtype)

    runs = ("condition", "seed")
    return xr.Dataset(
        {
            "codes": ((*runs, "code"), grid(found.codes, "float16")),
            "activation": (runs, grid(found.activations, "float32")),
            "response": (runs, grid(responses, "float32")),
            "trace": ((*runs, "generation"), grid(found.trace, "float32")),
        },
        coords={
            "condition": [condition.label for condition in shard.conditions],
            "sign": ("condition", [condition.sign for condition in shard.conditions]),
            "alpha": ("condition", [condition.alpha for condition in shard.conditions]),
            "seed": list(shard.seeds),
        },
    )


def _usable(results: Store, key: str, identity: Mapping[str, Any], warn: bool) -> bool:
    try:
        results.read(key, identity)
    except MissingShard:
        return False
    except ShardError as error:
        if warn:
            warnings.warn(f"{error} (it is recomputed now)", stacklevel=3)
        return False
    return True


def _checkpoint(results: Store, key: str, identity: Mapping[str, Any]) -> dict | None:
    try:
        return results.read_partial(key, identity)
    except ShardError as error:
        warnings.warn(f"{error} (the shard starts anew)", stacklevel=2)
        return None


def _compute(
    pending: Sequence[Shard],
    planned: int,
    folder: Path,
    executor: concurrent.futures.Executor | None,
    progress: bool,
    zoo_folder: Path | None,
    options: Mapping[str, Any],
) -> None:
    """Run shards here or on an executor, counted as one work."""
    options = {**options, "zoo_folder": zoo_folder, "warn": False}
    with Work(
        planned, "shards", "sweep", there=planned - len(pending), resumes=True, speaks=progress
    ) as work:
        if executor is None:
            for shard in pending:
                with _named(shard):
                    run_shard(shard, folder, **options)
                work.advance()
            return
        futures = {
            executor.submit(run_shard, shard, folder, progress=False, **options): shard
            for shard in pending
        }
        try:
            for future in concurrent.futures.as_completed(futures):
                with _named(futures[future]):
                    future.result()
                work.advance()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


class _named:
    """Adds the shard to an error that leaves the block."""

    def __init__(self, shard: Shard):
        self.shard = shard

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            error.add_note(f"in shard {self.shard.key}; finished shards and checkpoints are kept")


def _note(results: Store, shard: Shard, found: evolution.Evolution, sources: str) -> None:
    """What may differ goes beside the shard, not into it: equal results are equal files."""
    line = {
        "key": shard.key,
        "seconds": round(found.seconds, 2),
        "network_seconds": round(found.network_seconds, 2),
        "images": found.images_seen,
        "runs": len(found.codes),
        "threads": torch.get_num_threads(),
        "source_sha256": sources,
    }
    try:
        with open(Path(results.folder) / TIMINGS, "a") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:  # the shard itself is safe
        warnings.warn(f"the cost of shard {shard.key} was not recorded: {error}", stacklevel=2)


@lru_cache(maxsize=1)
def _sources() -> str:
    """Hash of the sources that results depend on: recorded beside the shards, never compared."""
    package = Path(__file__).parents[2]
    units = [package / "units" / f"{name}.py" for name in ("ablation", "contributions", "readout")]
    sources = units + [package / "search" / f"{name}.py" for name in ("evolution", "scoring")]
    for folder in ("optimizers", "generators", "networks"):
        sources += sorted((package / folder).glob("*.py"))
    digest = hashlib.sha256()
    for file in sources:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
