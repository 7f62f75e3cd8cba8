"""Ablation by sign and cumulative magnitude."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from signseg_utils.units.ablation import (
    RULES,
    SIGNS,
    Ablation,
    ablate,
    ablated_mask,
    conditions,
    removed,
)
from signseg_utils.units.readout import Readout, concatenate

SWEPT = [sign for sign in SIGNS if sign != "none"]
ROW = torch.tensor([1.0, -5.0, 4.0, 0.0, -3.0, 2.0, 3.0, -2.0])  # positive 4 3 2 1, negative 5 3 2

weights = st.lists(
    st.lists(st.floats(-10, 10, width=32), min_size=6, max_size=6), min_size=1, max_size=4
).map(torch.tensor)
alphas = st.floats(0, 1)


def bank(weight: torch.Tensor) -> Readout:
    labels = tuple(f"unit {row}" for row in range(len(weight)))
    return Readout(weight, torch.arange(len(weight)).float(), labels)


def random_bank(rows: int = 5, features: int = 200, seed: int = 0) -> Readout:
    return bank(torch.randn(rows, features, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize(
    ("sign", "rule", "alpha", "gone"),
    [  # positive shares: .4 .7 .9 1; negative: .5 .8 1
        ("positive", "smallest", 0.4, {2}),
        ("positive", "smallest", 0.41, {2, 6}),
        ("positive", "smallest", 0.7, {2, 6}),
        ("positive", "smallest", 0.1 + 0.6, {2, 6}),  # .7 but for rounding
        ("positive", "smallest", 0.95, {0, 2, 5, 6}),
        ("positive", "largest", 0.39, set()),
        ("positive", "largest", 0.4, {2}),
        ("positive", "largest", 0.69, {2}),
        ("positive", "largest", 0.7 - 1e-16, {2, 6}),
        ("positive", "largest", 0.95, {2, 5, 6}),
        ("negative", "smallest", 0.01, {1}),
        ("negative", "smallest", 0.6, {1, 4}),
        ("negative", "largest", 0.6, {1}),
        ("negative", "largest", 1.0, {1, 4, 7}),
    ],
)
def test_hand_computed(sign: str, rule: str, alpha: float, gone: set[int]) -> None:
    mask = ablated_mask(ROW, Ablation(sign, alpha, rule))
    assert set(mask.nonzero().flatten().tolist()) == gone


def test_ties_go_by_position() -> None:
    row = torch.tensor([2.0, 2.0, 2.0, 2.0])
    assert ablated_mask(row, Ablation("positive", 0.5)).tolist() == [True, True, False, False]


@given(weights)
def test_positive_and_negative_part_make_the_weight(weight: torch.Tensor) -> None:
    readout = bank(weight)
    negative_part = ablate(readout, Ablation("positive", 1.0)).weight
    positive_part = ablate(readout, Ablation("negative", 1.0)).weight
    assert torch.equal(positive_part + negative_part, weight)
    assert (positive_part >= 0).all()
    assert (negative_part <= 0).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sign", SWEPT)
def test_alpha_zero_is_the_identity(sign: str, rule: str) -> None:
    readout = random_bank()
    same = ablate(readout, Ablation(sign, 0.0, rule))
    assert torch.equal(same.weight, readout.weight)
    assert torch.equal(same.bias, readout.bias)
    assert Ablation(sign, 0.0, rule).label == "intact"


@pytest.mark.parametrize("rule", RULES)
def test_alpha_one_removes_the_sign_whole_even_with_tiny_weights(rule: str) -> None:
    weight = torch.tensor([[1e10, 1e-30, 3.0, -1.0, 1e-45]])
    left = ablate(bank(weight), Ablation("positive", 1.0, rule)).weight
    assert left.tolist() == [[0, 0, 0, -1, 0]]


@settings(deadline=None)
@given(weights, alphas, st.sampled_from(["positive", "negative"]))
def test_rules_bracket_alpha(weight: torch.Tensor, alpha: float, sign: str) -> None:
    readout = bank(weight)
    part = weight.double().clamp(min=0) if sign == "positive" else (-weight.double()).clamp(min=0)
    total = part.sum(1)
    fewest, reached = removed(readout, Ablation(sign, alpha, "smallest"))
    most, below = removed(readout, Ablation(sign, alpha, "largest"))
    slack = 1e-8 * total
    assert (reached >= alpha * total - slack).all()
    assert (below <= alpha * total + slack).all()
    present = (part > 0).sum(1)
    assert (fewest <= present).all()
    # One weight fewer would not reach alpha: the last of those removed is the smallest of them.
    mask = ablated_mask(weight, Ablation(sign, alpha, "smallest"))
    last = part.masked_fill(~mask, float("inf")).amin(1)
    some = fewest > 0
    assert (reached[some] - last[some] <= alpha * total[some] + slack[some]).all()
    # One weight more would exceed alpha.
    kept = part.masked_fill(ablated_mask(weight, Ablation(sign, alpha, "largest")), 0).amax(1)
    partial = most < present
    assert (below[partial] + kept[partial] >= alpha * total[partial] - slack[partial]).all()


@settings(deadline=None)
@given(weights, alphas, alphas, st.sampled_from(SWEPT), st.sampled_from(RULES))
def test_monotone_in_alpha(
    weight: torch.Tensor, one: float, other: float, sign: str, rule: str
) -> None:
    low, high = sorted((one, other))
    labels = [f"unit {row}" for row in range(len(weight))]
    less = ablated_mask(weight, Ablation(sign, low, rule), labels)
    more = ablated_mask(weight, Ablation(sign, high, rule), labels)
    assert (more | ~less).all()  # what goes at a lower alpha goes at a higher one


@pytest.mark.parametrize("sign", ["positive", "negative"])
def test_only_that_sign_goes_and_largest_first(sign: str) -> None:
    readout = random_bank()
    mask = ablated_mask(readout.weight, Ablation(sign, 0.5))
    signed = readout.weight if sign == "positive" else -readout.weight
    assert (signed[mask] > 0).all()
    for row in range(len(readout)):
        left = signed[row][(signed[row] > 0) & ~mask[row]]
        assert left.max() <= signed[row][mask[row]].min()


@pytest.mark.parametrize("sign", SWEPT)
def test_a_row_is_ablated_as_if_alone(sign: str) -> None:
    readout = random_bank()
    ablation = Ablation(sign, 0.4, seed=3)
    together = ablate(concatenate([random_bank(seed=9).rows([2]), readout]), ablation)
    for row in range(len(readout)):
        alone = ablate(readout.rows([row]), ablation)
        assert torch.equal(alone.weight[0], together.weight[row + 1])


def test_one_row_without_the_row_dimension() -> None:
    mask = ablated_mask(ROW, Ablation("random_count", 0.7), ["unit"])
    assert mask.shape == ROW.shape
    assert mask.sum() == 2


@pytest.mark.parametrize("reference", ["positive", "negative"])
def test_random_controls_match_their_reference(reference: str) -> None:
    readout = random_bank(features=2000)
    count, magnitude = removed(readout, Ablation(reference, 0.5))
    same_count, _ = removed(readout, Ablation("random_count", 0.5, reference=reference))
    _, same_magnitude = removed(readout, Ablation("random_magnitude", 0.5, reference=reference))
    assert torch.equal(count, same_count)
    excess = same_magnitude - magnitude
    assert (excess >= -1e-6).all()
    assert (excess <= readout.weight.abs().amax(1)).all()


def test_random_controls_take_both_signs_about_equally() -> None:
    readout = random_bank(features=2000)
    mask = ablated_mask(readout.weight, Ablation("random_magnitude", 0.8), readout.labels)
    share = (readout.weight[mask] > 0).float().mean().item()
    assert 0.4 < share < 0.6


def test_random_controls_never_count_zero_weights() -> None:
    weight = torch.zeros(1, 50)
    weight[0, :4] = torch.tensor([1.0, 2.0, -3.0, -4.0])
    mask = ablated_mask(weight, Ablation("random_count", 1.0), ["unit"])
    assert mask.sum() == 2
    assert (weight[mask] != 0).all()


def test_random_controls_depend_on_seed_and_label() -> None:
    row = random_bank(rows=1).weight
    masks = [
        ablated_mask(row, Ablation("random_magnitude", 0.5, seed=seed), [label])
        for seed, label in [(0, "a"), (0, "a"), (1, "a"), (0, "b")]
    ]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], masks[3])


def test_random_control_wants_labels() -> None:
    with pytest.raises(ValueError, match="expected 1 labels"):
        ablated_mask(ROW, Ablation("random_count", 0.5))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("sign", SWEPT)
def test_row_without_the_sign_loses_nothing(sign: str, rule: str) -> None:
    reference = "negative" if sign == "negative" else "positive"
    one_sign = torch.rand(1, 20) + 0.1
    weight = -one_sign if reference == "positive" else one_sign
    for alpha in (0.5, 1.0):
        mask = ablated_mask(weight, Ablation(sign, alpha, rule, reference), ["unit"])
        assert not mask.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sign": "positive", "alpha": 1.2}, r"alpha in \[0, 1\]"),
        ({"sign": "positive", "alpha": -0.1}, r"alpha in \[0, 1\]"),
        ({"sign": "positive", "alpha": float("nan")}, r"alpha in \[0, 1\]"),
        ({"sign": "postive", "alpha": 0.5}, "did you mean positive"),
        ({"sign": "positive", "alpha": 0.5, "rule": "small"}, "expected a rule"),
        ({"sign": "random_count", "alpha": 0.5, "reference": "none"}, "expected a reference"),
        ({"sign": "none", "alpha": 0.5}, "name the sign"),
        ({"sign": "random_count", "alpha": 0.5, "seed": -1}, "expected a seed"),
    ],
)
def test_impossible_ablations(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ablation(**arguments)


def test_non_finite_weights_are_named() -> None:
    weight = torch.ones(3, 4)
    weight[1, 2] = float("nan")
    with pytest.raises(ValueError, match=r"rows \[1\]"):
        ablated_mask(weight, Ablation("positive", 0.5))


def test_conditions_have_one_intact_and_it_is_first() -> None:
    swept = conditions(["positive", "none", "negative"], [0, 0.5, 1.0, 0.5])
    assert [ablation.label for ablation in swept] == [
        "intact",
        "positive 0.5",
        "positive 1",
        "negative 0.5",
        "negative 1",
    ]
    assert {ablation.rule for ablation in conditions(["positive"], [1], rule="largest")} == {
        "largest"
    }
    with pytest.raises(ValueError, match="expected a sign"):
        conditions(["positif"], [0.0])


def test_labels_tell_conditions_apart() -> None:
    swept = [
        Ablation(sign, alpha, reference=reference, seed=seed)
        for sign in ("random_magnitude", "random_count")
        for alpha in (0.5, 1.0)
        for reference in ("positive", "negative")
        for seed in (0, 1)
    ]
    assert len({ablation.label for ablation in swept}) == len(swept)


def test_positive_ablation_bounds_the_score_by_the_bias() -> None:
    readout = ablate(random_bank(), Ablation("positive", 1.0))
    scores = readout.responses(torch.rand(64, 200))  # non-negative features
    assert (scores <= readout.bias).all()
