"""Models of neurons against features of a network, for images that models were not fitted to."""

import importlib.util

import numpy as np
import pytest
import xarray as xr

from signseg_utils import zoos
from signseg_utils.experiments import base
from signseg_utils.experiments.base import AuditError
from signseg_utils.experiments.recorded import consolidation, task_driven
from signseg_utils.experiments.recorded.task_driven import TaskDriven
from signseg_utils.neurons.recordings import RecordingError

STUDY = TaskDriven("simulated", "simulated", "shapes", "alexnet", ("trunk.1/4",), images=60)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    """Simulated neurons, which are their own models; as if these knew the first 100 images."""
    monkeypatch.setitem(consolidation.FITTED, "simulated", 100)
    whole = STUDY.recorded()
    return STUDY.measured(whole.isel(image=slice(200)), zoos.load_zoo("shapes"))


def test_who_knows_the_neuron_predicts_it_better(found: xr.Dataset) -> None:
    assert found["linear"].dims == ("layer", "neuron")
    assert (found.to_array() >= 0).all() and (found.to_array() <= 1).all()
    assert float((found["published"] - found["linear"][0]).median()) > 0.1


def test_images_that_models_were_fitted_to_are_kept_apart(
    found: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With noise instead of the first responses, only what is told of these images changes."""
    whole = STUDY.recorded().isel(image=slice(200)).copy(deep=True)
    rng = np.random.default_rng(0)
    whole["response"].values[:100] = rng.poisson(3.0, whole["response"].values[:100].shape)
    again = STUDY.measured(whole, zoos.load_zoo("shapes"))
    xr.testing.assert_equal(again["published"], found["published"])
    assert again["fitted"].max() < 0.3 < found["fitted"].max()


def test_the_best_layer_is_that_of_the_highest_median() -> None:
    linear = (("layer", "neuron"), [[0.1, 0.2, 0.9], [0.3, 0.4, 0.5]])
    own = xr.Dataset({"linear": linear}, {"layer": ["a", "b"], "neuron": list("xyz")})
    assert task_driven.together([own])["features"].values.tolist() == [0.3, 0.4, 0.5]


def test_audits_agree_and_another_number_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(consolidation.FITTED, "simulated", 100)
    zoo = zoos.load_zoo("shapes")
    found = STUDY.measured(STUDY.recorded(), zoo)
    assert base.demand(base.audit([STUDY], [found], zoo)) == 2 + found.sizes["neuron"]
    for name in ("published", "linear"):
        other = found.copy(deep=True)
        other[name] += 0.05
        with pytest.raises(AuditError, match=name):
            base.demand(base.audit([STUDY], [other], zoo))


def test_a_session_without_such_images_is_refused() -> None:
    with pytest.raises(RecordingError, match="ask for fewer with images="):
        STUDY.measured(STUDY.recorded(), zoos.load_zoo("shapes"))


def test_a_page_of_another_zoo_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored results are read and not audited where the network is not installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    plan, page = task_driven.plan("v4", "efficientnet", "lite0"), zoos.load_zoo("tinyimagenet")
    results = base.obtain(plan, page)
    assert results.source == "shipped"
    assert base.audit(plan, results.found, page) == []
