"""Stored results as a chapter shows them: audited, and where they come from recorded."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from signseg_utils.experiments import agreement
from signseg_utils.experiments.agreement import Comparison
from signseg_utils.files import paths
from signseg_utils.registry import unknown


def record_audit(
    chapter: str,
    *,
    source: str,
    shards: int,
    seed: int,
    tolerance: float,
    what: str = "stored codes, rendered and scored again",
    checked: int | None = None,
    agreed: int | None = None,
    comparisons: Sequence[Comparison] = (),
    damaged: Sequence[str] = (),
    folder: str | Path = ".",
) -> Path:
    """Say where its results come from and how their audit ended.

    Parameters
    ----------
    chapter
        Name of the chapter's files, such as ``"03_the_ablation_sweep"``.
    source
        ``"shipped"`` or ``"recomputed"``.
    shards
        Number of shards shown.
    seed, tolerance
        Seed of the sample; largest relative difference that counts as agreement.
    what
        What was checked, and how, as the page says it after the number.
    checked, agreed
        Stored numbers made again, and those that agreed; default: as many as the comparisons say.
    comparisons
        From the audit: how it ended, and a sentence on each variable that does not simply agree.
        Without them, it is beyond its bounds as soon as one number does not agree.
    damaged
        Names of shipped files that could not be used, so that they were computed again.
    folder
        Where to write; the publisher looks in the working folder of the chapter.
    """
    if source not in ("shipped", "recomputed"):
        raise ValueError(unknown("source", source, ("shipped", "recomputed")))
    if checked is None:
        checked = sum(one.cells for one in comparisons)
    if agreed is None:
        agreed = checked - sum(one.differing for one in comparisons)
    entry: dict[str, Any] = dict(
        source=source, shards=shards, checked=checked, agreed=agreed, seed=seed,
        tolerance=tolerance, what=what, damaged=sorted(damaged), notes=agreement.notes(comparisons),
        outcome=agreement.worst(comparisons),
    )  # fmt: skip
    if not comparisons and agreed < checked:
        entry["outcome"] = agreement.BEYOND
    if not checked:
        entry["notes"] = ["Not audited here: the recordings or images that it takes are absent."]
    path = Path(folder) / f"{chapter}.audit.json"
    paths.write_text(path, json.dumps(entry, indent=1, sort_keys=True) + "\n")
    return path


def all_searches(plans: Sequence[Sequence[Any]], run: Any, chapter: str) -> list[Any]:
    """The searches of several plans, each joined; see `results`."""
    return [joined for joined, _ in results(plans, run, chapter)]


def fits(plan: Sequence[Any], run: Any, chapter: str) -> tuple[list[Any], str]:
    """Results of a plan in its order, and their source; see `results`."""
    ((found, own),) = results([plan], run, chapter)
    return found, own.source


def results(plans: Sequence[Sequence[Any]], run: Any, chapter: str) -> list[tuple[Any, Any]]:
    """Results of experiments, audited, their source and audit recorded.

    Parameters
    ----------
    plans
        Each of experiments of one kind, see `signseg_utils.experiments.base.Experiment`.
    run
        The chapter's parameters: ``zoo``, ``results``, ``recompute``, ``seed`` and, where it has
        them, ``cluster`` and ``audited`` are used.
    chapter
        Name of the chapter's files, as in `record_audit`.

    Returns
    -------
    list
        Of each plan what its kind makes of them (``joined``), and the
        `signseg_utils.experiments.base.Results`. The record says ``"shipped"`` only if all are.
    """
    from signseg_utils import zoos  # brings torch, which the publisher itself does without
    from signseg_utils.experiments import base

    each, compared, damaged, zoo = [], [], [], zoos.load_zoo(run.zoo)
    sample = getattr(run, "audited", 32)
    for plan in plans:
        own = base.obtain(plan, zoo, run.results, run.recompute, getattr(run, "cluster", ""))
        again = base.audit(plan, own.found, zoo, sample=sample, seed=run.seed)
        checked = sum(one.cells for one in again)
        agreed = checked - sum(one.differing for one in again)
        print(f"{len(plan)} {plan[0].UNIT}, {own.source}; {agreed} of {checked} numbers made "
              "again agree")  # fmt: skip
        each.append((plan[0].joined(plan, own.found), own))
        compared += again
        damaged += own.damaged
    record_audit(
        chapter, source="shipped" if all(o.source == "shipped" for _, o in each) else "recomputed",
        shards=sum(map(len, plans)), seed=run.seed, tolerance=plans[0][0].tolerance,
        what=plans[0][0].WHAT, comparisons=compared, damaged=damaged,
    )  # fmt: skip
    return each
