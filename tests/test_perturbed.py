"""Images changed against a model: as far as was asked, where the model looks, and back again."""

import numpy as np
import pytest
import torch
import xarray as xr

from signseg_utils import zoos
from signseg_utils.experiments import base
from signseg_utils.experiments.base import AuditError
from signseg_utils.experiments.recorded import driven_effects as effects
from signseg_utils.experiments.recorded import perturbed
from signseg_utils.neurons import in_silico, recordings, simulated
from signseg_utils.neurons.recordings import RecordingError

THRESHOLDS = (2.0, 8.0)
CELLS = simulated.population(3, seed=1)


class Mean(torch.nn.Module):
    """Response: a weighted mean of the pixels of the left half."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[..., :4].mean((1, 2, 3))[:, None]


def test_steps_follow_the_gradient_as_far_as_asked() -> None:
    images = torch.full((2, 3, 8, 8), 0.5)
    up = perturbed.moved(Mean(), images, 1, THRESHOLDS)
    sizes = up.square().mean((2, 3, 4)).sqrt() * 255
    torch.testing.assert_close(sizes, torch.tensor(THRESHOLDS)[:, None].expand(2, 2))
    assert (up[..., :4] > 0).all() and (up[..., 4:] == 0).all()
    torch.testing.assert_close(perturbed.moved(Mean(), images, -1, THRESHOLDS), -up)


def test_pixels_stay_in_range_and_a_flat_model_moves_nothing() -> None:
    white = torch.ones(1, 3, 8, 8)
    up = perturbed.moved(Mean(), white, 1, THRESHOLDS)
    assert (up == 0).all()  # nothing is whiter
    flat = torch.nn.Sequential(Mean(), torch.nn.Threshold(9.0, 0.0))
    assert (perturbed.moved(flat, torch.rand(1, 3, 8, 8), 1, THRESHOLDS) == 0).all()


def test_a_planted_field_holds_all_of_the_perturbation() -> None:
    cell = simulated.Simulated({"n": simulated.Cell(0.35, 0.6, 0.27, "red cross")})
    image = 0.5 + 0.5 * (cell.preferred("n") - 0.5)
    image = image + 0.02 * torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0))
    for sign in (1, -1):
        away = perturbed.moved(cell, image[None], sign, THRESHOLDS)
        moved = cell(image + away[:, 0]) - cell(image[None])
        assert (sign * moved > 0).all() and sign * moved[1] > sign * moved[0]
        assert away[..., ~cell.receptive_fields()[0]].abs().max() == 0


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    """Three simulated neurons that watched 120 scenes."""
    scenes = torch.from_numpy(in_silico.read()["pixels"].values[:120])
    found = simulated.record(CELLS, scenes, repeats=20)
    found["pixels"] = (("image", "channel", "row", "column"), scenes.numpy())
    monkeypatch.setattr(recordings, "load", lambda name, sessions=(): found)
    monkeypatch.setattr(perturbed, "twins", lambda recording, session, names: CELLS.pick(names))
    return found


def study(**changes: object) -> perturbed.Perturbed:
    few = dict(bases=2, thresholds=THRESHOLDS, least_fit=-99.0, scale=20)
    return perturbed.Perturbed("simulated", "s", "shapes", "alexnet", **{**few, **changes})  # type: ignore


def test_twins_follow_what_was_made_for_them_and_audits_agree(recorded: xr.Dataset) -> None:
    zoo = zoos.load_zoo("shapes")
    found = study().measured(recorded, zoo)
    assert found["change"].dims == ("who", "kind", "threshold", "neuron")
    twin = found["change"].sel(who="twin").isel(threshold=-1)
    for kind, sign in (("plus", 1), ("minus", -1)):
        assert (sign * twin.sel(kind=kind) > 0).all()
        beyond = sign * (twin.sel(kind=kind) - twin.sel(kind=f"{kind} turned"))
        assert (beyond > 0).all()  # turned, it misses the field
    judged = effects.judged(effects.together([found, found]), "plus")
    assert all(values.shape == (6,) for values in judged.values())
    assert set(effects.curves(found)) == {"twin", "judge"}
    assert base.demand(base.audit([study()], [found], zoo, sample=1)) == 2 * 5 * 2
    other = found.copy(deep=True)
    other["change"] += 0.3
    with pytest.raises(AuditError, match="change"):
        base.demand(base.audit([study()], [other], zoo, sample=1))


def test_without_twins_or_judges_it_says_so(
    recorded: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = zoos.load_zoo("shapes")
    with pytest.raises(RecordingError, match="ask for less with least_fit="):
        study(least_fit=0.999).measured(recorded, zoo)
    monkeypatch.setattr(perturbed, "twins", lambda recording, session, names: None)
    with pytest.raises(RecordingError, match="expected twins"):
        study().measured(recorded, zoo)


def test_nothing_of_it_is_an_image(recorded: xr.Dataset) -> None:
    found = study(bases=1).measured(recorded, zoos.load_zoo("shapes"))
    assert {"image", "row"}.isdisjoint(found.dims) and np.isfinite(found["change"]).all()
