"""``signseg sweep``: plan a sweep, say what it takes, run it, audit it."""

import argparse
import concurrent.futures
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from signseg_utils import selection, zoos
from signseg_utils.basics.refusals import UnknownName
from signseg_utils.basics.registry import unknown
from signseg_utils.cli._arguments import number
from signseg_utils.experiments.base import audit, demand, run
from signseg_utils.experiments.cluster import ClusterError, connected
from signseg_utils.experiments.sweep import SIGNS, Shard, estimating, plan, precision
from signseg_utils.files import paths
from signseg_utils.files.store import UnwritableStore
from signseg_utils.search.evolution import Search
from signseg_utils.search.scoring import NoDevice, available

DEFAULT = Shard("", "", "", "")
TEXT = {
    "zoo": ("all", "zoo, or all that ship"),
    "networks": ("", "comma separated; default: all of the zoo"),
    "generators": ("", "comma separated; default: all of the zoo"),
    "units": ("", "comma separated, or all; default: the zoo's own choice"),
    "signs": (",".join(SIGNS), "comma separated"),
    "alphas": ("0:1:0.1", "list, or start:stop:step"),
    "seeds": ("0-3", "list or range"),
    "rule": (DEFAULT.rule, "smallest or largest"),
    "optimizer": (DEFAULT.search.optimizer, "name of an optimiser"),
    "dtype": (DEFAULT.dtype, "precision of the search; auto: bfloat16 where it is certified"),
    "layer": (DEFAULT.layer, "readout, or the layer whose channels are silenced"),
}  # what a sweep is asked for in words, with the meaning that parameters of chapters have


def main(words: Sequence[str]) -> int:
    """Compute what the store lacks of a sweep; the same command continues.

    Raises
    ------
    SystemExit
        With what happened and what to do: wrong arguments, a full disk, a cluster that is lost.
        What was stored stays, and the same command continues.
    """
    parser = _parser()
    given = parser.parse_args(words)
    _refuse_what_contradicts(given, parser)
    try:
        asked = _asked(given)
    except selection.ParameterError as error:
        parser.error(str(error))
    for sweep in asked:
        shards, zoo = _planned(sweep, given)
        if given.dtype == "auto":
            shards, reasons = precision.certified(shards, zoo, given.device)
            print("\n".join(reasons))
        if given.estimate:
            print(_estimated(shards, zoo, given))
            continue
        if sweep.zoo not in zoos.shipped():
            print(estimating.counted(shards, zoo).words())
        folder = given.out or paths.results_folder(sweep.zoo)
        if given.out and len(asked) > 1:
            folder = given.out / sweep.zoo
        try:
            _run(shards, zoo, folder, given)
        except (UnwritableStore, ClusterError) as error:
            notes = getattr(error, "__notes__", [])
            raise SystemExit("\n".join([f"error: {error}", *notes])) from error
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="signseg sweep",
        description="Compute an ablation sweep; the same command continues an interrupted one.",
    )
    for name, (value, meaning) in TEXT.items():
        parser.add_argument(f"--{name}", default=value, help=f"{meaning} (%(default)s)")
    add = parser.add_argument
    add("--generations", type=number("generations"), default=DEFAULT.search.generations)
    add("--population", type=number("population"), default=None)
    add("--out", type=Path, default=None, help="folder (data/results/<zoo>)")
    add("--zoo-folder", type=Path, default=None, help="weights (data/zoo/<zoo>)")
    add("--device", default="cpu")
    add("--threads", type=number("threads"), default=None, help="of torch, in each process")
    add("--workers", type=number("workers"), default=1, help="processes")
    add(
        "--cluster",
        metavar="ADDRESS",
        help="Dask cluster: tcp://host:port, a scheduler file *.json, or local:N (N processes)",
    )
    add("--checkpoint-seconds", type=number("checkpoint_seconds", float), default=15.0)
    add("--estimate", action="store_true", help="say what it takes; run nothing")
    add("--devices", type=number("devices"), default=1, help="that share the estimated hours")
    add(
        "--rate",
        type=float,
        metavar="IMAGES/S",
        help="of each such device, where none is here to be measured",
    )
    add("--audit", type=number("audited"), default=0, help="runs to audit at the end")
    return parser


def _refuse_what_contradicts(given: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse arguments that do not go together, or not with this machine."""
    if given.cluster and given.workers > 1:
        parser.error("expected --workers or --cluster, not both: a cluster has its own workers")
    if given.rate is not None and not 0 < given.rate < float("inf"):
        parser.error(f"expected a rate above 0 images/s; got {given.rate:g}")
    try:
        if given.dtype == "auto" or not (given.estimate and given.rate):
            available(given.device)
    except NoDevice as error:
        parser.error(f"{error}; for an estimate, give --rate")


def _asked(given: argparse.Namespace) -> list[SimpleNamespace]:
    """What is asked for, zoo by zoo: values of `TEXT`, parsed.

    Raises
    ------
    selection.ParameterError
        If one does not fit.
    """
    folders = {"out": given.out, "folder": given.zoo_folder, "cluster": given.cluster}
    selection.parse({name: str(value or "") for name, value in folders.items()})
    values = {name: getattr(given, name) for name in TEXT}
    if given.dtype == "auto":
        values["dtype"] = DEFAULT.dtype
    names = zoos.shipped() if given.zoo == "all" else (given.zoo,)
    return [selection.parse({**values, "zoo": name}) for name in names]


def _planned(sweep: SimpleNamespace, given: argparse.Namespace) -> tuple[list[Shard], zoos.Zoo]:
    """The shards of a sweep, and its zoo.

    Raises
    ------
    UnknownName
        If a network has no layer of that name.
    """
    zoo = zoos.load_zoo(sweep.zoo, given.zoo_folder and given.zoo_folder.resolve())
    if sweep.layer != DEFAULT.layer:
        for name in sweep.networks:
            backbone: Any = zoo.network(name).backbone
            if sweep.layer not in backbone.layer_names:
                raise UnknownName(unknown(f"layer of {name}", sweep.layer, backbone.layer_names))
    shards = plan(
        sweep.zoo,
        sweep.networks,
        sweep.generators,
        sweep.units,
        signs=sweep.signs,
        alphas=sweep.alphas,
        seeds=sweep.seeds,
        rule=sweep.rule,
        dtype=sweep.dtype,
        layer=sweep.layer,
        search=Search(sweep.optimizer, given.generations, given.population),
    )
    return shards, zoo


def _estimated(shards: Sequence[Shard], zoo: zoos.Zoo, given: argparse.Namespace) -> str:
    """What a sweep takes, in words: at the rate that was given, else at this machine's."""
    if given.rate:
        found, kind = estimating.assumed(shards, zoo, given.rate), "so fast"
    else:
        found, kind = estimating.measured(shards, zoo, given.device), "like this one"
    return f"{zoo.name}: {found.words(given.devices, kind)}"


def _run(shards: Sequence[Shard], zoo: zoos.Zoo, folder: Path, given: argparse.Namespace) -> None:
    """Compute and store, here or with workers; audit, if asked to."""
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
