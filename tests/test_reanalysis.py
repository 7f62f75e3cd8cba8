"""A second path to primary lines: from stored results, with NumPy alone, to three digits.

Nothing of `signseg_utils` takes part in the recomputation, so that a fault of the package's
analysis cannot hide in the test that is to find it. t quantiles are SciPy's.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from safetensors.numpy import load_file
from scipy.stats import t as student
from zarr.storage import ZipStore

from signseg_utils import zoos
from signseg_utils.analysis import by_sign, stats
from signseg_utils.chapter import claims
from signseg_utils.chapter.judging import judge
from signseg_utils.experiments import weight_signs
from signseg_utils.experiments.recorded import ablated_models_effects as effects

DATA = Path(__file__).resolve().parents[1] / "data"
NETWORKS = ("alexnet", "vgg", "resnet")
RECORDINGS = ("v4", "simulated")


def agree(line: Any, expected: tuple[float, float, float]) -> None:
    """Value and ends of an interval agree to three digits of the largest."""
    scale = max(map(abs, expected))
    np.testing.assert_allclose((line.value, line.low, line.high), expected, atol=5e-4 * scale)


# ---------------------------------------------------------------- by hand


def t_interval(values: np.ndarray) -> tuple[float, float, float]:
    n, mean = len(values), values.sum() / len(values)
    error = np.sqrt(((values - mean) ** 2).sum() / (n - 1) / n)
    reach = student.ppf(0.975, n - 1) * error
    return mean, mean - reach, mean + reach


def two_way(table: np.ndarray) -> tuple[float, float, float]:
    """Mean over networks and units, by the textbook's sums of squares."""
    a, b = table.shape
    mean = table.sum() / (a * b)
    rows, columns = table.sum(1) / b, table.sum(0) / a
    ss = b * ((rows - mean) ** 2).sum(), a * ((columns - mean) ** 2).sum()
    rest = ((table - mean) ** 2).sum() - sum(ss)
    ms = ss[0] / (a - 1), ss[1] / (b - 1), rest / ((a - 1) * (b - 1))
    summed = max(ms[0] + ms[1] - ms[2], ms[2])
    parts = ms[0] ** 2 / (a - 1), ms[1] ** 2 / (b - 1), ms[2] ** 2 / ((a - 1) * (b - 1))
    reach = student.ppf(0.975, summed**2 / sum(parts)) * np.sqrt(summed / (a * b))
    return mean, mean - reach, mean + reach


def weights(zoo: str, network: str) -> np.ndarray:
    """Readout ``[class, feature]`` as it lies in the file."""
    return load_file(DATA / "zoo" / zoo / f"{network}.safetensors")["readout.weight"].astype(float)


def shown(recording: str) -> list[xr.Dataset]:
    """What images of ablated models of AlexNet's last layer did, a dataset a session."""
    files = sorted((DATA / "results" / recording).glob("shown-*alexnet-features-*.zarr.zip"))
    opened = [xr.open_zarr(ZipStore(file, mode="r"), consolidated=False) for file in files]
    return [
        one.load().map(lambda own: own if own.name == "codes" else own.astype(float))
        for one in opened
    ]


def mean_of(one: xr.Dataset, values: np.ndarray, sign: str) -> np.ndarray:
    """Mean over the conditions of a sign: ``[neuron, condition] -> [neuron]``."""
    return values[:, np.flatnonzero(one["sign"].values == sign)].mean(1)


# ---------------------------------------------------------------- line by line


@pytest.mark.parametrize("zoo", ["shapes", "tinyimagenet"])
def test_sign_ratios(zoo: str) -> None:
    """P-T2: summed positive over summed negative weight, over networks and classes."""
    table = []
    for name in NETWORKS:
        weight = weights(zoo, name)
        positive, negative = weight * (weight > 0), weight * (weight < 0)
        table.append(positive.sum(1) / -negative.sum(1))
    ratios = weight_signs.sign_ratios_of(zoos.load_zoo(zoo), NETWORKS)
    found = judge(claims.claim(2, "P-T2"), ratios, {})
    agree(found, two_way(np.array(table)))
    assert (found.n, found.units) == np.array(table).shape


@pytest.mark.parametrize("zoo", ["shapes", "tinyimagenet"])
def test_dale_index_against_accuracy(zoo: str) -> None:
    """F-D2: Spearman's rho over trained networks, by ranks, with Bonett and Wright's interval."""
    loaded = zoos.load_zoo(zoo)
    names = [name for name in loaded.all_networks if not name.endswith("-untrained")]
    top1, index = [], []
    for name in names:
        card = json.loads((DATA / "zoo" / zoo / f"{name}.json").read_text())
        top1.append(card["accuracy"]["top1"])
        positive, negative = (weights(zoo, name) > 0).sum(0), (weights(zoo, name) < 0).sum(0)
        share = np.maximum(positive, negative) / (positive + negative)
        index.append(share.mean().round(12))
    x, y = (
        np.array([sum(v > w for w in own) + sum(v == w for w in own) / 2 for v in own])
        for own in (top1, index)
    )
    rho = ((x - x.mean()) * (y - y.mean())).sum() / np.sqrt(
        ((x - x.mean()) ** 2).sum() * ((y - y.mean()) ** 2).sum()
    )
    reach = 1.959964 * np.sqrt((1 + rho**2 / 2) / (len(names) - 3))
    ends = np.tanh(np.arctanh(rho) + np.array([-reach, reach]))
    order = weight_signs.against_accuracy(loaded, names)
    line = judge(claims.claim(2, "F-D2"), stats.spearman(order["top-1"], order["raw"]), {})
    agree(line, (rho, *ends))


@pytest.mark.parametrize("recording", RECORDINGS)
@pytest.mark.parametrize("id", ["P-8a", "P-10a", "P-10b", "P-10c"])
def test_what_ablated_models_do(recording: str, id: str) -> None:
    """Chapter 13: responses and likeness under ablation, over the neurons of all sessions."""
    by_hand, main = (
        [],
        xr.concat(
            shown(recording),
            "neuron",
            join="override",
            data_vars="minimal",
            coords="minimal",
            compat="override",
            combine_attrs="drop",
        ),
    )
    for one in shown(recording):
        way = one["way"].values.tolist().index("as is")
        if id == "P-10b":
            alike = one["similarity"].transpose("neuron", "condition", "judge").values.mean(2)
            values = mean_of(one, alike, "negative") - mean_of(one, alike, "positive")
        elif id == "P-10c":
            others = one["others"].transpose("way", "neuron", "condition").values[way]
            values = others[:, 0] - mean_of(one, others, "positive")
        else:
            told = one["response"].transpose("way", "neuron", "condition", "seed").values[way]
            told = told.mean(2)
            values = told[:, 0] - (mean_of(one, told, "positive") if id == "P-10a" else 0)
        by_hand.append(values)
    effect = {
        "P-8a": lambda: effects.intact(main, {})["own model"],
        "P-10a": lambda: effects.fall(effects.response(main)),
        "P-10b": lambda: by_sign.sign_gap(effects.similarity(main)),
        "P-10c": lambda: effects.fall(main["others"].sel(way="as is")),
    }[id]()
    told = effects.by_session(effect, main) if id in ("P-8a", "P-10a") else {"effect": effect}
    agree(judge(claims.claim(13, id), fields={}, **told), t_interval(np.concatenate(by_hand)))
