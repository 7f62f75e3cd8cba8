"""Stored ascents: continued, made again from their seeds, and recognised by others."""

import numpy as np
import pytest
import torch
from conftest import TinyZoo, checked, collected, made

from signseg_utils import zoos
from signseg_utils.analysis import between_units, images
from signseg_utils.experiments import ascents, base
from signseg_utils.metrics import recognition
from signseg_utils.search.ascent import Ascent

UNITS = ("red ring", "blue disc", "red disc")


@pytest.fixture(scope="module")
def zoo(tiny_zoo):
    return TinyZoo(tiny_zoo)


@pytest.fixture(scope="module", params=["", "scenes"])
def plan(request, zoo):
    return ascents.plan(
        zoo,
        ["resnet", "alexnet"],
        UNITS,
        together=2,
        generator=request.param,
        alphas=(1.0,),
        seeds=(0, 3),
        steps=3,
    )


@pytest.fixture(scope="module")
def folder(plan, tiny_zoo, tmp_path_factory):
    where = tmp_path_factory.mktemp("results")
    made(plan, where, tiny_zoo)
    return where


def test_results_are_joined_along_networks_and_units(plan, folder, tiny_zoo):
    found = collected(plan, folder, tiny_zoo)
    assert found["unit"].values.tolist() == list(UNITS)
    assert found["network"].values.tolist() == ["resnet", "alexnet"]
    assert found["activation"].dims == ("network", "unit", "condition", "seed")
    own = found["recognition"].sel(network="resnet")
    assert own.sel(witness="resnet").isnull().all() and own.sel(witness="alexnet").notnull().all()
    intact = found.isel(condition=0)
    np.testing.assert_array_equal(intact["activation"], intact["response"])
    assert found["picture"].dtype == np.uint8


def test_an_audit_looks_and_climbs_again(plan, folder, tiny_zoo):
    assert checked(plan, folder, tiny_zoo, sample=4) == 4 * (2 + 2 * 1 + 2)


@pytest.mark.parametrize("name", ["activation", "rank", "begun"])
def test_a_wrong_number_is_found(plan, folder, tiny_zoo, zoo, name):
    found = base.read(plan, zoos.load_zoo("shapes", tiny_zoo), folder)
    found[0][name][:] += 10
    with pytest.raises(base.AuditError, match=name):
        base.demand(base.audit(plan, found, zoo, sample=24))


def test_what_is_measured_is_measured_on_the_stored_picture(plan, folder, tiny_zoo, zoo):
    found = collected(plan, folder, tiny_zoo)
    at = {"network": "resnet", "unit": "blue disc", "condition": "negative 1", "seed": 3}
    picture = images.decoded(found.sel(at))
    assert picture.shape[0] == 3 and picture.dtype == torch.uint8
    logits = zoo.network("alexnet").logits(picture[None] / 255).detach()
    label = torch.tensor([zoo.classes.index("blue disc")])
    expected = float(recognition.probability(logits, label)[0])
    stored = float(found["recognition"].sel(**at, witness="alexnet"))
    assert stored == pytest.approx(expected, abs=1e-6)


def test_the_picture_is_close_to_what_was_climbed_to(plan, folder, tiny_zoo, zoo):
    stored = base.read(plan, zoos.load_zoo("shapes", tiny_zoo), folder)[0]
    one = plan[0]
    code = one._climbed(zoo, [(1, 2, 1)], progress=False).codes
    image = one._generator(zoo)(code)[0]
    kept = images.decoded(stored.isel(unit=1, condition=2, seed=1)) / 255
    assert float((kept - image).abs().mean()) < 0.03


def test_nothing_is_made_again_without_the_networks(plan, folder, tiny_zoo, monkeypatch):
    zoo = TinyZoo(tiny_zoo)
    found = base.read(plan, zoos.load_zoo("shapes", tiny_zoo), folder)
    monkeypatch.setattr(TinyZoo, "holds", lambda self, artefact: artefact != "alexnet")
    assert base.audit(plan, found, zoo) == []


def test_a_stopped_computation_goes_on(plan, zoo):
    one = ascents.Ascents(**{**vars(plan[0]), "ascent": Ascent(steps=10)})
    states: list = []
    whole = one.compute(zoo, save=states.append)
    again = one.compute(zoo, states[0])
    np.testing.assert_array_equal(whole["activation"], again["activation"])
    assert ascents.Ascents.of_provenance({"settings": one.settings}) == one


class Brightness:
    """A detector that is sure of bright images."""

    def objectness(self, images):
        return images.mean((1, 2, 3))


@pytest.fixture(scope="module")
def swept(zoo):
    return ascents.swept(
        zoo,
        networks=["resnet", "alexnet"],
        generators=["pixels", "scenes"],
        units=UNITS,
        alphas=(0.0, 1.0),
        rule="smallest",
        signs=("positive", "negative"),
        seeds=(0, 3),
        steps=1,
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return tmp_path_factory.mktemp("swept")


@pytest.fixture(scope="module")
def climbed(swept, stored, tiny_zoo):
    return made(swept, stored, tiny_zoo)


def test_ascents_stand_for_a_sweep(swept, climbed, stored, tiny_zoo):
    assert [one.generator for one in swept] == ["", "", "scenes", "scenes"]
    assert [c.label for c in swept[0].conditions] == ["intact", "positive 1", "negative 1"]
    assert climbed["generator"].values.tolist() == ["pixels", "scenes"]
    free = images.arranged(collected(swept[:2], stored, tiny_zoo))
    assert free["generator"].values.tolist() == ["pixels"]
    assert free["activation"].equals(climbed["activation"].sel(generator=["pixels"]))


def test_ascents_ablate_by_one_rule(zoo):
    with pytest.raises(ValueError, match="rule smallest, because"):
        ascents.swept(zoo, networks=[], generators=[], units=[], alphas=[], rule="largest")


def test_stored_pictures_are_measured_as_rendered_ones_are(climbed, zoo):
    judges = ("alexnet", "resnet")
    seen = images.measure(climbed, zoo, judges, detector=Brightness(), progress=False)
    at = {"network": "resnet", "generator": "scenes", "unit": "blue disc"}
    at |= {"condition": "negative 1", "seed": 3}
    picture = images.decoded(climbed.sel(at))[None] / 255
    assert float(seen["objectness"].sel(at)) == pytest.approx(float(picture.mean()), abs=1e-6)
    told = climbed["recognition"].sel(at | {"witness": "alexnet"})
    assert float(seen["recognition"].sel(at)) == pytest.approx(float(told), abs=1e-5)
    assert seen["similarity"].dims == ("network", "unit", "condition", "judge")
    best, conditions = images.panel(climbed, zoo, "resnet", "scenes", ["red disc"], [1.0])
    assert conditions == [("none", 0.0), ("positive", 1.0), ("negative", 1.0)]
    one = climbed.sel(network="resnet", generator="scenes", unit="red disc").isel(condition=2)
    strongest = one.isel(seed=int(one["activation"].argmax("seed")))
    assert torch.equal(best[0, 2], images.decoded(strongest))


def test_images_of_different_units_are_held_against_each_other(climbed, zoo):
    apart = between_units.between_units(climbed, zoo, "alexnet")
    assert apart.dims == ("network", "generator", "unit") and bool((apart > 0).all())
