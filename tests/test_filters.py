"""Properties of first-layer filters, on filters whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

from signseg_utils import zoos
from signseg_utils.analysis import filters


def test_balance_is_one_minus_one_and_between() -> None:
    weight = torch.tensor([[[[1.0]], [[-2.0]], [[3.0]]], [[[2.0]], [[-1.0]], [[-1.0]]]])
    assert filters.sign_balance([weight]).tolist() == [1.0, -1.0, 0.5]


def test_balance_counts_every_path() -> None:
    one, other = torch.ones(2, 3, 3, 3), -torch.ones(18, 3, 1, 1)
    assert filters.sign_balance([one, other]).tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="same channels"):
        filters.sign_balance([one, torch.ones(2, 4, 1, 1)])


def test_colour_is_zero_for_grey_and_one_for_an_opponent_pair() -> None:
    grey = torch.randn(1, 1, 5, 5).expand(1, 3, 5, 5)
    opponent = torch.randn(1, 1, 5, 5) * torch.tensor([1.0, -1.0, 0.0])[:, None, None]
    red = torch.zeros(1, 3, 5, 5)
    red[:, 0] = 1
    found = filters.colour_share(torch.cat([grey, opponent, red]))
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0, 2 / 3], dtype=torch.float64))


def test_finer_filters_have_higher_frequency() -> None:
    x = torch.arange(8.0)
    waves = [torch.cos(2 * np.pi * f * x).expand(1, 3, 8, 8) for f in (0.0, 0.125, 0.25, 0.5)]
    found = filters.centroid_frequency(torch.cat(waves))
    assert (found.diff() > 0).all()
    assert found[0] < 0.12 and found[3] > 0.4
    torch.testing.assert_close(found, filters.centroid_frequency(-3 * torch.cat(waves)))


def test_shuffled_filters_keep_their_weights_and_their_mean() -> None:
    weight = torch.randn(4, 3, 5, 5)
    mixed = filters.shuffled_taps(weight, 0)
    assert not torch.equal(mixed, weight)
    assert torch.equal(mixed.flatten(1).sort(1).values, weight.flatten(1).sort(1).values)
    assert torch.equal(mixed, filters.shuffled_taps(weight, 0))


def test_filters_that_read_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="first convolution"):
        filters.colour_share(torch.randn(4, 8, 3, 3))
    with pytest.raises(ValueError, match="three colours"):
        filters.first_layer(nn.Linear(2, 2))


def test_shown_filters_are_images_in_the_order_asked_for() -> None:
    network = nn.Conv2d(3, 4, 5)
    first, second = filters.shown(network, [3, 2, 1, 0])
    assert first.shape == second.shape == (2, 3, 5, 5)
    assert 0 <= float(first.min()) and float(first.max()) <= 1
    flat = (first[0] - 0.5).flatten()
    assert torch.corrcoef(torch.stack([flat, network.weight[3].detach().flatten()]))[0, 1] > 0.999


@pytest.mark.parametrize("name, paths", [("alexnet", 1), ("resnet", 2)])
def test_described_filters_are_those_of_the_network(tiny_zoo, name: str, paths: int) -> None:
    backbone = zoos.load_zoo("shapes", tiny_zoo).network(name).backbone
    readers = backbone.readers(0)
    assert len(readers) == paths and {r.shape[1] for r in readers} == {4}
    found = filters.described(backbone, shuffles=2)
    assert {values.shape for values in found.values()} == {(4,)}
    np.testing.assert_array_equal(found["balance"], filters.sign_balance(readers).numpy())


def test_silent_readers_hear_nothing_of_the_stem(tiny_zoo) -> None:
    """What `readers` names is all that carries the stem's map to what comes after."""
    backbone = zoos.load_zoo("shapes", tiny_zoo).network("resnet").backbone
    images = torch.rand(2, 3, 24, 24)
    before = backbone(images)
    for weight in backbone.readers(0):
        weight.zero_()  # shares its memory with the network
    a, b = backbone(images)
    torch.testing.assert_close(a, b)
    assert not torch.allclose(before[0], before[1])


def test_correlations_find_what_was_put_in_and_tell_each_network() -> None:
    rng = np.random.default_rng(0)

    def network(sign: float) -> dict[str, np.ndarray]:
        balance = rng.normal(size=30)
        return {
            "balance": balance,
            "frequency": sign * balance + 5,
            "colour": -sign * balance,
            "shuffled frequency": rng.normal(size=30),
            "shuffled colour": rng.normal(size=30),
        }

    described = {"a": network(1), "b": network(1), "a-untrained": network(-1)}
    found = filters.correlations(described, resamples=200)
    each = {name: round(own.value, 6) for name, own in found["frequency"].items()}
    assert each == {"a": 1, "b": 1, "a-untrained": -1} and found["frequency"]["a"].n == 30
    assert found["colour"]["b"].value == pytest.approx(-1)
    assert found["frequency shuffled"]["a"].low > 0.3
