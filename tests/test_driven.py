"""Images made to drive a neuron: planted models are found, and what they drive is told."""

import numpy as np
import pytest
import xarray as xr

from signseg_utils import zoos
from signseg_utils.analysis import stats
from signseg_utils.experiments import base
from signseg_utils.experiments.base import AuditError
from signseg_utils.experiments.recorded import driven
from signseg_utils.experiments.recorded import driven_effects as effects
from signseg_utils.neurons import causal
from signseg_utils.neurons.recordings import RecordingError

IMAGES = causal.SIZE * len(causal.BLOCKS)


@pytest.fixture(scope="module")
def found() -> xr.Dataset:
    (study,) = driven.plan("simulated", "shapes", (5,), permutations=100)
    return study.compute(zoos.load_zoo("shapes"))


def test_neurons_find_the_models_they_were_recorded_from(found: xr.Dataset) -> None:
    right, modelled, below, never = effects.known_matches(effects.by_kind(found))
    assert (modelled, never) == (causal.KNOWN, causal.STRANGERS)
    assert right == 1 and below >= 0.75
    others = found.copy(deep=True)  # the same numbers under other names: nobody finds his own
    others["model"] = np.roll(found["model"].values, 1)
    assert effects.known_matches(effects.by_kind(others))[0] == 0


def test_images_of_its_model_drive_a_neuron_and_those_of_others_do_not(found: xr.Dataset) -> None:
    matched = effects.matched(effects.by_kind(found))
    assert matched.sizes["neuron"] >= causal.KNOWN
    for kind in ("natural", "synthesised"):
        own = matched.sel(set=kind)
        assert stats.mean(own["drive"]).low > 1 > stats.mean(own["others"]).high
        assert stats.mean(own["foretold"]).low > 0.5


def test_models_tell_which_patches_were_salient(found: xr.Dataset) -> None:
    assert found.attrs["salient"] == "smoothed first"  # as it was made
    change = effects.matched(effects.by_kind(found))["change"]
    beyond = change.sel(kind="salient") - change.sel(kind="random")
    assert stats.mean(beyond).high < 0


def test_of_models_without_a_relation_one_in_twenty_passes() -> None:
    rng = np.random.default_rng(0)
    predicted, responses = rng.normal(size=(IMAGES, 12)), rng.normal(size=(IMAGES, 400))
    r, level = driven.matched(predicted, responses, permutations=200, seed=0)
    share = float((r.max(1) > level).mean())
    assert 0.02 < share < 0.09
    low, high = np.quantile(r.max(1), [0.01, 0.99])
    assert low < level.mean() < high


def test_measures_are_what_they_say() -> None:
    rng = np.random.default_rng(1)
    responses = rng.uniform(1, 3, (IMAGES, 2))
    predicted = rng.uniform(0, 1, (IMAGES, 2))
    best = causal.block("maximising").start + 7
    predicted[best, 0] = 9.0
    responses[best, 0] = 11.0
    natural = responses[causal.block("natural"), 0]
    found = driven.measures(responses, predicted, "smoothed second", own=1)
    own = found.sel(set="maximising").isel(neuron=0)
    drive = (11 - natural.mean()) / natural.std(ddof=1)
    assert float(own["drive"]) == pytest.approx(drive)
    assert float(own["percent"]) == pytest.approx(100 * (11 / natural.mean() - 1))
    after = responses[causal.block("smoothed second").start + 7, 0]
    change = found.sel(kind="salient").isel(neuron=0)
    assert float(change["change"]) == pytest.approx((after - 11) / natural.std(ddof=1))
    assert float(change["percent_change"]) == pytest.approx(100 * (after / 11 - 1))


def test_audits_agree_and_a_changed_number_is_found(found: xr.Dataset) -> None:
    plan, zoo = driven.plan("simulated", "shapes", (5,), permutations=100), zoos.load_zoo("shapes")
    assert base.demand(base.audit(plan, [found], zoo, sample=2)) == 2 * (1 + 5 * 3 + 4 * 2)
    other = found.copy(deep=True)
    other["drive"] += 0.5
    with pytest.raises(AuditError, match="drive"):
        base.demand(base.audit(plan, [other], zoo, sample=2))


def test_a_recording_without_images_made_for_it_is_refused() -> None:
    with pytest.raises(RecordingError, match="expected recording v4 or simulated"):
        driven.plan("mine.csv", "shapes")


def test_a_neuron_that_never_differs_is_refused() -> None:
    responses = np.ones((IMAGES, 2))
    responses[::2, 0] = 2.0
    with pytest.raises(RecordingError, match=r"neurons \[1\]"):
        driven.in_deviations(responses)


def test_nothing_of_it_is_a_response_or_an_image(found: xr.Dataset) -> None:
    assert all("image" not in own.dims for own in found.data_vars.values())
