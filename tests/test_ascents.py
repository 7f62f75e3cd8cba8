"""Stored ascents: continued, made again from their seeds, and recognised by others."""

import numpy as np
import pytest
import torch
from conftest import checked, collected, made

from signseg_utils import zoos
from signseg_utils.experiments import ascents, base
from signseg_utils.metrics import recognition
from signseg_utils.search.ascent import Ascent

UNITS = ("red ring", "blue disc", "red disc")


class Zoo(zoos.load_zoo("shapes").__class__):
    """Only the networks that the tiny zoo has."""

    networks = ("alexnet", "resnet")


@pytest.fixture(scope="module")
def zoo(tiny_zoo):
    return Zoo(tiny_zoo)


@pytest.fixture(scope="module", params=["", "scenes"])
def plan(request, zoo):
    return ascents.plan(
        zoo, "resnet", UNITS, together=2, generator=request.param, alphas=(1.0,), seeds=(0, 3),
        ascent=Ascent(steps=3),
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(plan, tiny_zoo, tmp_path_factory):
    where = tmp_path_factory.mktemp("results")
    made(plan, where, tiny_zoo)
    return where


def test_results_are_joined_along_units(plan, folder, tiny_zoo):
    found = collected(plan, folder, tiny_zoo)
    assert found["unit"].values.tolist() == list(UNITS)
    assert found["activation"].dims == ("unit", "condition", "seed")
    assert found["recognition"].sizes["witness"] == 1 and found["recognition"].notnull().all()
    intact = found.isel(condition=0)
    np.testing.assert_array_equal(intact["activation"], intact["response"])


def test_an_audit_climbs_again(plan, folder, tiny_zoo):
    assert checked(plan, folder, tiny_zoo, sample=4) > 0


def test_a_wrong_number_is_found(plan, folder, tiny_zoo, zoo):
    found = base.read(plan, zoos.load_zoo("shapes", tiny_zoo), folder)
    found[0]["activation"][:] += 10
    with pytest.raises(base.AuditError, match="activation"):
        base.demand(base.audit(plan, found, zoo, sample=8))


def test_images_are_made_again_from_their_seeds(plan, folder, tiny_zoo, zoo):
    found = collected(plan, folder, tiny_zoo).isel(unit=1, condition=2, seed=1)
    images = plan[0].images(zoo, [(1, 2, 1)])
    logits = zoo.network("alexnet").logits(images).detach()
    label = torch.tensor([zoo.classes.index("blue disc")])
    expected = float(recognition.probability(logits, label)[0])
    assert float(found["recognition"][0]) == pytest.approx(expected, abs=1e-6)


def test_a_stopped_computation_goes_on(plan, zoo):
    one = ascents.Ascents(**{**vars(plan[0]), "ascent": Ascent(steps=10)})
    states: list = []
    whole = one.compute(zoo, save=states.append)
    again = one.compute(zoo, states[0])
    np.testing.assert_array_equal(whole["activation"], again["activation"])
    assert ascents.Ascents.of_provenance({"settings": one.settings}) == one
