"""The bank of readout rows."""

import pytest
import torch
from torch import nn

from signseg_utils.units.readout import Readout, concatenate


def bank(rows: int = 4, features: int = 7, seed: int = 0) -> Readout:
    generator = torch.Generator().manual_seed(seed)
    return Readout(
        torch.randn(rows, features, generator=generator),
        torch.randn(rows, generator=generator),
        tuple(f"unit {row}" for row in range(rows)),
    )


def test_paired_scores_are_the_diagonal_of_all_responses() -> None:
    readout = bank()
    features = torch.rand(4, 5, 7)
    every = readout.responses(features.reshape(20, 7)).reshape(4, 5, 4)
    diagonal = torch.stack([every[row, :, row] for row in range(4)])
    torch.testing.assert_close(readout.scores(features), diagonal)


def test_scores_of_plain_features_are_the_layer_output() -> None:
    layer = nn.Linear(7, 3)
    readout = Readout.from_linear(layer, ["a", "b", "c"])
    features = torch.rand(6, 7)
    torch.testing.assert_close(readout.scores(features), layer(features))
    assert not readout.weight.requires_grad


def test_layer_without_bias_scores_zero_for_zero_features() -> None:
    readout = Readout.from_linear(nn.Linear(7, 2, bias=False), ["a", "b"])
    assert readout.scores(torch.zeros(1, 7)).abs().max() == 0


def test_row_in_a_batch_scores_as_alone() -> None:
    readout, features = bank(), torch.rand(4, 5, 7)
    alone = readout.rows([2]).scores(features[2:3])
    assert torch.equal(readout.scores(features)[2:3], alone)


def test_rows_by_label_and_number() -> None:
    readout = bank()
    chosen = readout.rows(["unit 3", 0, -1])
    assert chosen.labels == ("unit 3", "unit 0", "unit 3")
    assert torch.equal(chosen.weight[1], readout.weight[0])
    assert torch.equal(chosen.bias, readout.bias[[3, 0, 3]])


def test_unknown_label_names_the_nearest() -> None:
    with pytest.raises(KeyError, match="did you mean unit 3"):
        bank().rows(["unit3"])


def test_row_number_out_of_range() -> None:
    with pytest.raises(IndexError, match="row below 4"):
        bank().rows([4])


def test_ambiguous_label() -> None:
    with pytest.raises(ValueError, match="names rows"):
        concatenate([bank(), bank()]).rows(["unit 1"])


def test_concatenate_keeps_order() -> None:
    first, second = bank(seed=0), bank(rows=2, seed=1)
    both = concatenate([first, second])
    assert len(both) == 6
    assert both.labels == first.labels + second.labels
    assert torch.equal(both.weight[4:], second.weight)


@pytest.mark.parametrize("banks", [[], [bank(), bank(features=8)]])
def test_concatenate_refuses(banks: list[Readout]) -> None:
    with pytest.raises(ValueError, match="expected"):
        concatenate(banks)


@pytest.mark.parametrize(
    ("weight", "bias", "labels"),
    [
        (torch.zeros(3), torch.zeros(3), ("a", "b", "c")),
        (torch.zeros(3, 2, dtype=torch.int64), torch.zeros(3), ("a", "b", "c")),
        (torch.zeros(3, 2), torch.zeros(2), ("a", "b", "c")),
        (torch.zeros(3, 2), torch.zeros(3), ("a", "b")),
    ],
)
def test_inconsistent_banks_are_refused(
    weight: torch.Tensor, bias: torch.Tensor, labels: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="expected"):
        Readout(weight, bias, labels)


def test_wrong_features_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 7 features"):
        bank().scores(torch.zeros(4, 5, 6))
    with pytest.raises(ValueError, match="scores its own images"):
        bank().scores(torch.zeros(3, 5, 7))


def test_to_changes_precision_only() -> None:
    readout = bank()
    double = readout.to(dtype=torch.float64)
    assert double.weight.dtype == double.bias.dtype == torch.float64
    assert torch.equal(double.weight.float(), readout.weight)
    assert double.labels == readout.labels
