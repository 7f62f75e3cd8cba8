"""Measures of a sweep's images, against the same measures taken one by one."""

import numpy as np
import pytest
import torch
from conftest import made

from signseg_utils import metrics, zoos
from signseg_utils.analysis.images import (
    arranged,
    beyond_seeds,
    by_unit,
    measure,
    own_images,
    panel,
    panel_of_networks,
    random_codes,
    rendered,
    said_by_codes,
)
from signseg_utils.analysis.rectification import below_zero
from signseg_utils.analysis.similarity import across_searches
from signseg_utils.experiments import sweep, unit_predictors
from signseg_utils.metrics.foreground import background
from signseg_utils.search.evolution import Search

UNITS = ("red ring", "blue disc")


class Brightness:
    """A detector that is sure of bright images."""

    def objectness(self, images):
        return images.mean((1, 2, 3))


@pytest.fixture(scope="module")
def zoo(tiny_zoo):
    return zoos.load_zoo("shapes", tiny_zoo)


@pytest.fixture(scope="module")
def found(tiny_zoo, tmp_path_factory):
    plan = sweep.plan(
        "shapes",
        ("resnet", "alexnet"),
        ("scenes",),
        UNITS,
        signs=("positive", "negative"),
        alphas=(0.0, 1.0),
        seeds=(0, 1, 2),
        search=Search(generations=2),
    )
    folder = tmp_path_factory.mktemp("results")
    return made(plan, folder, tiny_zoo)


@pytest.fixture(scope="module")
def seen(found, zoo):
    return measure(found, zoo, ("alexnet", "resnet"), detector=Brightness(), progress=False)


def test_arranged_keeps_the_order_of_the_plan_and_every_value(found):
    searches = arranged(found)
    assert searches["network"].values.tolist() == ["resnet", "alexnet"]
    assert searches["unit"].values.tolist() == list(UNITS)
    for shard in range(found.sizes["shard"]):
        piece = found.isel(shard=shard)
        names = {name: str(piece[name].values) for name in ("network", "generator", "unit")}
        np.testing.assert_array_equal(searches["codes"].sel(names), piece["codes"])


def test_rendered_images_are_those_of_their_codes(found, zoo):
    generator = zoo.generator("scenes")
    codes = found["codes"].isel(shard=1)
    padded = codes.pad(code=(0, 3))
    images = rendered(generator, padded)
    alone = generator(torch.from_numpy(codes.values[2, 1].astype("float32"))[None])[0]
    assert images.shape[:2] == codes.shape[:2]
    torch.testing.assert_close(images[2, 1], alone)


@pytest.mark.parametrize("condition", [0, 1, 2])
def test_similarity_is_that_of_images_from_different_searches(found, seen, zoo, condition):
    images = rendered(zoo.generator("scenes"), found["codes"].isel(shard=3))  # alexnet, blue disc
    mine = seen["similarity"].sel(network="alexnet", unit="blue disc").isel(condition=condition)
    for name in ("alexnet", "resnet"):
        control, other = (zoo.network(name).backbone(images[at])[:, None] for at in (0, condition))
        expected = across_searches(control, other)
        assert float(mine.sel(judge=name)) == pytest.approx(float(expected), abs=1e-6)


def test_intact_images_do_not_change_and_ablated_ones_may(seen):
    assert float(abs(beyond_seeds(seen).isel(condition=0)).max()) == 0
    assert float(abs(beyond_seeds(seen).isel(condition=slice(1, None))).max()) > 0


def test_change_is_the_distance_to_control_images_of_other_searches(found, seen, zoo):
    images = rendered(zoo.generator("scenes"), found["codes"].isel(shard=0))  # resnet, red ring
    eye = zoo.perceptual("alexnet")
    one, other = (eye.distance(images[0, [s]], images[2, [1]]).values for s in (0, 2))
    mine = seen["change"].sel(network="resnet", generator="scenes", unit="red ring")
    assert float(mine[2, 1]) == pytest.approx(float((one + other) / 2), rel=1e-4)


def test_foreground_is_read_from_the_code_and_objectness_from_the_image(found, seen, zoo):
    generator = zoo.generator("scenes")
    codes = torch.from_numpy(found["codes"].isel(shard=0, condition=1).values.astype("float32"))
    at = dict(network="resnet", generator="scenes", unit="red ring")
    here = seen.sel(at).isel(condition=1)
    np.testing.assert_allclose(here["foreground"], generator.foreground(codes), atol=1e-6)
    np.testing.assert_allclose(here["objectness"], generator(codes).mean((1, 2, 3)), atol=1e-6)


def test_recognition_is_by_the_network_that_took_no_part(found, seen, zoo):
    images = rendered(zoo.generator("scenes"), found["codes"].isel(shard=0, condition=1))
    logits = zoo.network("alexnet").logits(images)  # of resnet's images of a red ring
    expected = logits.double().softmax(1)[:, zoo.classes.index("red ring")]
    here = seen.sel(network="resnet", generator="scenes", unit="red ring").isel(condition=1)
    np.testing.assert_allclose(here["recognition"], expected.detach(), atol=1e-6)
    assert (here["recognition_rank"] >= 1).all()


def test_background_is_what_the_object_leaves_uncovered(found, seen, zoo):
    generator = zoo.generator("scenes")
    codes = torch.from_numpy(found["codes"].isel(shard=0, condition=1).values.astype("float32"))
    images, opacity = generator.render(codes)
    here = seen.sel(network="resnet", generator="scenes", unit="red ring").isel(condition=1)
    for image, mask, white in zip(images, opacity, here["whiteness"], strict=True):
        expected = np.average(image.amin(0).flatten(), weights=(1 - mask).flatten())
        assert float(white) == pytest.approx(expected, abs=1e-5)
    assert (here["whiteness"] <= here["background"]).all()


def test_without_a_code_the_border_is_the_background():
    weights = background(object(), torch.zeros(2, 8), 16, 24)
    assert weights[:, 2:-2, 3:-3].max() == 0 and weights[:, 0, 0].min() > 0
    torch.testing.assert_close(weights.sum((1, 2)), torch.ones(2))


def test_panel_shows_either_sign_of_the_best_seed(found, zoo):
    searches = arranged(found)
    images, conditions = panel(searches, zoo, "resnet", "scenes", UNITS[:1], [1.0])
    assert conditions == [("none", 0.0), ("positive", 1.0), ("negative", 1.0)]
    mine = searches.sel(network="resnet", generator="scenes", unit=UNITS[0])
    best = int(mine["activation"][2].values.argmax())
    code = torch.from_numpy(mine["codes"][2, best].values.astype("float32"))
    torch.testing.assert_close(images[0, 2], zoo.generator("scenes")(code[None])[0])


def test_the_centre_can_be_that_of_some_networks_only(found, seen, zoo):
    """As if the others had not been there."""
    resnet = measure(
        found, zoo, ("alexnet",), detector=Brightness(), centred_on=["resnet"], progress=False
    )
    alone = measure(
        found.isel(shard=[0, 1]), zoo, ("alexnet",), detector=Brightness(), progress=False
    )
    mine = resnet.sel(network="resnet")
    name = "centred_similarity"
    np.testing.assert_allclose(mine[name], alone[name].sel(network="resnet"), atol=1e-6)
    assert abs(mine[name] - seen[name].sel(network="resnet", judge=["alexnet"])).max() > 1e-3
    same = alone["similarity"].sel(network="resnet")
    np.testing.assert_allclose(mine["similarity"], same, atol=1e-6)


def test_own_images_are_those_of_the_intact_unit(found, zoo):
    images = own_images(arranged(found), zoo, "alexnet", UNITS[1:])
    assert images.shape[:2] == (1, 3)
    expected = rendered(zoo.generator("scenes"), found["codes"].isel(shard=3, condition=0))
    torch.testing.assert_close(images[0], expected)


def test_by_unit_leaves_a_network_out_of_its_own_jury(seen):
    found = by_unit(seen)
    assert set(found["objectness"].dims) == {"network", "unit", "condition"}
    other = seen["centred_similarity"].sel(network="resnet", judge="alexnet")
    strict = found["strict_similarity"].sel(network="resnet")
    np.testing.assert_allclose(strict.values, other.values)
    change = seen["change"].mean("seed").mean("generator").transpose(*found["change"].dims)
    np.testing.assert_allclose(found["change"], change, rtol=1e-5)


def test_by_unit_asks_the_strict_judges_that_are_named(seen):
    found = by_unit(seen, ["resnet"])
    mine = seen["centred_similarity"].sel(judge="resnet")
    np.testing.assert_allclose(found["strict_similarity"].values, mine.values)


def test_a_network_from_another_seed_is_of_the_same_design_as_its_judge(seen):
    again = seen.assign_coords(network=["resnet-seed2", "alexnet"])
    np.testing.assert_array_equal(
        by_unit(again)["strict_similarity"].values, by_unit(seen)["strict_similarity"].values
    )


def test_beyond_seeds_is_less_the_intact_units_own_level(seen):
    strict = beyond_seeds(seen, ["alexnet"])
    assert strict.dims == ("network", "unit", "condition")
    values = seen["centred_similarity"].sel(judge="alexnet")
    expected = values - values.isel(condition=0)
    np.testing.assert_allclose(strict.values, expected.values, atol=1e-12)


def test_panels_of_networks_stand_one_below_the_other(found, zoo):
    searches = arranged(found)
    words = {"alexnet": "first", "resnet": "second"}
    images, conditions, labels = panel_of_networks(searches, zoo, words, "scenes", UNITS, [1.0])
    assert labels == [f"{unit}, {word}" for word in words.values() for unit in UNITS]
    lower, same = panel(searches, zoo, "resnet", "scenes", UNITS, [1.0])
    assert conditions == same
    torch.testing.assert_close(images[2:], lower)


def test_rectified_features_do_not_go_below_zero(found, zoo):
    below = below_zero(arranged(found), zoo, ["resnet", "alexnet"], UNITS)
    for share in ("features below zero", "drive through negative weights"):
        assert below[share].dims == ("network", "unit") and (below[share] == 0).all()
    moved = below["change if mirrored"]
    assert moved.sel(network="alexnet") > 0.01  # it knows which of its weights are negative
    assert np.isnan(moved.sel(network="resnet"))  # its features are averages over a map


def test_properties_of_units_are_those_of_the_network_and_its_images(zoo, seen, monkeypatch):
    monkeypatch.setattr(
        unit_predictors, "class_accuracy", lambda *_, missing, fewest: [0.5, missing]
    )
    measured, units = by_unit(seen), UNITS[::-1]
    found = unit_predictors.of_units(zoo, "resnet", units, measured)
    own = measured.sel(network="resnet", unit=list(units))
    np.testing.assert_array_equal(found["accuracy"], [0.5, np.nan])
    np.testing.assert_array_equal(found["objectness, intact"], own["objectness"].isel(condition=0))
    level = own["strict_similarity"].isel(condition=0)
    np.testing.assert_array_equal(found["likeness, intact"], level)
    weight = zoo.network("resnet").readout.rows(units).weight
    ratio = weight.clamp(min=0).sum(1) / (-weight).clamp(min=0).sum(1)
    np.testing.assert_allclose(found["sign ratio"], ratio, rtol=1e-4)


def test_random_codes_are_alike_for_one_seed_and_of_each_generators_size(zoo):
    generators = {"scenes": zoo.generator("scenes")}
    codes = random_codes(generators, 5, 3)["scenes"]
    assert codes.shape == (5, generators["scenes"].code_size)
    assert torch.equal(codes, random_codes(generators, 5, 3)["scenes"])
    assert not torch.equal(codes, random_codes(generators, 5, 4)["scenes"])


def test_codes_of_scenes_are_told_in_words(zoo):
    scenes = zoo.generator("scenes")
    codes = random_codes({"scenes": scenes}, 4, 0)["scenes"]
    heads, below = said_by_codes(scenes, codes, zoo.classes)
    opacity = scenes.describe(codes)["opacity"]
    assert set(heads) <= set(zoo.classes) and len(heads) == 4
    assert below == [f"opacity {100 * float(each):.0f} %" for each in opacity]


def test_every_metric_of_the_registry_is_measured(found, zoo, monkeypatch, tmp_path):
    (tmp_path / "redness.py").write_text(
        "def PLUGIN(seen):\n    return {'redness': seen.images[:, 0].mean((1, 2))}\n"
    )
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(tmp_path)])
    seen = measure(found, zoo, ("alexnet",), detector=Brightness(), progress=False)
    images = rendered(zoo.generator("scenes"), found["codes"].isel(shard=0))  # resnet, red ring
    own = seen["redness"].sel(network="resnet", generator="scenes", unit="red ring")
    np.testing.assert_allclose(own.values, images[:, :, 0].mean((2, 3)), rtol=1e-6)
    assert {"objectness", "change", "luminance", "foreground"} <= set(seen.data_vars)
