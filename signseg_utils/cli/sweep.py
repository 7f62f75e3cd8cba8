"""``signseg sweep``: plan a sweep, say what it takes, run it, audit it."""

import argparse
import concurrent.futures
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from signseg_utils import selection, zoos
from signseg_utils.experiments.base import audit, demand, run
from signseg_utils.experiments.cluster import ClusterError, connected
from signseg_utils.experiments.sweep import SIGNS, Shard, estimating, plan, precision
from signseg_utils.files import paths
from signseg_utils.files.store import UnwritableStore
from signseg_utils.refusals import UnknownName
from signseg_utils.registry import unknown
from signseg_utils.search.evolution import Search
from signseg_utils.search.scoring import NoDevice, available
from signseg_utils.selection import argument


def main(words: Sequence[str]) -> int:
    """Compute what the store lacks of a sweep; the same command continues.

    Raises
    ------
    SystemExit
        With what happened and what to do: wrong arguments, a full disk, a cluster that is lost.
        What was stored stays, and the same command continues.
    """
    parser = argparse.ArgumentParser(
        prog="signseg sweep",
        description="Compute an ablation sweep; the same command continues an interrupted one.",
    )
    default = Shard("", "", "", "")
    text = {
        "zoo": ("all", "zoo, or all that ship"),
        "networks": ("", "comma separated; default: all of the zoo"),
        "generators": ("", "comma separated; default: all of the zoo"),
        "units": ("", "comma separated, or all; default: the zoo's own choice"),
        "signs": (",".join(SIGNS), "comma separated"),
        "alphas": ("0:1:0.1", "list, or start:stop:step"),
        "seeds": ("0-3", "list or range"),
        "rule": (default.rule, "smallest or largest"),
        "optimizer": (default.search.optimizer, "name of an optimiser"),
        "dtype": (default.dtype, "precision of the search; auto: bfloat16 where it is certified"),
        "layer": (default.layer, "readout, or the layer whose channels are silenced"),
    }
    for name, (value, meaning) in text.items():
        parser.add_argument(f"--{name}", default=value, help=f"{meaning} (%(default)s)")
    parser.add_argument(
        "--generations", type=argument("generations"), default=default.search.generations
    )
    parser.add_argument("--population", type=argument("population"), default=None)
    parser.add_argument("--out", type=Path, default=None, help="folder (data/results/<zoo>)")
    parser.add_argument("--zoo-folder", type=Path, default=None, help="weights (data/zoo/<zoo>)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--threads", type=argument("threads"), default=None, help="of torch, in each process"
    )
    parser.add_argument("--workers", type=argument("workers"), default=1, help="processes")
    parser.add_argument(
        "--cluster", metavar="ADDRESS",
        help="Dask cluster: tcp://host:port, a scheduler file *.json, or local:N (N processes)",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint-seconds", type=argument("checkpoint_seconds", float), default=15.0
    )
    parser.add_argument("--estimate", action="store_true", help="say what it takes; run nothing")
    parser.add_argument(
        "--devices", type=argument("devices"), default=1, help="that share the estimated hours"
    )
    parser.add_argument(
        "--rate", type=float, metavar="IMAGES/S",
        help="of each such device, where none is here to be measured",
    )  # fmt: skip
    parser.add_argument(
        "--audit", type=argument("audited"), default=0, help="runs to audit at the end"
    )
    given = parser.parse_args(words)
    if given.cluster and given.workers > 1:
        parser.error("expected --workers or --cluster, not both: a cluster has its own workers")
    if given.rate is not None and not 0 < given.rate < float("inf"):
        parser.error(f"expected a rate above 0 images/s; got {given.rate:g}")
    try:
        if given.dtype == "auto" or not (given.estimate and given.rate):
            available(given.device)
    except NoDevice as error:
        parser.error(f"{error}; for an estimate, give --rate")
    names = zoos.shipped() if given.zoo == "all" else (given.zoo,)
    certify = given.dtype == "auto"
    given.dtype = default.dtype if certify else given.dtype
    try:
        folders = {"out": given.out, "folder": given.zoo_folder, "cluster": given.cluster}
        selection.parse({name: str(value or "") for name, value in folders.items()})
        asked = [
            selection.parse({**{name: getattr(given, name) for name in text}, "zoo": zoo})
            for zoo in names
        ]
    except selection.ParameterError as error:
        parser.error(str(error))
    for sweep in asked:
        if sweep.layer != default.layer:
            opened = zoos.load_zoo(sweep.zoo, given.zoo_folder)
            for name in sweep.networks:
                backbone: Any = opened.network(name).backbone
                if sweep.layer not in backbone.layer_names:
                    raise UnknownName(
                        unknown(f"layer of {name}", sweep.layer, backbone.layer_names)
                    )
        shards = plan(
            sweep.zoo, sweep.networks, sweep.generators, sweep.units,
            signs=sweep.signs, alphas=sweep.alphas, seeds=sweep.seeds, rule=sweep.rule,
            dtype=sweep.dtype, layer=sweep.layer,
            search=Search(sweep.optimizer, given.generations, given.population),
        )  # fmt: skip
        zoo = zoos.load_zoo(sweep.zoo, given.zoo_folder and given.zoo_folder.resolve())
        if certify:
            shards, reasons = precision.certified(shards, zoo, given.device)
            print("\n".join(reasons))
        if given.estimate:
            if given.rate:
                found, kind = estimating.assumed(shards, zoo, given.rate), "so fast"
            else:
                found = estimating.measured(shards, zoo, given.device)
                kind = "like this one"
            print(f"{sweep.zoo}: {found.words(given.devices, kind)}")
            continue
        if sweep.zoo not in zoos.shipped():
            print(estimating.counted(shards, zoo).words())
        folder = given.out or paths.results_folder(sweep.zoo)
        if given.out and len(asked) > 1:
            folder = given.out / sweep.zoo
        try:
            _run_command(shards, zoo, folder, given)
        except (UnwritableStore, ClusterError) as error:
            notes = getattr(error, "__notes__", [])
            raise SystemExit("\n".join([f"error: {error}", *notes])) from error
    return 0


def _run_command(
    shards: Sequence[Shard], zoo: zoos.Zoo, folder: Path, given: argparse.Namespace
) -> None:
    options = {
        "device": given.device,
        "threads": given.threads,
        "checkpoint_seconds": given.checkpoint_seconds,
    }
    folder = folder.resolve()  # a worker may stand in another folder
    if given.cluster:
        options["threads"] = given.threads or 1
        with connected(given.cluster) as executor:
            found = run(shards, zoo, folder, executor, **options)
    elif given.workers > 1:
        options["threads"] = given.threads or max(1, (os.cpu_count() or 1) // given.workers)
        context = torch.multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(given.workers, mp_context=context) as pool:
            found = run(shards, zoo, folder, pool, **options)
    else:
        found = run(shards, zoo, folder, **options)
    print(f"{len(found)} shards in {folder}")
    if given.audit:
        again = audit(shards, found, zoo, sample=given.audit)
        print(f"audit: {demand(again)} activations agree")

