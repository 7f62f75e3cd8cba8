"""Images of ablated models, shown to neurons: what was planted is found, and nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from signseg_utils import zoos
from signseg_utils.analysis import by_sign, stats
from signseg_utils.experiments import base
from signseg_utils.experiments.recorded import (
    ablated_models as shown,
)
from signseg_utils.experiments.recorded import (
    ablated_models_effects as shown_effects,
)
from signseg_utils.experiments.recorded import (
    base as studies,
)
from signseg_utils.files import paths
from signseg_utils.files.store import Store
from signseg_utils.neurons import encoding, features, in_silico, recordings
from signseg_utils.neurons._base import Neurons
from signseg_utils.search.evolution import Search, evolve


class Planted(Neurons):
    """Neurons that are linear in features of a network: the method's assumptions hold."""

    def __init__(self, backbone: torch.nn.Module, weight: Tensor, size: int) -> None:
        super().__init__([f"n{i}" for i in range(len(weight))], size)
        self.backbone, self.weight = backbone, weight

    def raw(self, images: Tensor) -> Tensor:
        return self.backbone(images) @ self.weight.T

    def _rows(self, rows):  # type: ignore[no-untyped-def]
        return Planted(self.backbone, self.weight[list(rows)], self.image_size)


@pytest.fixture(scope="module")
def world(tiny_zoo: Path) -> tuple[Planted, xr.Dataset]:
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    pixels = zoo.images("val", 120).pixels
    body = features.Features(zoo.network("alexnet"), "features")
    seen = features.extract(body, pixels)
    scale = seen.std(0).clamp_min(1e-3)
    weight = torch.randn(8, seen.shape[1], generator=torch.Generator().manual_seed(0)) / scale
    neurons = Planted(body, weight, zoo.image_size)
    told = recordings.recording(
        neurons.responses(pixels).numpy(),
        [str(i) for i in range(120)],
        neurons=neurons.labels,
        pixels=pixels.numpy(),
        about={"session": "one"},
    )
    return neurons, told


def study(**changes: object) -> shown.AblatedModels:
    few = dict(images=100, generator="scenes", generations=6, seeds=(0, 1), alphas=(0.0, 1.0))
    return shown.AblatedModels("r", "one", "shapes", "alexnet", **{**few, **changes})  # type: ignore


@pytest.fixture()
def measured(
    world: tuple[Planted, xr.Dataset], tiny_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> xr.Dataset:
    neurons, told = world
    monkeypatch.setattr(shown, "twins", lambda recording, session, names: neurons.pick(names))
    return shown.measure(told, study(everybody=True), _zoo(tiny_zoo)("shapes"))


def _zoo(folder: Path):  # type: ignore[no-untyped-def]
    whole = zoos.load_zoo("shapes", folder)
    whole.network_configs = {name: whole.config(name) for name in ("alexnet", "resnet")}
    return lambda name: whole


class Cells(torch.nn.Module):
    """Twelve features: each colour in each quarter, above a threshold."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, images: Tensor) -> Tensor:
        light = torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)
        return (light - self.threshold).clamp(min=0)


class Quarters(torch.nn.Module):
    """Codes of twelve numbers to images of four quarters; a code of zeros is grey."""

    code_size, image_size, initial_sigma = 12, 8, 1.0

    def forward(self, codes: Tensor) -> Tensor:
        return (
            torch.sigmoid(codes)
            .reshape(-1, 3, 2, 2)
            .repeat_interleave(4, 2)
            .repeat_interleave(4, 3)
        )

    def initial_codes(self, seeds):  # type: ignore[no-untyped-def]
        return torch.zeros(len(seeds), 12)


@pytest.mark.parametrize("threshold, asymmetric", [(0.5, True), (0.0, False)])
def test_what_is_planted_is_found(threshold: float, asymmetric: bool) -> None:
    """Sparse features must be driven but need no suppressing; dense ones need both alike.

    So neurons that sum features of both signs miss the positive ones more, and more than random
    ones of equal magnitude, if features are silent at rest, and only then.
    """
    body, count = Cells(threshold), 8
    size = torch.tensor([1.0, -1.0] * 6)
    order = [torch.randperm(12, generator=torch.Generator().manual_seed(i)) for i in range(count)]
    weight = torch.stack([size[own] for own in order])
    neurons = Planted(body, weight, 8)
    natural = Quarters()(torch.randn(200, 12, generator=torch.Generator().manual_seed(0)))
    neurons = neurons.standardised(*neurons.statistics(natural))
    models = encoding.fit(body(natural), neurons.responses(natural), labels=neurons.labels)
    plan = study(seeds=(0,), generations=30)
    rows, seeds = shown.bank(models.to(dtype=torch.float32), plan)
    found = evolve(rows, body, Quarters(), seeds, Search("cholesky_cma", 30))
    images = Quarters()(found.codes).detach().unflatten(0, (count, 4, 1))
    z = shown.show(neurons, images, range(count))["response"][..., 0]
    fallen = z[:, :1] - z  # neuron, condition: none, positive, negative, random
    positive, negative, control = fallen[:, 1:].mean(0)
    assert z[:, 0].min() > 2
    if asymmetric:
        assert positive > 1.3 * control and positive > 2 * negative
    else:
        assert abs(positive - negative) < 0.35 * positive


def test_models_know_what_drives_and_what_suppresses_simulated_neurons() -> None:
    plan = shown.plan("simulated", "shapes", ("alexnet",), images=400, generator="scenes")
    told = shown.fit(recordings.load("simulated"), plan[0])
    cells = in_silico.population()
    for values in shown_effects.planted(told, cells):
        assert len(values) > 8 and stats.bootstrap(values).low > 0
    others = told.models.rows([*range(1, len(told.models)), 0])
    strangers = replace(told, models=replace(others, labels=told.models.labels))
    for values in shown_effects.planted(strangers, cells):
        assert stats.bootstrap(values).low < 0  # models of other neurons do not


def test_shapes_and_names(measured: xr.Dataset) -> None:
    assert measured["codes"].dtype == np.float16
    assert measured["response"].dims == ("way", "neuron", "condition", "seed")
    assert measured["others"].dims == ("way", "neuron", "condition")
    assert list(measured["sign"].values) == ["none", "positive", "negative", "random_magnitude"]
    assert "alexnet" not in measured["judge"].values
    light = measured["luminance"].sel(way="held").astype(float)
    assert abs(light - measured.attrs["natural_luminance"]).mean() < 0.05
    assert np.isfinite(measured["strangers"]).all() and (measured["cv"] >= 0.05).all()


def test_the_population_is_all_others() -> None:
    """`others` leaves out the neuron itself; `strangers` leaves out its own images."""

    class Constant(Neurons):
        def raw(self, images: Tensor) -> Tensor:
            return images.mean((1, 2, 3))[:, None] * torch.tensor([1.0, 10.0, 100.0])

        def _rows(self, rows):  # type: ignore[no-untyped-def]
            return self if len(rows) > 1 else One(rows[0])

    class One(Constant):
        def __init__(self, row: int) -> None:
            super().__init__(["x"], 4)
            self.row = row

        def raw(self, images: Tensor) -> Tensor:
            return images.mean((1, 2, 3))[:, None] * (1.0, 10.0, 100.0)[self.row]

    images = torch.ones(2, 1, 1, 3, 4, 4) * torch.tensor([0.5, 1.0]).reshape(2, 1, 1, 1, 1, 1)
    found = shown.show(Constant(["a", "b", "c"], 4), images, [0, 2])
    np.testing.assert_allclose(found["response"].ravel(), [0.5, 100])
    np.testing.assert_allclose(found["others"].ravel(), [(5 + 50) / 2, (1 + 10) / 2])
    np.testing.assert_allclose(found["strangers"], [1.0, 50.0])


def test_similarity_leaves_out_pairs_of_one_seed() -> None:
    """One ablated image that equals the intact one of its own seed is no more alike for that."""
    images = torch.zeros(1, 2, 2, 3, 2, 2)
    images[0, :, 0, 0] = 1  # seed 0: red, intact and ablated
    images[0, :, 1, 1] = 1  # seed 1: green
    eye = {"eye": torch.nn.Flatten()}
    np.testing.assert_allclose(shown.alike(images, eye)[0].ravel(), [0, 0], atol=1e-6)
    images[0, 1] = images[0, 0].flip(0)  # ablated ones are the intact ones of the other seed
    np.testing.assert_allclose(shown.alike(images, eye)[0].ravel(), [0, 1], atol=1e-6)
    single = shown.alike(images[:, :, :1], eye)[0].ravel()
    assert np.isnan(single[0]) and single[1] == pytest.approx(0, abs=1e-6)


def test_images_are_shown_again_and_compared(
    measured: xr.Dataset,
    world: tuple[Planted, xr.Dataset],
    tiny_zoo: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    zoo, plan = _zoo(tiny_zoo)("shapes"), [study(everybody=True)]
    monkeypatch.setattr(recordings, "load", lambda name, sessions=(): world[1])
    drawn = base.audit(plan, [measured], zoo, sample=5)
    assert [one.variable for one in drawn] == ["predicted", "response"]
    assert base.demand(drawn) == 10
    spoilt = measured.assign(response=measured["response"] + 1)
    with pytest.raises(base.AuditError, match="response of shown-"):
        base.demand(base.audit(plan, [spoilt], zoo, sample=5))


def test_no_well_fitted_neuron_is_an_error(
    world: tuple[Planted, xr.Dataset], tiny_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoos, "load_zoo", _zoo(tiny_zoo))
    with pytest.raises(recordings.RecordingError, match="reaches R2 = 2 in cross-validation"):
        shown.fit(world[1], study(least=2.0))
    with pytest.raises(recordings.RecordingError, match="expected 500 images"):
        shown.fit(world[1], study(images=500))


def test_a_plan_compares_like_with_like() -> None:
    plan = shown.plan("v4", "shapes", ("alexnet", "alexnet-untrained"), alphas=(0.0, 0.5, 1.0))
    assert [s.session for s in plan[::3]] == list(studies.V4_SESSIONS)
    assert {s.judge for s in plan} == {"alexnet"}
    assert [s.layer for s in plan[:3]] == ["features", "chosen", "features"]
    assert plan[1].alphas == (0.0, 1.0) and not plan[1].everybody
    assert len({s.key for s in plan}) == len(plan)
    mine = shown.AblatedModels("my data.csv", "", "shapes", "alexnet")
    assert mine.key.startswith("shown-my_data-alex")


def table(neurons: int = 12, drop: float = 1.0) -> xr.Dataset:
    """Measures in which positive ablation lowers responses by ``drop``, others by nothing."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, (2, neurons, 4, 2))
    z = 2 + noise - drop * np.array([0, 1, 0, 0])[:, None]
    dims = ("neuron", "condition", "seed")
    return xr.Dataset(
        {
            "response": (("way", *dims), z),
            "predicted": (dims, z[0]),
            "own": (dims, z[0]),
            "others": (("way", *dims[:2]), z.mean(-1) / 4),
            "strangers": (("way", "neuron"), z[:, :, 0, 0] - 1),
            "similarity": ((*dims[:2], "judge"), 0.5 * z[0]),
            "cv": ("neuron", z[0, :, 0, 0]),
        },
        {
            "sign": ("condition", ["none", "positive", "negative", "random_magnitude"]),
            "alpha": ("condition", [0.0, 1.0, 1.0, 1.0]),
            "way": ["as is", "held"],
        },
    )


def test_effects_are_what_was_put_in() -> None:
    main = table()
    own = shown_effects.response(main)
    for values in (
        by_sign.sign_gap(own),
        shown_effects.fall(own),
        by_sign.sign_gap(own, "random_magnitude"),
    ):
        assert values.dims == ("neuron",) and values.mean() == pytest.approx(1, abs=0.05)
    assert by_sign.sign_gap(shown_effects.similarity(main)).mean() == pytest.approx(0.5, abs=0.05)
    assert np.allclose(shown_effects.beyond(own, own), 0)
    liked = shown_effects.intact(main, {"bare": main})
    assert list(liked) == ["own model", "held", "other models", "bare"]
    assert liked["own model"].mean() == pytest.approx(2, abs=0.05)
    intact, negative = shown_effects.unmoved(main, "held")  # type: ignore[misc]
    assert stats.equivalence(intact, negative, 0.25).equivalent
    assert shown_effects.unmoved(main.isel(neuron=[0]), "held") is None


def test_values_are_told_by_the_session_in_a_neurons_name() -> None:
    main = table(4).assign_coords(neuron=["mine/2/7", "210225/1", "210225/0", "mine/2/1"])
    fall = shown_effects.fall(shown_effects.response(main)).values
    found = shown_effects.by_session(fall, main)
    assert list(found["effect"]) == ["mine/2", "210225"]
    np.testing.assert_array_equal(found["effect"]["mine/2"], fall[[0, 3]])
    np.testing.assert_array_equal(found["effect"]["210225"], fall[[1, 2]])
    assert found["together"] == stats.mean(fall)


def test_curves_tell_the_change_of_each_neuron() -> None:
    main = table()
    main["response"] += 10 * np.arange(main.sizes["neuron"])[:, None, None]  # levels far apart
    gone = main["similarity"].mean("judge") * np.nan
    panels = {**shown_effects.responses(main), "centred": gone}
    found = shown_effects.curves(panels, ("positive", "negative"))
    assert list(found) == [
        "predicted",
        "neuron, as is",
        "neuron, held",
        "others, as is",
        "others, held",
    ]
    strengths, curve = found["neuron, as is"]["positive"]
    assert strengths.tolist() == [0.0, 1.0]
    np.testing.assert_allclose(curve.value, [0, -1], atol=0.05)
    assert curve.high[1] - curve.low[1] < 0.1


def test_without_neurons_only_models_have_curves() -> None:
    main = table()
    for name in ("response", "others", "strangers"):
        main[name] = main[name] * np.nan
    assert not shown_effects.answered(main)
    assert list(shown_effects.responses(main)) == ["predicted"]


def test_stored_simulated_neurons_show_what_was_planted() -> None:
    """Full positive ablation loses what drives a neuron; equal random ablation keeps more of it."""
    plan = shown.plan(
        "simulated", "shapes", ("alexnet", "alexnet-untrained"), images=400, generator="scenes"
    )
    store = Store(paths.results_folder("simulated"))
    stored = store.read(plan[0].key, plan[0].identity(zoos.load_zoo("shapes")))
    main = shown.of_kind(plan[:1], [stored], "alexnet")
    full = main.isel(condition=np.flatnonzero(main["alpha"].isin([0.0, 1.0])))
    z = shown_effects.response(full)
    assert stats.bootstrap(by_sign.sign_gap(z, "random_magnitude")).low > 0
    assert stats.bootstrap(shown_effects.fall(z)).low > 0
