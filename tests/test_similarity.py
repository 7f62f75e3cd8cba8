"""Representational similarity: the paper's definition, by brute force and by its limits."""

import pytest
import torch
from torch.nn.functional import cosine_similarity as pair_cosine

from signseg_utils.analysis.similarity import (
    cosine_similarity,
    ensemble_features,
    ensemble_similarity,
    similarity_of_features,
    within_similarity,
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


def test_within_is_the_mean_over_pairs_of_different_images() -> None:
    a = features(5, 0)
    pairs = [pair_cosine(a[i], a[j], dim=0) for i in range(5) for j in range(5) if i != j]
    assert within_similarity(a).item() == pytest.approx(torch.stack(pairs).mean().item())
    with pytest.raises(ValueError, match="at least 2"):
        within_similarity(a[:1])


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


def test_ensemble_is_the_mean_over_networks() -> None:
    a, b = images(4, 0), images(3, 1)
    found = ensemble_similarity(a, b, BACKBONES)
    each = {n: cosine_similarity(f(a), f(b)).item() for n, f in BACKBONES.items()}
    assert found.networks == pytest.approx(each)
    assert float(found) == pytest.approx(sum(each.values()) / 3)


def test_leaving_the_own_network_out() -> None:
    a, b = images(4, 0), images(3, 1)
    found = ensemble_similarity(a, b, BACKBONES, leave_out="flat")
    assert set(found.networks) == {"colour", "square"}
    with pytest.raises(KeyError, match="did you mean flat"):
        ensemble_similarity(a, b, BACKBONES, leave_out="flatt")
    with pytest.raises(ValueError, match="at least one network"):
        ensemble_similarity(a, b, {"flat": BACKBONES["flat"]}, leave_out="flat")


def test_batches_do_not_matter_and_no_gradient_is_kept() -> None:
    a = images(7, 0)
    whole, parts = ensemble_features(a, BACKBONES), ensemble_features(a, BACKBONES, batch=2)
    for name in BACKBONES:
        torch.testing.assert_close(whole[name], parts[name])
        assert not parts[name].requires_grad


def test_features_of_other_networks_or_without_centre_are_refused() -> None:
    a, b = features(2, 0), features(2, 1)
    with pytest.raises(ValueError, match="same networks"):
        similarity_of_features({"x": a}, {"y": b})
    with pytest.raises(KeyError, match="mean feature"):
        similarity_of_features({"x": a}, {"x": b}, centre={"y": a.mean(0)})


def test_centre_of_an_ensemble_is_each_network_own() -> None:
    a, b = images(6, 0), images(6, 1)
    centre = {name: f(torch.cat([a, b])).mean(0) for name, f in BACKBONES.items()}
    found = ensemble_similarity(a, b, BACKBONES, centre=centre)
    expected = cosine_similarity(a.flatten(1), b.flatten(1), centre["flat"]).item()
    assert found.networks["flat"] == pytest.approx(expected)
    assert found.value < ensemble_similarity(a, b, BACKBONES).value
