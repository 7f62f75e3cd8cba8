"""Networks beside the standard ones: robust, twins, without labels, untrained."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from twocolours import ALEXNET, TwoColours, interrupt_after

from signseg_utils import selection, zoos
from signseg_utils.basics.draws import Twister
from signseg_utils.chapter import cards, parameters
from signseg_utils.cli import train as command
from signseg_utils.files import weights
from signseg_utils.networks import initial
from signseg_utils.training import classifier, networks, restore, simsiam, untrained
from signseg_utils.training import zoo as whole
from signseg_utils.training.attack import perturb
from signseg_utils.training.classifier import Recipe
from signseg_utils.zoos import Images, load_zoo

RECIPE = Recipe(epochs=2, batch=16, learning_rate=0.05, small_size=32)
FINE_TUNED = replace(RECIPE, parent="alexnet", epochs=3)
ROBUST = replace(FINE_TUNED, epsilon=40 / 255)
UNLABELLED = simsiam.Recipe(
    epochs=3,
    batch=16,
    size=24,
    smallest_area=0.5,
    hue=0.0,
    grey=0.0,
    width=16,
    bottleneck=8,
    readout_epochs=2,
)
ZOOS = ("shapes", "tinyimagenet")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    zoo = TwoColours(folder / "zoo")
    classifier.train(zoo, "alexnet", RECIPE, folder)
    return zoo


@pytest.fixture(scope="module")
def robust(trained, tmp_path_factory):
    classifier.train(trained, "alexnet-linf-40", ROBUST, tmp_path_factory.mktemp("runs"))
    return trained


@pytest.fixture(scope="module")
def unlabelled(trained, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("runs")
    simsiam.train(trained, "alexnet-simsiam", UNLABELLED, scratch)
    return trained, scratch / "twocolours-alexnet-simsiam-0-pretrained.safetensors"


# Attacks


def test_an_attack_on_a_linear_loss_goes_as_far_as_it_may() -> None:
    torch.manual_seed(0)
    images, slope = 0.2 + 0.6 * torch.rand(3, 3, 4, 4), torch.randn(3, 4, 4)
    found = perturb(lambda x: (x * slope).sum(), images, torch.zeros_like(images), 0.1, 5, 0.05)
    torch.testing.assert_close(found, images + 0.1 * slope.sign())


def test_an_attack_stays_within_its_distance_and_within_images() -> None:
    torch.manual_seed(0)
    images = torch.rand(4, 3, 4, 4).round()
    noise = 0.1 * (2 * torch.rand_like(images) - 1)
    found = perturb(lambda x: (x - 0.5).pow(2).sum(), images, noise, 0.1, 1, 0.125)
    assert (found - images).abs().max() <= 0.1 + 1e-6
    assert found.min() >= 0 and found.max() <= 1


def test_training_against_attacks_is_what_withstands_them(robust, tmp_path) -> None:
    classifier.train(robust, "alexnet-linf-0", FINE_TUNED, tmp_path)
    images = robust.images("val")
    images = images[images.labels >= 0]
    withstood = {
        name: classifier.robust_accuracy(restore.classifier(robust, name), images, 40 / 255, 20)
        for name in ("alexnet-linf-40", "alexnet-linf-0")
    }
    assert withstood["alexnet-linf-40"]["top1"] > withstood["alexnet-linf-0"]["top1"] + 0.2


def test_a_robust_network_says_what_it_comes_from_and_withstands(robust) -> None:
    card = robust.card("alexnet-linf-40")
    assert card["parent"]["name"] == "alexnet"
    assert card["parent"]["sha256"] == robust.card("alexnet")["sha256"]
    assert card["recipe"]["epsilon"] == card["own_robust_accuracy"]["epsilon"] == 40 / 255
    assert card["own_robust_accuracy"]["steps"] > 1
    assert card["own_robust_accuracy"]["top1"] <= card["robust_accuracy"]["top1"]
    column = cards.table({"robust": card, "plain": robust.card("alexnet")})
    shown = f"{100 * card['own_robust_accuracy']['top1']:.1f} at 40/255"
    assert list(column.loc["robust top-1 at trained distance, %"]) == [shown, "–"]
    assert list(column.loc["begun from"]) == ["alexnet", "–"]
    members = cards.families(robust)
    assert members.loc["alexnet-linf-40", "robust top-1 at trained distance, %"] == shown
    assert "alexnet" not in members.index


def test_fine_tuning_begins_with_the_parent(robust, tmp_path) -> None:
    still = replace(FINE_TUNED, learning_rate=1e-12)
    classifier.train(robust, "alexnet-linf-0", still, tmp_path)
    parent, child = (robust.state(name)[0] for name in ("alexnet", "alexnet-linf-0"))
    for key, value in parent.items():
        if "running" not in key and "batches" not in key:
            torch.testing.assert_close(child[key], value)
    start = restore.classifier(robust, "alexnet-linf-40", "start").state_dict()
    expected = restore.classifier(robust, "alexnet", "start").state_dict()
    assert all(torch.equal(start[key], expected[key]) for key in expected)


def test_an_interrupted_robust_training_ends_with_the_same_weights(robust, tmp_path) -> None:
    whole = robust.path("alexnet-linf-40").read_bytes()
    with interrupt_after(1), pytest.raises(KeyboardInterrupt):
        classifier.train(robust, "alexnet-linf-40", ROBUST, tmp_path)
    classifier.train(robust, "alexnet-linf-40", ROBUST, tmp_path)
    assert robust.path("alexnet-linf-40").read_bytes() == whole


def test_an_unfinished_run_from_another_parent_is_refused(robust, tmp_path) -> None:
    with interrupt_after(1), pytest.raises(KeyboardInterrupt):
        classifier.train(robust, "alexnet-linf-40", ROBUST, tmp_path)
    zoo = TwoColours(tmp_path / "other")
    tensors, card = weights.load(robust.path("alexnet"))
    weights.save(zoo.path("alexnet"), {k: v + 1 for k, v in tensors.items()}, card)
    with pytest.raises(ValueError, match="delete it or ask for the same origin"):
        classifier.train(zoo, "alexnet-linf-40", ROBUST, tmp_path)


def test_a_missing_parent_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"alexnet\.safetensors is missing"):
        classifier.train(TwoColours(tmp_path), "alexnet-linf-40", ROBUST, tmp_path)


# Matched accuracy


def with_goal(folder, top1):
    """A zoo whose standard network claims an accuracy."""
    zoo = TwoColours(folder / "zoo")
    weights.save(zoo.path("alexnet"), {"no": torch.zeros(1)}, {"accuracy": {"top1": top1}})
    return zoo


def test_training_stops_at_the_first_evaluation_that_reaches_the_goal(tmp_path, monkeypatch):
    zoo, real = with_goal(tmp_path, 0.8), classifier.accuracy
    scripted, seen = iter([0.1, 0.79, 0.8, 0.9]), []

    def accuracy(model, images):
        seen.append(real(model, images)["top1"])
        return {"top1": next(scripted)} if len(seen) < 4 else real(model, images)

    monkeypatch.setattr(classifier, "accuracy", accuracy)
    classifier.train(zoo, "alexnet-matched", replace(RECIPE, match="alexnet"), tmp_path)
    card = zoo.card("alexnet-matched")
    assert card["epochs_seen"] == 0.3  # ten batches an epoch, an evaluation after each
    assert card["accuracy_float32"]["top1"] == seen[2]  # what ships is what was evaluated
    assert card["match"] == {
        "name": "alexnet",
        "sha256": zoo.card("alexnet")["sha256"],
        "top1": 0.8,
    }


def test_a_goal_out_of_reach_is_an_error(tmp_path) -> None:
    zoo = with_goal(tmp_path, 1.1)
    with pytest.raises(ValueError, match=r"expected alexnet-matched to reach .* 1\.100"):
        classifier.train(zoo, "alexnet-matched", replace(RECIPE, match="alexnet"), tmp_path)
    assert not zoo.path("alexnet-matched").exists()


# Without labels


def test_views_of_nothing_changed_are_the_image_or_its_mirror_image() -> None:
    pixels = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    same = simsiam.Recipe(size=16, smallest_area=1.0, colour=0.0, hue=0.0, grey=0.0)
    found = simsiam.view(pixels, same, Twister(0))
    mirrored = 0
    for image, seen in zip(pixels.float() / 255, found, strict=True):
        distances = [float((seen - as_is).abs().max()) for as_is in (image, image.flip(-1))]
        assert min(distances) < 1e-4
        mirrored += distances[1] < distances[0]
    assert 0 < mirrored < 8


def test_views_differ_keep_range_and_seed() -> None:
    pixels = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    recipe = simsiam.Recipe(size=12)
    one, again, other = (simsiam.view(pixels, recipe, Twister(seed)) for seed in (1, 1, 2))
    assert one.shape == (8, 3, 12, 12)
    assert 0 <= one.min() and one.max() <= 1
    assert torch.equal(one, again)
    assert (one - other).abs().mean() > 0.02


def test_swapped_objects_stay_and_backgrounds_do_not() -> None:
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, 1:3, 1:3] = masks[1, :2] = True
    pixels = torch.full((2, 3, 4, 4), 200, dtype=torch.uint8)
    empty = torch.tensor([10, 20], dtype=torch.uint8)[:, None, None, None].expand(2, 3, 4, 4)
    images = Images(pixels, torch.zeros(2), torch.zeros(2, 4), masks)
    found = simsiam.swapped(images, empty, Twister(0))
    inside = masks[:, None].expand_as(found)
    assert (found[inside] == 200).all() and set(found[~inside].tolist()) <= {10, 20}
    with pytest.raises(ValueError, match="expected images with masks"):
        simsiam.swapped(replace(images, masks=None), empty, Twister(0))


def test_colours_turn_and_fade() -> None:
    third = simsiam.rotation(torch.tensor([2 * torch.pi / 3]))[0]
    torch.testing.assert_close(third @ torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0]))
    grey, whole = simsiam.saturate(torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(grey @ torch.tensor([1.0, 0, 0]), torch.full((3,), 0.299))
    torch.testing.assert_close(whole, torch.eye(3))


def test_spread_tells_collapse_from_uniform_directions() -> None:
    torch.manual_seed(0)
    assert simsiam.spread(torch.randn(1, 64).expand(500, 64)) < 1e-5
    assert simsiam.spread(torch.randn(500, 64)) == pytest.approx(1, abs=0.05)


def test_no_gradient_flows_into_what_is_predicted() -> None:
    torch.manual_seed(0)
    model = simsiam.SimSiam(torch.nn.Flatten(), 12, 6, 3)
    one, other = torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2, requires_grad=True)
    with torch.no_grad():
        model.predictor[-1].weight.zero_()  # predictions no longer depend on images
    model.loss(one, other).backward()
    assert other.grad is not None and (other.grad == 0).all()


def test_without_labels_the_loss_falls_and_features_do_not_collapse(unlabelled, tmp_path) -> None:
    zoo, pretrained = unlabelled
    barely = replace(UNLABELLED, epochs=1, learning_rate=1e-12)
    before = weights.load(simsiam.pretrain(zoo, "alexnet-simsiam", barely, tmp_path))[1]["scores"]
    after = weights.load(pretrained)[1]["scores"]
    assert after["loss"] < before["loss"] - 0.2
    assert after["spread"] > 0.3


def test_the_readout_is_all_that_labels_change(unlabelled) -> None:
    zoo, pretrained = unlabelled
    tensors, card = zoo.state("alexnet-simsiam")
    start, manifest = weights.load(pretrained)
    for key, value in start.items():
        if key.startswith("readout."):
            assert (tensors[key] - value).abs().max() > 0.01
        else:
            torch.testing.assert_close(tensors[key], value, atol=1e-3, rtol=1e-3)
    assert card["accuracy"]["top1"] > 0.9
    assert card["parent"]["sha256"] == manifest["sha256"]
    assert card["parent"]["recipe"] == asdict(UNLABELLED)
    assert cards.table({"one": card}).loc["trained with labels", "one"] == "readout only"


def test_an_interrupted_pretraining_ends_with_the_same_weights(unlabelled, tmp_path) -> None:
    zoo, pretrained = unlabelled
    with interrupt_after(2), pytest.raises(KeyboardInterrupt):
        simsiam.pretrain(zoo, "alexnet-simsiam", UNLABELLED, tmp_path)
    again = simsiam.pretrain(zoo, "alexnet-simsiam", UNLABELLED, tmp_path)
    assert again.read_bytes() == pretrained.read_bytes()


# Untrained


def test_an_untrained_network_ships_its_statistics_and_draws_the_rest(trained) -> None:
    path = untrained.make(trained, "alexnet-untrained", replace(RECIPE, epochs=0, seed=3))
    stored = weights.load(path)[0]
    assert stored and all(".running_" in key for key in stored)
    drawn = initial("small", ALEXNET, 2, 3).shipped()
    found = trained.state("alexnet-untrained")[0]
    assert set(found) == set(drawn)
    assert all(torch.equal(found[key], drawn[key]) for key in set(drawn) - set(stored))
    pixels = trained.images("val", 50).pixels.float() / 255
    whole = restore.classifier(trained, "alexnet-untrained")(pixels)
    torch.testing.assert_close(
        trained.network("alexnet-untrained").logits(pixels), whole, rtol=1e-3, atol=1e-4
    )


def test_statistics_are_those_of_the_images(trained) -> None:
    model = initial("small", ALEXNET, 2, 0)
    untrained.calibrate(model, trained.images("train"))
    pixels = trained.images("train").pixels.float() / 255
    with torch.no_grad():
        normed = model.backbone.trunk[0][1](model.backbone.trunk[0][0]((pixels - 0.45) * 4))
    assert normed.mean((0, 2, 3)).abs().max() < 0.2
    assert (normed.var((0, 2, 3)) - 1).abs().max() < 0.3


def test_other_random_numbers_are_noticed(trained) -> None:
    path = untrained.make(trained, "alexnet-untrained", replace(RECIPE, epochs=0))
    manifest = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(manifest | {"seed": 9}))
    with pytest.raises(weights.DamagedWeights, match="expected seed 9 to draw"):
        trained.network("alexnet-untrained")


# In the zoos


@pytest.mark.parametrize("zoo", ZOOS)
def test_each_network_has_a_recipe_and_its_elders_come_first(zoo) -> None:
    zoo = load_zoo(zoo)
    order = list(networks.recipes(zoo))
    assert order == list(zoo.all_networks)
    for name, recipe in networks.recipes(zoo).items():
        needed = {getattr(recipe, "parent", None), getattr(recipe, "match", None)} - {None}
        assert all(order.index(elder) < order.index(name) for elder in needed)


@pytest.mark.parametrize("zoo", ZOOS)
def test_families_stand_beside_the_three_standard_networks(zoo) -> None:
    zoo = load_zoo(zoo)
    assert zoo.networks == ("alexnet", "vgg", "resnet")
    assert {type(names) for names in zoo.families.values()} == {tuple}
    names = [name for family in zoo.families.values() for name in family]
    assert len(set(names) | set(zoo.networks)) == len(names) + 3
    for name in names:
        standard = dict(zoo.config(name.split("-")[0]))
        assert {**standard, "activation": "relu"} == {**zoo.config(name), "activation": "relu"}
    activations = {zoo.config(name).get("activation") for name in zoo.families["activations"]}
    assert activations == {"relu", "tanh", "leaky_relu", "gelu", "softplus"}


def test_chapters_take_family_members_but_not_by_default() -> None:
    chosen = selection.parse({"zoo": "shapes", "networks": "resnet,resnet-linf-2"})
    assert chosen.networks == ("resnet", "resnet-linf-2")
    by_default = selection.parse({"zoo": "shapes", "networks": ""})
    assert by_default.networks == ("alexnet", "vgg", "resnet")
    with pytest.raises(parameters.ParameterError, match="did you mean resnet-linf-2"):
        selection.parse({"zoo": "shapes", "networks": "resnet-linff-2"})


@pytest.mark.parametrize("zoo", zoos.shipped())
def test_unknown_members_are_refused_everywhere(zoo, tmp_path) -> None:
    zoo = load_zoo(zoo, tmp_path)
    for ask in (zoo.network, zoo.config, zoo.state, lambda name: restore.classifier(zoo, name)):
        with pytest.raises(KeyError, match="did you mean"):
            ask("resnet-linff-2")
    with pytest.raises(FileNotFoundError, match=r"resnet-linf-0\.5\.safetensors is missing"):
        zoo.network("resnet-linf-0.5")


# Commands


def run(*words) -> None:
    command.main(list(words))


def test_one_command_makes_one_network_by_its_recipe(monkeypatch, tmp_path) -> None:
    made = []
    monkeypatch.setattr(classifier, "train", lambda *arguments: made.append(arguments))
    words = "--zoo", "shapes", "--only", "resnet-linf-0.5", "--again", "--set", "epochs=1"
    run(*words, "--scratch", str(tmp_path))
    ((zoo, name, recipe, scratch),) = made
    assert (zoo.name, name, scratch) == ("shapes", "resnet-linf-0.5", tmp_path)
    assert recipe == replace(networks.recipes(zoo)[name], epochs=1)
    assert recipe.epsilon == 0.5 / 255


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--only", "resnet-linff-2"], KeyError, "did you mean resnet-linf-2"),
        (["--set", "epochs=1"], SystemExit, "expected --only with --set"),
        (["--only", "resnet", "--again", "--set", "epoch=1"], KeyError, "mean epochs"),
        (["--only", "resnet", "--again", "--set", "match=resnet"], ValueError, "as in JSON"),
    ],
)
def test_a_command_that_cannot_be_followed(capsys, words, error, message) -> None:
    with pytest.raises(error) as raised:
        run("--zoo", "shapes", *words)
    assert message in capsys.readouterr().err + str(raised.value)


def test_all_is_made_once_in_order(monkeypatch, tmp_path) -> None:
    zoo, made = load_zoo("tinyimagenet", tmp_path), []

    def make(zoo, name, *_):
        made.append(name)
        zoo.path(name).touch()
        zoo.path(name).with_suffix(".json").touch()

    for module, function in (
        (whole.networks, "make"),
        (whole.decoder, "train"),
        (whole.components, "fit"),
    ):
        monkeypatch.setattr(module, function, make)
    monkeypatch.setattr(whole.detector, "train", lambda zoo, recipe: make(zoo, whole.ARTEFACT))
    run("--zoo", "tinyimagenet", "--folder", str(tmp_path))
    assert made == [
        *zoo.networks,
        "pca",
        "decoder",
        "detector",
        *zoo.all_networks[len(zoo.networks) :],
    ]
    run("--zoo", "tinyimagenet", "--folder", str(tmp_path))
    assert len(made) == len(set(made))
