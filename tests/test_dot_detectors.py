"""Dots of one size: the planted detector is found, with its size, its filters and their signs."""

import math

import numpy as np
import pytest
import torch
import xarray as xr

from signseg_utils import zoos
from signseg_utils.experiments import base
from signseg_utils.experiments.base import AuditError
from signseg_utils.experiments.recorded import dot_detectors as dots
from signseg_utils.experiments.recorded import dot_detectors_effects as effects
from signseg_utils.neurons import circuits, spots
from signseg_utils.neurons.recordings import RecordingError

SMALL = dict(images=20, shown=8)


@pytest.fixture(scope="module")
def found() -> xr.Dataset:
    (study,) = dots.plan("simulated", "shapes", **SMALL)
    return study.compute(zoos.load_zoo("shapes"))


# ---------------------------------------------------------------- spots


@pytest.mark.parametrize("form", spots.FORMS)
def test_forms_of_one_radius_have_one_area_and_lie_where_they_should(form: str) -> None:
    radii = (4.0, 8.0)
    shown = spots.spots(radii, (40.0, 60.0), "light", form)
    share = ((shown - spots.blank()) / (1 - spots.blank())).mean(1)
    for radius, mask in zip(radii, share, strict=True):
        assert float(mask.sum()) == pytest.approx(math.pi * radius**2, rel=0.03)
        places = torch.arange(112) + 0.5
        assert float((mask.sum(1) * places).sum() / mask.sum()) == pytest.approx(40, abs=0.01)
        assert float((mask.sum(0) * places).sum() / mask.sum()) == pytest.approx(60, abs=0.01)


def test_dark_spots_are_black_and_the_field_is_nothing_to_a_model() -> None:
    dark = spots.spots((6.0,), (56.0, 56.0), "dark")
    assert float(dark[0, :, 56, 56].max()) == 0
    own = circuits.model("simulated", "unshared-0")
    torch.testing.assert_close(
        spots.blank() - own.mean, torch.zeros(1, 3, 112, 112), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("odd", [("grey", "disc"), ("dark", "cross")])
def test_other_spots_are_refused(odd: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="polarity|form"):
        spots.spots((4.0,), (56.0, 56.0), *odd)


# ---------------------------------------------------------------- the planted detector


def test_the_planted_detector_is_the_only_one_and_its_size_is_told(found: xr.Dataset) -> None:
    assert dots.detecting(found) == [circuits.DOTS] and effects.detectors(found) == 1
    (chosen,) = effects.circuits_of(found, strong=6)
    best = dots.RADII[chosen.best]
    assert abs(best - circuits.RADIUS) <= 1
    assert int(dots.best_polarity(found.sel(model=circuits.DOTS))) == 1  # light
    assert effects.planted(chosen) == (1, 1)


def test_its_corners_excite_small_dots_and_its_brightness_holds_back_large_ones(
    found: xr.Dataset,
) -> None:
    (chosen,) = effects.circuits_of(found, strong=6)
    assert sorted(chosen.strong["number"].values.astype(int)) == [0, 1, 2, 3, 4, 5]
    assert (effects.excitation(chosen) > 0).all() and len(effects.excitation(chosen)) == 4
    assert (effects.inhibition(chosen) > 0).all() and len(effects.inhibition(chosen)) == 2
    assert effects.quarters(chosen) == (4, 4, pytest.approx(24 / 256))  # 4! / 4^4
    invariance, layer = effects.necessary(chosen)
    assert invariance > 0.95 and layer in "45"


def test_without_its_negative_weights_large_dots_are_let_through(found: xr.Dataset) -> None:
    one = found["signed"].sel(detector=circuits.DOTS)
    intact = effects.tuning_of(found, circuits.DOTS)
    assert one.sel(sign="negative")[-1] > intact[-1] + 0.3 * intact.max()
    assert one.sel(sign="positive").max() < 0.8 * intact.max()


def test_a_model_without_the_circuit_is_not_taken_for_it(found: xr.Dataset) -> None:
    other = found.copy(deep=True)
    other["tuning"].loc[{"model": circuits.DOTS}] = 0
    assert circuits.DOTS not in dots.detecting(other)[:1]
    (chosen,) = effects.circuits_of(found, strong=6)
    turned = chosen._replace(excites=~chosen.excites)
    assert effects.planted(turned) == (1, 0)


# ---------------------------------------------------------------- measures


def test_invariance_is_0_unchanged_1_flat_and_below_0_where_sizes_differ_more() -> None:
    intact = torch.tensor([0.0, 2.0, 1.0])
    ablated = torch.stack([intact + 5, torch.full((3,), 7.0), 2 * intact])
    torch.testing.assert_close(dots.invariance(ablated, intact), torch.tensor([0.0, 1.0, -1.0]))
    change = dots.changed(torch.stack([intact, intact + intact.std(correction=0)]), intact)
    torch.testing.assert_close(change, torch.tensor([0.0, 1.0]))


def test_a_kernel_at_0_is_what_leaving_a_filter_out_means() -> None:
    images = spots.spots((4.0, 12.0), (60.0, 52.0), "dark")
    for layer in (1, 3, 5):
        own = circuits.model("simulated", "shared-3")
        passed = dots.passed_through(own, images)
        found = dots.one_by_one(own, passed, layer)[1]
        if layer == 1:
            own.first.weight.data[1] = 0
        else:
            own.depthwise[layer - 2].weight.data[1] = 0
        torch.testing.assert_close(found, own(images))


def test_the_cumulative_ablation_ends_with_all_filters_gone() -> None:
    own = circuits.model("simulated", "shared-3")
    images = spots.spots(dots.RADII, (60.0, 52.0), "dark")
    passed = dots.passed_through(own, images)[3]
    intact = own(images)
    order, change = dots.cumulatively(own, passed, intact, torch.Tensor.double)
    assert sorted(order) == list(range(passed.shape[1]))
    own.depthwise[1].weight.data.zero_()
    assert change[-1] == pytest.approx(float(dots.changed(own(images), intact)), rel=1e-3)
    own = circuits.model("simulated", "shared-3")
    own.depthwise[1].weight.data[order[0]] = 0
    assert change[0] == pytest.approx(float(dots.changed(own(images), intact)), abs=1e-4)


def test_the_preferred_place_is_that_of_a_plain_search() -> None:
    own = circuits.model("simulated", circuits.DOTS)
    y, x = dots.preferred_place(own)
    asked = [(y + dy, x + dx) for dy in (-12, 0, 12) for dx in (-12, 0, 12)]
    drive = [own(spots.spots(dots.RADII, place, "light")).max() for place in asked]
    assert int(np.argmax(drive)) == 4


def test_audits_agree_and_a_changed_number_is_found(found: xr.Dataset) -> None:
    plan, zoo = dots.plan("simulated", "shapes", **SMALL), zoos.load_zoo("shapes")
    assert base.demand(base.audit(plan, [found], zoo, sample=1)) > 300
    other = found.copy(deep=True)
    other["dsi"] += 0.1
    with pytest.raises(AuditError, match="dsi"):
        base.demand(base.audit(plan, [other], zoo, sample=1))


def test_nothing_of_it_is_a_weight_or_an_image(found: xr.Dataset) -> None:
    assert not {"image", "row", "column"} & set(found.dims)


def test_a_recording_without_models_is_refused() -> None:
    with pytest.raises(RecordingError, match="expected recording v4 or simulated"):
        dots.plan("mine.csv", "shapes")
