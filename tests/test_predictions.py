"""Studies of neurons through networks: they find what is there, and continue where they stopped."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from signseg_utils import zoos
from signseg_utils.analysis import predictions, stats
from signseg_utils.experiments import audits, base
from signseg_utils.experiments.recorded import base as studies
from signseg_utils.experiments.recorded import encoding_accuracy as accuracy
from signseg_utils.files import paths
from signseg_utils.files.store import Store
from signseg_utils.neurons import features, recordings, tables


@pytest.fixture(scope="module")
def neurons(tiny_zoo: Path) -> xr.Dataset:
    """Stand-in for simulated neurons: sums of features of one layer, with a little noise."""
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    pixels = zoo.images("val", 100).pixels
    layer = features.Features(zoo.network("resnet"), "trunk.1/4")
    seen = features.extract(layer, pixels)
    weight = torch.randn(seen.shape[1], 12, generator=torch.Generator().manual_seed(0))
    clean = (seen - seen.mean(0)) / (seen.std(0) + 1e-6) @ weight
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    clean = clean / clean.std(0) + 0.3 * noise
    return recordings.recording(
        clean.numpy(),
        [str(i) for i in range(100)],
        pixels=pixels.numpy(),
        about={"session": "one", "area": "none"},
    )


def study(
    session: str = "one", network: str = "resnet", **changes: object
) -> accuracy.EncodingAccuracy:
    few = dict(images=60, draws=2, components=(1, 2, 3), folds=3, sides=(4,))
    return accuracy.EncodingAccuracy("r", session, "shapes", network, **{**few, **changes})  # type: ignore


def test_measure_finds_the_layer_and_tests_on_others(tiny_zoo: Path, neurons: xr.Dataset) -> None:
    network = zoos.load_zoo("shapes", tiny_zoo).network("resnet")
    found = accuracy.measure(neurons, network, study())
    assert found["layer"].values.tolist() == ["trunk.0/4", "trunk.1/4", "features"]
    assert found["r_fresh"].dims == ("draw", "layer", "neuron")
    assert (found["layer"].values[found["chosen"]] == "trunk.1/4").all()
    top = predictions.of_neurons([found], "sq_fresh")
    assert top.shape == (12,) and top.mean() > 0.3
    assert predictions.of_neurons([found], "sq_fresh", "features").mean() < top.mean()
    ranked = predictions.of_neurons([found, found], "cv")
    numbers = predictions.best([found, found], 3)
    assert len(numbers) == 6 and (numbers[:3] < 12).all() and (numbers[3:] >= 12).all()
    assert ranked[numbers[0]] == ranked.max()
    by_hand = np.log(found["ratio"].sel(layer="features")).mean("draw")
    logs = predictions.of_neurons([found], "log_ratio", "features")
    some = np.isfinite(by_hand.values)  # a model of one sign counts as 1,000
    np.testing.assert_allclose(logs[some], by_hand.values[some], atol=2e-3)
    more = predictions.of_neurons([found], "sq_fresh_all")
    assert more.mean() > top.mean()  # more images to fit, better predictions
    assert set(found["components"].values.ravel()) <= {1, 2, 3}


def test_claims_hold_what_models_reach(tiny_zoo: Path, neurons: xr.Dataset) -> None:
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    own = accuracy.measure(neurons, zoo.network("resnet"), study())
    fits = {"resnet": [own], "resnet-untrained": [own], "alexnet": [own]}
    simulated = {"P-13 any", "P-13 layer", "P-16", "P-16 shuffled", "P-13 learned", "P-16 learned"}
    found = predictions.effects(fits, "resnet")
    assert set(found) == simulated
    assert not found["P-13 learned"].any() and not found["P-16 learned"].any()  # its own twin
    assert found["P-13 layer"].mean() > 0 and len(found["P-13 any"]) == 10
    ratios = predictions.log_ratios([own])
    np.testing.assert_array_equal(found["P-16 shuffled"], ratios["fitted"] - ratios["shuffled"])
    recorded = predictions.effects(fits, "alexnet", goal=0.25)
    assert set(recorded) - simulated == {"P-13", "P-13 all", "P-13 penultimate"}
    assert not any("learned" in id for id in recorded)
    first = predictions.best([own])
    reached = predictions.of_neurons([own], "sq_fresh")[first]
    np.testing.assert_allclose(recorded["P-13"], reached - 0.25)


def test_curves_by_depth_end_at_the_penultimate_layer(tiny_zoo: Path, neurons: xr.Dataset) -> None:
    network = zoos.load_zoo("shapes", tiny_zoo).network("resnet")
    own = accuracy.measure(neurons, network, study(sides=(2, 4), draws=1))
    panels = predictions.by_depth({"resnet": [own], "resnet-untrained": [own]})
    assert list(panels) == ["resnet, 2 x 2 places", "resnet, 4 x 4 places"]
    for panel in panels.values():
        assert list(panel) == ["trained", "untrained"]
        depth, curve = panel["trained"]
        assert depth == [0, 1, 2]
        table = accuracy.summary([study()], [own]).set_index("layer")["r2"]
        assert curve.value[-1] == pytest.approx(table["features"])


def test_words_of_studies() -> None:
    assert studies.neurons_of("v4") == "V4 neurons"
    assert studies.neurons_of("simulated") == "simulated neurons"
    assert studies.neurons_of("data/mine.csv") == "neurons of mine"
    estimate = stats.bootstrap(np.full(8, -0.5))
    effects = {"a": {"P": np.ones(3)}, "b": {"P": estimate}, "c": {"P": None}, "d": {}}
    assert studies.elsewhere(effects, "a", "P") == "; b: \N{MINUS SIGN}0.5"
    assert studies.elsewhere(effects, "b", "P") == "; a: 1"
    assert studies.elsewhere({"a": effects["a"]}, "a", "P") == ""


def test_results_are_arranged_by_network() -> None:
    plan = [study(session=s, network=n) for s in ("one", "two") for n in ("alexnet", "resnet")]
    found = [xr.Dataset(attrs={"number": number}) for number in range(4)]
    arranged = studies.by_network(plan, found)
    numbers = {name: [own.attrs["number"] for own in of] for name, of in arranged.items()}
    assert numbers == {"alexnet": [0, 2], "resnet": [1, 3]}


def test_sides_of_a_map_are_layers_to_choose_from(tiny_zoo: Path, neurons: xr.Dataset) -> None:
    network = zoos.load_zoo("shapes", tiny_zoo).network("resnet")
    sizes = features.places(network)
    assert sizes["features"] == 1 and sizes["trunk.0"] >= sizes["trunk.1"] > 1
    largest = sizes["trunk.0"]
    layers = accuracy.candidates(network, (4, largest, 500))
    assert layers[:2] == ("trunk.0/4", f"trunk.0/{largest}") and layers[-1] == "features"
    assert accuracy.candidates(network, (500,)) == ("trunk.0/500", "trunk.1/500", "features")
    found = accuracy.measure(neurons, network, study(sides=(2, 4), draws=1))
    assert found["layer"].values.tolist() == [
        "trunk.0/2",
        "trunk.0/4",
        "trunk.1/2",
        "trunk.1/4",
        "features",
    ]
    assert found["layer"].values[found["chosen"].values[0]].startswith("trunk.1/")


def test_measure_needs_enough_images(tiny_zoo: Path, neurons: xr.Dataset) -> None:
    network = zoos.load_zoo("shapes", tiny_zoo).network("resnet")
    with pytest.raises(recordings.RecordingError, match="expected 160 images.*got 100"):
        accuracy.measure(neurons, network, study(images=160))
    none_left = accuracy.measure(neurons, network, study(images=100, draws=1))
    assert np.isnan(none_left["r_fresh"]).all() and np.isfinite(none_left["r_test"]).all()
    assert predictions.tested([none_left]) == "test"


def test_an_interrupted_run_continues(
    tiny_zoo: Path, neurons: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNSEG_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "zoo").mkdir(parents=True)
    (tmp_path / "data" / "zoo" / "shapes").symlink_to(tiny_zoo)
    file = tables.write_npz(neurons, tmp_path / "rec.npz")
    few = dict(images=60, draws=2, components=(1,), folds=2, sides=(4,))
    plan = accuracy.plan(str(file), "shapes", ("alexnet", "resnet"), **few)
    assert [(s.session, s.network) for s in plan] == [("one", "alexnet"), ("one", "resnet")]
    zoo = zoos.load_zoo("shapes")
    base.run(plan[:1], zoo, tmp_path / "out")
    first = Store(tmp_path / "out").path(plan[0].key)
    before = first.stat().st_mtime_ns
    own = base.obtain(plan, zoo, tmp_path / "out")
    assert first.stat().st_mtime_ns == before, "a study that was there was measured again"
    found = own.found
    assert own.source == "recomputed" and len(found) == 2
    table = accuracy.summary(plan, found)
    assert len(table) == 6 and table["r2"].notna().all()
    stored = [p for p in (tmp_path / "out").iterdir() if p.suffix == ".zip"]
    assert len(stored) == 2 and all(p.stat().st_size < 60_000 for p in stored)
    audited = base.audit(plan, found, zoo)
    assert base.demand(audited) == sum(v[:1].size for v in found[0].data_vars.values())
    spoilt = [own.assign(cv=own["cv"] + 0.1) for own in found]
    with pytest.raises(base.AuditError, match="cv of .* numbers differ"):
        base.demand(base.audit(plan, spoilt, zoo))
    file.unlink()  # what is stored needs no recording
    assert base.audit(plan, found, zoo) == []
    assert base.obtain(plan, zoo, tmp_path / "out").source == "recomputed"
    other = accuracy.plan(str(file), "shapes", ("alexnet",), ("one",), images=50)
    with pytest.raises(recordings.RecordingMissing):
        base.obtain(other, zoo, tmp_path / "out")


def test_settings_are_part_of_the_name() -> None:
    assert study().key != study(sides=(2,)).key
    assert study().key == study().key
    v4 = accuracy.plan("v4", "shapes", ("alexnet",))
    assert [s.session for s in v4] == list(studies.V4_SESSIONS)


def test_the_command_names_session_and_network_of_each_row() -> None:
    kinds = accuracy.EncodingAccuracy
    (one, *_) = (own for own in audits.shipped() if isinstance(own, kinds))
    zoo = zoos.load_zoo(one.zoo)
    found = base.read([one], zoo, paths.results_folder("") / one.home)
    layers, *_ = kinds.told([one], found, zoo).split("layer ")
    head, row = layers.splitlines()[:2]
    assert head.split()[:2] == ["session", "network"] and row.split()[:2] == [
        one.session,
        one.network,
    ]
