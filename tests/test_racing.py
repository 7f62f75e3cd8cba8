"""Races of optimisers: one budget, one clock, resumable, and audited."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from conftest import checked, collected, made

from signseg_utils import zoos
from signseg_utils.experiments import base
from signseg_utils.experiments import races as racing
from signseg_utils.experiments.base import AuditError
from signseg_utils.files import store
from signseg_utils.files.store import Store
from signseg_utils.search import evolution

NAMES = ("cholesky_cma", "sphere_cma", "random_search")


def small(tiny_zoo: Path, names=NAMES, **changes) -> list[racing.Race]:
    units = list(zoos.load_zoo("shapes").classes[:2])
    settings = dict(noises=(0.0, 2.0), seeds=(0, 1), generations=4) | changes
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    return racing.plan(zoo, ["alexnet"], ["scenes"], units, names, **settings)


@pytest.fixture(scope="module")
def raced(tiny_zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of finished races; not to be written to."""
    folder = tmp_path_factory.mktemp("races")
    made(small(tiny_zoo), folder, tiny_zoo)
    return folder


@pytest.fixture(scope="module")
def found(tiny_zoo: Path, raced: Path) -> xr.Dataset:
    return collected(small(tiny_zoo), raced, tiny_zoo)


def test_nobody_spends_more_than_the_reference(tiny_zoo: Path, raced: Path) -> None:
    races = small(tiny_zoo)
    size = zoos.load_zoo("shapes").generator("scenes").code_size
    budget = racing.spent("cholesky_cma", size, 4)
    assert {race.evaluations for race in races} == {int(budget[-1])}
    np.testing.assert_array_equal(np.diff(budget), np.full(3, budget[1] - budget[0]))
    assert budget[0] == 1  # generation 0 is the initial code
    for race in races:
        counted = Store(raced).read(race.key)["evaluations"].values
        again = np.diff(counted).max()
        assert counted[-1] <= race.evaluations < counted[-1] + again, "a generation more would fit"


def test_dataset_has_named_dimensions(found: xr.Dataset) -> None:
    assert list(found["optimizer"].values) == list(NAMES)
    assert found["activation"].dims == (
        "network",
        "generator",
        "optimizer",
        "unit",
        "noise",
        "seed",
    )
    assert np.isfinite(found["activation"]).all()
    assert found.sizes["share"] == racing.MILESTONES


def test_trace_is_what_the_run_holds(found: xr.Dataset) -> None:
    quiet = found["trace"].sel(noise=0)
    rises = quiet.diff("share")
    assert (rises.where(np.isfinite(rises), 0) >= 0).all()
    end = found["trace"].isel(share=-1)
    np.testing.assert_allclose(end, found["activation"], rtol=0.02, atol=0.02)
    sphere = quiet.sel(optimizer="sphere_cma").isel(share=0)
    assert np.isnan(sphere).all(), "nothing is held before the first generation has ended"


def test_noise_misleads(found: xr.Dataset) -> None:
    """What is stored is free of noise, so noise can only make the choice worse, on average."""
    gap = found["activation"].sel(noise=0) - found["activation"].sel(noise=2)
    assert gap.mean() > 0


def test_spread_is_that_of_the_responses(tiny_zoo: Path) -> None:
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    network, generator = zoo.network("alexnet"), zoo.generator("scenes")
    bank = network.readout.rows(list(zoo.classes[:2]))
    found = racing.spread(bank, network.backbone, generator, images=40)
    doubled = replace(bank, weight=2 * bank.weight, bias=bank.bias + 3)
    again = racing.spread(doubled, network.backbone, generator, images=40)
    assert (found > 0).all()
    np.testing.assert_allclose(again, 2 * found, rtol=1e-3)


def test_target_counts_from_the_reference(found: xr.Dataset) -> None:
    share = racing.to_target(found, 0.9)
    assert ((share > 0) & (share <= 1)).all()
    lifted = found.assign(activation=abs(found["activation"]) + 1)
    assert (racing.to_target(lifted, 1e6) == 1).all()
    at_once = racing.to_target(lifted.assign(trace=found["trace"] * 0 + 1e6), 0.9)
    seen = found["trace"].notnull().argmax("share")
    np.testing.assert_array_equal(at_once, found["share"].isel(share=seen))
    sunk = lifted.assign(activation=-lifted["activation"])
    assert (racing.to_target(sunk, 0.9) == 1).all(), "no share of a negative end"


def test_stopped_race_continues_and_equals_the_whole_one(
    tiny_zoo: Path, raced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = small(tiny_zoo)[0]
    step = evolution.Loop.step

    def killed(loop: evolution.Loop) -> None:
        if loop.generation == 2:
            raise KeyboardInterrupt
        step(loop)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(evolution.Loop, "step", killed)
        made([race], tmp_path, tiny_zoo, checkpoint_seconds=0)
    assert Store(tmp_path).partial_path(race.key).exists()
    made([race], tmp_path, tiny_zoo)
    whole, resumed = (Store(folder).path(race.key).read_bytes() for folder in (raced, tmp_path))
    assert whole == resumed


def test_finished_races_are_read_and_not_repeated(
    tiny_zoo: Path, raced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/races").symlink_to(raced)
    monkeypatch.setattr(evolution, "evolve", None)
    races = small(tiny_zoo)
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    own = base.obtain(races, zoo, tmp_path / "mine")
    assert (own.folder, own.source) == (tmp_path / "mine/races", "recomputed")
    for one, two in zip(own.found, base.read(races, zoo, raced), strict=True):
        xr.testing.assert_equal(one, two)


def test_audit_agrees_and_finds_what_does_not_belong(
    tiny_zoo: Path, raced: Path, tmp_path: Path
) -> None:
    races = small(tiny_zoo)
    assert checked(races, raced, tiny_zoo, sample=5) == 5
    dataset = Store(raced).read(races[0].key)
    provenance = store.provenance(dataset)
    dataset["activation"][:] += 0.01
    Store(tmp_path).write(races[0].key, dataset.drop_attrs(), provenance)
    with pytest.raises(AuditError, match="2 of 2 numbers differ.*recompute"):
        checked(races[:1], tmp_path, tiny_zoo)


def test_settings_tell_races_apart(tiny_zoo: Path) -> None:
    race = small(tiny_zoo)[0]
    changes: list[dict] = [{"noises": (0.0,)}, {"seeds": (0,)}, {"evaluations": 9}]
    assert len({race.key, *(replace(race, **change).key for change in changes)}) == 4
