"""Every class of a network: few pictures kept, classes by kind, and what sets them apart."""

import numpy as np
import pytest
import torch
import xarray as xr
from conftest import TinyZoo, checked, collected, made

from signseg_utils.analysis import images, kinds_of_things, over_classes, taken_for
from signseg_utils.basics.refusals import UnknownName
from signseg_utils.experiments import all_units, ascents, base, negative_selectivity
from signseg_utils.experiments.all_units import AllUnits
from signseg_utils.experiments.ascents import Ascents
from signseg_utils.zoos.efficientnet import EfficientNets

CONDITIONS = ("intact", "positive 0.5", "positive 1", "negative 0.5", "negative 1")


@pytest.fixture(scope="module")
def zoo(tiny_zoo):
    return TinyZoo(tiny_zoo)


@pytest.fixture(scope="module")
def plan(zoo):
    units = zoo.in_random_order(3)
    return all_units.plan(zoo, zoo.networks, units, pictured=1, alphas=(1.0,), steps=2)


@pytest.fixture(scope="module")
def folder(plan, tiny_zoo, tmp_path_factory):
    where = tmp_path_factory.mktemp("results")
    made(plan, where, tiny_zoo)
    return where


# ---------------------------------------------------------------- the experiment


def test_only_the_first_units_keep_their_pictures(plan, folder, tiny_zoo):
    found = collected(plan, folder, tiny_zoo)
    lengths = found["length"].values
    assert (lengths[:, 0] > 0).all() and (lengths[:, 1:] == 0).all()
    assert (found["picture"].values[:, 1:] == 0).all()
    assert found["recognition"].isel(unit=2).notnull().any("witness").all()


def test_what_is_measured_is_what_an_ascent_measures(plan, folder, zoo):
    plain = Ascents(**{k: v for k, v in vars(plan[0]).items() if k != "pictured"})
    expected, (found, *_) = plain.compute(zoo), base.read(plan, zoo, folder)
    for name in ("activation", "recognition", "rank", "begun"):
        np.testing.assert_array_equal(found[name], expected[name])


def test_an_audit_asks_for_kept_pictures_only(plan, folder, tiny_zoo, zoo):
    assert all(cell[0] == 0 for cell in plan[0].cells(zoo, base.read(plan, zoo, folder)[0]))
    assert checked(plan, folder, tiny_zoo, sample=4) > 0


def test_the_networks_take_turns(zoo):
    units = tuple(zoo.classes)
    both = all_units.plan(zoo, zoo.networks, units)
    assert [one.network for one in both] == list(zoo.networks)
    assert AllUnits.of_provenance({"settings": both[0].settings}) == both[0]


def test_classes_come_in_one_random_order():
    zoo = EfficientNets()
    every = zoo.in_random_order()
    assert sorted(every) == sorted(zoo.classes) and every != zoo.classes
    assert zoo.in_random_order(7) == every[:7]


# ---------------------------------------------------------------- kinds of classes

# Lines of the true file, shortened: place, number of its file, part of speech, words, pointers.
NOUNS = """\
  1 This software and database is being provided to you
00000001 03 n 01 entity 0 000 | that which is perceived
00000002 03 n 02 animal 0 beast 1 001 @ 00000001 n 0000 | a living organism
00000003 05 n 01 mammal 0 001 @ 00000002 n 0000 | warm-blooded
00000004 05 n 02 dog 0 domestic_dog 0 002 @ 00000003 n 0000 ~ 00000005 n 0000 | a member of Canis
00000005 05 n 01 pug 0 001 @ 00000004 n 0000 | small compact breed
00000006 06 n 01 artifact 0 002 @ 00000001 n 0000 + 00000009 v 0101 | made by people
00000007 06 n 01 musical_instrument 0 001 @ 00000006 n 0000 | produces tones
00000008 20 n 01 daisy 0 002 @ 00000001 n 0000 ;c 00000006 n 0000 | a flower
"""


def test_kinds_follow_from_the_nouns_above(tmp_path):
    file = tmp_path / "data.noun"
    file.write_text(NOUNS)
    asked = ["n00000005", "n00000003", "n00000002", "n00000007", "n00000006", "n00000008"]
    assert kinds_of_things.kinds_of(asked, file) == [
        "dog",
        "other mammal",
        "invertebrate",
        "musical instrument",
        "other artefact",
        kinds_of_things.REST,
    ]


def test_the_table_agrees_with_lists_that_were_made_without_wordnet():
    classes = EfficientNets.classes
    of = np.array(kinds_of_things.kinds(classes))
    assert set(of) == {*kinds_of_things.KINDS, kinds_of_things.REST}
    lists = negative_selectivity.CATEGORIES["efficientnet"]
    dogs = set(np.flatnonzero(of == "dog")) ^ set(lists["dogs"])
    assert dogs == set()
    assert set(lists["birds"]) == set(np.flatnonzero(of == "bird"))
    assert set(of[list(lists["cats"])]) == {"other mammal"}
    assert set(of[list(lists["vehicles"])]) == {"vehicle"}


def test_a_class_that_imagenet_does_not_have_is_refused():
    with pytest.raises(UnknownName, match="class of ImageNet.*red disc"):
        kinds_of_things.kinds(["tench", "red disc"])


# ---------------------------------------------------------------- what sets classes apart


def recognised(values: np.ndarray, units: tuple[str, ...]) -> xr.DataArray:
    """Values [network, unit, condition] as the experiment gives them."""
    return xr.DataArray(
        values,
        dims=("network", "unit", "condition"),
        coords={
            "network": ["one", "two"],
            "unit": list(units),
            "condition": list(CONDITIONS),
            "sign": ("condition", ["none", "positive", "positive", "negative", "negative"]),
            "alpha": ("condition", [0.0, 0.5, 1.0, 0.5, 1.0]),
        },
    )


UNITS = ("tench", "goldfish", "teapot", "beaker")


def test_equal_shares_leave_nothing_beyond():
    intact = np.array([[0.9, 0.6, 0.3, 0.1], [0.8, 0.4, 0.2, 0.4]])
    shares = np.array([1, 0.4, 0.1, 0.5, 0.2])
    beyond = over_classes.kept_beyond(recognised(intact[..., None] * shares, UNITS))
    np.testing.assert_allclose(beyond, 0, atol=1e-12)


def test_animals_that_keep_less_are_found():
    values = np.full((2, 4, 5), 0.5)
    values[:, :2, 3:] = [[[0.1, 0.1], [0.12, 0.12]]] * 2  # a tench and a goldfish
    values[:, 3, 3:] = 0.52
    beyond = over_classes.kept_beyond(recognised(values, UNITS))
    found = over_classes.animals_less_artefacts(beyond)
    assert found.value == pytest.approx(-0.4) and found.high < 0
    no_animals = beyond.sel(unit=["teapot", "beaker"])
    assert over_classes.animals_less_artefacts(no_animals) is None


def test_kinds_are_ordered_by_what_is_left():
    values = np.zeros((2, 4, 5))
    values[..., 4] = [0.1, 0.3, 0.8, 0.9]
    rows = over_classes.by_kind(recognised(values, UNITS), ("intact", "negative 1"))
    assert list(rows) == ["container (2)", "other vertebrate (2)"]
    assert rows["other vertebrate (2)"]["negative 1"].value == pytest.approx(0.2)


def test_shares_exceptions_and_agreement_of_networks():
    gap = xr.DataArray(
        [[0.1, 0.2, -0.3, 0.4], [0.2, 0.3, -0.1, 0.5]],
        dims=("network", "unit"),
        coords={"network": ["one", "two"], "unit": list(UNITS)},
    )
    most = over_classes.in_most(gap)
    assert most.value == pytest.approx(0.25) and most.low < 0 < most.high
    assert over_classes.furthest(gap, 1) == (["teapot"], ["beaker"])
    assert over_classes.with_others(gap)["one"].value == pytest.approx(1)
    assert over_classes.with_others(gap.sel(network=["one"])) is None
    assert over_classes.with_ratio(gap, -gap)["two"].value == pytest.approx(-1)


# ---------------------------------------------------------------- what pictures are taken for


def coloured(classes):
    """Kinds of the tiny zoo: red things are dogs, blue ones devices."""
    of = {"red": "dog", "blue": "device"}
    return [of.get(name.split()[0], kinds_of_things.REST) for name in classes]


def test_pictures_are_taken_for_animals_by_all_their_kinds_together(
    zoo, tiny_zoo, tmp_path, monkeypatch
):
    monkeypatch.setattr(taken_for, "kinds", coloured)
    units = ("blue disc", "red ring", "blue ring")
    plan = ascents.swept(zoo, networks=["resnet"], units=units, alphas=(1.0,), steps=1)
    found = made(plan, tmp_path, tiny_zoo)
    shown = ("intact", "negative 1")
    animals = taken_for.animals(zoo, found, shown)
    assert animals.dims == ("unit", "condition") and animals["condition"].values.tolist() == [
        *shown
    ]
    own = found.sel(network="resnet", unit="red ring", condition="negative 1")
    reds = [number for number, name in enumerate(zoo.classes) if name.startswith("red")]
    given = []
    for seed in (0, 1):
        picture = images.decoded(own.sel(seed=seed))[None] / 255
        with torch.no_grad():
            answers = zoo.network("alexnet").logits(picture).double().softmax(1)[0]
        given.append(float(answers[reds].sum()))
    told = float(animals.sel(unit="red ring", condition="negative 1"))
    assert told == pytest.approx(np.mean(given), abs=1e-6)
    assert taken_for.things(animals)["unit"].values.tolist() == ["blue disc", "blue ring"]
    assert list(taken_for.by_group(animals)) == [
        "pictures of things (2)",
        "pictures of animals (1)",
    ]
