"""Selectivity at both ends: filters planted in a network, indices and fits against formulas."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats as reference
from torch import nn

from signseg_utils import zoos
from signseg_utils.analysis import selective_filters, selectivity
from signseg_utils.basics import draws
from signseg_utils.cli import experiment as command
from signseg_utils.experiments import base
from signseg_utils.experiments import negative_selectivity as experiment
from signseg_utils.files.store import Store
from signseg_utils.networks import Network
from signseg_utils.units.readout import Readout

CLASSES = ("red disc", "green disc", "blue disc")
COUNT = 12  # planted filters


# ---------------------------------------------------------------- planted truth


class Planted(nn.Module):
    """A trained network with a layer of known filters behind its outputs, between two others."""

    def __init__(self, network: Network, mix: torch.Tensor) -> None:
        super().__init__()
        self.outputs = nn.Sequential(network.backbone, nn.Linear(1, 1))
        self.outputs[1].weight = nn.Parameter(network.readout.weight)
        self.outputs[1].bias = nn.Parameter(network.readout.bias)
        self.mix = nn.Linear(*mix.T.shape, bias=False)
        self.mix.weight = nn.Parameter(mix)
        self.rectifier, self.last = nn.ReLU(), nn.ReLU()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        outputs = self.outputs(images)
        likely = outputs.softmax(1) - 1 / outputs.shape[1]
        return self.last(self.rectifier(self.mix(likely)))


def measured(negative: bool) -> tuple[dict, np.ndarray]:
    """Scenes measured by filters that like red discs; which of them hate green ones, too."""
    zoo = zoos.load_zoo("shapes")
    network = zoo.network("resnet")
    red, green, blue = (zoo.classes.index(name) for name in CLASSES)
    mix = 0.02 * draws.normal((4 * COUNT, len(zoo.classes)), seed=1)
    mix[:COUNT, red] += 1.0
    mix[:COUNT, [green, blue]] += -1.0 if negative else 1.0
    readout = Readout(torch.ones(len(zoo.classes), 4 * COUNT), torch.zeros(36), zoo.classes)
    planted = dataclasses.replace(network, backbone=Planted(network, mix).eval(), readout=readout)
    images = zoo.images("val", 1000)
    found = experiment.measure(planted, images, experiment.categories(zoo), layers=99)
    layers = list(dict.fromkeys(found["layer"].values.tolist()))
    assert layers[-2:] == ["rectifier", "last"]
    own = found.isel(row=found["layer"].values == "rectifier")
    return {"planted": own.assign_coords(depth=own["depth"] * 0 + 0.5)}, np.arange(COUNT)


@pytest.fixture(scope="module", params=[True, False], ids=["planted", "none planted"])
def scenes(request: pytest.FixtureRequest) -> tuple[bool, dict, np.ndarray]:
    return (request.param, *measured(request.param))


def test_planted_negative_selectivity_is_found_and_nothing_where_none_is(scenes) -> None:
    negative, found, rows = scenes
    (own,) = found.values()
    others = np.arange(COUNT, own.sizes["row"])
    at_planted = selective_filters.excess(own, "discs", "mean", rows)
    at_others = selective_filters.excess(own, "discs", "mean", others)
    if negative:  # a third of discs is liked; the other two make most of the negative end
        assert at_planted.min() > 2
    else:
        assert at_planted.max() < -0.5
    assert abs(at_others.mean()) < 0.6
    top = selective_filters.excess(own, "discs", "mean", rows, "top")
    assert top.min() > 2


def test_filters_with_a_category_at_both_ends_are_counted(scenes) -> None:
    negative, found, _ = scenes
    table = selective_filters.two_ended(found, "discs")
    liking, both, excess, _ = table.loc["planted, over places"]
    assert liking >= COUNT
    assert both >= COUNT if negative else both <= 2
    assert (excess > 0.5) if negative else (excess < 0)


def test_the_claim_follows_what_was_planted(scenes) -> None:
    negative, found, rows = scenes
    ends = selective_filters.negative_ends(found, {}, "discs", 0.65)
    effects = {kind: effect for kind, effect, _ in ends}
    estimate = effects[""]["planted"]
    chosen = selective_filters.selective(found["planted"], "discs", 0.65)
    if not negative:  # these are what the index finds
        assert set(rows) <= set(np.flatnonzero(chosen)) and estimate.high < 0
    shuffled = effects[" shuffled"]["planted"]
    assert abs(shuffled.value) < 0.6  # chosen by chance, they are a little off 0; planted: over 2
    assert effects[" untrained"] is None
    assert set(effects[" others"]["unit"].values) == set(experiment.CATEGORIES["shapes"]) - {
        "discs"
    }


def test_an_index_of_means_misses_filters_with_both_ends(scenes) -> None:
    """One breed at each end cancels in the mean: such filters are not what it calls selective."""
    negative, found, rows = scenes
    index = found["planted"]["paper"].sel(category="discs").values
    if negative:
        assert index[rows].max() < 0.55
    else:
        assert index[rows].min() > 0.65


# ---------------------------------------------------------------- responses


def test_layers_are_what_enters_a_rectifier_each_time_it_is_used() -> None:
    torch.manual_seed(0)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)
            self.hidden = nn.Linear(4, 5)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.act(self.hidden(self.act(self.conv(images)).mean((2, 3))))

    backbone = Twice()
    pixels = torch.randint(0, 255, (7, 3, 9, 9), dtype=torch.uint8)
    found = selectivity.responses(backbone, pixels, most=8, batch=3)
    assert list(found) == ["act", "act 2"]
    maps = backbone.conv(pixels / 255).detach()
    expected = {
        "mean": maps.mean((2, 3)),
        "highest": maps.amax((2, 3)),
        "lowest": maps.amin((2, 3)),
        "centre": maps[:, :, 3, 3],
        "rectified": maps.relu().mean((2, 3)),
        "largest": maps.relu().amax((1, 2, 3))[:, None],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found["act"][name], values, rtol=1e-5, atol=1e-6)
    hidden = found["act 2"]
    assert hidden["mean"].min() < 0
    for name in ("highest", "lowest", "centre"):
        np.testing.assert_array_equal(hidden[name], hidden["mean"])
    assert list(selectivity.responses(backbone, pixels, most=1)) == ["act"]


def test_a_network_without_rectifiers_is_refused() -> None:
    with pytest.raises(ValueError, match="rectifiers"):
        selectivity.responses(nn.Conv2d(3, 2, 3), torch.zeros(2, 3, 8, 8, dtype=torch.uint8), 3)


# ---------------------------------------------------------------- indices


MEAN = np.array([[4.0, 1.0, 5.0], [2.0, 1.0, -3.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
CHOSEN = np.array([True, True, False, False])


def test_three_readings_by_hand() -> None:
    index = selectivity.paper_index(MEAN, CHOSEN)
    np.testing.assert_allclose(index[[0, 2]], [0.75 / 0.875, 0.5])
    assert np.isnan(index[1])  # it answers all images alike
    np.testing.assert_allclose(selectivity.readme_index(MEAN, CHOSEN)[0], 0.75)
    largest = np.array([[8.0], [2.0], [1.0], [1.0]])
    difference = selectivity.notebook_index(MEAN.clip(0), largest, CHOSEN)
    np.testing.assert_allclose(difference, [2.5 / 8, 0, 1.5 / 8])


def test_the_papers_index_knows_neither_scale_nor_offset() -> None:
    values = draws.normal((50, 6), seed=0).double().numpy()
    chosen = np.arange(50) < 20
    other = selectivity.paper_index(3 * values - 7, chosen)
    np.testing.assert_allclose(other, selectivity.paper_index(values, chosen))


def test_ends_count_the_category_among_the_extreme_images() -> None:
    values = np.stack([np.arange(40.0), -np.arange(40.0)], 1)
    chosen = np.arange(40) >= 39
    top, bottom = selectivity.at_ends(values, values, chosen)
    assert selectivity.end_size(40) == 2
    assert top.tolist() == [1, 0] and bottom.tolist() == [0, 1]


def test_images_that_answer_alike_share_the_room_at_a_border() -> None:
    values = np.array([0.0] + [1.0] * 4 + [2.0] * 35)[:, None]  # two of 40 are an end
    chosen = np.array([False, True] + [False] * 38)
    top, bottom = selectivity.at_ends(values, values, chosen)
    assert bottom[0] == pytest.approx(1 / 4) and top[0] == 0
    noise = 1e-9 * draws.normal((40, 1), seed=5).double().numpy()
    np.testing.assert_allclose(selectivity.at_ends(values + noise, values + noise, chosen)[1], 0.25)


def test_depthwise_layers_are_left_out() -> None:
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU()]
    backbone = nn.Sequential(*layers, nn.Conv2d(4, 5, 1), nn.ReLU())
    pixels = torch.zeros(2, 3, 9, 9, dtype=torch.uint8)
    assert list(selectivity.responses(backbone, pixels, most=8)) == ["1", "5"]


def test_what_goes_with_contrast_is_taken_out() -> None:
    contrast = np.linspace(0, 1, 30)
    noise = draws.normal((30, 2), seed=2).double().numpy()
    left = selectivity.without(noise + 5 * (contrast - 0.5)[:, None], contrast)
    np.testing.assert_allclose(left, selectivity.without(noise, contrast), atol=1e-12)
    np.testing.assert_allclose(contrast @ (left - left.mean(0)), 0, atol=1e-12)
    black, chess = torch.zeros(3, 8, 8), torch.zeros(3, 8, 8)
    chess[:, ::2] = 255
    both = torch.stack([black, chess]).to(torch.uint8)
    np.testing.assert_allclose(selectivity.contrast(both)[0], 0)
    assert selectivity.contrast(both)[1] == pytest.approx(0.5, rel=0.01)


# ---------------------------------------------------------------- tuning


def test_distances_are_those_of_scipy() -> None:
    values = np.sort(np.abs(draws.normal(200, seed=3).double().numpy()))
    for fitted, law in (
        (selectivity.half_normal, reference.halfnorm(scale=np.sqrt((values**2).mean()))),
        (selectivity.exponential, reference.expon(scale=values.mean())),
    ):
        expected = reference.kstest(values, law.cdf).statistic
        assert selectivity.distance(values, fitted) == pytest.approx(expected)
    level = np.array([0.2, 0.9])
    np.testing.assert_allclose(
        selectivity.half_normal_quantiles(level), reference.halfnorm.ppf(level)
    )


def test_a_bell_is_no_half_normal_until_it_is_cut_at_its_middle() -> None:
    bell = draws.normal((4000, 1), seed=4).double().numpy()
    half = np.abs(bell)
    found = selectivity.tuning(np.concatenate([bell, half, half * 0], 1))
    assert found["before"][0] > 0.3 and found["behind"][0] < 0.03
    assert found["before"][1] < 0.03 and found["behind"][1] < 0.03
    assert found["exponential"][:2].min() > 0.05
    assert np.isnan(found["before"][2]) and np.isnan(found["behind"][2])
    np.testing.assert_allclose(found["above"], [0.5, 1, 0], atol=0.02)


# ---------------------------------------------------------------- weights


def test_weights_of_a_category_in_two_gauges() -> None:
    weight = np.array([[1.0, 0.0], [3.0, 0.0], [-1.0, 3.0]])
    found = selectivity.category_weights(weight, {"a": (0, 1), "b": (2,)})
    np.testing.assert_allclose(found["raw"], [[2, 0], [-1, 3]])
    np.testing.assert_allclose(found["centred"], [[1, -1], [-2, 2]])


# ---------------------------------------------------------------- the experiment


@pytest.fixture
def tiny(tiny_zoo, monkeypatch, tmp_path):
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return zoos.load_zoo("shapes", tiny_zoo)


def test_stored_measures_are_made_again(tiny, tmp_path) -> None:
    one = experiment.NegativeSelectivity("shapes", "resnet", images=200)
    (made,) = base.run([one], tiny, tmp_path / "results" / "shapes")
    assert base.demand(base.audit([one], [made], tiny)) > 0
    depth = made["depth"].values
    assert depth.min() == 0 and depth.max() == 1
    last = np.isfinite(made["centred"].sel(category="discs").values)
    assert last.any() and (depth[last] == 1).all()
    wrong = made.copy(deep=True)
    wrong["bottom"] = wrong["bottom"] + 3
    with pytest.raises(base.AuditError, match="bottom"):
        base.demand(base.audit([one], [wrong], tiny))
    effects = dict(selective_filters.weight_rhos({"resnet": made}))
    assert effects[""].shape == (1, 12) and abs(effects[""]).max() <= 1


def test_without_images_there_is_nothing_to_audit(tiny, monkeypatch, tmp_path) -> None:
    one = experiment.NegativeSelectivity("shapes", "alexnet", images=60)
    found = base.run([one], tiny, tmp_path)

    def missing(*_: object) -> None:
        raise zoos.DatasetMissing("not here")

    monkeypatch.setattr(tiny, "images", missing)
    assert base.audit([one], found, tiny) == []


def test_the_command_stores_what_a_chapter_reads(tiny, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(zoos, "load_zoo", lambda name: tiny)
    given = ["--zoo", "shapes", "--networks", "alexnet", "--images", "60"]
    command.main(["negative_selectivity", *given])
    assert "filters of 1 networks measured" in capsys.readouterr().out
    (key,) = Store(tmp_path / "results" / "shapes").keys()
    assert key == experiment.NegativeSelectivity("shapes", "alexnet", 60).key


@pytest.mark.parametrize("name", ["shapes", "tinyimagenet", "efficientnet"])
def test_categories_are_classes_and_share_none(name: str) -> None:
    zoo = zoos.load_zoo(name)
    found = experiment.categories(zoo)
    together = [number for members in found.values() for number in members]
    assert len(set(together)) == len(together) and max(together) < len(zoo.classes)
    if name == "efficientnet":
        assert len(found["dogs"]) == 118
        ends = [zoo.classes[found["dogs"][place]] for place in (0, -1)]
        assert ends == ["Chihuahua", "Mexican hairless"]
    if name == "tinyimagenet":
        assert {len(found["dogs"]), len(found["cats"])} == {6, 5}
