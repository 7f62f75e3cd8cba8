"""Networks from further seeds: named by their seed, trained by the recipe of the first."""

import json
import shutil
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch
from twocolours import ALEXNET, TwoColours, interrupt_after

from signseg_utils import selection, zoos
from signseg_utils.chapter import results
from signseg_utils.chapter.cards import table
from signseg_utils.cli import train as command
from signseg_utils.experiments import base, sweep
from signseg_utils.files import weights
from signseg_utils.search.evolution import Search
from signseg_utils.training import loop, networks, restore, simsiam
from signseg_utils.zoos import load_zoo
from signseg_utils.zoos._families import SECOND, parted, seeded

ZOOS = ("shapes", "tinyimagenet")
SHORT = ("batch=16", "learning_rate=0.05")


class Small(TwoColours):
    """A standard network, and one that is trained further against attacks."""

    network_configs = {"alexnet": ALEXNET, "resnet": ALEXNET}
    family_configs = {"robust": {"resnet-linf-8": ALEXNET}}


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    for table_of_recipes, value in (
        (networks.STANDARD, {"alexnet": 2, "resnet": 1}),
        (networks.ADVERSARIAL, 1),
        (networks.TWIN, 1),
        (networks.UNLABELLED, simsiam.Recipe()),
    ):
        monkeypatch.setitem(table_of_recipes, Small.name, value)
    return Small(tmp_path / "zoo")


# Names


@pytest.mark.parametrize("zoo", ZOOS)
def test_each_network_has_siblings_of_its_architecture(zoo) -> None:
    zoo = load_zoo(zoo)
    for name in zoo.all_networks:
        assert parted(name) == (name, None)  # or a first network would pass for a sibling
        assert parted(seeded(name, 12)) == (name, 12)
        assert zoo.config(seeded(name, 12)) is zoo.config(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "alexnet-seed1",
            "further seed of alexnet to be 2 or more.*take alexnet, or ",
        ),
        ("alexnet-seed0", "got 'alexnet-seed0'"),
        ("alexnett-seed2", "among: alexnet.*did you mean alexnet"),
        ("alexnet-seed02", "did you mean alexnet"),
        ("alexnet-seed2-seed3", "among: alexnet"),
        ("alexnet-seed-2", "among: alexnet"),
        ("decoder-seed2", "among: alexnet"),
    ],
)
def test_a_name_without_such_a_network_is_refused(name, message, tmp_path) -> None:
    zoo = load_zoo("shapes", tmp_path)
    for ask in (zoo.config, zoo.network, lambda n: networks.recipe(zoo, n)):
        with pytest.raises(KeyError, match=message):
            ask(name)
    for parameter in ("networks", "network"):
        with pytest.raises(selection.ParameterError, match=message):
            selection.parse({"zoo": "shapes", parameter: name})


def test_published_networks_have_no_further_seeds() -> None:
    zoo = load_zoo("imagenet")
    with pytest.raises(KeyError, match="did you mean alexnet"):
        zoo.config("alexnet-seed2")


def test_chapters_and_commands_take_further_seeds_by_name() -> None:
    asked = "resnet,resnet-seed2,resnet-linf-0.5-seed3"
    assert selection.parse({"zoo": "shapes", "networks": asked}).networks == tuple(asked.split(","))
    assert selection.parse({"zoo": "shapes", "network": "vgg-seed4"}).network == "vgg-seed4"


def test_a_sibling_that_is_not_here_says_how_to_get_it(tmp_path) -> None:
    message = r"alexnet-seed2\.safetensors is missing.*signseg train"
    with pytest.raises(FileNotFoundError, match=message):
        load_zoo("shapes", tmp_path).network("alexnet-seed2")


# Recipes


@pytest.mark.parametrize("zoo", ZOOS)
def test_a_sibling_differs_in_its_seed_and_that_of_what_it_builds_on(zoo) -> None:
    zoo = load_zoo(zoo)
    for name, first in networks.recipes(zoo).items():
        assert first.seed < SECOND  # further seeds never repeat the first
        found, expected = asdict(networks.recipe(zoo, seeded(name, 3))), asdict(first)
        assert found.pop("seed") == 3
        del expected["seed"]
        for field in ("parent", "match"):
            if expected.get(field):
                expected[field] += "-seed3"
        assert found == expected
        assert networks.recipe(zoo, name) == first


@pytest.mark.parametrize("zoo", ZOOS)
def test_twins_are_trained_equally_long(zoo) -> None:
    zoo = load_zoo(zoo)
    epochs = {networks.recipe(zoo, name).epochs for name in zoo.families["activations"]}
    assert len(epochs) == 1


def test_elders_come_first_and_seed_after_seed() -> None:
    found = networks.siblings(load_zoo("shapes"), ("resnet-linf-8", "alexnet-relu-matched"), 2)
    assert found == (
        "resnet",
        "resnet-linf-8",
        "alexnet-tanh",
        "alexnet-relu-matched",
        "resnet-seed2",
        "resnet-linf-8-seed2",
        "alexnet-tanh-seed2",
        "alexnet-relu-matched-seed2",
    )


# Trainings


def test_another_seed_draws_other_weights(zoo, tmp_path) -> None:
    both = "alexnet", "alexnet-seed2"
    for name in both:
        networks.make(zoo, name, tmp_path, SHORT)
    for state in ("start", "trained"):
        first, second = (restore.classifier(zoo, name, state) for name in both)
        differ = [
            (a - b).abs().max() > 0.01
            for a, b in zip(first.readout.parameters(), second.readout.parameters(), strict=True)
        ]
        assert all(differ)
    cards = [zoo.card(name) for name in both]
    assert [card["seed"] for card in cards] == [0, 2]
    assert cards[0]["config"] == cards[1]["config"]
    assert cards[1]["accuracy"]["top1"] > 0.9
    assert list(table({card["name"]: card for card in cards}).loc["seed"]) == ["0", "2"]


def test_each_seed_has_an_order_of_images_of_its_own(tmp_path) -> None:
    def shown(seed):
        seen, model = [], torch.nn.Linear(1, 1)

        def objective(chosen, epoch, generator):
            seen.extend(chosen.tolist())
            return model(torch.zeros(1, 1)).sum()

        recipe = loop.Recipe(epochs=1, batch=4, learning_rate=1e-6, seed=seed)
        loop.run(model, objective, 20, recipe, tmp_path / f"{seed}.safetensors", {})
        return seen

    first, second = shown(0), shown(2)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_an_interrupted_sibling_ends_with_the_same_weights(zoo, tmp_path) -> None:
    networks.make(zoo, "alexnet-seed2", tmp_path, SHORT)
    whole = zoo.path("alexnet-seed2").read_bytes()
    zoo.path("alexnet-seed2").unlink()
    with interrupt_after(1), pytest.raises(KeyboardInterrupt):
        networks.make(zoo, "alexnet-seed2", tmp_path, SHORT)
    assert not zoo.holds("alexnet-seed2")
    networks.make(zoo, "alexnet-seed2", tmp_path, SHORT)
    assert zoo.path("alexnet-seed2").read_bytes() == whole


def test_a_sibling_builds_on_the_network_of_its_own_seed(zoo, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"resnet-seed2\.safetensors is missing"):
        networks.make(zoo, "resnet-linf-8-seed2", tmp_path, SHORT)
    for name in networks.siblings(zoo, ("resnet-linf-8",), 2)[2:]:
        networks.make(zoo, name, tmp_path, SHORT)
    card = zoo.card("resnet-linf-8-seed2")
    assert card["parent"]["sha256"] == zoo.card("resnet-seed2")["sha256"]
    assert card["seed"] == card["parent"]["seed"] == 2


# Weights that do not ship


class Told(Small):
    """Of further seeds, manifests and results ship alone."""

    seeds_ship = False


@pytest.fixture
def told(tmp_path):
    zoo = Told(tmp_path / "zoo")
    for name in ("alexnet", "alexnet-seed2"):
        weights.save(zoo.path(name), {"weight": torch.zeros(1)}, {"name": name})
        zoo.path(name).unlink()
    return zoo


def test_a_manifest_tells_of_weights_that_do_not_ship(told) -> None:
    assert told.told_only("alexnet-seed2") and not told.told_only("alexnet")
    assert told.card("alexnet-seed2")["name"] == "alexnet-seed2"
    assert told.fingerprint("alexnet-seed2") == told.card("alexnet-seed2")["sha256"]
    assert not told.holds("alexnet-seed2")  # so that the command trains it


def test_weights_that_do_not_ship_are_asked_for_in_vain(told) -> None:
    with pytest.raises(weights.MissingWeights, match=r"manifests and .*--only alexnet-seed2"):
        told.network("alexnet-seed2")
    with pytest.raises(weights.MissingWeights, match=r"alexnet-seed3\.json is missing"):
        told.card("alexnet-seed3")
    for ask in (told.card, told.network):  # those of the first network are to be here
        with pytest.raises(weights.MissingWeights, match=r"alexnet\.safetensors is missing"):
            ask("alexnet")


def test_trained_here_they_are_as_any_others(told) -> None:
    weights.save(told.path("alexnet-seed2"), {"weight": torch.ones(1)}, {"name": "anew"})
    assert not told.told_only("alexnet-seed2")
    assert told.holds("alexnet-seed2") and told.card("alexnet-seed2")["name"] == "anew"


def test_searches_of_such_a_network_are_shown_and_told_as_not_audited(
    tiny_zoo, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for suffix in (".json", ".safetensors"):
        for name in ("alexnet", "alexnet-seed2"):
            shutil.copy(tiny_zoo / f"alexnet{suffix}", (tmp_path / name).with_suffix(suffix))
    zoo = load_zoo("shapes", tmp_path)
    search = Search(generations=2, population=4)
    names = ["alexnet", "alexnet-seed2"]
    settings = dict(signs=("positive",), alphas=(0.0, 1.0), seeds=(0,), search=search)
    plan = sweep.plan("shapes", names, ["scenes"], list(zoo.classes[:1]), **settings)
    base.run(plan, zoo, tmp_path / "found", speaks=False)
    zoo.path("alexnet-seed2").unlink()
    monkeypatch.setattr(type(zoo), "seeds_ship", False)
    asked = SimpleNamespace(zoo="shapes", results="found", recompute=False, seed=0)
    monkeypatch.setattr(zoos, "load_zoo", lambda name: zoo)
    ((shown, own),) = results.results([plan], asked, "03_a")
    assert set(shown["network"].values) == set(names) and len(own.found) == 2
    audit = json.loads((tmp_path / "03_a.audit.json").read_text())
    assert audit["checked"] == audit["agreed"] == 2  # of the network that is here
    assert audit["notes"] == [
        "Not made again, here or elsewhere: the weights of alexnet-seed2 do not ship."
    ]


# The command


def run(*words) -> None:
    command.main(["--zoo", "shapes", *words])


def test_the_command_goes_on_with_what_is_missing(monkeypatch, tmp_path) -> None:
    made, kept = [], load_zoo("shapes", tmp_path)

    def make(zoo, name, *_):
        if name == "vgg-seed2" and name not in made:
            made.append(name)
            zoo.path(name).touch()  # killed before the manifest
            raise KeyboardInterrupt
        made.append(name)
        weights.save(zoo.path(name), {"weight": torch.zeros(1)}, {})

    monkeypatch.setattr(networks, "make", make)
    words = "--networks", "alexnet,vgg", "--seeds", "3", "--folder", str(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(*words)
    run(*words)
    assert made == [
        "alexnet",
        "vgg",
        "alexnet-seed2",
        "vgg-seed2",
        "vgg-seed2",
        "alexnet-seed3",
        "vgg-seed3",
    ]
    assert all(map(kept.holds, ("vgg", "vgg-seed2", "vgg-seed3")))
    run("--only", "resnet-seed2", "--folder", str(tmp_path))
    assert made[-1] == "resnet-seed2"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "5"], "expected --networks with --seeds"),
        (["--networks", "alexnet", "--seeds", "0"], "expected --seeds of 1 or more"),
        (["--networks", "alexnet", "--only", "vgg"], "expected --only or --networks"),
        (["--networks", "alexnett", "--seeds", "2"], "did you mean alexnet"),
        (["--networks", "alexnet-seed1"], "2 or more"),
        (["--networks", "alexnet,alexnet"], "more than once"),
    ],
)
def test_a_command_that_cannot_be_followed(capsys, words, message) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(*words)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
