"""Representational similarity: the paper's definition, by brute force and by its limits."""

import pytest
import torch
from torch.nn.functional import cosine_similarity as pair_cosine

from signseg_utils.analysis.similarity import (
    across_searches,
    cosine_similarity,
    ensemble_features,
)


def features(n: int, seed: int, width: int = 32) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)).relu()


def images(n: int, seed: int) -> torch.Tensor:
    return torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


BACKBONES = {
    "flat": lambda x: x.flatten(1),
    "colour": lambda x: x.mean((2, 3)),
    "square": lambda x: x.flatten(1) ** 2,
}


def test_is_the_mean_over_all_pairs() -> None:
    a, b = features(4, 0), features(3, 1)
    pairs = [pair_cosine(x, y, dim=0) for x in a for y in b]
    assert cosine_similarity(a, b).item() == pytest.approx(torch.stack(pairs).mean().item())


def test_pairs_of_one_search_are_left_out() -> None:
    """Three seeds through two generators: by brute force, over images of different seeds only."""
    a, b = (features(6, seed).unflatten(0, (3, 2)) for seed in (0, 1))
    pairs = [
        pair_cosine(a[s, i], b[t, j], dim=0)
        for s in range(3)
        for t in range(3)
        if s != t
        for i in range(2)
        for j in range(2)
    ]
    assert across_searches(a, b).item() == pytest.approx(torch.stack(pairs).mean().item())


def test_a_twin_from_the_same_search_does_not_make_images_alike() -> None:
    """Whatever one search has in common under two conditions, similarity does not see it."""
    a, b = features(4, 0)[:, None], features(4, 1)[:, None]
    twins = b + 100 * a  # each ablated image is nearly the control image of its own seed
    assert cosine_similarity(a[:, 0], twins[:, 0]) > across_searches(a, twins) + 0.05
    level = across_searches(a, a)
    assert across_searches(a, twins).item() == pytest.approx(level.item(), abs=0.01)


def test_the_level_of_control_images_is_that_of_the_same_pairs() -> None:
    a = features(5, 0)
    pairs = [pair_cosine(a[i], a[j], dim=0) for i in range(5) for j in range(5) if i != j]
    level = across_searches(a[:, None], a[:, None])
    assert level.item() == pytest.approx(torch.stack(pairs).mean().item())


def test_one_seed_has_no_pairs_and_seeds_must_match() -> None:
    a = features(6, 0).unflatten(0, (3, 2))
    assert across_searches(a[:1], a[:1]).isnan().all()
    with pytest.raises(ValueError, match="same seeds.*got 3 and 2 seeds"):
        across_searches(a, a[:2])


def test_an_image_with_itself_is_one_and_with_its_negative_minus_one() -> None:
    a = features(1, 0)
    assert cosine_similarity(a, a).item() == pytest.approx(1.0)
    assert cosine_similarity(a, -a).item() == pytest.approx(-1.0)


def test_symmetric_and_blind_to_scale() -> None:
    a, b = features(4, 0), features(3, 1)
    expected = cosine_similarity(a, b)
    torch.testing.assert_close(cosine_similarity(b, a), expected)
    torch.testing.assert_close(cosine_similarity(a * 7, b * 0.1), expected)


def test_unrelated_features_are_alike_until_centred() -> None:
    a, b = features(200, 0), features(200, 1)
    mean = torch.cat([a, b]).mean(0)
    assert cosine_similarity(a, b) > 0.2
    assert cosine_similarity(a, b, centre=mean).abs() < 0.02


def test_zero_features_have_cosine_zero() -> None:
    assert cosine_similarity(torch.zeros(1, 32), features(3, 0)).item() == 0.0


def test_leading_dimensions_are_conditions() -> None:
    a, b = features(4, 0), torch.stack([features(3, 1), features(3, 2)])
    both = cosine_similarity(a, b)
    assert both.shape == (2,)
    torch.testing.assert_close(both[1], cosine_similarity(a, b[1]))


def test_batches_do_not_matter_and_no_gradient_is_kept() -> None:
    a = images(7, 0)
    whole, parts = ensemble_features(a, BACKBONES), ensemble_features(a, BACKBONES, batch=2)
    for name in BACKBONES:
        torch.testing.assert_close(whole[name], parts[name])
        assert not parts[name].requires_grad
