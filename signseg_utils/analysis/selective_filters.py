"""Do filters that are selective for a category answer negatively to it, too? Effects over networks.

Each function takes the measures of `signseg_utils.experiments.negative_selectivity`, network to
Dataset, and gives what a claim is judged by. Filters are those of intermediate layers: all that
were measured but the first and the last.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import rankdata

from signseg_utils.analysis import selectivity, stats

Found = Mapping[str, xr.Dataset]
Array = np.ndarray[Any, Any]

FEWEST = 10  # filters that count as selective where fewer reach the threshold: the highest
SHUFFLED = "shuffled"
# Kind, end and gauge of `weight_rhos`.
RHOS = (
    ("", "mean", "centred"),
    (" partial", "mean", "centred"),
    (" raw", "mean", "raw"),
    (" minima", "minima", "centred"),
)
TOO_FEW = "in no network do two filters reach the index"
NO_TWINS = "this zoo has no untrained networks"
READINGS = {"paper": "the paper's text", "readme": "the README", "notebook": "the notebook"}


def intermediate(own: xr.Dataset) -> Array:
    """Filters ``[row]`` of neither the first nor the last layer that answer anything."""
    depth = own["depth"].values
    inner: Array = (depth > 0) & (depth < 1) & np.isfinite(own["before"].values)
    return inner


def reaching(own: xr.Dataset, category: str, least: float, reading: str = "paper") -> Array:
    """Filters ``[row]`` of intermediate layers whose index is above ``least``."""
    return intermediate(own) & (own[reading].sel(category=category).values > least)


def selective(own: xr.Dataset, category: str, least: float, reading: str = "paper") -> Array:
    """Filters ``[row]`` that are `reaching`; where fewer than ten are, the ten highest."""
    found = reaching(own, category, least, reading)
    if found.sum() >= FEWEST:
        return found
    index = np.where(intermediate(own), own[reading].sel(category=category).values, -np.inf)
    highest = np.zeros(len(index), dtype=bool)
    highest[np.argsort(-index, kind="stable")[:FEWEST]] = True
    return highest & np.isfinite(index)


def share(own: xr.Dataset, category: str, side: str, end: str) -> Array:
    """Share of a category among the images that make an end of each filter: ``[row]``.

    Parameters
    ----------
    side
        ``top`` or ``bottom``.
    end
        What it is sorted by: one of `selectivity.ENDS`, or with `` contrast`` regressed out.
    """
    size = selectivity.end_size(int(own["images"]))
    return np.asarray(own[side].sel(category=category, end=end).values / size)


def base_rate(own: xr.Dataset, category: str) -> float:
    """Share of a category among all images."""
    return float(own["members"].sel(category=category) / own["images"])


def excess(own: xr.Dataset, category: str, end: str, rows: Array, side: str = "bottom") -> Array:
    """`share` relative to the base rate, less 1, of some filters: ``[filter]``.

    0 where the category is as frequent as in all images, -1 where none of it is there.
    """
    return share(own, category, side, end)[rows] / base_rate(own, category) - 1


def negative_ends(
    found: Found, twins: Found, category: str, least: float
) -> Iterator[tuple[str, Any, str]]:
    """Excess of a category at the negative end of selective filters, and what could explain it.

    Parameters
    ----------
    found, twins
        Measures of trained networks, and of untrained ones under the trained ones' names.

    Yields
    ------
    tuple
        Kind, such as ``" minima"``; network to estimate over filters, or a table (network, unit)
        where units are categories, None where nothing can be measured; and why nothing could.
    """
    for end in ("mean", "minima"):
        word = "" if end == "mean" else f" {end}"
        yield word, _means(_at_end(found, category, least, end)), TOO_FEW
        strict = {
            name: excess(own, category, end, reaching(own, category, least))
            for name, own in found.items()
        }
        yield f"{word} strict", _means(strict), TOO_FEW
        apart = _at_end(found, category, least, f"{end} contrast")
        yield f"{word} contrast", _means(apart), TOO_FEW
        if end == "mean":
            yield " centre", _means(_at_end(found, category, least, "centre")), TOO_FEW
        pair = [_at_end(of, category, least, end) for of in (_only(found, twins), twins)]
        yield f"{word} untrained", _gaps(*pair), NO_TWINS
        yield f"{word} shuffled", _shuffled(found, end), TOO_FEW
        yield f"{word} others", _others(found, category, least, end), "there is no other category"


def _only(found: Found, names: Found) -> dict[str, xr.Dataset]:
    return {name: own for name, own in found.items() if name in names}


def _at_end(found: Found, category: str, least: float, end: str) -> dict[str, Array]:
    """Excess of selective filters of each network."""
    return {
        name: excess(own, category, end, selective(own, category, least))
        for name, own in found.items()
    }


def _means(values: Mapping[str, Array]) -> dict[str, stats.Estimate] | None:
    """Mean over filters in each network that has two or more; None if none has."""
    finite = {name: own[np.isfinite(own)] for name, own in values.items()}
    return {name: stats.mean(own) for name, own in finite.items() if len(own) > 1} or None


def _shuffled(found: Found, end: str) -> Any:
    """Excess with the labels of images shuffled, at filters that are selective by such labels."""
    values = {}
    for name, own in found.items():
        kinds = [category for category in _names(own) if category.startswith(SHUFFLED)]
        each = [excess(own, kind, end, selective(own, kind, np.inf)) for kind in kinds]
        values[name] = np.concatenate(each)
    return _means(values)


def _others(found: Found, category: str, least: float, end: str) -> xr.DataArray | None:
    """Excess of each other category at filters that are selective for it: (network, unit)."""
    kept = [name for name in real_categories(found) if name != category]
    if not kept:
        return None
    table = [
        [float(excess(own, c, end, selective(own, c, least)).mean()) for c in kept]
        for own in found.values()
    ]
    along = {"network": list(found), "unit": kept}
    return xr.DataArray(table, along, dims=("network", "unit"))


def real_categories(found: Found) -> list[str]:
    """Names of the categories whose labels are not shuffled."""
    own = next(iter(found.values()))
    return [name for name in _names(own) if not name.startswith(SHUFFLED)]


def _names(own: xr.Dataset) -> list[str]:
    return [str(name) for name in own["category"].values]


# ---------------------------------------------------------------- tuning


def tuning_gaps(
    found: Found, twins: Found, category: str, least: float
) -> Iterator[tuple[str, Any, str]]:
    """How much nearer to a half-normal selective filters are behind the rectifier than before it.

    Yields
    ------
    tuple
        Kind; network to estimate over filters; why nothing could be measured. Kinds: ``""``, the
        fall of the distance; `` untrained``, less that in untrained networks; `` others``, less
        that of other filters; `` exponential``, distance to a half-normal less that to an
        exponential, behind the rectifier.
    """
    chosen = {name: selective(own, category, least) for name, own in found.items()}
    falls = {name: (own["before"] - own["behind"]).values for name, own in found.items()}
    ours = {name: own[chosen[name]] for name, own in falls.items()}
    yield "", _means(ours), TOO_FEW
    apart = {n: (own["behind"] - own["exponential"]).values[chosen[n]] for n, own in found.items()}
    yield " exponential", _means(apart), TOO_FEW
    of_twins = {
        name: (own["before"] - own["behind"]).values[selective(own, category, least)]
        for name, own in twins.items()
    }
    yield " untrained", _gaps({name: ours[name] for name in of_twins}, of_twins), NO_TWINS
    rest = {n: own[intermediate(found[n]) & ~chosen[n]] for n, own in falls.items()}
    yield " others", _gaps(ours, rest), TOO_FEW


def _gaps(first: Mapping[str, Array], second: Mapping[str, Array]) -> Any:
    pairs = {n: [own[np.isfinite(own)] for own in (first[n], second[n])] for n in first}
    kept = {name: pair for name, pair in pairs.items() if min(map(len, pair)) > 1}
    with warnings.catch_warnings():  # all filters of one group may be alike, which is no error
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        return {name: stats.gap(*pair) for name, pair in kept.items()} or None


def tuning_curves(own: xr.Dataset, rows: Array) -> dict[str, tuple[Array, stats.Curve]]:
    """Responses by rank of the image, before the rectifier and behind it, beside a half-normal.

    Mean over filters, each in units of the standard deviation of its responses, with 95 %
    intervals; the half-normal has the mean square of what is behind the rectifier.
    """
    level = np.asarray(own["level"].values)
    before = np.asarray(own["curve"].values[rows], dtype=float)
    behind = np.maximum(before, 0)
    found = {"before the rectifier": before, "behind it": behind}
    drawn = {name: (100 * level, stats.mean_curve(values)) for name, values in found.items()}
    inner = np.clip(level, 0.0, 0.99)  # the highest response of a half-normal has no end
    scale = np.sqrt(np.square(behind).mean(1))[:, None]
    expected = scale * selectivity.half_normal_quantiles(inner)
    return {**drawn, "half-normal": (100 * level, stats.mean_curve(expected))}


# ---------------------------------------------------------------- weights of the output units


def weight_rhos(found: Found) -> Iterator[tuple[str, xr.DataArray]]:
    """Rank correlation of a category's share at the negative end with its output units' weights.

    Over filters of the last layer. Yields kind and a table (network, unit), units being categories:
    ``""`` weights less their mean over classes; `` raw``; `` minima``: the end by the lowest place;
    `` partial``: with the index partialled out of either.
    """
    kept = real_categories(found)
    along = {"network": list(found), "unit": kept}
    for kind, end, gauge in RHOS:
        partial = kind == " partial"
        table = [[_rho(own, c, end, gauge, partial) for c in kept] for own in found.values()]
        yield kind, xr.DataArray(table, along, dims=("network", "unit"))


def last_layer(own: xr.Dataset, category: str, end: str, gauge: str) -> dict[str, Array]:
    """``share`` at the negative end, ``weight`` and ``index`` of the last layer's filters."""
    values = {
        "share": share(own, category, "bottom", end),
        "weight": own[gauge].sel(category=category).values,
        "index": own["paper"].sel(category=category).values,
    }
    rows = np.isfinite(values["weight"]) & np.isfinite(values["index"])
    return {name: np.asarray(each[rows], dtype=float) for name, each in values.items()}


def _rho(own: xr.Dataset, category: str, end: str, gauge: str, partial: bool) -> float:
    values = last_layer(own, category, end, gauge)
    first, second, third = (rankdata(values[name]) for name in ("share", "weight", "index"))
    if min(np.ptp(ranks) for ranks in (first, second, third)) == 0:
        return float("nan")
    if partial:
        first, second = (_rest(ranks, third) for ranks in (first, second))
    return float(np.corrcoef(first, second)[0, 1])


def _rest(values: Array, of: Array) -> Array:
    """Values less what a line over ``of`` says of them."""
    centred = of - of.mean()
    return np.asarray(values - centred * (centred @ values) / (centred @ centred))


# ---------------------------------------------------------------- tables and panels


def told(found: Found, category: str, least: float) -> dict[str, Any]:
    """What sentences say of the filters: of all networks together, how many reach the index."""
    return {
        "category": category,
        "filters": sum(int(intermediate(own).sum()) for own in found.values()),
        "reaching": sum(int(reaching(own, category, least).sum()) for own in found.values()),
    }


def counts(found: Found, category: str, least: float) -> pd.DataFrame:
    """How many filters reach the index, and how many answer negatively to the category, too."""
    rows = {}
    for name, own in found.items():
        chosen = selective(own, category, least)
        over = [int((excess(own, category, end, chosen) > 0).sum()) for end in ("mean", "minima")]
        index = own["paper"].sel(category=category).values[intermediate(own)]
        rows[name] = {
            "filters": int(intermediate(own).sum()),
            f"index above {least:g}": int(reaching(own, category, least).sum()),
            "highest index": round(float(np.nanmax(index)), 3),
            "selective": int(chosen.sum()),
            "more at negative end, over places": over[0],
            "more at negative end, at a place": over[1],
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def two_ended(found: Found, category: str, times: float = 2) -> pd.DataFrame:
    """Filters that like a category by their positive end alone, and what is at the other end.

    An index of means cannot find a filter that one half of a category excites and the other
    inhibits. So filters are counted here whose positive end holds at least ``times`` the base rate
    of the category, and among them those whose negative end holds as much, too.
    """
    rows = {}
    for name, own in found.items():
        for end, word in (("mean", "over places"), ("minima", "at a place")):
            inner = intermediate(own)
            top, bottom = (excess(own, category, end, inner, side) for side in ("top", "bottom"))
            liking = top >= times - 1
            mean = round(float(bottom[liking].mean()), 2) if liking.any() else None
            rows[f"{name}, {word}"] = {
                f"{times:g} x the base rate at the positive end": int(liking.sum()),
                "at both ends": int((liking & (bottom >= times - 1)).sum()),
                "excess at the negative end": mean,
                f"{times:g} x at the negative end, any filter": int((bottom >= times - 1).sum()),
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def readings(found: Found, category: str, least: float) -> pd.DataFrame:
    """The three readings of the index side by side, all networks together.

    How many filters are above the threshold, how each reading ranks filters beside the paper's
    (mean rho), and the mean excess at the negative end of the ten filters that each puts highest.
    """
    rows = {}
    for reading, name in READINGS.items():
        above, rho, ends = 0, [], []
        for own in found.values():
            inner = intermediate(own)
            values = [own[kind].sel(category=category).values[inner] for kind in (reading, "paper")]
            above += int(reaching(own, category, least, reading).sum())
            rho.append(stats.spearman(*values).value)
            highest = selective(own, category, np.inf, reading)
            ends.append([excess(own, category, end, highest).mean() for end in ("mean", "minima")])
        over, at = np.mean(ends, 0)
        rows[name] = {
            f"above {least:g}": above,
            "rho with the text's": round(float(np.mean(rho)), 2),
            "excess, over places": round(float(over), 2),
            "excess, at a place": round(float(at), 2),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def by_depth(found: Found, category: str, end: str) -> dict[str, tuple[Array, stats.Curve]]:
    """Excess at the negative end of the ten filters of the highest index in each layer.

    Network to relative depth and a curve with its interval over filters.
    """
    drawn = {}
    for name, own in found.items():
        depths = np.unique(own["depth"].values)
        index = own["paper"].sel(category=category).values
        alive = np.isfinite(index)
        picked = []
        for depth in depths:
            rows = np.flatnonzero((own["depth"].values == depth) & alive)
            best = rows[np.argsort(-index[rows], kind="stable")[:FEWEST]]
            picked.append(excess(own, category, end, best))
        drawn[name] = (depths, stats.mean_curve(np.stack(picked, 1)))
    return drawn


def at_both_ends(own: xr.Dataset, category: str, end: str, rows: Sequence[bool]) -> list[Array]:
    """Shares of a category at the positive and at the negative end of some filters."""
    return [share(own, category, side, end)[np.asarray(rows)] for side in ("top", "bottom")]
