"""Signs in neuron models: what a constraint costs where truth is known, and what chance gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import trim_mean

from signseg_utils import zoos
from signseg_utils.analysis import neuron_signs, predictions
from signseg_utils.analysis.neuron_signs import CONSTRAINTS
from signseg_utils.experiments.recorded import base as studies
from signseg_utils.experiments.recorded import encoding_signs
from signseg_utils.experiments.recorded.encoding_signs import EncodingSigns
from signseg_utils.neurons import features, recordings
from signseg_utils.units.signs import sign_consistency

OF = ("r", "one", "shapes", "alexnet")
FEW: Any = dict(images=100, draws=2, folds=3, penalties=(0.5, 0.05))


def neurons(zoo: zoos.Zoo, weight: np.ndarray, noise: float, common: float = 0.0) -> xr.Dataset:
    """Sums of penultimate features with known weights [neuron, feature], own and common noise."""
    rng = np.random.default_rng(1)
    pixels = zoo.images("val", 160).pixels
    seen = features.extract(features.Features(zoo.network("alexnet"), "features"), pixels).numpy()
    clean = (seen - seen.mean(0)) / (seen.std(0) + 1e-6) @ weight.T
    clean = clean / clean.std(0) + noise * rng.normal(size=clean.shape)
    clean = clean + common * rng.normal(size=(len(clean), 1))
    return recordings.recording(
        clean,
        [str(i) for i in range(160)],
        pixels=pixels.numpy(),
        about={"session": "one", "area": "none"},
    )


def measured(
    folder: Path, weight: np.ndarray, noise: float = 0.1, common: float = 0.0, least: float = -9.0
) -> xr.Dataset:
    zoo = zoos.load_zoo("shapes", folder)
    network = zoo.network("alexnet")
    study = EncodingSigns(*OF, **FEW, shuffles=15, least=least)
    return encoding_signs.measure(neurons(zoo, weight, noise, common), network, network, study)


@pytest.fixture(scope="module")
def mixed(tiny_zoo: Path) -> xr.Dataset:
    """Eight neurons: four with weights of either sign, four with positive ones."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(8, 12))
    weight[4:] = np.abs(weight[4:])
    return measured(tiny_zoo, weight)


def test_the_constraint_costs_where_weights_are_negative(mixed: xr.Dataset) -> None:
    assert mixed["kept"].all() and predictions.tested([mixed], "fresh") == "fresh"
    score = {kind: neuron_signs.at_choice([mixed], "fresh", kind) for kind in CONSTRAINTS}
    gain = score["free"] - score["positive"]
    assert gain.shape == (8,) and gain[:4].mean() > 0.05 + gain[4:].mean()
    assert (score["positive"] - score["random"])[4:].mean() > 0.05
    curve = neuron_signs.fits([mixed, mixed], "train", "free")
    assert curve.shape == (2, 16) and (curve[1] > curve[0]).all()  # weaker penalty, better fit
    worse = neuron_signs.fits([mixed], "train", "positive")
    assert (worse <= neuron_signs.fits([mixed], "train", "free") + 1e-3).all()


def test_gains_are_over_positive_weights(mixed: xr.Dataset) -> None:
    gained = neuron_signs.gains([mixed])
    assert list(gained) == ["free", "random", "Dale"]
    assert gained["free"][:4].mean() > gained["free"][4:].mean()
    each = neuron_signs.gain_by_penalty([mixed])
    assert each.shape == (2, 8) and each[1, :4].mean() > each[1, 4:].mean()
    panels = neuron_signs.by_penalty([mixed])
    assert list(panels) == ["training", "five folds", "left out"]
    penalties, curve = panels["training"]["free"]
    assert penalties.tolist() == [0.5, 0.05]
    own = neuron_signs.fits([mixed], "train", "free")
    np.testing.assert_allclose(curve.value, trim_mean(own, 0.2, axis=1))


def test_the_table_of_signs_is_one_row_a_network(mixed: xr.Dataset) -> None:
    table = neuron_signs.one_sign_table({"alexnet": [mixed], "resnet": [mixed]})
    assert list(table.index) == ["alexnet", "resnet"]
    assert table.loc["alexnet", "shuffles without any"] == 1  # eight models reject for none


def test_the_choice_sees_no_image_that_it_is_tested_on(mixed: xr.Dataset) -> None:
    other = mixed.copy(deep=True)
    other["fresh"] = other["fresh"] * 0 + other["penalty"]  # tells which penalty was taken
    taken = neuron_signs.at_choice([other], "fresh", "free")
    best = other["cv"].sel(constraint="free").argmax("penalty").values
    expected = mixed["penalty"].values[best].mean(0)
    np.testing.assert_allclose(taken, expected, atol=1e-3)


def test_neurons_that_are_not_predicted_are_left_out(tiny_zoo: Path) -> None:
    weight = np.ones((8, 12))
    noisy = encoding_signs.measure(
        neurons(zoos.load_zoo("shapes", tiny_zoo), weight, 0.1).assign(
            response=lambda d: d["response"].where(d["neuron"] != "neuron7", _noise(d))
        ),
        *[zoos.load_zoo("shapes", tiny_zoo).network("alexnet")] * 2,
        EncodingSigns(*OF, **FEW),
    )
    assert noisy["kept"][:, :7].all() and not noisy["kept"][:, 7].any()
    found = measured(tiny_zoo, weight)
    partly = found.copy(deep=True)
    partly["kept"][:, :3] = False
    partly["kept"][0, 3] = False
    assert len(neuron_signs.at_choice([partly], "fresh", "free")) == 5
    none = found.assign(kept=found["kept"] & False)
    with pytest.raises(recordings.RecordingError, match="got none"):
        neuron_signs.at_choice([none], "fresh", "free")
    second = partly["fresh"].isel(draw=1, neuron=3).sel(constraint="free").values
    seen = neuron_signs.fits([partly], "fresh", "free")[:, 0]
    np.testing.assert_allclose(seen, second.astype(float))


def _noise(found: xr.Dataset) -> xr.DataArray:
    drawn = np.random.default_rng(5).normal(size=found["response"].shape)
    return found["response"].copy(data=drawn)


def test_features_of_one_sign_are_found_and_chance_is_known(tiny_zoo: Path) -> None:
    rng = np.random.default_rng(3)
    alike = np.ones((24, 12)) + 0.2 * rng.normal(size=(24, 12))
    opposed = rng.choice([-1.0, 1.0], (24, 1)) * alike  # half the neurons the other way round
    same, split = measured(tiny_zoo, alike), measured(tiny_zoo, opposed)
    assert neuron_signs.consistent([same]).mean() > 0.5
    assert neuron_signs.consistent([split]).mean() == 0
    assert neuron_signs.consistent_shuffled([split]).shape == (2, 15)
    assert neuron_signs.shuffled_share([same]).shape == (2, 15, 12)
    # What neurons share makes features of one sign without any image: the control sees that.
    shared = measured(tiny_zoo, opposed, common=3.0)
    assert neuron_signs.consistent_shuffled([shared]).mean() > 0.3
    rho, chance = neuron_signs.agreement(same, same)
    assert rho == pytest.approx(1) and chance.shape == (30,)


def test_shares_are_those_of_the_models(mixed: xr.Dataset) -> None:
    share = neuron_signs.positive_share([mixed, mixed])
    one = sign_consistency(torch.from_numpy(mixed["sign"].values[0].astype(float)))
    np.testing.assert_allclose(share[0], one.positive_share.numpy())
    drawn = neuron_signs.consistent_resampled([[mixed], [mixed]], resamples=20)
    assert drawn.shape == (2, 20) and (drawn[0] == drawn[1]).all()


def test_features_that_never_change_are_not_of_one_sign(mixed: xr.Dataset) -> None:
    dead = mixed.copy(deep=True)
    dead["sign"][:, :, 5:] = 0
    dead["shuffled"][:, :, 5:] = 0
    assert np.isnan(neuron_signs.positive_share([dead])[:, 5:]).all()
    assert np.isnan(neuron_signs.shuffled_share([dead])[:, :, 5:]).all()
    one_sign = [neuron_signs.consistent([dead]), neuron_signs.consistent_shuffled([dead])]
    assert max(part.max() for part in one_sign) <= 5 / 12
    rho, chance = neuron_signs.agreement(dead, dead)
    assert rho == pytest.approx(1) and np.isfinite(chance).all()


def test_majority_asks_the_others() -> None:
    sign = np.array([[1, -1, 1], [1, -1, -1], [-1, -1, 1]])
    assert encoding_signs.majority(sign).tolist() == [[1, -1, 1], [1, -1, 1], [1, -1, 1]]
    assert encoding_signs.majority(np.array([[-1], [1], [1]])).tolist() == [[1], [1], [1]]
    assert encoding_signs.majority(np.array([[1], [-1], [-1]])).tolist() == [[-1], [1], [1]]


def test_extremes_are_ordered_and_leave_dead_features_out() -> None:
    share = np.array([0.5, np.nan, 0.9, 0.1, 1.0])
    assert neuron_signs.extremes(share, 2) == {"positive": (4, 2), "negative": (3, 0)}
    with pytest.raises(ValueError, match="at most 2 features.*got 3"):
        neuron_signs.extremes(share, 3)


def test_effects_have_the_controls_that_are_there(mixed: xr.Dataset) -> None:
    found = neuron_signs.effects({"alexnet": [mixed]}, "alexnet")
    both_claims = {"P-17", "P-17 median", "P-17 random", "P-17 Dale", "P-18", "P-18 shuffled"}
    assert set(found) == both_claims
    assert found["P-17"].value > 0 and found["P-17"].n == 8
    assert found["P-18"] is None  # eight models cannot reject for any of twelve features
    both = {"alexnet": [mixed, mixed], "alexnet-untrained": [mixed, mixed]}
    found = neuron_signs.effects(both, "alexnet")
    assert found["P-17 learned"].value == found["P-18 learned"].value == 0
    assert found["P-18 sessions"].n == 16


def test_simulated_neurons_tell_which_are_inhibited() -> None:
    names = np.array(["simulated-0", "simulated-1", "simulated-3"])
    kept = np.array([[True, True, False], [True, False, True]])
    own = xr.Dataset({"kept": (("draw", "neuron"), kept)}, {"neuron": names})
    assert neuron_signs.inhibited([own]).tolist() == [True, False, False]


def test_settings_and_kind_are_part_of_the_name() -> None:
    first = EncodingSigns("v4", "190923", "shapes", "alexnet")
    assert first.key.startswith("signs-v4-190923-shapes-alexnet-")
    assert first.key != EncodingSigns("v4", "190923", "shapes", "alexnet", least=0.1).key
    planned = studies.plan(EncodingSigns, "v4", "shapes", ("alexnet", "resnet"))
    assert [s.session for s in planned] == ["190923", "190923", "210225", "210225"]


def test_fewest_models_is_where_unanimity_begins_to_count() -> None:
    least = neuron_signs.fewest_models(512)
    for models, sign in ((least, 1), (least - 1, 0)):
        one = sign_consistency(torch.ones(models, 512))
        assert one.sign.tolist() == [sign] * 512
