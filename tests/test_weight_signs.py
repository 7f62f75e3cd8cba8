"""Signs of weights before and after training, against counts made by hand."""

import numpy as np
import pytest
import torch

from signseg_utils import zoos
from signseg_utils.analysis import stats
from signseg_utils.experiments import weight_signs
from signseg_utils.files import paths
from signseg_utils.training.restore import classifier


@pytest.fixture(scope="module")
def study() -> weight_signs.WeightSigns:
    if not (paths.zoo_folder("shapes") / "alexnet.safetensors").exists():
        pytest.skip("the weights of shapes are not here; `make zoo` trains them")
    return weight_signs.WeightSigns(zoos.load_zoo("shapes"), ("alexnet",), (1, 2))


def test_the_start_is_the_untrained_network_of_the_manifest(
    study: weight_signs.WeightSigns,
) -> None:
    start = classifier(study.zoo, "alexnet", "start").readout.weight.double()
    assert torch.equal(study.weight["alexnet", "start", "raw"], start)
    assert len(study.models) == 4 and study.untrained == ("start", 1, 2)


def test_centred_weights_sum_to_zero_over_classes(study: weight_signs.WeightSigns) -> None:
    centred = study.weight["alexnet", "trained", "centred"]
    assert centred.sum(0).abs().max() < 1e-4
    assert not torch.equal(centred, study.weight["alexnet", "trained", "raw"])


def test_no_gauge_moves_a_probability(study: weight_signs.WeightSigns) -> None:
    own = study.in_other_gauges(np.array([-1.0, 0.0, 1.0]), 0)["alexnet"]
    assert own.ratio[0] < own.ratio[1] < own.ratio[2]
    assert own.index[1] < min(own.index[0], own.index[2])
    assert own.moved < 1e-9


def test_ratios_are_those_of_rows(study: weight_signs.WeightSigns) -> None:
    ratios = study.sign_ratios(0, tosses=3)
    weight = study.weight["alexnet", "trained", "raw"].numpy()
    expected = [row[row > 0].sum() / -row[row < 0].sum() for row in weight]
    np.testing.assert_allclose(ratios["alexnet"]["raw"], expected)
    assert len(ratios["alexnet"]["random"]) == 3 * len(weight)
    assert len(weight_signs.once(ratios, len(weight))["alexnet"]["random"]) == len(weight)
    table = weight_signs.spread(ratios)
    assert table.loc["alexnet", "raw"] == pytest.approx(np.std(expected), abs=5e-4)


def test_rise_is_after_less_before(study: weight_signs.WeightSigns) -> None:
    def index(state: str) -> np.ndarray:
        positive = (study.weight["alexnet", state, "raw"] > 0).double().mean(0).numpy()
        return np.maximum(positive, 1 - positive)

    rise = index("trained") - index("start")
    assert study.rise("raw")["alexnet"].value == pytest.approx(rise.mean(), abs=1e-12)
    assert np.mean(study.never_trained()) == pytest.approx(study.of_coins, abs=0.01)


def test_tables_hold_each_network_and_kind(study: weight_signs.WeightSigns) -> None:
    assert list(study.ranges().loc["alexnet"].index) == list(weight_signs.KINDS)
    order = weight_signs.against_accuracy(study.zoo, ["alexnet", "not here"])
    assert list(order.index) == ["alexnet"] and order.loc["alexnet", "top-1"] > 0.9
    assert order.loc["alexnet", "raw"] == pytest.approx(study.mean("alexnet", "trained", "raw"))
    means = study.class_means()["alexnet"]
    assert means["r with its start"] > 0.9 > abs(means["r with another seed"])
    assert 0 < means["size left"] < 1


def test_the_first_layer_is_at_depth_0_and_the_readout_at_1(
    study: weight_signs.WeightSigns,
) -> None:
    above = study.above_untrained("raw")["alexnet"]
    assert above[-1].n == study.weight["alexnet", "trained", "raw"].shape[1]
    assert above[0].n == 3  # the colours
    rising = [stats.Estimate(float(i), 0, 1, 3, 0) for i in range(6)]
    assert weight_signs.along_depth({"a": rising})["a"].value == pytest.approx(1)
