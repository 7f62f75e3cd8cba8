"""Stored results as a chapter shows them: audited, and where they come from recorded."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from signseg_utils.basics.registry import unknown
from signseg_utils.experiments import agreement
from signseg_utils.experiments.agreement import Comparison
from signseg_utils.files import paths


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
    unfit: Sequence[str] = (),
    notes: Sequence[str] = (),
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
        Names of shipped files that are not whole, so that they were computed again.
    unfit
        The same of files that are whole, but of other weights.
    notes
        Further sentences for the page.
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
        source=source,
        shards=shards,
        checked=checked,
        agreed=agreed,
        seed=seed,
        tolerance=tolerance,
        what=what,
        damaged=sorted(damaged),
        unfit=sorted(unfit),
        notes=[*agreement.notes(comparisons), *notes],
        outcome=agreement.worst(comparisons),
    )
    if not comparisons and agreed < checked:
        entry["outcome"] = agreement.BEYOND
    if not checked:
        absent = "Not audited here: the recordings or images that it takes are absent."
        entry["notes"] = [*notes, absent]
    path = Path(folder) / f"{chapter}.audit.json"
    paths.write_text(path, json.dumps(entry, indent=1, sort_keys=True) + "\n")
    return path


class Audited(NamedTuple):
    """The results of one plan that a page shows, and some of them made again."""

    plan: Sequence[Any]
    own: Any  # signseg_utils.experiments.base.Results
    again: Sequence[Comparison]
    unaudited: Sequence[str] = ()  # why some of them cannot be made again on any machine


def results(
    plans: Sequence[Sequence[Any]], run: Any, chapter: str, before: list[Audited] | None = None
) -> list[tuple[Any, Any]]:
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
    before
        What the page showed already and is told with these; they are added to it.

    Returns
    -------
    list
        Of each plan what its kind makes of them (``joined``), and the
        `signseg_utils.experiments.base.Results`.
    """
    from signseg_utils import zoos  # brings torch, which the publisher itself does without
    from signseg_utils.experiments import base

    told, zoo = [] if before is None else before, zoos.load_zoo(run.zoo)
    each, sample = [], getattr(run, "audited", 32)
    for plan in plans:
        own = base.obtain(plan, zoo, run.results, run.recompute, getattr(run, "cluster", ""))
        again = base.audit(plan, own.found, zoo, sample=sample, seed=run.seed)
        checked = sum(one.cells for one in again)
        agreed = checked - sum(one.differing for one in again)
        ended = (
            f"{agreed} of {checked} numbers made again agree"
            if checked
            else "none made again, since what they are made from is not here"
        )
        print(f"{len(plan)} {plan[0].UNIT}, {own.told}; {ended}")
        each.append((plan[0].joined(plan, own.found), own))
        why = dict.fromkeys(reason for one in plan if (reason := one.unaudited(zoo)))
        told.append(Audited(plan, own, again, tuple(why)))
    _record(chapter, told, run.seed)
    return each


def _record(chapter: str, told: Sequence[Audited], seed: int) -> None:
    """Say of all results of a page where they come from; what was new beside shipped ones, too."""
    shipped = sum(len(one.plan) - one.own.new for one in told)
    new = [f"{one.own.new} of {len(one.plan)} {one.plan[0].UNIT}" for one in told if one.own.new]
    notes = [f"Newly computed for this page: {', '.join(new)}."] if shipped and new else []
    if why := dict.fromkeys(reason for one in told for reason in one.unaudited):
        notes.append(f"Not made again, here or elsewhere: {'; '.join(why)}.")
    record_audit(
        chapter,
        source="shipped" if shipped else "recomputed",
        shards=shipped or sum(len(one.plan) for one in told),
        seed=seed,
        tolerance=max(one.plan[0].tolerance for one in told),
        what="; ".join(dict.fromkeys(one.plan[0].WHAT for one in told)),
        comparisons=[again for one in told for again in one.again],
        damaged=[name for one in told for name in one.own.damaged],
        unfit=[name for one in told for name in one.own.unfit],
        notes=notes,
    )
