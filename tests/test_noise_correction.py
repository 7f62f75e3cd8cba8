"""Scores of one set of predictions: the unbiased one is the truth, the squared one is not."""

import numpy as np
import pytest
import xarray as xr

from signseg_utils import zoos
from signseg_utils.experiments import base
from signseg_utils.experiments.base import AuditError
from signseg_utils.experiments.recorded import noise_correction as scores
from signseg_utils.neurons import in_silico, recordings, v4
from signseg_utils.neurons.recordings import RecordingError, RecordingMissing

STUDY = scores.NoiseCorrection(
    "simulated", "simulated", "shapes", "alexnet", repeats=(2, 4), draws=1, splits=10
)


@pytest.fixture(scope="module")
def found() -> xr.Dataset:
    return STUDY.measured(in_silico.read(), zoos.load_zoo("shapes"))


def test_the_unbiased_score_is_the_truth_with_few_repeats_and_with_many(found: xr.Dataset) -> None:
    error = (found["known"] - found["truth"]).median("neuron")
    assert abs(error.sel(estimator="unbiased")).max() < 0.03
    assert (error.sel(estimator="squared") > 0.03).all()
    assert error.sel(estimator="squared", repeats=2) > error.sel(
        estimator="squared", repeats=scores.ALL
    )
    assert found["truth"].median() > 0.2  # there is something to score


def test_the_squared_score_is_that_by_halves_over_the_reliability(found: xr.Dataset) -> None:
    whole = found["score"].sel(repeats=scores.ALL)
    by_hand = whole.sel(estimator="halves") / found["reliability"]
    np.testing.assert_allclose(whole.sel(estimator="squared"), by_hand, rtol=1e-4)


def test_predictions_do_not_know_what_they_predict() -> None:
    rng = np.random.default_rng(0)
    features, noise = rng.normal(size=(80, 10)), rng.normal(size=(80, 3))
    responses = features[:, :3] + noise
    assert (
        np.corrcoef(scores.predictions(features, responses, 5, 0)[:, 0], features[:, 0])[0, 1] > 0.8
    )
    blind = scores.predictions(features, noise, 5, 0)
    assert max(np.corrcoef(blind[:, n], noise[:, n])[0, 1] for n in range(3)) < 0.3


def test_audits_agree_and_a_changed_score_is_found(found: xr.Dataset) -> None:
    zoo = zoos.load_zoo("shapes")
    assert base.demand(base.audit([STUDY], [found], zoo)) == 3 * found.sizes["neuron"]
    other = found.copy(deep=True)
    other["score"] += 0.05
    with pytest.raises(AuditError, match="score"):
        base.demand(base.audit([STUDY], [other], zoo))


def test_one_response_an_image_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    averaged = recordings.averaged(in_silico.read())
    with pytest.raises(RecordingError, match="expected single repeats"):
        STUDY.measured(averaged, zoos.load_zoo("shapes"))


def test_sessions_with_repeats_are_asked_for(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.session for one in scores.plan("v4", "tinyimagenet", "resnet")] == list(v4.REPEATED)
    monkeypatch.setenv("SIGNSEG_DATASETS", str(tmp_path))
    with pytest.raises(RecordingMissing, match="single repeats"):
        scores.plan("v4", "tinyimagenet", "resnet")[0].recorded()


def test_curves_leave_out_neurons_without_a_score(found: xr.Dataset) -> None:
    lacking = found.copy(deep=True)
    lacking["known"][0, 0, 0] = np.nan
    levels, curve = scores.curves(lacking, "known", lacking["truth"])["unbiased"]
    assert levels.tolist() == [2, 4] and curve.n == found.sizes["neuron"] - 1
