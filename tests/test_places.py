"""Places: planted fields are found, new discs test the map, a stopped study goes on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from signseg_utils import zoos
from signseg_utils.analysis import localize
from signseg_utils.experiments import base
from signseg_utils.experiments.base import AuditError
from signseg_utils.experiments.recorded import localisation as places
from signseg_utils.experiments.recorded import localisation_effects as effects
from signseg_utils.files.store import Store
from signseg_utils.neurons import in_silico, recordings, simulated
from signseg_utils.neurons.twins import twins

CELLS = simulated.population(3, seed=1)


def study(**changes: object) -> places.Localisation:
    few = dict(images=40, least_fit=-99.0, generations=2, discs=8, least_change=-99.0)
    return places.Localisation("r", "s", "shapes", "alexnet", "scenes", **{**few, **changes})  # type: ignore


@pytest.fixture
def recorded(tiny_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    """Three simulated neurons that watched 44 random images, as recording ``r``."""
    (tmp_path / "data" / "zoo").mkdir(parents=True)
    (tmp_path / "data" / "zoo" / "shapes").symlink_to(tiny_zoo)
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path / "data"))
    images = torch.randint(0, 256, (44, 3, 48, 48), generator=torch.Generator().manual_seed(0))
    found = simulated.record(CELLS, images.to(torch.uint8), repeats=2)
    found["pixels"] = (("image", "channel", "row", "column"), images.to(torch.uint8).numpy())
    monkeypatch.setattr(recordings, "load", lambda name, sessions=(): found)
    monkeypatch.setattr(places, "twins", lambda recording, session, names: CELLS.pick(names))
    return found


def test_a_planted_field_is_found_and_new_discs_confirm_it() -> None:
    cell = simulated.Cell(x=0.35, y=0.6, radius=0.27, excitatory="red cross")
    neuron = simulated.Simulated({"n": cell})
    asked = places.Asked(neuron.readout(), neuron, 0.0)
    found = places.look(asked, neuron.preferred("n"), study(discs=60, least_change=0.05), 0)
    field = neuron.receptive_fields()[0]
    assert localize.overlap(torch.from_numpy(found["mask"]), field) > 0.4
    assert found["foretold"][0] > 0.5 > 0.3 > abs(found["foretold"][1])
    cleared = dict(zip(places.KINDS, found["cleared"], strict=True))
    assert cleared["wide"] > 0.9 * found["intact"]  # all of the shape is kept
    assert cleared["elsewhere"] < 0.6 * cleared["grey"]


def test_a_planted_suppressive_surround_is_seen_when_the_background_goes() -> None:
    about = dict(x=0.5, y=0.5, radius=0.27, excitatory="red cross")
    cells = {"both": simulated.Cell(**about, background=0.4), "none": simulated.Cell(**about)}
    neurons = simulated.Simulated(cells)
    noise = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0))
    field = neurons.receptive_fields()[0]
    image = torch.where(field, neurons.preferred("none"), noise)  # contrast all around
    rises = {}
    for name in cells:
        one = neurons.pick([name])
        few = study(discs=60, least_change=0.05)
        found = places.look(places.Asked(one.readout(), one, 0.0), image, few, 0)
        rises[name] = found["cleared"][places.KINDS.index("wide")] / found["intact"] - 1
    assert rises["both"] > 0.15 > 0.05 > rises["none"]


def test_who_answers_alike_to_all_images_has_no_place() -> None:
    class Alike(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(images), 1)

    asked = places.Asked(CELLS.pick([0]).readout(), Alike(), 0.0)
    found = places.look(asked, torch.rand(3, 48, 48), study(least_change=0.05), 0)
    assert not found["mask"].any() and np.isnan(found["cleared"]).all()
    assert (found["foretold"] == 0).all()


def test_an_interrupted_study_goes_on_where_it_stopped(
    recorded: xr.Dataset, tmp_path: Path, talking: Callable[[], list[str]]
) -> None:
    states: list[dict[str, torch.Tensor]] = []
    zoo = zoos.load_zoo("shapes")
    whole = places.measure(recorded, study(), zoo, save=lambda now: states.append(dict(now)))
    assert whole["who"].values.tolist() == ["neuron", "model"] and whole.sizes["neuron"] == 3
    assert len(states) == 3
    store = Store(tmp_path / "out")
    store.write_partial(study().key, states[0], study().identity(zoo))
    talking()
    stored = base.run([study()], zoo, tmp_path / "out")
    first, *lines = talking()
    assert "goes on from 1 of 3 neurons; if stopped, the same command goes on" in first
    assert [line.split(",")[0] for line in lines if "r: 2 of 3 neurons" in line]
    assert not any("r: 0 of 3 neurons" in line for line in lines)
    xr.testing.assert_equal(stored[0].drop_attrs(), whole)
    assert stored[0]["codes"].dtype == np.float16
    # nothing of it is a recorded image or response
    assert not {"response", "pixels"} & set(stored[0])
    file = store.path(study().key)
    before = file.stat().st_mtime_ns
    base.run([study()], zoo, tmp_path / "out")
    assert file.stat().st_mtime_ns == before


def test_audits_agree_and_a_changed_code_is_found(recorded: xr.Dataset) -> None:
    whole = places.measure(recorded, study(), zoos.load_zoo("shapes"))
    zoo = zoos.load_zoo("shapes")
    few = base.audit([study()], [whole], zoo, sample=2)
    assert base.demand(few) == 2 * 9  # an intact image and eight discs each
    assert base.demand(base.audit([study()], [whole], zoo, sample=99)) == 6 * 9
    other = whole.copy(deep=True)
    other["codes"][1, 2] += 0.5
    with pytest.raises(AuditError, match="numbers differ.*recompute"):
        base.demand(base.audit([study()], [other], zoo, sample=99))


def test_without_twins_the_model_is_asked_alone(
    recorded: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "twins", lambda recording, session, names: None)
    whole = places.measure(recorded, study(neurons=2), zoos.load_zoo("shapes"))
    assert whole["who"].values.tolist() == ["model"] and whole.sizes["neuron"] == 2
    assert not {"natural", "twin_r"} & set(whole)
    drawn = base.audit([study(neurons=2)], [whole], zoos.load_zoo("shapes"), sample=99)
    assert base.demand(drawn) == 2 * 9
    assert set(effects.evolved(effects.together([whole]), generator())) == {"model"}


def generator() -> torch.nn.Module:
    found: torch.nn.Module = zoos.load_zoo("shapes").generator("scenes")
    return found


def test_audit_without_the_files_of_twins_asks_the_models(
    recorded: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = places.measure(recorded, study(), zoos.load_zoo("shapes"))

    def missing(*names: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(places, "twins", missing)
    drawn = base.audit([study()], [whole], zoos.load_zoo("shapes"), sample=99)
    assert base.demand(drawn) == 3 * 9


def test_changes_are_shares_of_the_response_above_nothing(recorded: xr.Dataset) -> None:
    one = places.measure(recorded, study(), zoos.load_zoo("shapes"))
    whole = effects.together([one, one.assign_coords(neuron=["a", "b", "c"])])
    assert whole.sizes["neuron"] == 6
    mine = one.sel(who="model").isel(neuron=1)
    by_hand = (mine["cleared"][0] - mine["floor"]) / (mine["intact"] - mine["floor"]) - 1
    assert float(whole["change"].sel(who="model")[1, 0]) == pytest.approx(float(by_hand))
    assert (whole["share"] == whole["mask"].mean(("row", "column"))).all()
    images = effects.evolved(whole, generator())
    assert images["neuron"].shape == (6, 3, 48, 48)


def test_what_is_told_of_masks_counts_only_who_has_a_place(recorded: xr.Dataset) -> None:
    whole = effects.together([places.measure(recorded, study(), zoos.load_zoo("shapes"))])
    mask = whole["mask"].copy(data=np.zeros_like(whole["mask"].values))
    field = CELLS.receptive_fields(48)[0].numpy()
    mask.values[0, :2] = field  # neurons 0 and 1 have a place, and so has the model of 1
    mask.values[1, 1] = field
    whole = whole.assign(mask=mask, found=mask.any(("row", "column")))
    own = effects.localised(whole, "neuron")
    assert own["neuron"].values.tolist() == list(CELLS.labels[:2])
    assert effects.in_both(whole).tolist() == [1]
    images = effects.evolved(whole, generator())
    kept = effects.masked(whole, images)
    assert [image is None for image in kept["model"]] == [True, False, True]
    outside = kept["neuron"][0][:, 47, 0]
    torch.testing.assert_close(outside, torch.full((3,), 0.5))
    rows, names, heads = effects.beside_masked(whole, images, kept)
    assert names == ["neuron 1"] and heads == ["neuron's", "masked", "model's", "masked"]
    assert rows[0][3] is kept["model"][1]
    assert effects.of_both(kept["neuron"], [1]).shape == (1, 3, 48, 48)
    ahead = effects.on_own_field(own, CELLS, 48)
    assert ahead[0] > 0.5 > 0 > ahead[1]  # both masks lie on the field of neuron 0


def test_rises_are_parted_by_planted_surround() -> None:
    about = dict(x=0.5, y=0.5, radius=0.27, excitatory="red cross")
    cells = simulated.Simulated(
        {
            "a": simulated.Cell(**about, background=0.4),
            "b": simulated.Cell(**about),
            "c": simulated.Cell(**about),
        }
    )
    values = xr.DataArray([1.0, 2.0, 3.0], {"neuron": ["c", "a", "b"]}, ("neuron",))
    with_it, without = effects.by_surround(values, cells)  # type: ignore[misc]
    assert with_it.tolist() == [2.0] and without.tolist() == [1.0, 3.0]
    assert effects.by_surround(values[[0, 2]], cells) is None


def test_own_images_are_more_alike_than_others(tiny_zoo: Path) -> None:
    judges = [zoos.load_zoo("shapes", tiny_zoo).network(name) for name in ("alexnet", "resnet")]
    images = torch.rand(6, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    images[:, 0] *= torch.linspace(0, 1, 6)[:, None, None]  # unlike each other
    again = effects.own_less_others(images, images, judges)
    assert again.shape == (6,) and (again > 0.3).all()
    moved = effects.own_less_others(images, images.roll(3, 0), judges)
    assert moved.mean() < 0.5 * again.mean()
    with pytest.raises(ValueError, match="two or more; got 1 and 1"):
        effects.own_less_others(images[:1], images[:1], judges)


def test_too_little_is_said(recorded: xr.Dataset) -> None:
    with pytest.raises(recordings.RecordingError, match="expected 50 images.*got 44"):
        places.measure(recorded, study(images=50), zoos.load_zoo("shapes"))
    with pytest.raises(recordings.RecordingError, match="ask for less with least_fit="):
        places.measure(recorded, study(least_fit=0.999), zoos.load_zoo("shapes"))


def test_settings_are_part_of_the_name() -> None:
    assert study().key == study().key != study(generations=3).key
    v4 = places.plan("v4", "shapes", "alexnet", "scenes", discs=9)
    assert [(s.session, s.discs) for s in v4] == [("190923", 9), ("210225", 9)]


def test_twins_bear_the_names_of_their_neurons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = twins("simulated", "simulated", ["simulated-5", "simulated-2"])
    assert found is not None and found.labels == ("simulated-5", "simulated-2")
    image = torch.rand(2, 3, 48, 48)
    torch.testing.assert_close(found(image), in_silico.population()(image)[:, [5, 2]])
    told = recordings.load("simulated")
    whole = twins("simulated", "simulated", told["neuron"].values.tolist())
    assert whole is not None  # the same neurons were recorded
    again = whole.responses(torch.from_numpy(told["pixels"].values[:3])).numpy()
    np.testing.assert_allclose(again, told["rate"].values[:3], rtol=1e-3)
    assert twins("mine.csv", "one", ["a"]) is None
    monkeypatch.setenv("SIGNSEG_DATASETS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="SIGNSEG_DATASETS"):
        twins("v4", "190923", ["190923/0"])
