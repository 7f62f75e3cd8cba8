"""Simulated neurons do what their ground truth says, and nothing else."""

import numpy as np
import pytest
import torch

from signseg_utils.generators.scenes import CLASSES, Scenes
from signseg_utils.neurons import simulated
from signseg_utils.neurons.simulated import Cell, Simulated, population, record
from signseg_utils.search.evolution import Search, evolve


@pytest.fixture(scope="module")
def neurons():
    common = dict(x=0.4, y=0.55, radius=0.27, excitatory="red star")
    return Simulated(
        {
            "plain": Cell(**common),
            "opponent": Cell(**common, inhibitory="blue ring"),
            "surround": Cell(**common, background=0.4),
        }
    )


@pytest.fixture(scope="module")
def scenes():
    renderer = Scenes(48)
    labels = [index % len(CLASSES) for index in range(108)]
    return labels, renderer(renderer.sample(labels, 0))


def test_the_preferred_image_beats_all_scenes(neurons, scenes):
    for row, label in enumerate(neurons.labels):
        best = neurons.responses(neurons.preferred(label)[None])[0, row]
        assert best > 1.5 * neurons.responses(scenes[1])[:, row].max()
        assert best > 0.7 * neurons.cells[row].gain


def test_selective_for_hue_and_shape(neurons):
    """At the same place, other shapes and other hues of the same shape drive it less."""
    one = neurons.pick(["plain"])
    answers = {}
    for label in ("red star", "red disc", "blue star", "green bar"):
        shown = Simulated({"n": Cell(x=0.4, y=0.55, radius=0.27, excitatory=label)}).preferred("n")
        answers[label] = one.responses(shown[None]).item()
    own = answers.pop("red star")
    assert own > 1.5 * max(answers.values())


def test_outside_the_field_only_contrast_matters(neurons):
    image, field = neurons.preferred("plain"), neurons.receptive_fields()[0]
    noise = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0))
    other = torch.where(field, image, noise)
    before, after = neurons.responses(torch.stack([image, other]))
    torch.testing.assert_close(before[:2], after[:2])  # those without a suppressive surround
    assert after[2] < 0.8 * before[2]
    inside = torch.where(field, noise, image)
    assert (neurons.responses(inside[None])[0] < 0.6 * before).all()


def test_the_inhibitory_shape_suppresses(neurons):
    ring = Simulated({"n": Cell(x=0.4, y=0.55, radius=0.27, excitatory="blue ring")}).preferred("n")
    plain, opponent, _ = neurons.responses(ring[None])[0]
    assert opponent < 0.3 * plain
    alike = neurons.responses(neurons.preferred("plain")[None])[0]
    assert alike[1] > 0.8 * alike[0]  # and only that shape does


def test_truth_agrees_with_the_cells(neurons):
    truth = neurons.truth()
    sign = truth["sign"]
    assert sign.sel(neuron="opponent", **{"class": "red star"}) == 1
    assert sign.sel(neuron="opponent", **{"class": "blue ring"}) == -1
    assert int(abs(sign).sum()) == 4
    assert truth["background_suppression"].values.tolist() == [0, 0, 0.4]
    field = truth["receptive_field"].values[0]
    assert field.mean() == pytest.approx(np.pi * 0.27**2, rel=0.05)
    rows, columns = np.nonzero(field)
    assert columns.mean() + 0.5 == pytest.approx(0.4 * 48, abs=0.3)
    assert rows.mean() + 0.5 == pytest.approx(0.55 * 48, abs=0.3)
    assert neurons.receptive_fields(96).shape == (3, 96, 96)


def test_a_recording_has_the_data_model_and_poisson_noise(neurons, scenes):
    found = record(neurons, scenes[1][:40], repeats=200, seed=3)
    response = found["response"]
    assert response.dims == ("image", "neuron", "repeat") and response.shape == (40, 3, 200)
    assert {"image", "neuron", "path", "area", "animal", "session"} <= set(found.coords)
    assert found["path"].dims == ("image",) and found["session"].dims == ("neuron",)
    np.testing.assert_allclose(response.mean("repeat"), found["rate"], atol=0.9)
    fano = float((response.var("repeat").mean("image") / response.mean(("image", "repeat"))).mean())
    assert fano == pytest.approx(1, abs=0.08)
    again = record(neurons, scenes[1][:40], repeats=200, seed=3)
    assert found.equals(again)
    assert not found.equals(record(neurons, scenes[1][:40], repeats=200, seed=4))
    with pytest.raises(ValueError, match="different names"):
        record(neurons, scenes[1][:2], names=["a", "a"])
    with pytest.raises(ValueError, match="at least one presentation"):
        record(neurons, scenes[1][:2], repeats=0)


def test_a_population_is_the_same_for_the_same_seed(scenes):
    first, again, other = population(8, 1), population(8, 1), population(8, 2)
    assert first.cells == again.cells and first.cells != other.cells
    assert [bool(c.inhibitory) for c in first.cells[:4]] == [True, False, True, False]
    assert [c.background > 0 for c in first.cells[:4]] == [False, True, True, False]
    picked = first.pick([5, 2]).responses(scenes[1])
    assert torch.equal(picked, first.responses(scenes[1])[:, [5, 2]])


def test_the_closed_loop_finds_the_driving_shape(neurons):
    """The evolved scene is read from its code: it holds the excitatory hue and shape."""
    generator = Scenes(48)
    twin = neurons.pick(["plain"])
    found = evolve(twin.readout(), twin, generator, (1,), Search(generations=40))
    told = generator.describe(found.codes)
    assert simulated.HUES[int(told["hue"].argmax())] == "red"
    assert told["opacity"].item() > 0.9
    start = twin.responses(generator(generator.initial_codes([1]))).item()
    assert found.activations.item() > 3 * start


def test_impossible_cells_are_refused():
    good = dict(x=0.5, y=0.5, radius=0.25, excitatory="red star")
    with pytest.raises(ValueError, match="did you mean red star"):
        Cell(**{**good, "excitatory": "red stars"})
    with pytest.raises(ValueError, match="inside the image"):
        Cell(**{**good, "x": 0.1})
    with pytest.raises(ValueError, match="positive gain"):
        Cell(**good, gain=0)
    with pytest.raises(ValueError, match="use larger images"):
        Simulated({"a": Cell(**{**good, "radius": 0.04})})
    with pytest.raises(ValueError, match="name of its own"):
        Simulated({})
    with pytest.raises(ValueError, match="at least one neuron"):
        population(0, 0)
