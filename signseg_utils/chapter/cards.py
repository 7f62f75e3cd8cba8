"""Cards: what the manifests of a zoo's artefacts say, side by side and in words."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from signseg_utils.analysis import across_networks, stats
from signseg_utils.basics.refusals import UnknownName
from signseg_utils.metrics import recognition

Manifest = Mapping[str, Any]

_NETWORK: Mapping[str, Callable[[Manifest], Any]] = {
    "top-1, %": lambda card: _percent(card["accuracy"]["top1"]),
    "top-5, %": lambda card: _percent(card["accuracy"]["top5"]),
    "validation images": lambda card: card["accuracy"]["n"],
    "robust top-1, %": lambda card: _percent(card["robust_accuracy"]["top1"]),
    "sign ratio, mean ± SD": lambda card: "{mean:.2f} ± {sd:.2f}".format(**card["sign_ratio"]),
    "weights, thousands": lambda card: round(card["parameters"] / 1e3),
    "MMAC an image": lambda card: f"{card['multiply_accumulates'] / 1e6:.1f}",
    "epochs": lambda card: card.get("epochs_seen", card["recipe"]["epochs"]),
}
_TOLD = [
    "top-1, %",
    "top-5, %",
    "robust top-1, %",
    "robust top-1 at trained distance, %",
    "sign ratio, mean ± SD",
    "epochs",
]
_NAMES = {
    "mAP50": "mAP50",
    "mAP50_95": "mAP50-95",
    "auc": "AUC",
    "n": "held-out images",
    "held_out": "held-out images",
    "held_out_without": "of those, without an object",
}


def table(cards: Mapping[str, Manifest]) -> pd.DataFrame:
    """Cards of networks, generators or detectors: a column each, a property a row, as text.

    Parameters
    ----------
    cards
        Name to manifest (`signseg_utils.zoos.Zoo.card`). Networks show accuracy and cost, the
        others the ``scores`` that were measured when they were made; all show seconds of training
        and seed. A property that one of them lacks, or that a publisher does not tell, is a dash.

    Raises
    ------
    KeyError
        If a manifest lacks what its kind must hold; the message names both.
    """
    found = pd.DataFrame({name: _properties(name, card) for name, card in cards.items()})
    return found.astype(object).where(found.notna(), "–")


def top5_gaps(zoo: Any, networks: Sequence[str], other: str) -> dict[str, stats.Estimate]:
    """Top-5 accuracy of each network less that of the design ``other`` from the same seed.

    Intervals are over validation images; networks without a partner are left out. ``zoo``: a
    `signseg_utils.zoos.Zoo`.
    """
    found = {}
    for name in networks:
        partner = other + name.removeprefix(across_networks.design(name))
        if zoo.path(partner).with_suffix(".json").exists():
            scores = [zoo.card(own)["accuracy"] for own in (name, partner)]
            first, second = (stats.share(round(s["top5"] * s["n"]), s["n"]) for s in scores)
            found[name] = stats.share_difference(first, second)
    return found


def recognition_levels(zoo: Any) -> dict[str, float]:
    """Probability of the right class by guessing and, where cards tell it, for held-out images.

    The second is the mean over the standard networks of a `signseg_utils.zoos.Zoo`: what pictures
    drawn by a search are held against.
    """
    found = {"guessing": recognition.chance(len(zoo.classes)).probability}
    told = [zoo.card(name).get("held_out") for name in zoo.networks]
    if told and all(told):
        found["held-out images"] = sum(own["probability"] for own in told) / len(told)
    return found


def families(zoo: Any) -> pd.DataFrame:
    """Networks of a zoo's families whose weights are there: a row each, what tells them apart.

    ``zoo``: a `signseg_utils.zoos.Zoo`.
    """
    names = (name for family in zoo.families.values() for name in family)
    made = {name: zoo.card(name) for name in names if zoo.path(name).exists()}
    return table(made).T.reindex(columns=_TOLD, fill_value="–")


def _properties(name: str, card: Manifest) -> dict[str, str | None]:
    try:
        if card["kind"] == "network":
            rows = {label: _told(read, card) for label, read in _NETWORK.items()}
            rows |= {} if _by_others(card) else _family(card)
        else:
            scores = card["scores"].items()
            rows = {_NAMES.get(key, key.replace("_", " ")): value for key, value in scores}
        if not _by_others(card):
            rows |= {"training, seconds": round(card["seconds"]), "seed": card["seed"]}
    except KeyError as error:
        raise UnknownName(
            f"expected {error.args[0]!r} in the manifest of {name}, because its card shows it; "
            "restore the manifest from the repository or train anew (make zoo)"
        ) from error
    return {key: _text(value) for key, value in rows.items()}


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _by_others(card: Manifest) -> bool:
    """Whether somebody else trained it: of how, the card holds what they told, and no more."""
    return "url" in card


def _told(read: Callable[[Manifest], Any], card: Manifest) -> Any:
    try:
        return read(card)
    except KeyError:
        if _by_others(card):
            return None
        raise


def _family(card: Manifest) -> dict[str, str]:
    """What only networks of some families have."""
    rows = {}
    if own := card.get("own_robust_accuracy"):
        at = f"{255 * own['epsilon']:g}/255"
        rows["robust top-1 at trained distance, %"] = f"{_percent(own['top1'])} at {at}"
    if parent := card.get("parent"):
        rows["begun from"] = parent["name"]
    if card["recipe"].get("frozen"):
        rows["trained with labels"] = "readout only"
    return rows


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f}"
