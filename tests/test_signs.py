"""Balance, consistency and gauge of signs."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from signseg_utils.units.readout import Readout
from signseg_utils.units.signs import (
    centre,
    consistency_of_counts,
    dale_index,
    drive_through_negative,
    expected_dale_index,
    layers,
    negative_share,
    sign_consistency,
    sign_ratio,
)


def test_sign_ratio_by_hand() -> None:
    weight = torch.tensor([[1.0, 2.0, -1.0, 0.0], [1.0, 0.0, 0.0, 3.0], [0.5, -1.0, -1.0, 0.0]])
    assert sign_ratio(weight).tolist() == [3.0, float("inf"), 0.25]


def test_sign_ratio_of_the_negated_row_is_the_inverse() -> None:
    weight = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sign_ratio(-weight), 1 / sign_ratio(weight))


def test_dale_index_by_hand() -> None:
    weight = torch.tensor([[1.0, -1.0, 0.0], [2.0, 3.0, 0.0], [1.0, -4.0, 0.0], [5.0, 1.0, 0.0]])
    outgoing = dale_index(weight)
    assert outgoing[:2].tolist() == [1.0, 0.5]
    assert outgoing[2].isnan()
    assert dale_index(weight, over="inputs").tolist() == [0.5, 1.0, 0.5, 1.0]


def test_dale_index_of_a_convolution_counts_all_weights_of_a_channel() -> None:
    weight = torch.ones(4, 3, 5, 5)
    weight[:, 1] = -1
    weight[:, 2, :, :2] = -1  # two fifths negative
    torch.testing.assert_close(dale_index(weight), torch.tensor([1.0, 1.0, 0.6]).double())


def test_dale_index_of_a_grouped_convolution_has_one_value_for_each_input_channel() -> None:
    weight = torch.ones(4, 1, 3, 3)  # depthwise: output i sees input i only
    weight[2, 0, 0] = -1
    index = dale_index(weight, groups=4)
    torch.testing.assert_close(index, torch.tensor([1, 1, 6 / 9, 1]).double())


def test_dale_index_refuses_an_unknown_direction() -> None:
    with pytest.raises(ValueError, match="expected over"):
        dale_index(torch.ones(2, 2), over="rows")


@pytest.mark.parametrize("weights", [2, 9, 100])
def test_expected_dale_index_is_that_of_random_signs(weights: int) -> None:
    random = torch.randn(weights, 20_000, generator=torch.Generator().manual_seed(0))
    assert dale_index(random).mean().item() == pytest.approx(
        expected_dale_index(weights), abs=0.005
    )


def test_expected_dale_index_falls_to_one_half() -> None:
    assert expected_dale_index(1) == 1.0
    assert expected_dale_index(2) == pytest.approx(0.75)
    assert 0.5 < expected_dale_index(10_000) < 0.505
    with pytest.raises(ValueError, match="at least one"):
        expected_dale_index(0)


def test_centring_leaves_the_softmax_and_has_mean_zero() -> None:
    generator = torch.Generator().manual_seed(0)
    readout = Readout(
        torch.randn(5, 8, generator=generator) + 1.0,
        torch.randn(5, generator=generator),
        tuple("abcde"),
    )
    features = torch.rand(10, 8, generator=generator)
    centred = centre(readout)
    torch.testing.assert_close(
        centred.scores(features).softmax(1), readout.scores(features).softmax(1)
    )
    assert centred.weight.mean(0).abs().max() < 1e-6
    assert not torch.equal(centred.weight.sign(), readout.weight.sign())
    torch.testing.assert_close(centre(centred).weight, centred.weight)


def test_sign_consistency_agrees_with_the_binomial_test() -> None:
    weight = torch.randn(56, 30, generator=torch.Generator().manual_seed(0))
    weight[:, 3] = weight[:, 3].abs()
    weight[:, 4] = -weight[:, 4].abs()
    weight[:, 5] = 0
    found = sign_consistency(weight)
    assert found.sign[3] == 1
    assert found.sign[4] == -1
    assert found.sign[5] == 0
    assert (found.sign != 0).sum() == 2
    positive = int((weight[:, 0] > 0).sum())
    expected = min(1.0, 30 * stats.binomtest(positive, 56, 0.5).pvalue)
    assert found.p_value[0].item() == pytest.approx(expected)
    assert found.positive_share[3] == 1
    assert np.isnan(found.positive_share[5].item())


def test_layers_in_order_with_groups() -> None:
    network = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8), nn.Linear(8, 2))
    found = [(name, tuple(weight.shape), groups) for name, weight, groups in layers(network)]
    assert found == [("0", (8, 2, 3, 3), 2), ("2", (2, 8), 1)]


def test_negative_share_by_hand() -> None:
    features = torch.tensor([[1.0, 2.0, 0.0], [1.0, -3.0, 0.0], [-1.0, -1.0, -2.0]])
    assert negative_share(features).tolist() == [0, 0.75, 1]


def test_drive_comes_through_negative_weights_only_where_features_are_negative() -> None:
    weight = torch.tensor([2.0, -1.0, -3.0, 1.0])
    assert drive_through_negative(weight, torch.tensor([1.0, 1.0, 5.0, 0.0])) == 0
    assert drive_through_negative(weight, torch.tensor([1.0, -2.0, 5.0, -9.0])) == 0.5


def test_drive_is_even_for_random_signs_of_features() -> None:
    torch.manual_seed(0)
    weight, features = torch.randn(5, 1, 4000), torch.randn(1, 3, 4000)
    found = drive_through_negative(weight, features)
    assert found.shape == (5, 3)
    torch.testing.assert_close(found, torch.full_like(found, 0.5), atol=0.06, rtol=0)


def test_consistency_of_counts_takes_leading_axes() -> None:
    weight = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    weight[:, 0] = weight[:, 0].abs()
    whole = sign_consistency(weight)
    positive, signed = (weight > 0).sum(0), (weight != 0).sum(0)
    twice = consistency_of_counts(torch.stack([positive] * 2), torch.stack([signed] * 2))
    for part in ("positive_share", "p_value", "sign"):
        assert (getattr(twice, part) == getattr(whole, part)).all()
    assert whole.sign[0] == 1 and twice.sign.shape == (2, 6)
