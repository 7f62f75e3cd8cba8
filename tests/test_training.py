"""Training a zoo's classifiers and decoder: learns, resumes, ships what it measured."""

from dataclasses import replace

import pytest
import torch
from twocolours import TwoColours, interrupt_after

from signseg_utils.basics.draws import Twister
from signseg_utils.training import classifier, dale, decoder
from signseg_utils.training.classifier import Recipe

RECIPE = Recipe(epochs=2, batch=16, learning_rate=0.05, small_size=32)


@pytest.fixture
def zoo(tmp_path):
    return TwoColours(tmp_path / "zoo")


@pytest.fixture
def trained(zoo, tmp_path):
    classifier.train(zoo, "alexnet", RECIPE, tmp_path)
    return zoo


def test_training_learns_and_ships_what_it_measured(trained):
    network = trained.network("alexnet")
    validation = trained.images("val")
    validation = validation[validation.labels >= 0]
    answers = network.logits(validation.pixels.float() / 255).argmax(1)
    measured = (answers == validation.labels).double().mean()
    card = trained.card("alexnet")
    assert measured > 0.95
    assert card["accuracy"]["top1"] == pytest.approx(float(measured), abs=0.011)
    assert card["accuracy"]["n"] == len(validation)
    assert card["robust_accuracy"]["top1"] <= card["accuracy"]["top1"]
    ratio = network.readout.weight.clamp_min(0).sum(1) / -network.readout.weight.clamp_max(0).sum(1)
    assert card["sign_ratio"]["mean"] == pytest.approx(float(ratio.mean()), rel=1e-2)


def assert_an_interrupted_one_ends_alike(zoo, recipe, folder):
    """Trained again, stopped on the way and continued, it is the network that there is."""
    whole = zoo.path("alexnet").read_bytes()
    with interrupt_after(1), pytest.raises(KeyboardInterrupt):
        classifier.train(zoo, "alexnet", recipe, folder)
    classifier.train(zoo, "alexnet", recipe, folder)
    assert zoo.path("alexnet").read_bytes() == whole


def test_an_interrupted_adamw_ends_with_the_same_weights(zoo, tmp_path):
    recipe = replace(
        RECIPE, optimizer="adamw", loss="one_vs_rest", learning_rate=3e-3, weight_decay=0.05
    )
    classifier.train(zoo, "alexnet", recipe, tmp_path)
    assert zoo.card("alexnet")["accuracy"]["top1"] > 0.9
    assert_an_interrupted_one_ends_alike(zoo, recipe, tmp_path)


def test_a_readout_under_dales_law_obeys_it_and_learns(zoo, tmp_path):
    recipe = replace(RECIPE, dale=True)
    classifier.train(zoo, "alexnet", recipe, tmp_path)
    network = zoo.network("alexnet")
    weight = network.readout.weight
    signs = dale.half_and_half(weight.shape[1], recipe.seed)
    assert int((signs > 0).sum()) == int((signs < 0).sum())
    assert (weight * signs >= 0).all() and (weight != 0).any()
    assert zoo.card("alexnet")["accuracy"]["top1"] > 0.9
    assert_an_interrupted_one_ends_alike(zoo, recipe, tmp_path)


def test_projection_gives_the_nearest_weights_that_obey():
    readout = torch.nn.Linear(4, 3)
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0])
    before = readout.weight.detach().clone()
    dale.project(readout, signs)
    kept = before * signs > 0
    assert torch.equal(readout.weight[kept], before[kept])
    assert (readout.weight[~kept] == 0).all()


def test_half_of_an_odd_number_is_refused():
    with pytest.raises(ValueError, match="even"):
        dale.half_and_half(5, 0)


def test_unknown_choices_of_a_recipe_are_named():
    with pytest.raises(ValueError, match="adamw"):
        Recipe(optimizer="adam")
    with pytest.raises(ValueError, match="one_vs_rest"):
        Recipe(loss="hinge")


def test_one_vs_rest_asks_each_class_by_itself():
    logits, labels = torch.tensor([[2.0, -1.0], [-3.0, -3.0]]), torch.tensor([0, -1])
    yes, no = (torch.nn.functional.logsigmoid(sign * logits) for sign in (1, -1))
    expected = -(yes[0, 0] + no[0, 1] + no[1].sum()) / 2
    assert torch.allclose(classifier.one_vs_rest_loss(logits, labels, 0.0), expected)
    shifted = classifier.one_vs_rest_loss(logits + 1, labels, 0.0)
    assert not torch.isclose(shifted, expected)  # a softmax would not notice
    same = classifier.classification_loss(logits, labels, 0.0)
    assert torch.isclose(classifier.classification_loss(logits + 1, labels, 0.0), same)


def test_an_interrupted_training_ends_with_the_same_weights(trained, tmp_path):
    whole = trained.path("alexnet").read_bytes()
    with interrupt_after(1), pytest.raises(KeyboardInterrupt):
        classifier.train(trained, "alexnet", RECIPE, tmp_path)
    classifier.train(trained, "alexnet", RECIPE, tmp_path)
    assert trained.path("alexnet").read_bytes() == whole


def test_another_recipe_does_not_continue_an_unfinished_run(trained, tmp_path):
    with interrupt_after(1), pytest.raises(KeyboardInterrupt):
        classifier.train(trained, "alexnet", RECIPE, tmp_path)
    with pytest.raises(ValueError, match="delete it or ask for the same recipe"):
        classifier.train(trained, "alexnet", Recipe(epochs=3, batch=16), tmp_path)


def test_images_without_object_are_to_give_a_uniform_answer():
    labels = torch.tensor([-1, 0])
    uniform = torch.tensor([[0.0, 0.0], [50.0, -50.0]])
    peaked = torch.tensor([[50.0, -50.0], [50.0, -50.0]])
    low = classifier.classification_loss(uniform, labels, 0.0)
    high = classifier.classification_loss(peaked, labels, 0.0)
    assert low == pytest.approx(0.5 * torch.tensor(2.0).log().item(), abs=1e-4)
    assert high > low + 10


def test_augmentation_keeps_size_range_and_seed():
    pixels = torch.randint(0, 256, (6, 3, 24, 24), dtype=torch.uint8)
    first, again = (classifier.augment(pixels, 16, 0.6, Twister(3)) for _ in range(2))
    assert first.shape == (6, 3, 16, 16)
    assert 0 <= first.min() and first.max() <= 1
    assert torch.equal(first, again)


def test_images_of_full_size_are_shifted_and_not_resampled():
    pixels = torch.randint(0, 2, (6, 3, 24, 24), dtype=torch.uint8) * 100 + 100
    moved = classifier.augment(pixels, 24, 0.6, Twister(3))
    assert all(len(image.unique()) == 2 for image in moved)  # two grey levels, times a gain
    assert not any(torch.equal(a > a.mean(), b > 150) for a, b in zip(moved, pixels, strict=True))


def test_decoder_learns_to_invert_and_is_read_back(trained, tmp_path):
    def mean_error(images):
        recipe = decoder.DecoderRecipe(code_size=4, images=images, batch=16, checkpoint_every=5)
        decoder.train(trained, "decoder", recipe, tmp_path)
        return trained.card("decoder")["scores"]["mean_absolute_error"]

    untrained, later = mean_error(0), mean_error(640)
    assert later < 0.8 * untrained
    generator = trained.generator("decoder")
    images = generator(generator.initial_codes([1, 2]))
    assert images.shape == (2, 3, 32, 32)
    assert 0 <= images.min() and images.max() <= 1


def test_codes_longer_than_the_cap_give_the_capped_image():
    generator = decoder.Decoder(4, 32).eval()
    code = torch.tensor([[30.0, 0, 0, 0]])
    torch.testing.assert_close(generator(code), generator(2 * code))
    assert not torch.allclose(generator(code / 30), generator(code))
