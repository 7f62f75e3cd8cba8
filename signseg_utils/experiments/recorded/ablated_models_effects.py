"""What images of ablated models did to neurons: the effects that chapter 13 states beforehand.

Measures are those of `ablated_models.of_kind`: [way, neuron, condition, seed], intact first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr

from signseg_utils.analysis import stats
from signseg_utils.chapter import ledger, reported
from signseg_utils.experiments.recorded.ablated_models import Fit, predicted
from signseg_utils.neurons.simulated import Simulated

ALIKE = 0.25  # s.d.: within it a response is called the same
Array = np.ndarray[Any, np.dtype[np.float64]]


class Effect(NamedTuple):
    """One number a neuron, expected above 0; ``margin``: the smallest that would count."""

    values: Array
    margin: float
    words: str


def gap(values: xr.DataArray, high: str = "negative", low: str = "positive") -> Array:
    """Mean over strengths above 0 under one ablation less that under another: ``[neuron]``."""
    return _over(values, high) - _over(values, low)


def gap_at_most(values: xr.DataArray) -> Array:
    """The largest strength only: negative less positive ablation, ``[neuron]``."""
    most = values.isel(condition=np.flatnonzero(values["alpha"] == values["alpha"].max()))
    return gap(most)


def fall(values: xr.DataArray, sign: str = "positive") -> Array:
    """Intact less ablated, mean over strengths: ``[neuron]``."""
    whole: Array = values.isel(condition=0).values - _over(values, sign)
    return whole


def answered(main: xr.Dataset) -> bool:
    """Whether there is something that answers to images in the neurons' stead."""
    return bool(np.isfinite(main["response"]).all())


def intact(main: xr.Dataset, untrained: Mapping[str, xr.Dataset]) -> dict[str, Array]:
    """Responses to images of intact models: of the own one, as is and held, and of others."""
    told = {"own model": _mean(main, "as is"), "held": _mean(main, "held")}
    found = {name: values.isel(condition=0).values for name, values in told.items()}
    found["other models"] = main["strangers"].sel(way="as is").values
    for name, own in untrained.items():
        found[name] = _mean(own, "as is").isel(condition=0).values
    return found


def effects(
    main: xr.Dataset, layer: xr.Dataset, untrained: Mapping[str, xr.Dataset], control: str
) -> dict[str, Effect]:
    """Id of the ledger's line to its effect.

    Parameters
    ----------
    main, layer, untrained
        Models of the penultimate layer, of the chosen one, and of untrained networks by name.
    control
        The sign that stands for random ablation.
    """
    alike = main["similarity"].mean("judge")
    found = {
        "P-10a predicted": Effect(
            gap(main["predicted"].mean("seed")), 0.1, "predictions fall with positive inputs, "
            "more than with negative ones"),
        "P-10b": Effect(
            gap(alike), 0.05, "images change more under positive than under negative ablation"),
        "P-10b random": Effect(
            gap(alike, control), 0.05, "images change more under positive than random ablation"),
        "P-10b layer": Effect(
            gap_at_most(layer["similarity"].mean("judge")), 0.05,
            "images change more in the layer that training images prefer, too"),
    }  # fmt: skip
    for name, own in untrained.items():
        also = "" if len(untrained) == 1 else f" {name}"
        found[f"P-10b untrained{also}"] = Effect(
            gap_at_most(alike) - gap_at_most(own["similarity"].mean("judge")), 0.05,
            f"the signs of images differ more than with {name}",
        )  # fmt: skip
    if not answered(main):
        return found
    liked = intact(main, untrained)
    found |= {
        "P-8a": Effect(liked["own model"], 0.1, "neurons prefer images of their models"),
        "P-8a number": Effect(liked["own model"] - 1, 0.1, "they do so by more than 1 s.d."),
        "P-8a strangers": Effect(
            liked["own model"] - liked["other models"], 0.1,
            "they prefer images of their own models to those of other neurons' models"),
        "P-8a held": Effect(
            liked["held"], 0.1, "neurons prefer them with luminance and contrast held, too"),
    }  # fmt: skip
    for name in untrained:
        also = "" if len(untrained) == 1 else f" {name}"
        found[f"P-8a untrained{also}"] = Effect(
            liked["own model"] - liked[name], 0.1, f"they prefer them to those made with {name}"
        )
    for way, also in (("as is", ""), ("held", " held")):
        found |= _shown(main, layer, untrained, control, way, also)
    return found


def planted(own: Fit, cells: Simulated) -> dict[str, Effect]:
    """Do models know what drives and what suppresses simulated neurons?

    Models are asked about every class of shape where the neuron looks, before grey; effects are in
    standard deviations of recorded responses, from the mean over classes.
    """
    asked = [cells.index(name) for name in own.models.labels]
    told = predicted(own, torch.stack([cells.shapes(row) for row in asked])).numpy()
    told = told - told.mean(1, keepdims=True)
    sign = cells.truth()["sign"].values[asked]
    suppressed = (sign < 0).any(1)
    return {
        "P-13 drive truth": Effect(
            told[sign > 0], 0.1, "models answer more to the shape that drives the neuron"),
        "P-13 suppression truth": Effect(
            -told[suppressed][sign[suppressed] < 0], 0.1,
            "models answer less to the shape that suppresses the neuron"),
    }  # fmt: skip


def _shown(
    main: xr.Dataset,
    layer: xr.Dataset,
    untrained: Mapping[str, xr.Dataset],
    control: str,
    way: str,
    also: str,
) -> dict[str, Effect]:
    held = ", luminance and contrast held" if also else ""
    own, others = _mean(main, way), main["others"].sel(way=way)
    found = {
        f"P-10a{also}": Effect(
            gap(own), 0.1, f"neurons respond less under positive than negative ablation{held}"),
        f"P-10a fall{also}": Effect(
            fall(own), 0.1, f"neurons respond less under positive ablation than without{held}"),
        f"P-10a random{also}": Effect(
            gap(own, control), 0.1,
            f"neurons respond less under positive than random ablation{held}"),
        f"P-10a layer{also}": Effect(
            gap_at_most(_mean(layer, way)), 0.1,
            f"neurons respond less under positive ablation in the chosen layer, too{held}"),
        f"P-10c{also}": Effect(
            gap(others), 0.05, f"others respond less under positive than negative ablation{held}"),
        f"P-10c fall{also}": Effect(
            fall(others), 0.05, f"others respond less under positive ablation than without{held}"),
        f"P-10c random{also}": Effect(
            gap(others, control), 0.05,
            f"others respond less under positive than random ablation{held}"),
    }  # fmt: skip
    for name, bare in untrained.items():
        which = "" if len(untrained) == 1 else f" {name}"
        found[f"P-10a untrained{which}{also}"] = Effect(
            gap_at_most(own) - gap_at_most(_mean(bare, way)), 0.1,
            f"the signs differ more than with {name}{held}",
        )  # fmt: skip
    return found


def lines(
    found: Mapping[str, Effect], main: xr.Dataset, *, recording: str, zoo: str, seed: int
) -> list[ledger.Line]:
    """The ledger: each effect with interval, permutation p and power, P-10a negative, and P-9."""
    rows = []
    for name, effect in found.items():
        estimate = stats.bootstrap(effect.values, seed=seed)
        known = name.endswith("truth")  # what the book itself planted
        test = f"bootstrap over neurons, above 0, margin {effect.margin:g}"
        if len(effect.values) > 1:
            p = stats.paired_permutation(effect.values, 0 * effect.values, seed=seed).p
            test += f"; permutation p {p:.2g}; 80 % power at {stats.detectable(effect.values):.2g}"
        rows.append(ledger.Line.of(
            estimate, id=name, zoo=zoo, statement=f"{recording}: {effect.words}",
            reported="a control of this book" if known else reported.words(name.split()[0]),
            test=test, verdict=ledger.judge_direction(estimate, "positive", effect.margin),
        ))  # fmt: skip
    if answered(main):
        rows += [_unmoved(main, way, recording, zoo) for way in ("as is", "held")]
    else:
        rows += [
            ledger.not_testable(
                claim,
                zoo,
                f"{recording}: {words}",
                reported.words(claim),
                "no neuron answers to new images here: show them those of images_to",
            )
            for claim, words in (
                ("P-8a", "neurons prefer images of their models"),
                ("P-10a", "neurons respond less under positive than negative ablation"),
                ("P-10c", "others respond less under positive than negative ablation"),
            )
        ]
    rows.append(ledger.not_testable(
        "P-9", zoo, f"{recording}: preferred images of ablated models", reported.words("P-9"),
        "a panel; P-10b measures what it shows",
    ))  # fmt: skip
    return rows


def _unmoved(main: xr.Dataset, way: str, recording: str, zoo: str) -> ledger.Line:
    own = _mean(main, way)
    name, words = "P-10a negative", "negative ablation leaves a neuron's response as it is"
    if way == "held":
        name, words = f"{name} held", f"{words}, luminance and contrast held"
    about: dict[str, Any] = dict(
        id=name, zoo=zoo, statement=f"{recording}: {words}",
        reported=reported.words("P-10a", "negative"),
    )  # fmt: skip
    if own.sizes["neuron"] < 2:
        return ledger.not_testable(**about, why="fewer than two neurons are well-fitted")
    same = stats.equivalence(own.isel(condition=0).values, _over(own, "negative"), ALIKE)
    return ledger.Line(
        **about, measured=same.value, ci_low=same.low, ci_high=same.high, n=same.n,
        test=f"two one-sided t tests, within {ALIKE:g} s.d.; p {same.p:.2g}", seed=None,
        verdict=ledger.judge_alike(same),
    )  # fmt: skip


def opening(found: Mapping[str, Effect], rows: Sequence[ledger.Line]) -> str:
    """The first sentences of a page: do the neurons tell the signs apart, and with what power."""
    if "P-10a" not in found:
        return "No neuron answers to new images here: what follows is about models alone."
    sentences = []
    for name, words in (("P-10a", "images as they are"), ("P-10a held", "these held")):
        told = next(row for row in rows if row.id == name)
        start = {
            "replicated": "Neurons respond less to images of positively than of negatively "
            "ablated models",
            "reversed": "Neurons respond more, not less, to images of positively than of "
            "negatively ablated models",
        }.get(told.verdict, "No sign asymmetry of neurons was found")
        text = f"{start}, {'luminance and contrast held' if 'held' in name else words}: "
        text += f"difference {ledger.measured(told)} s.d., n = {told.n}"
        if told.n and told.n > 1:
            least = stats.detectable(found[name].values)
            text += f"; one of {least:.2g} s.d. would have been found with a power of 80 %"
        sentences.append(f"{text}.")
    return " ".join(sentences)


def _mean(main: xr.Dataset, way: str) -> xr.DataArray:
    return main["response"].sel(way=way).mean("seed")


def _over(values: xr.DataArray, sign: str) -> Array:
    chosen = values.isel(condition=np.flatnonzero(values["sign"] == sign))
    if chosen.sizes["condition"] == 0:
        raise ValueError(
            f"expected a condition of sign {sign!r}, because it is compared with others; got "
            f"{', '.join(dict.fromkeys(values['sign'].values.tolist()))}"
        )
    mean: Array = chosen.mean("condition").values
    return mean
