"""Neuron models: the same as scikit-learn's, chosen on training images, corrected for noise."""

import numpy as np
import pytest
import torch
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Lasso, Ridge
from torchvision import models

from signseg_utils import zoos
from signseg_utils.basics import draws
from signseg_utils.networks import Network
from signseg_utils.networks._cut import Cut
from signseg_utils.neurons import encoding, noise
from signseg_utils.neurons.features import Features, extract, extract_layers, layers
from signseg_utils.search.evolution import Search, evolve
from signseg_utils.units import ablation
from signseg_utils.units.readout import Readout


def data(images: int = 60, features: int = 90, neurons: int = 3, noise: float = 1.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.normal(size=(images, features)) * rng.uniform(0.1, 9, features) + 1, 0)
    x[:, 7] = 2.0  # a feature that never changes
    truth = rng.normal(size=(features, neurons)) * (rng.random((features, neurons)) < 0.2)
    y = x @ truth
    return x, 3 + y / y.std(0) + noise * rng.normal(size=y.shape), truth


@pytest.mark.parametrize("components", [1, 2, 5])
def test_pls_predicts_as_scikit_learn(components: int) -> None:
    x, y, _ = data()
    new = data(seed=1)[0]
    models = encoding.fit(x, y, "pls", components, ["a", "b", "c"])
    for neuron in range(3):
        reference = PLSRegression(components, scale=True).fit(x, y[:, neuron])
        expected = reference.predict(new).ravel()
        np.testing.assert_allclose(encoding.predict(models, new)[:, neuron], expected, atol=1e-5)
    assert models.labels == ("a", "b", "c")


def test_a_model_is_a_readout_row() -> None:
    x, y, _ = data()
    models = encoding.fit(x, y, "pls", 2)
    scores = models.responses(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(scores, encoding.predict(models, x), atol=1e-9)
    assert models.weight[:, 7].abs().max() == 0  # what never changes has no weight
    wholly = [ablation.Ablation(sign, 1.0) for sign in ("positive", "negative")]
    parts = [ablation.ablate(models, one).weight for one in wholly]
    torch.testing.assert_close(parts[0] + parts[1], models.weight)


def test_a_feature_that_first_comes_on_in_new_images_brings_no_rounding_into_models() -> None:
    """Its spread over training images is a few times their rounding, in new images full size."""
    rng = np.random.default_rng(5)
    x, y, _ = data()
    new = data(seed=1)[0]
    x[:, 7] = 1e-5 * x.max() * rng.random(len(x))
    new[:, 7] = x.max() * rng.random(len(new))
    told = encoding.predict(encoding.fit(x, y, "pls", 1), new)
    for _ in range(3):  # other machines sum in another order
        other = x + 1e-7 * x.max() * rng.normal(size=x.shape)
        again = encoding.predict(encoding.fit(other, y, "pls", 1), new)
        np.testing.assert_allclose(again, told, atol=0.005)
    assert np.abs(told - y.mean(0)).max() < 20  # and no image is thousands of s.d. away


@pytest.mark.parametrize("positive", [False, True])
def test_penalised_models_are_scikit_learns(positive: bool) -> None:
    x, y, _ = data()
    scaled = x[:, np.arange(x.shape[1]) != 7]
    scaled = (scaled - scaled.mean(0)) / scaled.std(0, ddof=1)
    centred = y - y.mean(0)
    suffix = "_positive" if positive else ""
    for name in ("lasso", "ridge"):
        found = encoding.predict(encoding.fit(x, y, name + suffix, 0.1), x)
        for neuron in range(3):
            reach = scaled.T @ centred[:, neuron] / len(y)
            most = np.abs(reach).max()  # the same penalty with and without the constraint
            model = (
                Lasso(0.1 * most, positive=positive, fit_intercept=False, max_iter=3000)
                if name == "lasso"
                else Ridge(0.1 * (scaled**2).sum() / len(y), positive=positive, fit_intercept=False)
            ).fit(scaled, centred[:, neuron])
            expected = model.predict(scaled) + y[:, neuron].mean()
            np.testing.assert_allclose(found[:, neuron], expected, atol=1e-4, err_msg=name)


def test_one_fit_for_each_setting() -> None:
    x, y, _ = data()
    for method in ("pls", "lasso", "lasso_positive"):
        settings = (3, 1) if method == "pls" else (0.05, 0.4)
        several = encoding.fit_each(x, y, method, settings)
        for setting, model in zip(settings, several, strict=True):
            alone = encoding.fit(x, y, method, setting)
            predicted = encoding.predict(model, x)
            np.testing.assert_allclose(predicted, encoding.predict(alone, x), atol=0.02)


def test_lasso_without_products_of_features_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, _ = data()
    kept = encoding.predict(encoding.fit(x, y, "lasso", 0.1), x)
    monkeypatch.setattr(encoding, "MOST_PRODUCTS", 1)
    again = encoding.predict(encoding.fit(x, y, "lasso", 0.1), x)
    np.testing.assert_allclose(again, kept, atol=0.02)


def test_offering_each_feature_twice_frees_a_positive_lasso() -> None:
    """Positive weights on x and -x are weights of either sign on x, at the same penalty."""
    x, y, _ = data()
    free = encoding.predict(encoding.fit(x, y, "lasso", 0.1), x)
    twice = encoding.fit(np.hstack([x, -x]), y, "lasso_positive", 0.1)
    np.testing.assert_allclose(encoding.predict(twice, np.hstack([x, -x])), free, atol=0.02)


def test_positive_models_have_no_negative_weight() -> None:
    x, y, _ = data()
    for name in ("lasso", "ridge"):
        assert encoding.fit(x, y, f"{name}_positive", 0.05).weight.min() >= 0
        assert encoding.fit(x, y, name, 0.05).weight.min() < 0


def test_cross_validation_sees_no_image_that_it_predicts() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 300)), rng.normal(size=(60, 8))  # nothing to be learned
    inside = encoding.explained(encoding.predict(encoding.fit(x, y, "pls", 3), x), y)
    outside = encoding.cross_validate(x, y, "pls", (3,))
    assert inside.min() > 0.9 and outside.max() < 0.2


def test_choice_finds_the_layer_and_knows_nothing_else() -> None:
    x, y, _ = data(images=80, noise=0.3)
    other = np.random.default_rng(3).normal(size=x.shape)
    choice = encoding.choose({"noise": other, "truth": x}, y, settings=(1, 2, 3))
    assert choice.layer == "truth" and choice.setting > 1
    assert choice.table["truth"].shape == (3, 3)
    again = encoding.choose({"noise": other, "truth": x}, y, settings=(1, 2, 3))
    np.testing.assert_array_equal(choice.table["truth"], again.table["truth"])


def test_bad_input_is_refused() -> None:
    x, y, _ = data()
    with pytest.raises(ValueError, match="recordings.complete"):
        encoding.fit(x, np.where(y > 3, np.nan, y))
    with pytest.raises(ValueError, match="same images"):
        encoding.fit(x[:-1], y)
    with pytest.raises(KeyError, match="did you mean ridge"):
        encoding.fit(x, y, "rige")
    with pytest.raises(ValueError, match="components"):
        encoding.fit(x, y, "pls", 0)


def test_scores_of_trivial_predictions() -> None:
    y = np.random.default_rng(0).normal(size=(40, 2))
    np.testing.assert_allclose(encoding.explained(y, y), 1)
    np.testing.assert_allclose(encoding.explained(np.full_like(y, 1) * y.mean(0), y), 0, atol=1e-12)
    np.testing.assert_allclose(encoding.correlation(2 * y + 3, y), 1)
    assert np.isnan(encoding.explained(y, np.ones_like(y))).all()
    np.testing.assert_array_equal(encoding.correlation(np.ones_like(y), y), 0)


def repeats(true_r2: float, neurons: int = 400, images: int = 100, n: int = 4, sigma: float = 1.5):
    """A model that explains exactly ``true_r2`` of the expected responses; noisy repeats."""
    rng = np.random.default_rng(5)
    basis = rng.normal(size=(neurons, images, 2))
    basis -= basis.mean(1, keepdims=True)
    model, rest = np.linalg.qr(basis)[0].transpose(2, 1, 0)
    expected = np.sqrt(images) * (np.sqrt(true_r2) * model + np.sqrt(1 - true_r2) * rest)
    return model, expected[..., None] + sigma * rng.normal(size=(images, neurons, n))


@pytest.mark.parametrize("true_r2", [0.0, 0.3, 0.8])
def test_noise_corrected_r2_is_unbiased(true_r2: float) -> None:
    model, responses = repeats(true_r2)
    found = noise.corrected_r2(model, responses)
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - true_r2) < 3 * error + 0.005
    naive = encoding.correlation(model, responses.mean(-1)) ** 2
    if true_r2 > 0:
        assert naive.mean() < true_r2 - 0.08  # without the correction it is far below


def test_missing_repeats_leave_it_unbiased() -> None:
    model, responses = repeats(0.5)
    responses[::2, :, 2:] = np.nan  # every other image was shown twice only
    found = noise.corrected_r2(model, responses)
    assert abs(found.mean() - 0.5) < 3 * found.std() / 20 + 0.01
    assert noise.split_half_r2(model, responses, splits=4).shape == found.shape


def test_split_half_agrees_where_repeats_abound() -> None:
    model, responses = repeats(0.5, neurons=30, n=40, sigma=1.0)
    half, unbiased = noise.split_half_r2(model, responses), noise.corrected_r2(model, responses)
    assert np.abs(half - unbiased).max() < 0.03
    model, responses = repeats(0.5, neurons=30, n=2, sigma=3.0)  # few and noisy: it scatters more
    assert np.nanstd(noise.split_half_r2(model, responses)) > 0.03


def test_noise_needs_repeats() -> None:
    model, responses = repeats(0.5, neurons=3)
    with pytest.raises(ValueError, match="two repeats"):
        noise.corrected_r2(model, responses[..., :1])
    with pytest.raises(ValueError, match="two repeats"):
        noise.split_half_r2(model, responses[..., :1])


def test_features_of_every_layer(tiny_zoo) -> None:
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    images = zoo.images("val", 6).pixels
    for name in ("alexnet", "resnet"):
        network = zoo.network(name)
        assert layers(network) == ("trunk.0", "trunk.1", "features")
        last = extract(Features(network, "features"), images)
        torch.testing.assert_close(last, network.backbone(images.float() / 255))
        maps = network.backbone.stages(images.float() / 255)
        for stage in range(2):
            found = extract(Features(network, f"trunk.{stage}"), images)
            torch.testing.assert_close(found, maps[stage].flatten(1))
        pooled = extract(Features(network, "trunk.1/2"), images, batch=4)
        mean = torch.nn.functional.adaptive_avg_pool2d(maps[1], 2).flatten(1)
        torch.testing.assert_close(pooled, mean)
        for wrong in ("trunk.2", "features/2", "trunk.1/0", "conv"):
            with pytest.raises(KeyError, match="trunk.1"):
                Features(network, wrong)


def test_features_of_networks_that_others_made() -> None:
    """They are no sequence that could be cut, so the whole is run and the map is kept."""
    backbone = draws.made(lambda: Cut(models.resnet18(weights=None), "fc", 64), 0).folded()
    network = Network("other", backbone, Readout(torch.zeros(1, 512), torch.zeros(1), ("a",)))
    images = draws.uniform((3, 3, 64, 64), 0)
    assert layers(network) == (*(f"trunk.{n}" for n in range(5)), "features")
    maps = backbone.stages(images)
    wanted = {
        "features": backbone(images),
        "trunk.2": maps[2].flatten(1),
        "trunk.4/2": torch.nn.functional.adaptive_avg_pool2d(maps[4], 2).flatten(1),
    }
    together = extract_layers(network, list(wanted), images)
    for layer, expected in wanted.items():
        torch.testing.assert_close(extract(Features(network, layer), images), expected)
        torch.testing.assert_close(together[layer], expected)
    with pytest.raises(KeyError, match=r"trunk\.4"):
        Features(network, "trunk.5")


def test_evolution_takes_a_neuron_model(tiny_zoo) -> None:
    zoo = zoos.load_zoo("shapes", tiny_zoo)
    backbone = Features(zoo.network("resnet"), "trunk.1/2")
    x = extract(backbone, zoo.images("val", 40).pixels).numpy()
    models = encoding.fit(x, x[:, :2] + x[:, 5:6])
    bank = ablation.ablate(models, ablation.Ablation("positive", 0.5))
    found = evolve(bank, backbone, zoo.generator("scenes"), [0, 0], Search(generations=3))
    assert found.activations.shape == (2,) and torch.isfinite(found.activations).all()


@pytest.mark.parametrize("true_r2", [0.2, 0.6])
def test_planted_repeats_have_the_share_and_the_noise_that_were_asked(true_r2: float) -> None:
    model, responses = repeats(0.5, n=6)
    made = noise.planted(model, responses, np.full(400, true_r2), np.random.default_rng(0))
    found = noise.corrected_r2(model, made)
    assert abs(found.mean() - true_r2) < 3 * found.std() / 20 + 0.01
    squared = noise.split_half_r2(model, made, splits=20, squared=True)
    assert squared.mean() > 1.2 * true_r2  # divided once too often
    spread = made.std(-1, ddof=1).mean() / responses.std(-1, ddof=1).mean()
    assert spread == pytest.approx(1, abs=0.05)


def test_fewer_repeats_are_some_of_those_there_are() -> None:
    responses = np.arange(24.0).reshape(2, 3, 4)
    responses[0, :, 3] = np.nan
    few = noise.fewer(responses, 2, np.random.default_rng(0))
    assert few.shape == (2, 3, 2) and np.isfinite(few).all()
    assert all(np.isin(few[i, j], responses[i, j]).all() for i in range(2) for j in range(3))
    assert (few[..., 0] != few[..., 1]).all()
    with pytest.raises(ValueError, match="expected 4 repeats.*images with 3"):
        noise.fewer(responses, 4, np.random.default_rng(0))
