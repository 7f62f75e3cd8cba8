"""Signs of weights before and after training, in two gauges: what chapter 2 counts.

Nothing is stored: a network's manifest names its architecture and the seed it started from, so
the same network is built again as it was before training, and others beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from signseg_utils import zoos
from signseg_utils.analysis import stats
from signseg_utils.basics import draws
from signseg_utils.training.restore import classifier, layers_by_depth
from signseg_utils.units import signs
from signseg_utils.units.readout import Readout

# raw: weights as they are; centred: less their mean over classes, which no softmax can tell.
GAUGES = ("raw", "centred")
# Whose Dale index is followed: the output layer in either gauge; the weights that enter a class
# instead of those that leave a feature; the units that feed each hidden layer.
KINDS = (*GAUGES, "by row", "hidden")

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class InOtherGauges:
    """A network with one number added to all weights of its readout, ``[step]``.

    Attributes
    ----------
    ratio, index
        Mean sign ratio of classes and mean Dale index of features.
    moved
        Largest change of any class's probability at either end, for any image.
    """

    ratio: list[float]
    index: list[float]
    moved: float


class WeightSigns:
    """Weights of networks, trained (``"trained"``), at their start (``"start"``), and of others
    that were never trained (the number of their seed).

    Attributes
    ----------
    models
        (network, state) to the network.
    untrained
        States other than ``"trained"``.
    weight
        (network, state, gauge) to readout weights ``[class, feature]``.
    """

    def __init__(self, zoo: zoos.Zoo, networks: Sequence[str], seeds: Sequence[int]) -> None:
        self.zoo = zoo
        self.networks = tuple(networks)
        self.untrained: tuple[Any, ...] = ("start", *seeds)
        self.models: dict[tuple[str, Any], nn.Module] = {
            (name, state): classifier(zoo, name, state)
            for name in networks
            for state in ("trained", *self.untrained)
        }
        self.weight: dict[tuple[str, Any, str], Tensor] = {}
        for (name, state), model in self.models.items():
            readout = Readout.from_linear(model.readout, zoo.classes)  # type: ignore[arg-type]
            self.weight[name, state, "raw"] = readout.weight.double()
            self.weight[name, state, "centred"] = signs.centre(readout).weight.double()

    @property
    def smallest_scale(self) -> float:
        """Of all batch norms; above 0, folding them into weights turns no sign over."""
        modules = [m for model in self.models.values() for m in model.modules()]
        scales = [m.weight for m in modules if hasattr(m, "running_var")]
        return min(float(scale.min()) for scale in scales)  # type: ignore[operator]

    @property
    def of_coins(self) -> float:
        """Mean Dale index of a feature whose output weights have coins for signs."""
        return signs.expected_dale_index(len(self.zoo.classes))

    # ------------------------------------------------------------ the gauge

    def in_other_gauges(self, steps: Array, seed: int) -> dict[str, InOtherGauges]:
        """Add one number, in standard deviations of the weights, to all weights of each readout.

        Noise images drawn with ``seed`` are shown to the networks at both ends and in the middle.
        """
        images = draws.uniform((32, 3, self.zoo.image_size, self.zoo.image_size), seed)
        found = {}
        for name in self.networks:
            raw = self.weight[name, "trained", "raw"]
            features = self.zoo.network(name).backbone(images).double()
            odds = [(features @ (raw + s * raw.std()).T).softmax(1) for s in (0, -1, 1)]
            added = [raw + step * raw.std() for step in steps]
            found[name] = InOtherGauges(
                ratio=[float(signs.sign_ratio(weight).mean()) for weight in added],
                index=[float(signs.dale_index(weight).mean()) for weight in added],
                moved=max(float((other - odds[0]).abs().max()) for other in odds),
            )
        return found

    def class_means(self) -> pd.DataFrame:
        """What is left after training of each readout's mean over classes.

        Correlation with its start, size beside it, and correlation with the last other seed's.
        """
        rows = {}
        for name in self.networks:
            states = ("trained", "start", self.untrained[-1])
            kept = [self.weight[name, state, "raw"].mean(0) for state in states]
            r = np.corrcoef(torch.stack(kept))[0]
            rows[name] = r[1], float(kept[0].std() / kept[1].std()), r[2]
        names = ["r with its start", "size left", "r with another seed"]
        return pd.DataFrame(rows, index=names).round(3)

    # ------------------------------------------------------------ sign ratio

    def sign_ratios(self, seed: int, tosses: int = 30) -> dict[str, dict[str, Array]]:
        """Network to gauge to the sign ratio of each class, after training.

        Under ``"random"``: the same raw weights with coins for signs, all classes ``tosses`` times
        over.
        """
        found = {}
        for number, name in enumerate(self.networks):
            own = {gauge: self.weight[name, "trained", gauge] for gauge in GAUGES}
            size = own["raw"].abs().repeat(tosses, 1)
            own["random"] = size * draws.coins(size.shape, seed, number)
            found[name] = {kind: signs.sign_ratio(weight).numpy() for kind, weight in own.items()}
        return found

    # ------------------------------------------------------------ Dale index

    @cached_property
    def layers(self) -> dict[tuple[str, Any], list[Array]]:
        """(network, state) to the Dale index of the units that feed each hidden layer."""
        return {
            at: [
                signs.dale_index(weight, groups=groups).numpy()
                for _, weight, groups in layers_by_depth(model)[:-1]
            ]
            for at, model in self.models.items()
        }

    @cached_property
    def index(self) -> dict[tuple[str, Any, str], Array]:
        """(network, state, kind) to Dale indices; kinds are `KINDS`."""
        found = {}
        for name, state in self.models:
            raw = self.weight[name, state, "raw"]
            found[name, state, "hidden"] = np.concatenate(self.layers[name, state])
            found[name, state, "by row"] = signs.dale_index(raw, "inputs").numpy()
            for gauge in GAUGES:
                weight = self.weight[name, state, gauge]
                found[name, state, gauge] = signs.dale_index(weight).numpy()
        return found

    def mean(self, name: str, state: Any, kind: str) -> float:
        """Mean Dale index over units."""
        return float(np.nanmean(self.index[name, state, kind]))

    def never_trained(self) -> list[float]:
        """Mean raw index of the output layer of each untrained network."""
        return [self.mean(n, state, "raw") for n in self.networks for state in self.untrained]

    def rise(self, kind: str) -> dict[str, stats.Estimate]:
        """Network to the index after training less the same unit's at its start, over its units.

        Features of two networks are never the same ones, so over networks the sample are means.
        """
        found = {}
        for name in self.networks:
            each = self.index[name, "trained", kind] - self.index[name, "start", kind]
            found[name] = stats.mean(each[np.isfinite(each)])
        return found

    def before_and_after(self) -> dict[str, dict[str, Array]]:
        """Network to gauge and state to the index of each feature, for `plots.dot_panels`."""
        found: dict[str, dict[str, Array]] = {name: {} for name in self.networks}
        for name, own in found.items():
            for gauge in GAUGES:
                for state in ("start", "trained"):
                    own[f"{gauge}\n{state}"] = self.index[name, state, gauge]
        return found

    def ranges(self) -> pd.DataFrame:
        """Mean index of each network and kind, beside the range over untrained ones."""
        rows = []
        for name in self.networks:
            for kind in KINDS:
                others = [self.mean(name, state, kind) for state in self.untrained]
                rows.append(
                    {
                        "network": name,
                        "weights": kind,
                        "untrained": f"{min(others):.3f} to {max(others):.3f}",
                        "trained": f"{self.mean(name, 'trained', kind):.3f}",
                    }
                )
        return pd.DataFrame(rows).set_index(["network", "weights"])

    def above_untrained(self, gauge: str) -> dict[str, list[stats.Estimate]]:
        """Network to its layers from first to last: the index above that of untrained networks.

        The last is the output layer in this gauge. Intervals are over presynaptic units.
        """
        found = {}
        for name in self.networks:
            states = ("trained", *self.untrained)
            by_state = [[*self.layers[name, s], self.index[name, s, gauge]] for s in states]
            found[name] = [
                stats.mean(own[np.isfinite(own)] - np.mean(early))
                for own, *early in zip(*by_state, strict=True)
            ]
        return found


def sign_ratios_of(zoo: zoos.Zoo, networks: Sequence[str]) -> dict[str, Array]:
    """Network to the sign ratio of each class, of the networks that were trained and are here."""
    kept = [n for n in networks if not n.endswith("-untrained") and zoo.path(n).exists()]
    return {name: signs.sign_ratio(zoo.network(name).readout.weight).numpy() for name in kept}


def spread(ratios: Mapping[str, Mapping[str, Array]]) -> pd.DataFrame:
    """Standard deviation over classes of each network's sign ratios, and raw over random."""
    rows = {name: {kind: own.std() for kind, own in of.items()} for name, of in ratios.items()}
    table = pd.DataFrame(rows).T.rename_axis("s.d. over classes")
    return table.assign(**{"raw / random": table["raw"] / table["random"]}).round(3)


def once(ratios: Mapping[str, Mapping[str, Array]], classes: int) -> dict[str, dict[str, Array]]:
    """Ratios with one dot a class: of coins that were tossed many times, the first toss."""
    found: dict[str, dict[str, Array]] = {}
    for name, of in ratios.items():
        found[name] = {kind: own[:classes] for kind, own in of.items()}
    return found


def against_accuracy(zoo: zoos.Zoo, networks: Sequence[str]) -> pd.DataFrame:
    """Top-1 of each network beside the mean Dale index of its output layer, in either gauge.

    A network that is not here is left out.
    """
    rows = {}
    for name in filter(lambda own: zoo.path(own).exists(), networks):
        readout = zoo.network(name).readout
        index = {
            "raw": signs.dale_index(readout.weight.double()),
            "centred": signs.dale_index(signs.centre(readout).weight.double()),
        }
        # rounded, so that equal means are ties whatever the order of their sums
        means = {gauge: round(float(own.nanmean()), 12) for gauge, own in index.items()}
        rows[name] = {"top-1": zoo.card(name)["accuracy"]["top1"], **means}
    return pd.DataFrame(rows).T


def along_depth(layers: Mapping[str, Sequence[stats.Estimate]]) -> dict[str, stats.Correlation]:
    """Network to Spearman's rho over its layers of the index with depth, the first to the last."""
    return {
        name: stats.spearman(range(len(own)), [layer.value for layer in own])
        for name, own in layers.items()
    }


def with_intervals(
    panels: Mapping[str, Mapping[str, Array]],
) -> dict[str, dict[str, stats.Estimate]]:
    """Mean and interval of each group of dots, for `plots.dot_panels`."""
    return {
        name: {kind: stats.mean(values) for kind, values in groups.items()}
        for name, groups in panels.items()
    }
